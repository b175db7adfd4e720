"""The child process' common form of every TensorFlow source: a concrete function with named inputs and outputs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from edgec.converter.errors import ResourceError, ShapeError, UnsupportedError
from edgec.converter.frontends.shapes import InputShape, bind_shapes

Dims = list[int | None]
# Elements of all inputs together that a comparison runs with; nothing that fits an edge device comes near.
MAX_INPUT_ELEMENTS = 1 << 28


@dataclass
class Port:
    """An input: its name for users, NumPy's name of its type, and its shape (None: any size; shape None: any rank)."""

    name: str
    dtype: str
    shape: Dims | None


class Traced(Protocol):
    """A network of TensorFlow operators for certain input shapes. Its arguments have the names argument_name(0), (1)..."""

    definition: Any  # GraphDef

    def converter(self) -> Any:
        """TensorFlow's TFLite converter for it."""

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        """What TensorFlow computes."""


class TracedFunction:
    """A ConcreteFunction."""

    def __init__(self, function: Any) -> None:
        self.definition = function.graph.as_graph_def()
        self._function = function

    def converter(self) -> Any:
        import tensorflow as tf

        # Without the object that owns the variables they are frozen; with it they would stay variables in the file.
        return tf.lite.TFLiteConverter.from_concrete_functions([self._function])

    def run(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        import tensorflow as tf

        return [np.asarray(r) for r in tf.nest.flatten(self._function(*[tf.constant(a) for a in arrays]))]


@dataclass
class Program:
    """The source's inputs and outputs, and how to get the network between them."""

    inputs: list[Port]
    outputs: list[str]
    trace: Callable[[Sequence[Port]], Traced]
    notes: list[str] = field(default_factory=list)
    fused: Callable[[Sequence[Port]], Traced] | None = None  # the same with operators that only edgec understands
    owner: Any = None  # keeps the variables alive: functions refer to them weakly


def from_function(source: Any, shapes: Sequence[InputShape]) -> Program:
    """A ConcreteFunction, or a tf.function whose signature is known or given by `shapes`."""
    import tensorflow as tf

    if hasattr(source, "get_concrete_function"):
        if source.input_signature is None:
            if not shapes:
                raise ShapeError(
                    "converting a tf.function needs its input shapes",
                    hint="edgec.convert(function, shapes=[(1, 224, 224, 3)]), or give the function an input_signature",
                )
            dims = [[d if isinstance(d, int) else None for d in s.dims] for s in shapes]
            specs = [tf.TensorSpec(d, s.dtype or "float32", name=s.name) for d, s in zip(dims, shapes)]
            source = source.get_concrete_function(*specs)
        else:
            source = source.get_concrete_function()
    arguments = source.inputs[: len(source.inputs) - len(source.captured_inputs)]
    ports = [
        Port(t.name.split(":")[0], t.dtype.name, t.shape.as_list() if t.shape.rank is not None else None)
        for t in arguments
    ]
    structure = source.structured_outputs
    count = len(tf.nest.flatten(structure))
    names = sorted(structure) if isinstance(structure, dict) and len(structure) == count else []

    def trace(ports: Sequence[Port]) -> Traced:
        specs = [tf.TensorSpec(p.shape, p.dtype, name=argument_name(i)) for i, p in enumerate(ports)]
        keywords = [t.name.split(":")[0] for t in arguments]

        def forward(*values: Any) -> Any:
            try:
                results = source(*values)
            except TypeError:  # signatures of a SavedModel take keywords only
                results = source(**dict(zip(keywords, values)))
            return [tf.identity(y) for y in tf.nest.flatten(results)]

        return TracedFunction(tf.function(forward, autograph=False).get_concrete_function(*specs))

    outputs = names or (["output"] if count == 1 else [f"output_{i}" for i in range(count)])
    return Program(ports, outputs, trace, owner=source)


def argument_name(index: int) -> str:
    """Names of inputs in TensorFlow's graph: those of users may hold characters that it forbids."""
    return f"edgec_input_{index}"


def bind(program: Program, shapes: Sequence[InputShape]) -> None:
    """Puts what the user gave with --shape into the ports. Raises ShapeError."""
    bound = bind_shapes(shapes, [p.name for p in program.inputs])
    for port in program.inputs:
        if port.name in bound:
            wanted: Dims = [d if isinstance(d, int) else None for d in bound[port.name].dims]
            own = port.shape
            if own is not None and (
                len(own) != len(wanted) or any(a is not None and b is not None and a != b for a, b in zip(own, wanted))
            ):
                raise ShapeError(
                    f"input '{port.name}': --shape says {_text(wanted)}, the model has {_text(own)} (? = any size)"
                )
            port.shape = [w if w is not None or own is None else o for w, o in zip(wanted, own or wanted)]
        if port.shape is None:
            raise ShapeError(
                f"input '{port.name}' has no shape in the model, not even its number of dimensions",
                hint=f"--shape {port.name}:1x224x224x3 (for example)",
            )
        if port.dtype in ("string", "object", "resource", "variant"):
            raise UnsupportedError(
                f"input '{port.name}' takes values of type {port.dtype}; edgec has tensors of numbers only",
                hint="choose another signature (--signature) or other inputs (--inputs) behind the text processing",
            )


def _text(dims: Dims) -> str:
    return "[" + ",".join("?" if d is None else str(d) for d in dims) + "]"


def example(ports: Sequence[Port], given: dict[str, np.ndarray] | None, seed: int) -> list[np.ndarray]:
    """Arrays to compare with: the given ones, else random ones of the smallest usual size."""
    rng = np.random.default_rng(seed)
    result = []
    for i, port in enumerate(ports):
        assert port.shape is not None
        array = None if given is None else given.get(port.name, given.get(str(i)))
        if array is None:
            shape = [(1 if axis == 0 else 32) if d is None else d for axis, d in enumerate(port.shape)]
            if np.prod(shape, dtype=float) > MAX_INPUT_ELEMENTS:
                raise ResourceError(f"input '{port.name}' has the shape {shape}: too large for any edge device")
            array = _random(rng, shape, np.dtype(port.dtype))
        result.append(np.asarray(array).astype(port.dtype))
    return result


def _random(rng: np.random.Generator, shape: list[int], dtype: np.dtype[Any]) -> np.ndarray:
    if dtype.kind == "f":
        return rng.standard_normal(shape).astype(dtype)
    return rng.integers(0, 2, shape).astype(dtype)
