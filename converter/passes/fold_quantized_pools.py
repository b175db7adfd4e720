"""DQ -> averages, softmax, LayerNorm, interpolation -> Q in integers."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph, GraphError, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.match import array, only_use, producer
from edgec.converter.passes.quantized import Scaled, Stored, before_clip, dequantized, quantizer, real_constant


def _island(graph: Graph, node: Node, *ops: str) -> tuple[Node, Stored, Scaled] | None:
    """(operator, stored input, parameters of the result) when `node` quantizes op(DQ(x))."""
    y = quantizer(node)
    op = None if y is None else producer(node.inputs[0], *ops)
    if op is None or y is None or node.inputs[0] is None or not only_use(graph, node.inputs[0]):
        return None
    x = dequantized(op.inputs[0])
    return None if x is None else (op, x, y)


@rewrite("fold-quantized-average", ops=("QuantizeLinear",), stages=("integers",))
def fold_quantized_average(graph: Graph, node: Node) -> Patch | None:
    """Q(relu or clip(AvgPool2d(DQ(x)))) -> QuantizedAvgPool2d; ReduceMean alike."""
    y = quantizer(node)
    if y is None:
        return None
    value, limits, clips = before_clip(graph, node.inputs[0], y)
    op = producer(value, "AvgPool2d", "ReduceMean")
    x = None if op is None else dequantized(op.inputs[0])
    if op is None or x is None or value is None or not only_use(graph, value) or op.input(1) is not None:
        return None
    attrs = dict(op.attrs)
    if op.op == "ReduceMean" and attrs.pop("no_axes", "all") == "none" and not op.attr("axes"):
        return None
    attrs.update({**x.scaled.attrs("x"), **y.attrs("y"), **limits.attrs()})
    patch = Patch(graph, f"{op.op} in integers", node, [op, *clips])
    return patch.replace(node.outputs[0], patch.add(f"Quantized{op.op}", [x.value], attrs, name=op.name))


@rewrite("fold-quantized-softmax", ops=("QuantizeLinear",), stages=("integers",))
def fold_quantized_softmax(graph: Graph, node: Node) -> Patch | None:
    """Q(Softmax(DQ(x))) -> QuantizedSoftmax with a table of exp."""
    found = _island(graph, node, "Softmax")
    if found is None:
        return None
    op, x, y = found
    patch = Patch(graph, "Softmax in integers", node, [op])
    scale = np.float64(np.float32(x.scaled.scale))
    table = np.rint(np.exp(-np.arange(256) * scale) * 2.0**23).astype(np.int32)
    inputs = [x.value, patch.constant(f"{node.name}:table", table)]
    new = patch.add("QuantizedSoftmax", inputs, {"axis": op.attr("axis"), **y.attrs("y")}, name=op.name)
    return patch.replace(node.outputs[0], new)


@rewrite("fold-quantized-layer-norm", ops=("QuantizeLinear",), stages=("integers",))
def fold_quantized_layer_norm(graph: Graph, node: Node) -> Patch | None:
    """Q(LayerNorm(DQ(x), scale, bias)) -> QuantizedLayerNorm."""
    found = _island(graph, node, "LayerNorm")
    if found is None:
        return None
    op, x, y = found
    patch = Patch(graph, "LayerNorm in integers", node, [op])
    inputs: list[Value | None] = [x.value]
    for i in (1, 2):
        value = op.input(i)
        data = None if value is None else real_constant(value)
        if value is not None and data is None:
            return None
        constant = value is None or value.data is not None
        inputs.append(value if constant else patch.constant(f"{node.name}:{i}", np.asarray(data, np.float32)))
    attrs: dict[str, Any] = {"axis": op.attr("axis"), "epsilon": op.attr("epsilon")}
    attrs.update({**x.scaled.attrs("x"), **y.attrs("y")})
    return patch.replace(node.outputs[0], patch.add("QuantizedLayerNorm", inputs, attrs, name=op.name))


@rewrite("fold-quantized-resize", ops=("QuantizeLinear",), stages=("integers",))
def fold_quantized_resize(graph: Graph, node: Node) -> Patch | None:
    """Q(Resize(DQ(x))), linear along up to two axes -> QuantizedResize."""
    found = _island(graph, node, "Resize")
    if found is None:
        return None
    op, x, y = found
    changed = [a for a, (d, e) in enumerate(zip(x.value.types[0].shape, node.outputs[0].types[0].shape)) if d != e]
    if op.attr("mode") != "linear" or len(changed) > 2 or any(array(v) is None for v in op.inputs[1:] if v is not None):
        return None
    patch = Patch(graph, "Resize in integers", node, [op])
    attrs = {**op.attrs, **x.scaled.attrs("x"), **y.attrs("y")}
    try:
        new = patch.add("QuantizedResize", [x.value, *op.inputs[1:]], attrs, name=op.name)
    except GraphError:
        return None  # antialias, cropping...: floats do that
    return patch.replace(node.outputs[0], new)
