"""Relu, Clip and Min/Max with a constant are all Clip: chains of them become one."""

from __future__ import annotations

import math

from edgec.converter.ir.graph import Graph, Node
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.match import is_f32, only_use, producer, with_scalar

_OPS = ("Relu", "Clip", "Min", "Max")


def _bounds(node: Node) -> tuple[float, float] | None:
    """What the node clamps its first non-constant operand to."""
    if node.op == "Relu":
        return 0.0, math.inf
    if node.op == "Clip":
        return float(node.attr("min")), float(node.attr("max"))
    pair = with_scalar(node)
    if pair is None or math.isnan(pair[1]):
        return None
    return (-math.inf, pair[1]) if node.op == "Min" else (pair[1], math.inf)


@rewrite("merge-clips", ops=_OPS, stages=("simplify",))
def merge_clips(graph: Graph, node: Node) -> Patch | None:
    """Clip(Relu(x)), Min(Max(x, a), b), Relu(Relu(x))... -> one Relu or Clip."""
    if not is_f32(*node.inputs, *node.outputs):
        return None
    outer = _bounds(node)
    if outer is None:
        return None
    low, high = outer
    pair = with_scalar(node) if node.op in ("Min", "Max") else None
    x = pair[0] if pair else node.inputs[0]
    inner = producer(x, *_OPS)
    consumed = []
    inner_bounds = _bounds(inner) if inner is not None else None
    if inner is not None and inner_bounds is not None and x is not None and only_use(graph, x):
        # The outer clamp wins where the ranges do not overlap.
        low, high = (min(max(b, low), high) for b in inner_bounds)
        inner_pair = with_scalar(inner) if inner.op in ("Min", "Max") else None
        x = inner_pair[0] if inner_pair else inner.inputs[0]
        consumed = [inner]
    op, attrs = ("Relu", {}) if (low, high) == (0.0, math.inf) else ("Clip", {"min": low, "max": high})
    if not consumed and node.op == op:
        return None
    if not low <= high:
        return None
    patch = Patch(graph, f"{' of '.join(n.op for n in [node, *consumed])} made {op}", node, consumed)
    return patch.replace(node.outputs[0], patch.add(op, [x], attrs))
