"""Constant folding: a node whose inputs are all known is replaced by its value, computed by the runtime."""

from __future__ import annotations

import math

import numpy as np

from edgec import _core
from edgec.converter.ir import schema
from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.match import producer

# One fold may add this much to the file; more only if it makes the file smaller.
MAX_GROWTH_BYTES = 1 << 20


# Weights that are stored in 8 or 4 bits stay so: the session expands them, and quantization can still be recognised.
_STAYS_SMALL = ("DequantizeLinear",)


@rewrite("fold-constants")
def fold_constants(graph: Graph, node: Node) -> Patch | None:
    """All inputs known (constants, or shapes that no symbol changes) -> constants."""
    if any(v.quantization is not None for v in node.outputs):
        return None
    if node.op in _STAYS_SMALL and (not _shrinks(node) or _is_bias(node)):
        return None
    if node.op == "Transpose" and producer(node.inputs[0], *_STAYS_SMALL) is not None:
        return None  # `transpose-of-dequantized` moves the stored bytes instead
    values = [v.static_value for v in node.outputs]
    if any(v is None for v in values):
        if not _inputs_known(node) or not _fits(graph, node):
            return None
        if schema.of(node.op)["not_foldable"]:
            return None
        try:
            values = list(
                _core.evaluate(
                    node.op, node.attrs, [None if v is None else v.data for v in node.inputs], len(node.outputs)
                )
            )
        except _core.Error:
            return None  # an operator that fails on these values fails at run time with the same message
    used = [i for i, v in enumerate(node.outputs) if v.consumers or graph.is_output(v)]
    patch = Patch(graph, f"{node.op} of constants folded", node)
    for i in used:
        data = values[i]
        assert data is not None
        patch.replace(node.outputs[i], patch.constant(node.outputs[i].name, np.asarray(data)))
    return patch if used and not any(graph.is_output(node.outputs[i]) for i in used) else None


def _inputs_known(node: Node) -> bool:
    return bool(node.inputs) and all(v is None or (v.data is not None and v.quantization is None) for v in node.inputs)


def _is_bias(node: Node) -> bool:
    """i32 behind a DequantizeLinear: the bias of an integer product, whose integers count."""
    x = node.inputs[0] if node.op == "DequantizeLinear" else None
    return x is not None and bool(x.types) and x.dtype == "i32"


def _shrinks(node: Node) -> bool:
    return sum(_bytes(v) for v in node.outputs) <= sum(_bytes(v) for v in node.inputs if v is not None)


def _fits(graph: Graph, node: Node) -> bool:
    made = sum(_bytes(v) for v in node.outputs)
    freed = sum(
        v.data.nbytes
        for v in {id(v): v for v in node.inputs if v is not None}.values()
        if v.data is not None and all(c is node for c in v.consumers) and not graph.is_output(v)
    )
    return made <= freed + MAX_GROWTH_BYTES


def _bytes(value: Value) -> int:
    itemsize = {"f64": 8, "i64": 8, "u64": 8, "f16": 2, "bf16": 2, "i16": 2, "u16": 2, "i8": 1, "u8": 1, "bool": 1}
    return math.prod(value.types[0].shape) * itemsize.get(value.dtype, 4)
