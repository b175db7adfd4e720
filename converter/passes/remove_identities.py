"""Nodes that return their input: one table, operator -> test."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, replaceable, rewrite
from edgec.converter.passes.match import array, dims, normalized_axis, quantized, scalar
from edgec.converter.passes.merge_transposes import moves_nothing


def _neutral(node: Node, number: float, either_side: bool) -> Value | None:
    """The operand that is not the constant `number`, if the constant does not change its shape."""
    a, b = node.inputs
    if scalar(b) == number:
        return a
    return b if either_side and scalar(a) == number else None


def _first(node: Node) -> Value | None:
    return node.inputs[0]


def _if(condition: bool, node: Node) -> Value | None:
    return node.inputs[0] if condition else None


def _transpose_of_ones(node: Node) -> Value | None:
    """The identity, or one that only swaps dimensions of size 1."""
    x = node.inputs[0]
    assert x is not None
    return _if(moves_nothing(x, node.attrs["perm"]), node)


def _pad_of_nothing(node: Node) -> Value | None:
    pads = array(node.inputs[1])
    return _if(pads is not None and not pads.any(), node)


def _slice_of_everything(node: Node) -> Value | None:
    """Same type; a negative step with a full range reverses, so steps must be 1."""
    steps = node.input(4)
    step = array(steps)
    return _if(steps is None or (step is not None and bool((step == 1).all())), node)


def _resize_to_same(node: Node) -> Value | None:
    """Same size in, same size out; a crop could still take another region."""
    return _if(node.attr("coordinate") != "tf_crop_and_resize", node)


def _repeated_once(node: Node) -> Value | None:
    repeats = array(node.inputs[1])
    return _if(repeats is not None and bool((repeats == 1).all()), node)


def _gather_all(node: Node) -> Value | None:
    """Indices 0, 1, 2... along the whole axis."""
    x, indices = node.inputs
    assert x is not None
    index = array(indices)
    size = dims(x, [normalized_axis(node.attr("axis"), x.rank)])
    return _if(
        index is not None and index.ndim == 1 and index.size == size and bool((index == np.arange(size)).all()), node
    )


def _pool_of_one(node: Node) -> Value | None:
    plain = list(node.attr("kernel")) == [1, 1] and list(node.attr("strides")) == [1, 1]
    return _if(plain and not any(node.attr("pads")), node)


def _reduce_of_nothing(node: Node) -> Value | None:
    """Reduction over dimensions that are 1."""
    x = node.inputs[0]
    assert x is not None
    axes = [normalized_axis(a, x.rank) for a in node.attr("axes")] or list(range(x.rank))
    return _if(dims(x, axes) == 1, node)


_TESTS: dict[str, Callable[[Node], Value | None]] = {
    "Identity": _first,
    "Cast": _first,  # the type check below asks for the same dtype
    "Reshape": _first,
    "Squeeze": _first,
    "Unsqueeze": _first,
    "Flatten": _first,
    "Expand": _first,
    "Transpose": _transpose_of_ones,
    "Concat": lambda n: _if(len(n.inputs) == 1, n),
    "Split": lambda n: _if(len(n.outputs) == 1, n),
    "Add": lambda n: _neutral(n, 0, True),
    "Sub": lambda n: _neutral(n, 0, False),
    "Mul": lambda n: _neutral(n, 1, True),
    "Div": lambda n: _neutral(n, 1, False),
    "Pow": lambda n: _neutral(n, 1, False),
    "LeakyRelu": lambda n: _if(n.attr("alpha") == 1, n),
    "Clip": lambda n: _if(n.attr("min") == -np.inf and n.attr("max") == np.inf, n),
    "Resize": _resize_to_same,
    "Slice": _slice_of_everything,
    "Pad": _pad_of_nothing,
    "Tile": _repeated_once,
    "Gather": _gather_all,
    "MaxPool2d": _pool_of_one,
    "AvgPool2d": _pool_of_one,
    "ReduceSum": _reduce_of_nothing,
    "ReduceMean": _reduce_of_nothing,
    "ReduceMax": _reduce_of_nothing,
    "ReduceMin": _reduce_of_nothing,
    "ReduceProd": _reduce_of_nothing,
}


@rewrite("remove-identities", ops=tuple(_TESTS), stages=("simplify",))
def remove_identities(graph: Graph, node: Node) -> Patch | None:
    """Add 0, Mul 1, Cast to the same type, Reshape to the same shape... -> their input."""
    y = node.outputs[0]
    x = _TESTS[node.op](node)
    if x is None or x.types != y.types or not replaceable(graph, y, x):
        return None
    if quantized(node) and x.quantization != y.quantization:
        return None
    return Patch(graph, f"{node.op} without effect removed", node).replace(y, x)
