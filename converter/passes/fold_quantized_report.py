"""Which operators of a quantized model compute in floats, and why."""

from __future__ import annotations

from edgec.converter.ir.graph import Graph, Node
from edgec.converter.passes import fold_quantized_convolution as convolution
from edgec.converter.passes import fold_quantized_matmul as matmul
from edgec.converter.passes.engine import typed
from edgec.converter.passes.match import producer

_RECURRENT = ("LSTM", "GRU", "RNN", "Attention")
_INTEGER = ("QuantizeLinear", "DequantizeLinear", "Requantize", "Lookup")
# Operators between a DQ and a Q that have an integer form; with others, or other attributes, floats do it.
_FOLDABLE = ("Add", "Sub", "Mul", "AvgPool2d", "ReduceMean", "Softmax", "LayerNorm", "Resize")


def float_fallbacks(graph: Graph) -> list[dict[str, str]]:
    """{"op", "name", "source", "reason"} of float operators; empty for a model that is not quantized at all.

    Convolutions, products and recurrent layers always count; others if one of their inputs is dequantized for them.
    """
    if not any(_integer(n) for n in graph.nodes):
        return []
    found = []
    for node in graph.nodes:
        reason = _reason(node) if typed(node) else ""
        if reason:
            found.append({"op": node.op, "name": node.name, "source": node.source, "reason": reason})
    return found


def _integer(node: Node) -> bool:
    return node.op in _INTEGER or node.op.startswith("Quantized")


def _reason(node: Node) -> str:
    if _integer(node) or not node.outputs or not all(v.types and v.dtype == "f32" for v in node.outputs):
        return ""
    if node.op in convolution.CONVOLUTIONS:
        return convolution.Parts(node).why
    if node.op == "MatMul":
        return matmul.Parts(node).why
    if node.op in _RECURRENT:
        return f"{node.op} has no integer operator"
    activations = [v for v in node.inputs if (q := producer(v, "DequantizeLinear")) is not None and not _constant(q)]
    if not activations:
        return ""
    if not any(c.op == "QuantizeLinear" for v in node.outputs for c in v.consumers):
        return "its result is not quantized"
    if any(len(v.consumers) > 1 for v in node.outputs):
        return "floats need its result as well"
    if node.op not in _FOLDABLE:
        return f"{node.op} has no integer operator"
    if len(activations) < sum(v is not None and v.data is None for v in node.inputs):
        return "not all of its inputs are quantized to 8 bits with one scale"
    return "its attributes have no integer form"


def _constant(node: Node) -> bool:
    return node.inputs[0] is not None and node.inputs[0].data is not None
