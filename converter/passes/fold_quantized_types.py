"""u8 becomes i8 inside the graph; Q and DQ that meet cancel or become one Requantize."""

from __future__ import annotations

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, replaceable, rewrite
from edgec.converter.passes.match import array
from edgec.converter.passes.quantized import (
    Scaled,
    dequantized,
    exact_shift,
    parameters,
    quantize_constant,
    quantizer,
    requantize,
)


@rewrite("quantize-as-i8", ops=("QuantizeLinear",), stages=("integers",))
def quantize_as_i8(graph: Graph, node: Node) -> Patch | None:
    """QuantizeLinear to u8 -> to i8, values and zero point less 128; a Requantize gives the u8 to whoever needs it."""
    u8 = quantizer(node, "u8")
    if u8 is None:
        return None
    i8 = Scaled(u8.scale, u8.zero_point - 128)
    patch = Patch(graph, "u8 made i8", node)
    quantized = patch.add("QuantizeLinear", [node.inputs[0], *quantize_constant(patch, node.name, i8)], {"axis": 0})
    return patch.replace(node.outputs[0], _as_u8(patch, quantized, i8, u8))


def _as_u8(patch: Patch, value: Value, i8: Scaled, u8: Scaled) -> Value:
    return patch.add("Requantize", [value], {**i8.attrs("x"), **u8.attrs("y"), "to": "u8"})


@rewrite("dequantize-as-i8", ops=("DequantizeLinear",), stages=("integers",))
def dequantize_as_i8(graph: Graph, node: Node) -> Patch | None:
    """DequantizeLinear of u8 -> of i8, values and zero points less 128."""
    x, y = node.inputs[0], node.outputs[0]
    if x is None or x.dtype != "u8" or y.dtype != "f32" or node.attr("block_size"):
        return None
    patch = Patch(graph, "u8 made i8", node)
    if x.data is not None:
        zero = array(node.input(2)) if node.input(2) is not None else None
        scale = array(node.inputs[1])
        if scale is None or (node.input(2) is not None and zero is None):
            return None
        points = np.zeros(scale.shape, np.uint8) if zero is None else zero
        stored = patch.constant(x.name, (x.data.astype(np.int16) - 128).astype(np.int8))
        moved = patch.constant(f"{node.name}:zero_point", (points.astype(np.int16) - 128).astype(np.int8))
        return patch.replace(y, patch.add("DequantizeLinear", [stored, node.inputs[1], moved], dict(node.attrs)))
    u8 = parameters(node)
    if u8 is None:
        return None
    i8 = Scaled(u8.scale, u8.zero_point - 128)
    source = x.producer
    if source is not None and source.op == "Requantize" and exact_shift(source):
        shifted = Scaled(u8.scale, u8.zero_point - source.attr("y_zero_point") + source.attr("x_zero_point"))
        inner = source.inputs[0]
        assert inner is not None
        if -128 <= shifted.zero_point <= 127:
            inputs = [inner, *quantize_constant(patch, node.name, shifted)]
            return patch.replace(y, patch.add("DequantizeLinear", inputs, {"axis": 0, "to": "f32"}))
    same = patch.add("Requantize", [x], {**u8.attrs("x"), **i8.attrs("y"), "to": "i8"})
    inputs = [same, *quantize_constant(patch, node.name, i8)]
    return patch.replace(y, patch.add("DequantizeLinear", inputs, {"axis": 0, "to": "f32"}))


@rewrite("quantize-of-dequantized", ops=("QuantizeLinear",), stages=("integers",))
def quantize_of_dequantized(graph: Graph, node: Node) -> Patch | None:
    """Q(DQ(x)) -> x when they agree, else Requantize(x)."""
    y, x = quantizer(node), dequantized(node.inputs[0])
    if y is None or x is None:
        return None
    out = node.outputs[0]
    patch = Patch(graph, "DequantizeLinear + QuantizeLinear", node, [x.node])
    if x.scaled == y:
        return patch.replace(out, x.value) if replaceable(graph, out, x.value) else None
    return patch.replace(out, requantize(patch, x.value, x.scaled, y))


@rewrite("quantize-to-u8", ops=("Requantize",), stages=("finish",))
def quantize_to_u8(graph: Graph, node: Node) -> Patch | None:
    """Requantize that only changes i8 to u8 behind a QuantizeLinear that nobody else reads -> QuantizeLinear to u8."""
    source = node.inputs[0].producer if node.inputs[0] is not None else None
    if source is None or source.op != "QuantizeLinear" or not exact_shift(node) or node.outputs[0].dtype != "u8":
        return None
    if len(source.outputs[0].consumers) > 1 or graph.is_output(source.outputs[0]):
        return None
    u8 = Scaled(node.attr("y_scale"), node.attr("y_zero_point"))
    i8 = quantizer(source)
    if i8 is None or i8 != Scaled(node.attr("x_scale"), node.attr("x_zero_point")):
        return None
    patch = Patch(graph, "QuantizeLinear to u8", node, [source])
    inputs = [source.inputs[0], *quantize_constant(patch, node.name, u8, "u8")]
    return patch.replace(node.outputs[0], patch.add("QuantizeLinear", inputs, {"axis": 0}))
