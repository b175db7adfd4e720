"""Selections move up: what is thrown away is thrown away before it is transposed.

Covers the two common ways to split heads or shuffle channels: reshape, permute, then x[0], x[1], x[2].
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.layout_views import atoms
from edgec.converter.passes.match import array, normalized_axis, producer
from edgec.converter.passes.merge_views import VIEWS, add_reshape


@dataclass(frozen=True)
class Select:
    """Elements start, start + step... (count of them) of one dimension; `drop`: the dimension disappears."""

    axis: int
    start: int
    count: int
    step: int
    drop: bool


def select_of(node: Node) -> Select | None:
    """A Gather of one constant index, or a Slice of one dimension with constant bounds."""
    x = node.inputs[0]
    if x is None:
        return None
    if node.op == "Gather":
        index = array(node.inputs[1])
        axis = normalized_axis(node.attr("axis"), x.rank)
        size = x.shape[axis]
        if index is None or index.size != 1 or index.ndim > 1 or size is None:
            return None
        i = int(index.reshape(-1)[0])
        return Select(axis, i + size if i < 0 else i, 1, 1, index.ndim == 0)
    bounds = [array(v) for v in (node.inputs[1], node.inputs[2], node.input(3), node.input(4))]
    starts, ends, axes, steps = bounds
    if starts is None or ends is None or starts.size != 1 or (axes is None and node.input(3) is not None):
        return None
    if steps is None and node.input(4) is not None:
        return None
    axis = 0 if axes is None else normalized_axis(int(axes.reshape(-1)[0]), x.rank)
    size, count = x.shape[axis], node.outputs[0].shape[axis]
    step = 1 if steps is None else int(steps.reshape(-1)[0])
    if size is None or count is None or step < 1 or count == 0:
        return None
    start = int(starts.reshape(-1)[0])
    return Select(axis, min(max(start + size if start < 0 else start, 0), size), count, step, False)


def add_slice(patch: Patch, x: Value, axis: int, start: int, count: int, step: int, name: str) -> Value:
    """Slice of one dimension."""
    bounds = (start, start + (count - 1) * step + 1, axis, step)
    names = ("start", "end", "axis", "step")
    constants = [patch.constant(f"{name}:{n}", np.array([b], np.int64)) for n, b in zip(names, bounds)]
    return patch.add("Slice", [x, *(constants if step != 1 else constants[:3])], name=name)


@rewrite("select-of-transpose", ops=("Gather", "Slice"), stages=("simplify",))
def select_of_transpose(graph: Graph, node: Node) -> Patch | None:
    """Select(Transpose(x)) -> Transpose(Select(x)), when the Transpose is only selected from."""
    x = node.inputs[0]
    transpose = producer(x, "Transpose")
    select = select_of(node)
    if transpose is None or select is None or x is None or x.quantization is not None or graph.is_output(x):
        return None
    if any(c.op not in ("Gather", "Slice") or c.inputs[0] is not x or select_of(c) is None for c in x.consumers):
        return None
    source = transpose.inputs[0]
    assert source is not None
    perm = list(transpose.attrs["perm"])
    axis = perm[select.axis]
    patch = Patch(graph, f"{node.op} moved above Transpose", node, [transpose])
    if select.drop:
        part = patch.add("Gather", [source, node.inputs[1]], {"axis": axis})
        perm = [p - (p > axis) for p in perm if p != axis]
    else:
        part = add_slice(patch, source, axis, select.start, select.count, select.step, node.name)
    if perm == sorted(perm):
        return patch.replace(node.outputs[0], part)
    return patch.replace(node.outputs[0], patch.add("Transpose", [part], {"perm": perm}))


@rewrite("select-of-view", ops=("Gather", "Slice"), stages=("simplify",))
def select_of_view(graph: Graph, node: Node) -> Patch | None:
    """Select(view(x)) -> view(Slice(x)), when the selected dimension is the outer or inner part of one of x."""
    view = producer(node.inputs[0], *VIEWS)
    select = select_of(node)
    if view is None or select is None or view.inputs[0] is None or view.outputs[0].quantization is not None:
        return None
    source = view.inputs[0]
    both = atoms(view)
    if both is None or not source.types or len(both[1][select.axis]) != 1:
        return None
    (atom,) = both[1][select.axis]
    axis = next(i for i, a in enumerate(both[0]) if atom in a)
    size, whole = view.outputs[0].shape[select.axis], source.shape[axis]
    if size is None or whole is None:
        return None
    inner = whole // size
    if both[0][axis][0] == atom:
        if select.step != 1:
            return None
        start, count, step = select.start * inner, select.count * inner, 1
    elif both[0][axis][-1] == atom and select.count == 1:
        start, count, step = select.start, inner, size
    else:
        return None
    patch = Patch(graph, f"{node.op} moved above {view.op}", node, [view])
    part = add_slice(patch, source, axis, start, count, step, node.name)
    new = add_reshape(patch, part, node.outputs[0])
    return None if new is None else patch.replace(node.outputs[0], new)
