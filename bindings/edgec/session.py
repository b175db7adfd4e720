"""Running a model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec import _core
from edgec.errors import InvalidArgumentError
from edgec.model import Model, TensorSpec

if TYPE_CHECKING:
    from edgec.stream import Stream

__all__ = ["Outputs", "Session", "TensorSpec"]

Array = np.ndarray[Any, Any]
_UNITS = {"": 1, "B": 1, "KB": 1 << 10, "MB": 1 << 20, "GB": 1 << 30, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


class Outputs(tuple[Array, ...]):
    """Several outputs: a tuple in the model's order that also answers to names.

    >>> scores, boxes = session(x)
    >>> session(x)["boxes"]
    """

    names: tuple[str, ...]

    def __getitem__(self, key: Any) -> Any:
        if not isinstance(key, str):
            return super().__getitem__(key)
        if key not in self.names:
            raise KeyError(f"no output '{key}'; the outputs are {', '.join(self.names)}")
        return super().__getitem__(self.names.index(key))

    def asdict(self) -> dict[str, Array]:
        """Name -> array."""
        return dict(zip(self.names, self, strict=True))


class Session:
    """A model prepared for running.

    model       a path to a `.edge` file, its bytes, or an `edgec.Model` (shared, not copied)
    threads     how many CPUs one run may use; 0 = all that this process may use. Results do not depend on it
    max_memory  limit for activations and packed weights: bytes, or text like "8MB" (powers of 1,024). A model that
                needs more raises OutOfMemoryError here, never later
    shapes      shapes to prepare for, a list in input order or a dict by name; needed for nothing but a first run
                without delay, because a session prepares itself for the shapes it gets
    isa         instruction set, for tests: "scalar", "avx2", "avx512"...; None = the best of this CPU
    keep_all    keep every intermediate tensor for `tensor()`; costs memory

    A session may be used by several threads at once: runs then wait for each other. Threads that shall run at the same
    time take one session each over one Model. The interpreter's lock is released while a run computes.

    >>> session = edgec.Session("net.edge", threads=2)
    >>> probabilities = session(image)
    """

    def __init__(
        self,
        model: str | os.PathLike[str] | bytes | bytearray | memoryview | Model,
        threads: int = 1,
        max_memory: int | str | None = None,
        shapes: Sequence[Sequence[int]] | Mapping[str, Sequence[int]] | None = None,
        isa: str | None = None,
        *,
        keep_all: bool = False,
    ) -> None:
        if isinstance(model, (bytes, bytearray, memoryview)):
            model = Model.from_bytes(model)
        elif isinstance(model, (str, os.PathLike)):
            model = Model.open(model)
        elif not isinstance(model, Model):
            raise InvalidArgumentError(
                f"Session wants a path, bytes or an edgec.Model, got {type(model).__name__}. "
                "What to do: convert it first, edgec.convert(...)"
            )
        self.model = model
        if shapes is None and model.symbols:
            shapes = model.example_shapes
        self._native = _core.Session(
            model.native,
            threads=threads,
            max_memory=parse_bytes(max_memory),
            keep_all=keep_all,
            isa=isa or "",
            shapes=None if shapes is None else _shape_list(model, shapes),
        )
        self._names = tuple(self._native.output_names)
        self._single = len(self._names) == 1
        self._run = self._native.run_tuple

    def __call__(self, *inputs: Any, **named: Any) -> Any:
        """Runs the model. Inputs in order, by name, or as one dict.

        Arrays (or torch tensors on the CPU) need the input's data type: nothing is converted silently. Memory that is
        not contiguous is copied, everything else is read where it is. Lists and numbers take the input's type when it
        holds them exactly. New shapes re-prepare the session when the model allows them.

        Returns the array when the model has one output, else `Outputs`, a tuple that also answers to names. The arrays
        are new and belong to the caller.

        Raises InvalidArgumentError (name, data type), ShapeError.
        """
        outputs = self._run(*inputs, **named)
        if self._single:
            return outputs[0]
        result = Outputs(outputs)
        result.names = self._names
        return result

    def run(self, output_names: Sequence[str] | None, inputs: Mapping[str, Any]) -> list[Array]:
        """Runs the model and returns the named outputs (None = all) as a list, as ONNX Runtime's `run` does.

        >>> session.run(None, {"x": x})[0]
        """
        outputs = self._run(dict(inputs))
        if output_names is None:
            return list(outputs)
        for name in output_names:
            if name not in self._names:
                raise InvalidArgumentError(f"no output '{name}'; the outputs are {', '.join(self._names)}")
        return [outputs[self._names.index(name)] for name in output_names]

    @property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs as the model declares them: symbolic dimensions by name."""
        return self.model.inputs

    @property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs for the shapes prepared now."""
        return tuple(TensorSpec.of(n, d, s) for n, d, s in self._native.output_types)

    @property
    def prepared_inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs with the concrete shapes prepared now."""
        return tuple(TensorSpec.of(n, d, s) for n, d, s in self._native.input_types)

    def prepare(self, shapes: Sequence[Sequence[int]] | Mapping[str, Sequence[int]]) -> None:
        """Plans for these input shapes now, so that the next run does not have to."""
        self._native.prepare(
            dict(shapes)
            if isinstance(shapes, Mapping)
            else {s.name: shape for s, shape in zip(self.inputs, _shape_list(self.model, shapes), strict=True)}
        )

    @property
    def threads(self) -> int:
        """CPUs that one run may use."""
        return self._native.threads

    @property
    def isa(self) -> str:
        """The instruction set of the kernels."""
        return self._native.isa

    @property
    def stats(self) -> dict[str, int]:
        """Bytes of the plan: arena_bytes (exact), activation_peak, packed_bytes, mapped_weight_bytes, folded_bytes."""
        return self._native.stats

    @property
    def steps(self) -> list[dict[str, Any]]:
        """What a run does, in order: name, op, kernel, inputs and outputs as (dtype, shape), is_view."""
        return self._native.steps

    def profile(self, inputs: Mapping[str, Any], runs: int = 1) -> list[float]:
        """Seconds spent in each of `steps`, summed over `runs` runs."""
        return self._native.profile(dict(inputs), runs)

    def stream(self, states: Mapping[str, str] | None = None, **fixed: Any) -> Stream:
        """A stream that keeps the model's state inside: `y = stream(chunk)`, `stream.reset()`.

        states: input name -> name of the output that is its next value; found by name and type when absent.
        fixed: inputs that are the same in every step, such as a sample rate.
        """
        from edgec.stream import Stream

        return Stream(self, states, **fixed)

    def cancel(self) -> None:
        """From another thread: the run in progress raises CancelledError before its next step."""
        self._native.cancel()

    def tensor(self, name: str) -> Array:
        """A copy of any tensor after a run; the session has to be made with `keep_all=True`."""
        return self._native.tensor(name)

    @property
    def tensor_names(self) -> list[str]:
        """Names that `tensor` knows."""
        return self._native.tensor_names

    def __repr__(self) -> str:
        return f"<edgec.Session of {self.model!r}, {self.threads} thread(s), {self.isa}>"


def parse_bytes(amount: int | str | None) -> int:
    """8388608 for 8388608 and for "8MB"; 0 for None.

    Raises InvalidArgumentError for anything else.
    """
    if amount is None:
        return 0
    if isinstance(amount, int) and amount >= 0:
        return amount
    if isinstance(amount, str):
        text = amount.strip().upper().replace("IB", "B")
        digits = text.rstrip("BKMG ")
        unit = text[len(digits) :].strip()
        try:
            if unit in _UNITS and float(digits) >= 0:
                return int(float(digits) * _UNITS[unit])
        except (ValueError, OverflowError):
            pass
    raise InvalidArgumentError(f"max_memory: got {amount!r}, expected bytes or text like '8MB'")


def _shape_list(model: Model, shapes: Sequence[Sequence[int]] | Mapping[str, Sequence[int]]) -> list[list[int]]:
    specs = model.inputs
    if not isinstance(shapes, Mapping):
        if len(shapes) != len(specs):
            raise InvalidArgumentError(f"shapes: got {len(shapes)}, the model has {len(specs)} inputs")
        return [list(s) for s in shapes]
    unknown = set(shapes) - {s.name for s in specs}
    if unknown:
        raise InvalidArgumentError(
            f"shapes: no input '{unknown.pop()}'; the inputs are {', '.join(s.name for s in specs)}"
        )
    if len(shapes) == len(specs):
        return [list(shapes[s.name]) for s in specs]
    return [list(shapes.get(s.name, example)) for s, example in zip(specs, model.example_shapes, strict=True)]
