"""Transpose of a Transpose is one; a Transpose that moves only dimensions of size 1 is a Reshape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, replaceable, rewrite
from edgec.converter.passes.match import producer
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
