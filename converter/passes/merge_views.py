"""Chains of Reshape, Squeeze, Unsqueeze and Flatten become one Reshape; computed shapes become constants."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, replaceable, rewrite
from edgec.converter.passes.match import normalized_axis, producer, quantized

VIEWS = ("Reshape", "Squeeze", "Unsqueeze", "Flatten")


def reshape_spec(source: Sequence[tuple[int, ...]], target: Sequence[tuple[int, ...]]) -> list[int] | None:
    """What Reshape needs to turn the shapes `source` (one per probe) into `target`, or None.

    Dimensions that depend on a symbol are copied (0) where the source has the same one in the same place; one more
    is inferred (-1).
    """
    spec = [sizes[0] if len(set(sizes)) == 1 else -1 for sizes in zip(*target)]
    if 0 in spec:
        return None  # 0 means "copy" in a Reshape
    for i, d in enumerate(spec):
        if spec.count(-1) <= 1:
            break
        if d < 0 and i < len(source[0]) and all(s[i] == t[i] for s, t in zip(source, target)):
            spec[i] = 0
    return spec if spec.count(-1) <= 1 else None


def reshape_target(source: Value, target: Value) -> list[int] | None:
    """`reshape_spec` from one value to the shape of another."""
    return reshape_spec([t.shape for t in source.types], [t.shape for t in target.types])


def add_reshape(patch: Patch, source: Value, target: Value, name: str = "") -> Value | None:
    """A Reshape of `source` to the shape of `target`, `source` itself when it has that shape, or None."""
    if source.types == target.types:
        return source
    spec = reshape_target(source, target)
    if spec is None:
        return None
    shape = patch.constant(f"{name or target.name}:shape", np.array(spec, np.int64))
    return patch.add("Reshape", [source, shape], name=name)


@rewrite("merge-views", ops=VIEWS, stages=("simplify",))
def merge_views(graph: Graph, node: Node) -> Patch | None:
    """View of a view -> one Reshape of the source, or nothing when the shape comes back."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    first = producer(x, *VIEWS)
    if first is None or x.quantization is not None:
        return None
    source = first.inputs[0]
    assert source is not None
    while (above := producer(source, *VIEWS)) is not None:
        source = above.inputs[0]
        assert source is not None
    if source.types == y.types:
        return (
            Patch(graph, "views cancelled", node, [first]).replace(y, source) if replaceable(graph, y, source) else None
        )
    patch = Patch(graph, "views merged", node, [first])
    new = add_reshape(patch, source, y)
    return None if new is None else patch.replace(y, new)


@rewrite("static-reshape", ops=("Reshape",), stages=("simplify",))
def static_reshape(graph: Graph, node: Node) -> Patch | None:
    """Reshape to a computed shape -> Reshape to a constant one, so that the shape arithmetic dies."""
    x, shape = node.inputs[0], node.inputs[1]
    assert x is not None and shape is not None
    if shape.is_constant:
        return None
    patch = Patch(graph, "computed shape made constant", node)
    new = add_reshape(patch, x, node.outputs[0])
    return None if new is None or new is x else patch.replace(node.outputs[0], new)


@rewrite("reduce-as-view", ops=tuple(f"Reduce{n}" for n in ("Sum", "Mean", "Max", "Min", "Prod")), stages=("simplify",))
def reduce_as_view(graph: Graph, node: Node) -> Patch | None:
    """A reduction over dimensions of size 1 that drops them -> Reshape."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    axes = [normalized_axis(a, x.rank) for a in node.attr("axes")] or list(range(x.rank))
    if node.attr("keepdims") or any(x.shape[a] != 1 for a in axes) or x.dtype != y.dtype or quantized(node):
        return None
    patch = Patch(graph, f"{node.op} of size-1 dimensions made a view", node)
    new = add_reshape(patch, x, y)
    return None if new is None or new is x else patch.replace(y, new)
