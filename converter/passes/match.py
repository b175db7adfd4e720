"""Small questions that rewrites ask about a graph. All return None or False instead of raising."""

from __future__ import annotations

import math
from collections.abc import Iterable

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value


def producer(value: Value | None, *ops: str) -> Node | None:
    """The node that computes `value`, if its operator is one of `ops` (any, when none are given)."""
    if value is None or value.producer is None or (ops and value.producer.op not in ops):
        return None
    return value.producer


def only_use(graph: Graph, value: Value) -> bool:
    """True when exactly one node reads the value and it is no output of the graph."""
    return len(value.consumers) == 1 and not graph.is_output(value)


def array(value: Value | None) -> np.ndarray | None:
    """The value when it is the same for all input sizes."""
    return None if value is None else value.static_value


def scalar(value: Value | None) -> float | None:
    """The one number that a float or integer constant holds (of any rank), else None."""
    data = array(value)
    if data is None or data.size == 0 or data.dtype.kind not in "fiu":
        return None
    flat = data.reshape(-1)
    if flat.size > 1 and not (flat == flat[0]).all():
        return None
    return float(flat[0])


def close(a: float | None, b: float) -> bool:
    """Equal as f32 numbers that somebody typed or computed: four units in the last place."""
    return a is not None and (a == b or abs(a - b) <= 4 * 2.0**-23 * max(abs(a), abs(b)))


def with_scalar(node: Node) -> tuple[Value, float] | None:
    """(x, c) for a binary node with one constant operand whose elements are all c, whichever side it is on.

    The result has the other operand's shape, so that the constant does not broadcast it.
    """
    for x, c in ((node.inputs[0], node.inputs[1]), (node.inputs[1], node.inputs[0])):
        number = scalar(c)
        if number is not None and x is not None and scalar(x) is None and x.types == node.outputs[0].types:
            return x, number
    return None


def static_shape(value: Value) -> tuple[int, ...] | None:
    """The shape when no dimension depends on a symbol."""
    shape = value.shape
    return None if any(d is None for d in shape) else shape  # type: ignore[return-value]


def dims(value: Value, axes: Iterable[int]) -> int | None:
    """Product of the static dimensions `axes`, or None."""
    sizes = [value.shape[a] for a in axes]
    return None if any(d is None for d in sizes) else math.prod(sizes)  # type: ignore[arg-type]


def is_f32(*values: Value | None) -> bool:
    """All present values are f32 and carry no quantization."""
    return all(v is None or (v.dtype == "f32" and v.quantization is None) for v in values)


def quantized(node: Node) -> bool:
    """True when any tensor of the node carries quantization: float identities do not hold there."""
    return any(v is not None and v.quantization is not None for v in [*node.inputs, *node.outputs])


def per_last_dim(value: Value | None, channels: int | None) -> np.ndarray | None:
    """A constant that varies only along the last of `channels` entries, as a vector [channels]."""
    data = array(value)
    if data is None or channels is None or data.dtype != np.float32:
        return None
    if data.size == 1:
        return np.full(channels, data.reshape(-1)[0], np.float32)
    if data.size == channels and data.shape[-1] == channels:
        return data.reshape(channels)
    return None


def normalized_axis(axis: int, rank: int) -> int:
    """axis in [-rank, rank) to [0, rank)."""
    return axis + rank if axis < 0 else axis


def unused_outputs(graph: Graph, node: Node) -> bool:
    """True when nothing reads any output of the node."""
    return not any(v.consumers or graph.is_output(v) for v in node.outputs)
