"""Operators in front of elementwise ones that only repeat what broadcasting would repeat anyhow; chains of Casts."""

from __future__ import annotations

from edgec.converter.ir import schema
from edgec.converter.ir.graph import Graph, Node
from edgec.converter.passes.engine import Patch, replaceable, rewrite
from edgec.converter.passes.match import producer, quantized

# dtype -> dtypes that hold every value of it
_HOLDS = {
    "bool": {"i8", "u8", "i16", "u16", "i32", "u32", "i64", "u64", "f16", "bf16", "f32", "f64"},
    "i8": {"i16", "i32", "i64", "f16", "f32", "f64"},
    "u8": {"i16", "u16", "i32", "u32", "i64", "u64", "f16", "f32", "f64"},
    "i16": {"i32", "i64", "f32", "f64"},
    "u16": {"i32", "u32", "i64", "u64", "f32", "f64"},
    "i32": {"i64", "f64"},
    "u32": {"i64", "u64", "f64"},
    "f16": {"f32", "f64"},
    "bf16": {"f32", "f64"},
    "f32": {"f64"},
}


@rewrite("drop-expand", stages=("simplify",))
def drop_expand(graph: Graph, node: Node) -> Patch | None:
    """elementwise(Expand(x), y) -> elementwise(x, y) when y has the full shape anyhow."""
    if len(node.inputs) < 2 or len(node.outputs) != 1 or not schema.elementwise(node.op) or quantized(node):
        return None
    y = node.outputs[0]
    for i, v in enumerate(node.inputs):
        expand = producer(v, "Expand")
        if expand is None or expand.inputs[0] is None:
            continue
        if not any(
            w is not None and w is not v and [t.shape for t in w.types] == [t.shape for t in y.types]
            for w in node.inputs
        ):
            continue
        patch = Patch(graph, f"Expand before {node.op} dropped", node, [expand])
        inputs = list(node.inputs)
        inputs[i] = expand.inputs[0]
        new = patch.add(node.op, inputs, dict(node.attrs))
        return patch.replace(y, new) if new.types == y.types else None
    return None


@rewrite("cast-of-cast", ops=("Cast",), stages=("simplify",))
def cast_of_cast(graph: Graph, node: Node) -> Patch | None:
    """Cast(Cast(x)) -> one Cast, or x, when the inner one loses nothing."""
    inner = producer(node.inputs[0], "Cast")
    if inner is None or inner.inputs[0] is None or quantized(node) or quantized(inner):
        return None
    x, y = inner.inputs[0], node.outputs[0]
    if inner.outputs[0].dtype not in _HOLDS.get(x.dtype, ()):
        return None
    patch = Patch(graph, "Casts merged", node, [inner])
    if x.dtype == y.dtype:
        return patch.replace(y, x) if replaceable(graph, y, x) else None
    return patch.replace(y, patch.add("Cast", [x], dict(node.attrs)))
