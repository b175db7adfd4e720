"""Do two models compute the same? And if not, which tensor is the first to differ?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np

from edgec.errors import ShapeError, UsageError
from edgec.runners import Runner, open_runner
from edgec.samples import random_input

Array = np.ndarray[Any, Any]

# What float32 networks of a hundred layers stay below when only the order of additions changes. The absolute part is
# relative to the tensor's largest magnitude: activations of 1,000 and probabilities of 0.001 need different ones.
RTOL, SHARE_OF_LARGEST = 1e-3, 3e-5


@dataclass(frozen=True)
class Difference:
    """One tensor of both sides. `ok`: every element within `atol` + rtol * |b|, and shapes agree."""

    name: str
    shape_a: tuple[int, ...]
    shape_b: tuple[int, ...]
    ok: bool
    wrong: int  # elements outside the tolerance
    max_abs: float
    mean_abs: float
    relative_l2: float
    cosine: float
    sqnr_db: float
    atol: float
    is_output: bool = True
    note: str = ""


@dataclass
class Comparison:
    """Rows in the order of computation of the first side."""

    a: str
    b: str
    rows: list[Difference] = field(default_factory=list)
    only_a: int = 0
    only_b: int = 0

    @property
    def ok(self) -> bool:
        """True when everything that was compared agrees."""
        return all(r.ok for r in self.rows)

    @property
    def outputs_ok(self) -> bool:
        """True when the outputs agree, whatever the tensors between do."""
        return all(r.ok for r in self.rows if r.is_output)

    @property
    def first_bad(self) -> Difference | None:
        """The first tensor that differs, or None."""
        return next((r for r in self.rows if not r.ok), None)

    def to_dict(self) -> dict[str, Any]:
        """JSON form."""
        return {
            "a": self.a,
            "b": self.b,
            "ok": self.ok,
            "first_bad": self.first_bad.name if self.first_bad else None,
            "tensors": [asdict(r) for r in self.rows],
            "only_a": self.only_a,
            "only_b": self.only_b,
        }


def difference(
    name: str, a: Array, b: Array, atol: float | None = None, rtol: float = RTOL, is_output: bool = True
) -> Difference:
    """Compares two arrays; b is the reference. NaN equals NaN, infinity equals infinity of the same sign.

    atol None: 3e-5 times the largest finite magnitude of b.

    Tensors of four dimensions that differ only by NHWC and NCHW are compared after reordering b.
    """
    note = ""
    if a.shape != b.shape and a.ndim == b.ndim == 4:
        for perm, text in (((0, 2, 3, 1), "NHWC"), ((0, 3, 1, 2), "NCHW")):
            if b.transpose(perm).shape == a.shape:
                b, note = b.transpose(perm), text
                break
    if a.shape != b.shape:
        inf = float("inf")
        return Difference(name, a.shape, b.shape, False, a.size, inf, inf, inf, 0.0, -inf, 0.0, is_output, "shapes")
    if a.size == 0:
        return Difference(name, a.shape, b.shape, True, 0, 0.0, 0.0, 0.0, 1.0, float("inf"), 0.0, is_output, note)
    x, y = a.astype(np.float64), b.astype(np.float64)
    finite = np.isfinite(x) & np.isfinite(y)
    xf, yf = x[finite], y[finite]
    if atol is None:
        atol = SHARE_OF_LARGEST * float(np.abs(yf).max(initial=0.0))
    # A finite value against an infinite one is wrong, whatever the tolerance.
    same = (x == y) | (np.isnan(x) & np.isnan(y))
    with np.errstate(all="ignore"):
        error = np.where(same, 0.0, np.where(finite, np.abs(x - y), np.inf))
        bad = ~same & (~finite | (error > atol + rtol * np.abs(y)))
        noise, signal = float(np.linalg.norm(xf - yf)), float(np.linalg.norm(yf))
        product = float(np.linalg.norm(xf)) * signal
        relative = noise / signal if signal else (0.0 if noise == 0 else float("inf"))
        cosine = float(np.dot(xf, yf)) / product if product else (1.0 if noise == 0 else 0.0)
        sqnr = float("inf") if relative == 0 else float(-20 * np.log10(relative))
    return Difference(
        name,
        a.shape,
        b.shape,
        ok=not bool(bad.any()),
        wrong=int(bad.sum()),
        max_abs=float(error.max()),
        mean_abs=float(error.mean()),
        relative_l2=relative,
        cosine=cosine,
        sqnr_db=sqnr,
        atol=atol,
        is_output=is_output,
        note=note,
    )


def compare(
    a: Any,
    b: Any,
    data: Mapping[str, Array] | Sequence[Array] | None = None,
    *,
    mark_all: bool = False,
    atol: float | None = None,
    rtol: float = RTOL,
    seed: int = 0,
    shapes: Sequence[Sequence[int]] | None = None,
    threads: int = 1,
) -> Comparison:
    """Runs two models on the same inputs and compares; b is the reference.

    a, b      paths (.edge, .onnx, .pt, .jit, .pt2, or an .npz of saved results), Models, Sessions or nn.Modules
    data      arrays in input order or by name; None = random from `seed`
    atol      absolute tolerance; None = 3e-5 times the largest magnitude of each tensor
    rtol      tolerance relative to each element of b
    mark_all  compare every tensor that both sides know by name, not only the outputs

    Raises UsageError when neither side says what inputs it wants and none are given.

    >>> edgec.compare("net.edge", "net.onnx", mark_all=True).first_bad
    """
    left, right = open_runner(a, threads), open_runner(b, threads)
    feeds = make_feeds(left, right, data, seed, shapes)
    result = Comparison(left.label, right.label)
    if mark_all:
        known_a, known_b = left.marks(feeds), right.marks(feeds)
        pairs = _pair_marks(left, right, known_a, known_b)
        result.only_a = len(known_a) - len(pairs)
        result.only_b = len(known_b) - len(pairs)
    else:
        pairs = _pair_outputs(left, right, left.run(feeds), right.run(feeds))
    result.rows = [difference(name, x, y, atol, rtol, is_output) for name, x, y, is_output in pairs]
    if not (left.exact_names and right.exact_names) and result.outputs_ok:
        # An exporter may number two different tensors alike; an error in the middle would show in the outputs.
        kept = [r for r in result.rows if r.ok]
        result.only_a += len(result.rows) - len(kept)
        result.only_b += len(result.rows) - len(kept)
        result.rows = kept
    return result


def make_feeds(
    left: Runner,
    right: Runner,
    data: Mapping[str, Array] | Sequence[Array] | None,
    seed: int,
    shapes: Sequence[Sequence[int]] | None,
) -> dict[str, Array]:
    """Inputs for both sides, by the names of the first side that has names."""
    side = left if left.inputs is not None else right
    specs = side.inputs
    if isinstance(data, Mapping):
        return dict(data) if specs is None else {s.name: data[s.name] for s in specs if s.name in data} or dict(data)
    if data is not None:
        names = [s.name for s in specs] if specs is not None else [f"input{i}" for i in range(len(data))]
        if len(names) != len(data):
            raise ShapeError(f"data: got {len(data)} arrays, the model has {len(names)} inputs")
        return dict(zip(names, data, strict=True))
    if specs is None:
        if shapes is None:
            raise UsageError("neither model says what its inputs are", hint="give --shape or --data")
        generator = np.random.default_rng(seed)
        return {f"input{i}": generator.standard_normal(s).astype(np.float32) for i, s in enumerate(shapes)}
    sizes = shapes if shapes is not None else side.default_shapes()
    generator = np.random.default_rng(seed)
    return {s.name: random_input(s, size, generator) for s, size in zip(specs, sizes, strict=True)}


Pair = tuple[str, Array, Array, bool]


def _pair_outputs(left: Runner, right: Runner, a: dict[str, Array], b: dict[str, Array]) -> list[Pair]:
    common = [n for n in a if n in b]
    if common:
        return [(n, a[n], b[n], True) for n in common]
    if len(a) != len(b):
        raise UsageError(
            f"{left.label} has the outputs {', '.join(a)}, {right.label} has {', '.join(b)}: "
            "no name in common, and not the same number"
        )
    return [
        (f"{n} / {m}" if right.output_names else n, x, y, True)
        for (n, x), (m, y) in zip(a.items(), b.items(), strict=True)
    ]


def _pair_marks(left: Runner, right: Runner, a: dict[str, Array], b: dict[str, Array]) -> list[Pair]:
    outputs_a = left.output_names or tuple(n for n in a if n.startswith("output"))
    outputs_b = right.output_names or tuple(n for n in b if n.startswith("output"))
    exact = left.exact_names and right.exact_names
    pairs = [(n, a[n], b[n], n in outputs_a) for n in a if n in b and (exact or a[n].shape == b[n].shape)]
    done = {n for n, *_ in pairs}
    rest_a = [n for n in outputs_a if n in a and n not in done]
    rest_b = [n for n in outputs_b if n in b and n not in done]
    if len(rest_a) == len(rest_b):
        pairs += [(n, a[n], b[m], True) for n, m in zip(rest_a, rest_b, strict=True)]
    if not pairs:
        raise UsageError(f"{left.label} and {right.label} know no tensor by the same name")
    return pairs
