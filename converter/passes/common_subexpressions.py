"""Common subexpressions: the same operator on the same inputs with the same attributes is computed once."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.ir import schema
from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, replaceable, rewrite

# Larger constants are compared by identity only: the writer stores equal ones once anyhow.
_MAX_COMPARED_BYTES = 1 << 16


@rewrite("common-subexpressions", untyped=True)
def common_subexpressions(graph: Graph, node: Node) -> Patch | None:
    """An earlier node computes the same -> its outputs are used."""
    present = [v for v in node.inputs if v is not None and not v.is_constant]
    if not present or schema.of(node.op)["not_foldable"]:
        return None
    rarest = min(present, key=lambda v: len(v.consumers))
    for other in rarest.consumers:
        if other is node or other.op != node.op or other.order >= node.order or not _same(node, other):
            continue
        pairs = list(zip(node.outputs, other.outputs))
        if not all(replaceable(graph, a, b) for a, b in pairs):
            continue
        patch = Patch(graph, f"equal {node.op} computed once", node)
        for a, b in pairs:
            patch.replace(a, b)
        return patch
    return None


def _same(a: Node, b: Node) -> bool:
    if len(a.inputs) != len(b.inputs) or len(a.outputs) != len(b.outputs):
        return False
    if not all(_same_value(x, y) for x, y in zip(a.inputs, b.inputs)):
        return False
    if any(x.quantization != y.quantization for x, y in zip(a.outputs, b.outputs)):
        return False
    return all(_same_attribute(a.attr(k), b.attr(k)) for k in {*a.attrs, *b.attrs})


def _same_attribute(a: Any, b: Any) -> bool:
    return list(a) == list(b) if isinstance(a, (list, tuple)) and isinstance(b, (list, tuple)) else bool(a == b)


def _same_value(a: Value | None, b: Value | None) -> bool:
    if a is b:
        return True
    if a is None or b is None or a.data is None or b.data is None or a.quantization != b.quantization:
        return False
    x, y = a.data, b.data
    return (
        x.dtype == y.dtype
        and x.shape == y.shape
        and x.nbytes <= _MAX_COMPARED_BYTES
        and (x is y or np.array_equal(x.view(np.uint8) if x.ndim else x, y.view(np.uint8) if y.ndim else y))
    )
