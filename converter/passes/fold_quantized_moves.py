"""Data movement happens on the stored bytes: DQ moves below it, Q above it, so that islands of integers close.

Both are exact: a movement copies numbers, and Q and DQ treat each alone (a maximum commutes because they are
monotone). Q only moves up and DQ only moves down, so they meet and cancel, or go.
"""

from __future__ import annotations

import math

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.match import array, normalized_axis, only_use, producer
from edgec.converter.passes.merge_views import VIEWS
from edgec.converter.passes.quantized import Scaled, Stored, dequantized, exact_shift, quantize_constant, quantizer

# Input 0 (of Concat: all) holds the data, everything else says where it goes.
_MOVES = (
    *VIEWS, "Transpose", "Slice", "Gather", "GatherND", "Expand", "Tile", "MaxPool2d", "ReduceMax", "ReduceMin", "Resize",
    "Pad", "Identity", "Split", "Concat",
)  # fmt: skip


def _moves(node: Node) -> bool:
    """True when the node copies (or compares) elements of its data inputs."""
    if node.op == "Resize":
        return bool(node.attr("mode") == "nearest" and node.attr("coordinate") != "tf_crop_and_resize")
    return node.op in _MOVES


def _data(node: Node) -> list[Value | None]:
    return node.inputs if node.op == "Concat" else node.inputs[:1]


def _pads_constant(node: Node) -> bool:
    return node.op == "Pad" and bool(node.attr("mode") == "constant")


def _padding(node: Node) -> float | None:
    """The number that a Pad adds; None when only the run knows it."""
    data = np.zeros(1) if node.input(2) is None else array(node.input(2))
    return None if data is None or data.size != 1 else float(data.reshape(-1)[0])


def _quantized_padding(node: Node, scaled: Scaled) -> int | None:
    real = _padding(node)
    if real is None or math.isnan(real):
        return None
    steps = np.rint(np.clip(np.float64(real) / np.float64(np.float32(scaled.scale)), -(2.0**30), 2.0**30))
    return int(min(max(steps + scaled.zero_point, -128), 127))


def _on_integers(patch: Patch, node: Node, data: list[Value], scaled: Scaled) -> list[Value] | None:
    """The same movement of stored tensors."""
    inputs: list[Value | None] = [*data, *(() if node.op == "Concat" else node.inputs[1:])]
    if _pads_constant(node):
        q = _quantized_padding(node, scaled)
        if q is None:
            return None
        _set_padding(patch, node, inputs, q)
    return patch.add_many(node.op, inputs, dict(node.attrs), len(node.outputs), node.name)


def _set_padding(patch: Patch, node: Node, inputs: list[Value | None], q: int) -> None:
    inputs += [None] * (3 - len(inputs))
    inputs[2] = patch.constant(f"{node.name}:value", np.asarray(q, np.int8).reshape(()))


@rewrite("dequantize-below-moves", ops=_MOVES, stages=("integers",))
def dequantize_below_moves(graph: Graph, node: Node) -> Patch | None:
    """move(DQ(x)) -> DQ(move(x)); several inputs (Concat) if they share scale and zero point."""
    if not _moves(node):
        return None
    found: list[Stored] = []
    for v in _data(node):
        stored = dequantized(v)
        if stored is None or (found and stored.scaled != found[0].scaled):
            return None
        found.append(stored)
    if node.op != "Gather" and all(s.value.is_constant for s in found):
        return None
    scaled = found[0].scaled
    if _pads_constant(node):
        q = _quantized_padding(node, scaled)
        if q is None or float(np.float32(q - scaled.zero_point) * np.float32(scaled.scale)) != _padding(node):
            return None  # a number that the integers do not have
    patch = Patch(graph, f"DequantizeLinear below {node.op}", node, [s.node for s in found])
    moved = _on_integers(patch, node, [s.value for s in found], scaled)
    if moved is None:
        return None
    scale, zero = quantize_constant(patch, node.name, scaled)
    for old, new in zip(node.outputs, moved):
        patch.replace(old, patch.add("DequantizeLinear", [new, scale, zero], {"axis": 0, "to": "f32"}))
    return patch


@rewrite("shift-below-moves", ops=_MOVES, stages=("integers",))
def shift_below_moves(graph: Graph, node: Node) -> Patch | None:
    """move(u8(x)) of an i8 tensor x -> u8(move(x)), so that the change of type meets the one back."""
    if not _moves(node):
        return None
    shifts = [producer(v, "Requantize") for v in _data(node)]
    found = [s for s in shifts if s is not None and exact_shift(s) and s.outputs[0].dtype == "u8"]
    if not found or len(found) < len(shifts) or any(s.attrs != found[0].attrs for s in found):
        return None
    stored = [s.inputs[0] for s in found if s.inputs[0] is not None]
    inputs: list[Value | None] = [*stored, *(() if node.op == "Concat" else node.inputs[1:])]
    padding = _padding(node) if _pads_constant(node) else 0.0
    if padding is None:
        return None
    patch = Patch(graph, f"u8 below {node.op}", node, found)
    if _pads_constant(node):
        _set_padding(patch, node, inputs, int(padding) - 128)
    moved = patch.add_many(node.op, inputs, dict(node.attrs), len(node.outputs), node.name)
    for old, new in zip(node.outputs, moved):
        patch.replace(old, patch.add("Requantize", [new], dict(found[0].attrs)))
    return patch


@rewrite("quantize-above-moves", ops=("QuantizeLinear",), stages=("integers",))
def quantize_above_moves(graph: Graph, node: Node) -> Patch | None:
    """Q(move(x)) -> move(Q(x)), into every input of a Concat."""
    scaled = quantizer(node)
    x = node.inputs[0]
    move = producer(x, *_MOVES)
    if scaled is None or move is None or x is None or len(move.outputs) != 1 or not only_use(graph, x):
        return None
    if not _moves(move):
        return None
    data = [v for v in _data(move) if v is not None]
    if not all(v.types and v.dtype == "f32" for v in data) or move.op in ("Expand", "Tile", "Gather", "GatherND"):
        return None
    patch = Patch(graph, f"QuantizeLinear above {move.op}", node, [move])
    scale, zero = quantize_constant(patch, node.name, scaled)
    quantized = [patch.add("QuantizeLinear", [v, scale, zero], {"axis": 0}) for v in data]
    moved = _on_integers(patch, move, quantized, scaled)
    return None if moved is None else patch.replace(node.outputs[0], moved[0])


@rewrite("view-of-dequantized", ops=VIEWS, stages=("simplify",))
def view_of_dequantized(graph: Graph, node: Node) -> Patch | None:
    """View of a weight stored in 8 bits -> the stored bytes viewed, so that the weight stays a constant."""
    dequantize = producer(node.inputs[0], "DequantizeLinear")
    stored = None if dequantize is None else dequantize.inputs[0]
    y = node.outputs[0]
    if dequantize is None or stored is None or stored.data is None or dequantize.attr("block_size"):
        return None
    scale = array(dequantize.inputs[1])
    if scale is None or stored.quantization is not None or any(d is None for d in y.shape):
        return None
    shape = tuple(int(d) for d in y.shape if d is not None)
    attrs = dict(dequantize.attrs)
    if scale.size > 1:
        axis = _same_axis(stored.data.shape, shape, normalized_axis(dequantize.attr("axis"), stored.data.ndim))
        if axis is None:
            return None
        attrs["axis"] = axis
    patch = Patch(graph, "view of stored weights done", node, [dequantize])
    moved = patch.constant(stored.name, stored.data.reshape(shape))
    new = patch.add("DequantizeLinear", [moved, *dequantize.inputs[1:]], attrs, name=dequantize.name)
    return patch.replace(y, new)


def _same_axis(before: tuple[int, ...], after: tuple[int, ...], axis: int) -> int | None:
    """Where the dimension `axis` stands after a view that keeps it."""
    stride = math.prod(before[axis + 1 :])
    for i, d in enumerate(after):
        if d == before[axis] and math.prod(after[i + 1 :]) == stride:
            return i
    return None
