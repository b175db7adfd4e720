"""Compares what a converted model computes with what its source computes."""

from __future__ import annotations

import importlib.util
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

# Relative L2 error up to which a result counts as the same, by the coarsest data type involved. f32 results of
# sound conversions lie near 1e-6; a wrong operator is off by 1e-2 and more, so that the limit is not delicate.
LIMITS = {"float64": 1e-4, "float32": 1e-4, "float16": 2e-2}
# 8-bit models: a value that lies between two integers is rounded either way, and the layers behind it see the
# difference. onnxruntime differs from itself (with and without its optimisations) by up to 6 % on the zoo's networks.
QUANTIZED_LIMIT = 0.2
# Integers that come out of floats (arg max of near ties) may differ in a few places.
INTEGER_MISMATCH = 1e-2


@dataclass(frozen=True)
class OutputCheck:
    """Numbers of one output. `sqnr_db` None: no difference at all."""

    output: str
    shape: list[int]
    max_abs: float
    relative_l2: float
    sqnr_db: float | None
    against: str
    ok: bool
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        return asdict(self)


def compare_arrays(
    name: str, got: np.ndarray, expected: np.ndarray, against: str, *, quantized: bool = False
) -> OutputCheck:
    """One output. NaN and infinities count as equal only where both sides have the same."""
    shape = list(got.shape)
    if got.shape != expected.shape:
        note = f"shape {shape}, {against} gives {list(expected.shape)}"
        return OutputCheck(name, shape, math.inf, math.inf, -math.inf, against, False, note)
    if got.dtype != expected.dtype and (got.dtype.kind != expected.dtype.kind):
        note = f"data type {got.dtype}, {against} gives {expected.dtype}"
        return OutputCheck(name, shape, math.inf, math.inf, -math.inf, against, False, note)
    a, b = got.astype(np.float64).ravel(), expected.astype(np.float64).ravel()
    special = ~np.isfinite(b)
    same_special = np.array_equal(np.isnan(a), np.isnan(b)) and np.array_equal(
        a[special & ~np.isnan(b)], b[special & ~np.isnan(b)]
    )
    usable = np.isfinite(a) & np.isfinite(b)
    difference = np.abs(a[usable] - b[usable])
    max_abs = float(difference.max()) if difference.size else 0.0
    error, norm = float(np.linalg.norm(difference)), float(np.linalg.norm(b[usable]))
    relative = error / norm if norm > 0 else error
    sqnr = None if error == 0 else (20 * math.log10(norm / error) if norm > 0 else -math.inf)
    note = ""
    if quantized and expected.dtype.kind in "iuf":
        ok = relative <= QUANTIZED_LIMIT
        note = "" if sqnr is None else "an 8-bit model: rounding differs"
    elif expected.dtype.kind in "iub":
        wrong = float(np.mean(a != b)) if a.size else 0.0
        ok = wrong <= INTEGER_MISMATCH
        note = f"{wrong:.2%} of the elements differ" if wrong else ""
    else:
        limit = max(LIMITS.get(got.dtype.name, 1e-4), LIMITS.get(expected.dtype.name, 1e-4))
        ok = relative <= limit
    if not same_special:
        ok, note = False, "NaN or infinity in other places"
    elif special.all() and a.size:
        note = "all elements are NaN or infinite with this input"
    return OutputCheck(name, shape, max_abs, relative, sqnr, against, ok, note)


def compare_outputs(
    names: Sequence[str],
    got: Sequence[np.ndarray],
    expected: Sequence[np.ndarray],
    against: str,
    *,
    quantized: bool = False,
) -> list[OutputCheck]:
    """All outputs; a different number of outputs is a failed check. quantized: the source computes in 8 bits."""
    checks = [compare_arrays(n, g, e, against, quantized=quantized) for n, g, e in zip(names, got, expected)]
    if len(got) != len(expected):
        note = f"{len(got)} outputs, {against} gives {len(expected)}"
        checks.append(OutputCheck("(all)", [], math.inf, math.inf, -math.inf, against, False, note))
    return checks


def random_inputs(inputs: Sequence[Any], sizes: Mapping[str, int], seed: int) -> dict[str, np.ndarray]:
    """One random array per input spec (name, shape, dtype): normal floats, small integers."""
    rng = np.random.default_rng(seed)
    result = {}
    for spec in inputs:
        shape = [sizes.get(d, 1) if isinstance(d, str) else d for d in spec.shape]
        kind = np.dtype(spec.dtype)
        if kind.kind == "f":
            result[spec.name] = rng.standard_normal(shape).astype(kind)
        elif kind.kind == "b":
            result[spec.name] = rng.integers(0, 2, shape).astype(bool)
        else:
            result[spec.name] = rng.integers(0, 2, shape).astype(kind)
    return result


class OnnxReference:
    """Runs the source ONNX model with onnxruntime when it is installed, else with onnx's own evaluator."""

    def __init__(self, model: Any, path: str | None) -> None:
        self.name = "onnxruntime" if importlib.util.find_spec("onnxruntime") else "onnx.reference"
        self._model, self._path = model, path
        self._quantized = any("Quantize" in n.op_type or n.op_type.startswith("QLinear") for n in model.graph.node)
        self._session: Any = None

    def compare_outputs(
        self, names: Sequence[str], got: Sequence[np.ndarray], expected: Sequence[np.ndarray], against: str
    ) -> list[OutputCheck]:
        """As the function of this name, with the limit for 8-bit models where the source is one."""
        return compare_outputs(names, got, expected, against, quantized=self._quantized)

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        """All outputs in order. Whatever the framework raises goes through."""
        if self.name == "onnxruntime":
            try:
                return self._onnxruntime(feeds)
            except Exception:
                if self._session is not None:  # it loaded, so the input is at fault
                    raise
                self.name = "onnx.reference"
        from onnx.reference import ReferenceEvaluator

        if self._session is None:
            self._session = ReferenceEvaluator(self._path or self._model)
        return [np.asarray(v) for v in self._session.run(None, dict(feeds))]

    def _onnxruntime(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        import onnxruntime

        if self._session is None:
            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = 1
            options.log_severity_level = 4
            source = self._path or self._model.SerializeToString()
            self._session = onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"])
        return [np.asarray(v) for v in self._session.run(None, dict(feeds))]
