"""DQ -> Add, Sub, Mul -> Q in integers; functions of one tensor, and chains of them, become a table."""

from __future__ import annotations

import numpy as np

from edgec import _core
from edgec.converter.ir import schema
from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.match import only_use, producer
from edgec.converter.passes.quantized import Array, Scaled, Stored, before_clip, dequantized, quantizer, real_constant

_BINARY = ("Add", "Sub", "Mul")
# More nodes than any activation is written with.
_MOST_NODES = 24
# A table per channel takes 256 bytes of each.
_MOST_CHANNELS = 8192


@rewrite("fold-quantized-function", ops=("QuantizeLinear",), stages=("integers",))
def fold_quantized_function(graph: Graph, node: Node) -> Patch | None:
    """Q(f(DQ(x))) for any elementwise f with constants per tensor or per channel -> Lookup."""
    y = quantizer(node)
    if y is None or node.inputs[0] is None or producer(node.inputs[0], "DequantizeLinear") is not None:
        return None
    cone = _Cone(graph, node.inputs[0])
    if cone.source is None or cone.source.value.types[0].shape != node.outputs[0].types[0].shape:
        return None
    if cone.source.value.shape != node.outputs[0].shape:
        return None
    table = cone.table(y)
    if table is None:
        return None
    (last, *rest) = cone.nodes
    if table.ndim == 2 and not rest and last.op in _BINARY and all(dequantized(v) is not None for v in last.inputs):
        return None  # `fold-quantized-arithmetic` is faster than a table per channel
    patch = Patch(graph, "function made a table", node, cone.nodes)
    new = patch.add("Lookup", [cone.source.value, patch.constant(f"{node.name}:table", table)])
    return patch.replace(node.outputs[0], new)


class _Cone:
    """The elementwise nodes between one dequantized tensor and a value, when nobody else reads what is inside."""

    def __init__(self, graph: Graph, value: Value) -> None:
        self.source: Stored | None = None
        self.nodes: list[Node] = []
        self.value = value
        found: dict[int, Node] = {}
        sources: dict[int, Stored] = {}
        stack = [value]
        while stack:
            v = stack.pop()
            stored = dequantized(v)
            if stored is not None and not stored.value.is_constant:
                sources[id(stored.value)] = stored
                continue
            if real_constant(v) is not None:
                continue
            node = v.producer
            if node is None or id(node) in found:
                if node is None:
                    return
                continue
            if not _function(node) or len(found) >= _MOST_NODES or graph.is_output(v):
                return
            found[id(node)] = node
            stack += [i for i in node.inputs if i is not None]
        scales = {s.scaled for s in sources.values()}
        if len(sources) != 1 or len(scales) != 1 or not found:
            return
        inside = set(found)
        for n in found.values():
            if n.outputs[0] is not value and any(id(c) not in inside for c in n.outputs[0].consumers):
                return
        if not only_use(graph, value):
            return
        self.nodes = sorted(found.values(), key=lambda n: n.order)
        (self.source,) = sources.values()

    def table(self, y: Scaled) -> Array | None:
        """i8 [256] or [C, 256] in f64, or None when the constants vary along other dimensions than the last."""
        assert self.source is not None
        channels = self.source.value.shape[-1] if self.source.value.rank else None
        values: dict[int, Array] = {}
        real = self.source.scaled.real().reshape(256, 1)

        def operand(v: Value) -> Array | None:
            if id(v) in values:
                return values[id(v)]
            if dequantized(v) is not None and real_constant(v) is None:
                return real
            data = real_constant(v)
            if data is None:
                return None
            if data.size == 1:
                return data.reshape(1, 1)
            fits = channels is not None and data.size == channels and data.shape[-1] == channels
            return data.reshape(1, -1) if fits and data.size <= _MOST_CHANNELS else None

        for node in self.nodes:
            inputs = [None if v is None else operand(v) for v in node.inputs]
            if any(i is None and v is not None for i, v in zip(inputs, node.inputs)):
                return None
            try:
                (result,) = _core.evaluate(node.op, node.attrs, inputs, 1)
            except _core.Error:
                return None
            values[id(node.outputs[0])] = np.asarray(result, np.float64)
        return _quantized_table(values[id(self.value)], y)


def _function(node: Node) -> bool:
    if not schema.elementwise(node.op) or len(node.outputs) != 1 or node.op in ("Cast", "Requantize", "Where"):
        return False
    values = [v for v in [*node.inputs, *node.outputs] if v is not None]
    return all(v.types and v.dtype == "f32" and v.quantization is None for v in values)


def _quantized_table(real: Array, y: Scaled) -> Array:
    with np.errstate(all="ignore"):
        v = real / np.float64(np.float32(y.scale))
    v = np.clip(np.where(np.isnan(v), 0.0, v), -(2.0**30), 2.0**30)
    table = np.clip(np.rint(v) + y.zero_point, -128, 127).astype(np.int8)
    return np.ascontiguousarray(table.reshape(256) if table.shape[1] == 1 else table.T)


@rewrite("fold-quantized-arithmetic", ops=("QuantizeLinear",), stages=("integers",))
def fold_quantized_arithmetic(graph: Graph, node: Node) -> Patch | None:
    """Q(relu or clip(DQ(a) + DQ(b))) -> QuantizedAdd; Sub and Mul alike."""
    y = quantizer(node)
    if y is None:
        return None
    value, limits, clips = before_clip(graph, node.inputs[0], y)
    op = producer(value, *_BINARY)
    if op is None or value is None or not only_use(graph, value):
        return None
    stored = [dequantized(v) for v in op.inputs]
    if stored[0] is None or stored[1] is None:
        return None
    patch = Patch(graph, f"{op.op} in integers", node, [op, *clips])
    attrs = {**stored[0].scaled.attrs("a"), **stored[1].scaled.attrs("b"), **y.attrs("y"), **limits.attrs()}
    new = patch.add(f"Quantized{op.op}", [stored[0].value, stored[1].value], attrs, name=op.name)
    return patch.replace(node.outputs[0], new)
