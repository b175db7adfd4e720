"""Transpose of a Transpose is one; a Transpose that moves only dimensions of size 1 is a Reshape."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, replaceable, rewrite
from edgec.converter.passes.match import normalized_axis, producer
from edgec.converter.passes.merge_views import VIEWS, add_reshape, reshape_spec


def compose(first: Sequence[int], second: Sequence[int]) -> list[int]:
    """The permutation of Transpose(second) applied to Transpose(first)."""
    return [first[i] for i in second]


def inverse(perm: Sequence[int]) -> list[int]:
    """The permutation that undoes `perm`."""
    out = [0] * len(perm)
    for i, p in enumerate(perm):
        out[p] = i
    return out


def moves_nothing(value: Value, perm: Sequence[int]) -> bool:
    """True when the bytes of `value` stay where they are: only dimensions of size 1 move."""
    order = [p for p in perm if value.shape[p] != 1]
    return order == sorted(order)


@rewrite("merge-transposes", ops=("Transpose",), stages=("simplify",))
def merge_transposes(graph: Graph, node: Node) -> Patch | None:
    """Transpose(Transpose(x)) -> one Transpose, or x."""
    y = node.outputs[0]
    first = producer(node.inputs[0], "Transpose")
    if first is None:
        return None
    x = first.inputs[0]
    assert x is not None
    perm = compose(first.attrs["perm"], node.attrs["perm"])
    if perm == sorted(perm):
        if not replaceable(graph, y, x):
            return None
        return Patch(graph, "Transposes cancelled", node, [first]).replace(y, x)
    patch = Patch(graph, "Transposes merged", node, [first])
    return patch.replace(y, patch.add("Transpose", [x], {"perm": perm}))


@rewrite("transpose-as-view", ops=("Transpose",), stages=("fuse", "finish"))
def transpose_as_view(graph: Graph, node: Node) -> Patch | None:
    """Transpose that moves only dimensions of size 1 -> Reshape, which costs nothing. After the layouts are settled."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    if not moves_nothing(x, node.attrs["perm"]):
        return None
    patch = Patch(graph, "Transpose of size-1 dimensions made a view", node)
    new = add_reshape(patch, x, y)
    return None if new is None or new is x else patch.replace(y, new)


def _strides(shape: Sequence[int]) -> list[int]:
    """Distances of neighbours in a dense tensor, in elements."""
    return [math.prod(shape[i + 1 :]) for i in range(len(shape))]


def _restride(shape: Sequence[int], strides: Sequence[int], target: Sequence[int]) -> list[int] | None:
    """Strides of a strided tensor viewed as `target`, or None when that needs a copy."""
    old = [(d, s) for d, s in zip(shape, strides) if d != 1]
    found = [0] * len(target)
    at = len(target) - 1
    while old:
        size, stride = old.pop()
        run, step = size, stride
        while old and old[-1][1] == run * step:  # dimensions that lie as one
            run *= old.pop()[0]
        covered = 1
        while at >= 0 and covered < run:
            found[at] = covered * step
            covered *= target[at]
            at -= 1
        if covered != run:
            return None
    return found if all(d == 1 for d in target[: at + 1]) else None


def _between_views(before: Node, transpose: Node, after: Node) -> list[int] | None:
    """The permutation of `before`'s input that equals view -> Transpose -> view, if there is one."""
    x, y = before.inputs[0], after.outputs[0]
    assert x is not None
    perm = transpose.attrs["perm"]
    found: set[tuple[int, ...]] = set()
    for tx, tm, ty in zip(x.types, before.outputs[0].types, y.types):
        strides = _strides(tm.shape)
        result = _restride([tm.shape[p] for p in perm], [strides[p] for p in perm], ty.shape)
        source = list(zip(tx.shape, _strides(tx.shape)))
        if result is None or len(source) != len(ty.shape) or math.prod(tx.shape) <= 1:
            return None
        order: list[int] = []
        for size, stride in zip(ty.shape, result):
            fits = [i for i, (d, s) in enumerate(source) if i not in order and d == size and (d == 1 or s == stride)]
            if not fits:
                return None
            order.append(fits[0])
        found.add(tuple(order))
    return list(found.pop()) if len(found) == 1 else None


@rewrite("transposes-around-view", ops=("Transpose",), stages=("recognise", "fuse"))
def transposes_around_view(graph: Graph, node: Node) -> Patch | None:
    """Transpose -> view -> Transpose that is one Transpose and a view."""
    y = node.outputs[0]
    view = producer(node.inputs[0], *VIEWS)
    first = None if view is None else producer(view.inputs[0], "Transpose")
    if view is None or first is None or y.quantization is not None:
        return None
    x = first.inputs[0]
    assert x is not None
    found: set[tuple[int, ...]] = set()
    for tx, tv, ty in zip(x.types, view.outputs[0].types, y.types):
        own = _strides(tx.shape)
        perm = first.attrs["perm"]
        middle = _restride([tx.shape[p] for p in perm], [own[p] for p in perm], tv.shape)
        if middle is None or math.prod(tx.shape) <= 1:
            return None
        order: list[int] = []
        for size, stride in zip(ty.shape, [middle[p] for p in node.attrs["perm"]]):
            if size != 1:
                order += [i for i, d in enumerate(tx.shape) if d == size and own[i] == stride and i not in order][:1]
        order += [i for i, d in enumerate(tx.shape) if d == 1]
        if sorted(order) != list(range(x.rank)):
            return None  # the view joins or parts dimensions
        found.add(tuple(order))
    if len(found) != 1:
        return None
    merged = list(found.pop())
    patch = Patch(graph, "Transposes around a view merged", node, [view, first])
    moved = x if merged == sorted(merged) else patch.add("Transpose", [x], {"perm": merged})
    new = add_reshape(patch, moved, y)
    if new is None or (new is x and not replaceable(graph, y, x)):
        return None
    return patch.replace(y, new)


@rewrite("transpose-between-views", ops=VIEWS, stages=("recognise", "fuse"))
def transpose_between_views(graph: Graph, node: Node) -> Patch | None:
    """view -> Transpose -> view that only joins and parts dimensions for the way -> one Transpose."""
    transpose = producer(node.inputs[0], "Transpose")
    before = None if transpose is None else producer(transpose.inputs[0], *VIEWS)
    if transpose is None or before is None or before.inputs[0] is None or not before.inputs[0].types:
        return None
    x, y = before.inputs[0], node.outputs[0]
    perm = _between_views(before, transpose, node)
    if perm is None or y.quantization is not None:
        return None
    patch = Patch(graph, "views around Transpose removed", node, [transpose, before])
    if perm == sorted(perm):
        return patch.replace(y, x) if replaceable(graph, y, x) else None
    new = patch.add("Transpose", [x], {"perm": perm})
    return patch.replace(y, new) if new.types == y.types else None


@rewrite("transpose-of-dequantized", ops=("Transpose",), stages=("simplify",))
def transpose_of_dequantized(graph: Graph, node: Node) -> Patch | None:
    """Transpose of a weight stored in 8 bits -> the stored bytes transposed, so that the weight stays a constant."""
    dequantize = producer(node.inputs[0], "DequantizeLinear")
    stored = None if dequantize is None else dequantize.inputs[0]
    if dequantize is None or stored is None or stored.data is None or dequantize.attrs.get("block_size"):
        return None
    scale = dequantize.inputs[1]
    if scale is None or not scale.types or scale.rank > 1 or stored.quantization is not None:
        return None
    perm = list(node.attrs["perm"])
    attrs = dict(dequantize.attrs)
    if scale.rank == 1:
        attrs["axis"] = perm.index(normalized_axis(dequantize.attr("axis"), len(perm)))
    patch = Patch(graph, "Transpose of stored weights done", node, [dequantize])
    moved = patch.constant(stored.name, np.ascontiguousarray(stored.data.transpose(perm)))
    new = patch.add("DequantizeLinear", [moved, *dequantize.inputs[1:]], attrs, name=dequantize.name)
    return patch.replace(node.outputs[0], new)


@rewrite("shrink-transpose", ops=("Transpose",), stages=("finish",))
def shrink_transpose(graph: Graph, node: Node) -> Patch | None:
    """view -> Transpose -> view: dimensions of size 1 leave the Transpose and join the views."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    if producer(x, *VIEWS) is None or not any(c.op in VIEWS for c in y.consumers):
        return None
    perm = node.attrs["perm"]
    ones = [i for i, d in enumerate(x.shape) if d == 1]
    if not ones or x.quantization is not None or len(perm) - len(ones) < 2:
        return None
    kept = [i for i in range(x.rank) if i not in ones]
    small = [kept.index(p) for p in perm if p in kept]
    spec = reshape_spec([t.shape for t in x.types], [tuple(t.shape[i] for i in kept) for t in x.types])
    if spec is None:
        return None
    patch = Patch(graph, "dimensions of size 1 left Transpose", node)
    shape = patch.constant(f"{node.name}:shape", np.array(spec, np.int64))
    moved = patch.add("Transpose", [patch.add("Reshape", [x, shape])], {"perm": small})
    new = add_reshape(patch, moved, y)
    return None if new is None else patch.replace(y, new)
