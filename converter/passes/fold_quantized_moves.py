"""Data movement happens on the stored bytes: DQ moves below it, Q above it, so that islands of integers close.

Both are exact: a movement copies numbers, and Q and DQ treat each alone (a maximum commutes because they are
monotone). Q only moves up and DQ only moves down, so they meet and cancel, or go.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.match import array, normalized_axis, only_use, producer
from edgec.converter.passes.merge_views import VIEWS
from edgec.converter.passes.quantized import Scaled, Stored, dequantized, exact_shift, quantize_constant, quantizer

# Input 0 holds the data, everything else says where it goes.
_ONE_INPUT = (
    *VIEWS, "Transpose", "Slice", "Gather", "GatherND", "Expand", "Tile", "MaxPool2d", "ReduceMax", "ReduceMin", "Resize",
    "Pad", "Identity", "Split", "Concat", "DepthToSpace", "SpaceToDepth",
)  # fmt: skip


def _moves(node: Node) -> bool:
    """True when the node copies (or compares) elements of its data inputs."""
    if node.op == "Resize":
        return bool(node.attr("mode") == "nearest" and node.attr("coordinate") != "tf_crop_and_resize")
    return node.op in _ONE_INPUT


def _integer_value(node: Node, scaled: Scaled) -> int | None:
    """The integer that a Pad adds, or None when the constant is none of its numbers (mode constant only)."""
    if node.attr("mode") != "constant":
        return scaled.zero_point
    value = node.input(2)
    data = np.zeros(1) if value is None else array(value)
    if data is None or data.size != 1:
        return None
    q = float(np.rint(np.float64(data.reshape(-1)[0]) / np.float64(np.float32(scaled.scale)))) + scaled.zero_point
    return int(min(max(q, -128), 127)) if math.isfinite(q) else None


def _exactly(node: Node, scaled: Scaled, q: int) -> bool:
    value = node.input(2)
    real = 0.0 if value is None else float(array(value).reshape(-1)[0])  # type: ignore[union-attr]
    meant = float(np.float32(q - scaled.zero_point) * np.float32(scaled.scale))
    return bool(node.attr("mode") != "constant" or meant == real)


def _on_integers(patch: Patch, node: Node, data: list[Value], scaled: Scaled) -> list[Value] | None:
    """The same movement of stored tensors."""
    inputs: list[Value | None] = [*data, *(() if node.op == "Concat" else node.inputs[1:])]
    attrs: dict[str, Any] = dict(node.attrs)
    if node.op == "Pad":
        q = _integer_value(node, scaled)
        if q is None:
            return None
        inputs += [None] * (3 - len(inputs))
        inputs[2] = patch.constant(f"{node.name}:value", np.asarray(q, np.int8).reshape(()))
        if node.attr("mode") != "constant":
            inputs[2] = None
    return patch.add_many(node.op, inputs, attrs, len(node.outputs), node.name)


@rewrite("dequantize-below-moves", ops=_ONE_INPUT, stages=("integers",))
def dequantize_below_moves(graph: Graph, node: Node) -> Patch | None:
    """move(DQ(x)) -> DQ(move(x)); several inputs (Concat) if they share scale and zero point."""
    if not _moves(node):
        return None
    found: list[Stored] = []
    for v in node.inputs if node.op == "Concat" else node.inputs[:1]:
        stored = dequantized(v)
        if stored is None or (found and stored.scaled != found[0].scaled):
            return None
        found.append(stored)
    if node.op != "Gather" and all(s.value.is_constant for s in found):
        return None
    scaled = found[0].scaled
    if node.op == "Pad":
        q = _integer_value(node, scaled)
        if q is None or not _exactly(node, scaled, q):
            return None
    patch = Patch(graph, f"DequantizeLinear below {node.op}", node, [s.node for s in found])
    moved = _on_integers(patch, node, [s.value for s in found], scaled)
    if moved is None:
        return None
    scale, zero = quantize_constant(patch, node.name, scaled)
    for old, new in zip(node.outputs, moved):
        patch.replace(old, patch.add("DequantizeLinear", [new, scale, zero], {"axis": 0, "to": "f32"}))
    return patch


@rewrite("shift-below-moves", ops=_ONE_INPUT, stages=("integers",))
def shift_below_moves(graph: Graph, node: Node) -> Patch | None:
    """move(u8(x)) of an i8 tensor x -> u8(move(x)), so that the change of type meets the one back."""
    if not _moves(node):
        return None
    shifts = [producer(v, "Requantize") for v in (node.inputs if node.op == "Concat" else node.inputs[:1])]
    found = [s for s in shifts if s is not None and exact_shift(s) and s.outputs[0].dtype == "u8"]
    if not found or len(found) < len(shifts) or any(s.attrs != found[0].attrs for s in found):
        return None
    stored = [s.inputs[0] for s in found if s.inputs[0] is not None]
    inputs: list[Value | None] = [*stored, *(() if node.op == "Concat" else node.inputs[1:])]
    if node.op == "Pad":
        value = np.zeros((), np.uint8) if node.input(2) is None else array(node.input(2))
        if value is None or node.attr("mode") != "constant":
            return None
        inputs += [None] * (3 - len(inputs))
    patch = Patch(graph, f"u8 below {node.op}", node, found)
    if node.op == "Pad":
        assert value is not None
        inputs[2] = patch.constant(f"{node.name}:value", (value.astype(np.int16) - 128).astype(np.int8))
    moved = patch.add_many(node.op, inputs, dict(node.attrs), len(node.outputs), node.name)
    for old, new in zip(node.outputs, moved):
        patch.replace(old, patch.add("Requantize", [new], dict(found[0].attrs)))
    return patch


@rewrite("quantize-above-moves", ops=("QuantizeLinear",), stages=("integers",))
def quantize_above_moves(graph: Graph, node: Node) -> Patch | None:
    """Q(move(x)) -> move(Q(x)), into every input of a Concat."""
    scaled = quantizer(node)
    x = node.inputs[0]
    move = producer(x, *_ONE_INPUT)
    if scaled is None or move is None or x is None or len(move.outputs) != 1 or not only_use(graph, x):
        return None
    if not _moves(move):
        return None
    data = [v for v in (move.inputs if move.op == "Concat" else move.inputs[:1]) if v is not None]
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
