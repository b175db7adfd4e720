"""Reshape, Squeeze, Unsqueeze and Flatten under permuted storage.

A reshape splits and joins dimensions. Both shapes are cut into *atoms*, the finest factors that no dimension of either
side cuts: [N, C, H, W] -> [N, g, C/g, H*W] has the atoms N, g, C/g, H, W. Under a permutation the atoms come in
another order; the reshape still costs nothing when the atoms of every dimension of the other side stay adjacent and
in order.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

from edgec.converter.ir.graph import Node, Value
from edgec.converter.passes.merge_views import reshape_spec

Perm = tuple[int, ...]
Axes = list[list[int]]  # atoms of each dimension; dimensions of size 1 have none


def cut(source: Sequence[int], target: Sequence[int]) -> tuple[Axes, Axes] | None:
    """Atoms of both shapes, or None when the reshape mixes dimensions ([4, 6] -> [6, 4]) or holds no elements."""
    if math.prod(source) == 0 or math.prod(source) != math.prod(target):
        return None

    def ends(shape: Sequence[int]) -> list[int]:
        found, product = [], 1
        for d in shape:
            product *= d
            found.append(product)
        return found

    marks = sorted({*ends(source), *ends(target)} - {1})
    if any(b % a for a, b in pairwise(marks)):
        return None

    def axes(shape: Sequence[int]) -> Axes:
        found: Axes = []
        start = 1
        for end in ends(shape):
            found.append([i for i, m in enumerate(marks) if start < m <= end])
            start = end
        return found

    return axes(source), axes(target)


def atoms(node: Node) -> tuple[Axes, Axes] | None:
    """Atoms of input 0 and output 0, if they are the same for all input sizes."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    found: list[tuple[Axes, Axes] | None] = []
    for tx, ty in zip(x.types, y.types):
        # A symbol that happens to be 1 hides its dimension; the other probe shows it.
        hidden = any(d == 1 and s is None for d, s in [*zip(tx.shape, x.shape), *zip(ty.shape, y.shape)])
        if not hidden:
            found.append(cut(tx.shape, ty.shape))
    return found[0] if found and all(f == found[0] for f in found) else None


def permuted(axes: Axes, perm: Perm) -> list[int]:
    """The order in which the atoms are stored."""
    return [atom for p in perm for atom in axes[p]]


def arrange(order: Sequence[int], axes: Axes) -> Perm | None:
    """The permutation of `axes` under which their atoms come in `order`, or None."""
    first = {a[0]: i for i, a in enumerate(axes) if a}
    found: list[int] = []
    at = 0
    while at < len(order):
        i = first.get(order[at])
        if i is None or list(order[at : at + len(axes[i])]) != axes[i]:
            return None
        found.append(i)
        at += len(axes[i])
    # Dimensions of size 1 may stand anywhere; beside their neighbour they fit most other nodes.
    for i in reversed(range(len(axes))):
        if not axes[i] and i + 1 < len(axes) and (i + 1) in found:
            found.insert(found.index(i + 1), i)
    for i in range(len(axes)):
        if i not in found:
            found.insert(found.index(i - 1) + 1 if i else 0, i)
    return tuple(found)


def spread_view(node: Node, value: Value, perm: Perm) -> list[tuple[Value, Perm]]:
    """See layout_rules.spread."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    if value is not x and value is not y:
        return []
    other = y if value is x else x
    if perm == tuple(range(len(perm))):
        return [(other, tuple(range(other.rank)))]
    both = atoms(node)
    if both is None:
        return []
    own, others = both if value is x else (both[1], both[0])
    fit = arrange(permuted(own, perm), others)
    return [] if fit is None else [(other, fit)]


def relabel_view(node: Node, perm_of: Callable[[Value], Perm]) -> list[int] | None:
    """The target of the Reshape between the permuted tensors, or None when bytes would move."""
    x, y = node.inputs[0], node.outputs[0]
    assert x is not None
    px, py = perm_of(x), perm_of(y)
    both = atoms(node)
    if both is None or permuted(both[0], px) != permuted(both[1], py):
        return None
    source = [tuple(t.shape[a] for a in px) for t in x.types]
    target = [tuple(t.shape[a] for a in py) for t in y.types]
    return reshape_spec(source, target)
