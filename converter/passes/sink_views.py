"""Views move down through elementwise operators, so that they meet other views and stop hiding a convolution.

1-D networks are full of them: Conv2d -> Squeeze -> Mul -> Add -> Relu -> Unsqueeze -> Conv2d.
"""

from __future__ import annotations

import math

import numpy as np

from edgec.converter.ir import schema
from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.layout_views import cut
from edgec.converter.passes.match import producer
from edgec.converter.passes.merge_views import VIEWS, add_reshape


@rewrite("sink-views", stages=("recognise", "fuse"))
def sink_views(graph: Graph, node: Node) -> Patch | None:
    """elementwise(view(x), constants or equal views) -> view(elementwise(x, ...))."""
    if not schema.elementwise(node.op) or len(node.outputs) != 1:
        return None
    y = node.outputs[0]
    if not y.types or (graph.is_output(y) and len(node.inputs) > 1):
        return None
    source: Value | None = None
    view: Node | None = None
    for v in node.inputs:
        view = producer(v, *VIEWS)
        if view is not None and v is not None and _same_shape(v, y):
            source = view.inputs[0]
            break
    if source is None or view is None or not source.types or source.quantization is not None:
        return None
    if not _worthwhile(source, y):
        return None
    inputs: list[Value | None] = []
    patch = Patch(graph, f"view moved below {node.op}", node, [view])
    for v in node.inputs:
        moved = None if v is None else _operand(patch, v, source, y)
        if v is not None and moved is None:
            return None
        inputs.append(moved)
    result = patch.add(node.op, inputs, dict(node.attrs))
    if [t.shape for t in result.types] != [t.shape for t in source.types]:
        return None
    new = add_reshape(patch, result, y)
    return None if new is None or new is result else patch.replace(y, new)


def _worthwhile(source: Value, y: Value) -> bool:
    """Only where the view can meet something: below a convolution or product, or above another view."""
    below = any(c.op in VIEWS for c in y.consumers)
    above = producer(source) is not None
    return below or above


def _same_shape(a: Value, b: Value) -> bool:
    return [t.shape for t in a.types] == [t.shape for t in b.types]


def _operand(patch: Patch, v: Value, source: Value, y: Value) -> Value | None:
    """The operand as it must be for a result of the shape of `source` instead of `y`."""
    view = producer(v, *VIEWS)
    if view is not None and _same_shape(v, y):
        inner = view.inputs[0]
        return inner if inner is not None and inner.types and _same_shape(inner, source) else None
    if v.data is None:
        return None
    if v.data.size == 1:
        return v if v.data.ndim <= source.rank else patch.constant(v.name, v.data.reshape(()))
    shape = _constant_shape(v, source, y)
    return None if shape is None else patch.constant(v.name, v.data.reshape(shape))


def _constant_shape(v: Value, source: Value, y: Value) -> tuple[int, ...] | None:
    """The shape of a constant that broadcasts to `source` as v does to y. Dimensions are 1 or whole on both sides."""
    assert v.data is not None
    full = (1,) * (y.rank - v.data.ndim) + v.data.shape
    found: set[tuple[int, ...]] = set()
    for ts, ty in zip(source.types, y.types):
        both = cut(ts.shape, ty.shape)
        if both is None or any(d not in (1, s) for d, s in zip(full, ty.shape)):
            return None
        varying = {a for i, atoms in enumerate(both[1]) if full[i] != 1 for a in atoms}
        shape = []
        for size, atoms in zip(ts.shape, both[0]):
            inside = [a in varying for a in atoms]
            if any(inside) and not all(inside):
                return None
            shape.append(size if any(inside) else 1)
        found.add(tuple(shape))
    if len(found) != 1:
        return None
    (shape_found,) = found
    return shape_found if math.prod(shape_found) == int(np.prod(full)) else None
