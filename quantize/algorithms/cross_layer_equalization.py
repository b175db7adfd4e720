"""Channels of very different range in one tensor share one scale, and the small ones drown in its rounding. Scaling a channel
where it is made and back where it is used changes nothing in floating point and everything in 8 bits.

Which channels can be scaled follows from the graph: convolutions and products take any factor on either side; relu, pools,
resizing and moves hand it on; sums and concatenations tie channels together; LayerNorm's scale and bias take it (the migration
that transformers need); whatever else reads or writes a tensor fixes its factors at 1.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.quantize.statistics import TensorStatistics

Array = np.ndarray[Any, Any]

# Share of the way from the ranges as they are (0) to equal ranges (1); the best by expected error is taken.
STRENGTHS = (0.0, 0.25, 0.5, 0.75, 1.0)
# A family of tensors is touched only when the expected error falls below this share (6 dB): less is within the estimate.
WORTH = 0.25
_LIMIT = 2.0**14
# Channels smaller than this share of their tensor hold nothing but rounding of the float network.
_DEAD = 1e-6

# Operators that hand every channel on as it is, multiplied.
_HOMOGENEOUS = ("Relu", "LeakyRelu", "PRelu", "MaxPool2d", "AvgPool2d", "Resize", "Identity")
_DOT = ("Conv2d", "MatMul")


@dataclass
class Change:
    """One tensor whose channels were scaled: the largest factor between channels, and the ratio of their ranges before."""

    tensor: str
    factor: float
    ratio: float
    gain_db: float


class _Classes:
    """Union-find over (tensor, channel)."""

    def __init__(self) -> None:
        self.parent: list[int] = [0]  # 0: fixed at 1

    def fresh(self, count: int) -> Array:
        first = len(self.parent)
        self.parent += range(first, first + count)
        return np.arange(first, first + count)

    def find(self, i: int) -> int:
        while self.parent[i] != i:
            self.parent[i] = self.parent[self.parent[i]]
            i = self.parent[i]
        return i

    def join(self, a: Array, b: Array) -> None:
        for i, j in zip(a.tolist(), b.tolist(), strict=True):
            x, y = self.find(i), self.find(j)
            if x != y:  # 0 stays the root of what is fixed
                self.parent[max(x, y)] = min(x, y)

    def roots(self, a: Array) -> Array:
        return np.array([self.find(i) for i in a.tolist()])


def equalize(graph: Graph, statistics: Mapping[str, TensorStatistics]) -> list[Change]:
    """Scales channels in place (weights, biases, slopes, LayerNorm) and says which. The function stays the same.

    Statistics of the changed tensors are stale afterwards.
    """
    classes, tensors = _Classes(), dict[Value, Array]()
    for v in [*graph.inputs, *(v for n in graph.nodes for v in n.outputs)]:
        if v.types and v.rank >= 2 and v.dtype == "f32" and isinstance(v.shape[-1], int):
            tensors[v] = classes.fresh(v.shape[-1])
    for v in [*graph.inputs, *graph.outputs]:
        _fix(classes, tensors, v)
    for node in graph.nodes:
        _constrain(classes, tensors, node)
    tensors = {v: classes.roots(a) for v, a in tensors.items()}
    factors = np.ones(len(classes.parent))
    changes: list[Change] = []
    for family in _families(tensors):
        changes += _solve(family, tensors, statistics, factors)
    if changes:
        for node in graph.nodes:
            _apply(graph, node, tensors, factors)
    return changes


def _fix(classes: _Classes, tensors: Mapping[Value, Array], *values: Value | None) -> None:
    for v in values:
        if v is not None and v in tensors:
            classes.join(tensors[v], np.zeros(len(tensors[v]), int))


def _constrain(classes: _Classes, tensors: Mapping[Value, Array], node: Node) -> None:
    """Joins the classes of channels that must have one factor."""
    given = [None if v is None else tensors.get(v) for v in node.inputs]
    made = [tensors.get(v) for v in node.outputs]
    x, y = given[0] if given else None, made[0] if made else None
    if x is not None and y is not None:
        if node.op in _DOT and _plain_dot(node):
            residual = node.input(3)
            if residual is not None:
                ids = tensors.get(residual)
                classes.join(y, np.zeros(len(y), int) if ids is None else ids)
            if node.attr("activation") == "clip":
                _fix(classes, tensors, *node.outputs)
            return
        if _hands_on(node) and len(x) == len(y):
            classes.join(x, y)
            return
        if _scalable_norm(node):
            _fix(classes, tensors, node.inputs[0])
            return
        known = [i for i in given if i is not None]
        parts = [i for i in made if i is not None]
        if node.op == "Add" and len(known) == 2 and len(known[0]) == len(known[1]) == len(y):
            for ids in known:
                classes.join(ids, y)
            return
        if node.op == "Concat" and len(known) == len(given):
            if _along_channels(node):
                classes.join(np.concatenate(known), y)
            else:
                for ids in known:
                    classes.join(ids, y)
            return
        if node.op == "Split" and len(parts) == len(made) and _along_channels(node):
            classes.join(x, np.concatenate(parts))
            return
    _fix(classes, tensors, *node.inputs, *node.outputs)


def _hands_on(node: Node) -> bool:
    """Every channel of the output is the same channel of the input, multiplied alike."""
    if node.op == "ReduceMean":
        return _keeps_channels(node)
    if node.op == "Pad":
        return node.attr("mode") == "constant" and _pads_zero(node)
    return node.op in _HOMOGENEOUS


def _along_channels(node: Node) -> bool:
    return node.attr("axis") in (-1, node.outputs[0].rank - 1)


def _scalable_norm(node: Node) -> bool:
    if node.op not in ("LayerNorm", "RMSNorm") or not node.outputs[0].types:
        return False
    last = node.attr("axis") in (-1, node.outputs[0].rank - 1)
    return last and all(v is None or v.is_constant for v in node.inputs[1:])


def _plain_dot(node: Node) -> bool:
    weight, bias = node.inputs[1], node.input(2)
    if weight is None or not weight.is_constant or (bias is not None and not bias.is_constant):
        return False
    if node.attr("activation") not in ("none", "relu", "clip", "leaky_relu"):
        return False
    if node.op == "MatMul":
        return weight.rank == 2 and not node.attr("transpose_a")
    return int(node.attr("group")) == 1 or weight.shape[3] == 1


def _keeps_channels(node: Node) -> bool:
    x = node.inputs[0]
    assert x is not None
    axes = [a % x.rank for a in node.attr("axes")]
    return bool(axes) and x.rank - 1 not in axes


def _pads_zero(node: Node) -> bool:
    value = node.input(2)
    return value is None or (value.data is not None and not np.any(value.data))


def _families(tensors: Mapping[Value, Array]) -> list[list[Value]]:
    """Tensors that share a free class belong together."""
    owner: dict[int, list[Value]] = {}
    lists: dict[Value, list[Value]] = {}
    for v, roots in tensors.items():
        mine = [v]
        lists[v] = mine
        for root in set(roots.tolist()) - {0}:
            other = owner.get(root)
            if other is not None and other is not mine:
                small, large = sorted((other, mine), key=len)
                large += small
                for moved in small:
                    for r in set(tensors[moved].tolist()) - {0}:
                        owner[r] = large
                    lists[moved] = large
                mine = large
            owner[root] = mine
    unique = {id(members): members for v, members in lists.items() if np.any(tensors[v])}
    return list(unique.values())


def _extent(s: TensorStatistics) -> Array:
    assert s.channel_minimum is not None and s.channel_maximum is not None
    return np.maximum(np.abs(s.channel_minimum), np.abs(s.channel_maximum)).astype(np.float64)


def _solve(
    family: list[Value], tensors: Mapping[Value, Array], statistics: Mapping[str, TensorStatistics], factors: Array
) -> list[Change]:
    stats = {v: statistics[v.name] for v in family if v.name in statistics}
    stats = {
        v: s for v, s in stats.items() if s.channel_maximum is not None and len(s.channel_maximum) == len(tensors[v])
    }
    if len(stats) != len(family):
        return []
    # How much smaller than its tensor's target each class is, at its largest.
    share: dict[int, float] = {}
    for v, s in stats.items():
        extent, roots = _extent(s), tensors[v]
        fixed = extent[roots == 0]
        target = float(fixed.max()) if fixed.size and fixed.max() > 0 else float(extent.max())
        if target <= 0:
            continue
        for root, e in zip(roots.tolist(), extent.tolist(), strict=True):
            if root and e > _DEAD * target:
                share[root] = max(share.get(root, 0.0), e / target)
    roots = np.array(list(share), int)
    ratios = np.array(list(share.values()))
    costs = []
    for strength in STRENGTHS:
        factors[roots] = np.exp2(np.rint(2 * np.log2(np.clip(ratios**-strength, 1 / _LIMIT, _LIMIT))) / 2)
        costs.append(sum(_cost(v, s, factors[tensors[v]]) for v, s in stats.items()))
    best = int(np.argmin(costs))
    if not costs[0] or costs[best] > WORTH * costs[0]:
        factors[roots] = 1.0
        return []
    factors[roots] = np.exp2(np.rint(2 * np.log2(np.clip(ratios ** -STRENGTHS[best], 1 / _LIMIT, _LIMIT))) / 2)
    gain = float(-10 * np.log10(costs[best] / costs[0]))
    result = []
    for v, s in stats.items():
        extent, f = _extent(s), factors[tensors[v]]
        positive = extent[extent > _DEAD * extent.max()]
        if len(positive) and f.max() != f.min():
            result.append(Change(v.name, float(f.max() / f.min()), float(positive.max() / positive.min()), gain))
    return result


def _cost(v: Value, s: TensorStatistics, f: Array) -> float:
    """Expected squared error in the consumers of a tensor, relative to their signal: its own rounding and the weights'."""
    assert s.channel_minimum is not None and s.channel_maximum is not None
    low, high = min(float((s.channel_minimum * f).min()), 0.0), max(float((s.channel_maximum * f).max()), 0.0)
    noise = ((high - low) / 255) ** 2 / 12
    # Channels that relu cuts off everywhere make no error; the others do where they are not 0.
    alive = (s.channel_maximum > s.channel_minimum).astype(np.float64)
    # What a channel's mean contributes is constant, and biases hold it.
    power = s.channel_variance
    total = 0.0
    for node in v.consumers:
        if node.op in _DOT and node.inputs[0] is v and _plain_dot(node):
            weight = node.inputs[1]
            assert weight is not None and weight.data is not None
            w = weight.data.astype(np.float64)
            if node.op == "MatMul":
                w = (w if node.attr("transpose_b") else w.T)[:, None, :]
            else:
                w = w.reshape(w.shape[0], -1, w.shape[3])
            if w.shape[2] == 1 and len(f) != 1:  # depthwise: each row belongs to one channel, its scale follows
                energy = (w**2).sum(axis=(1, 2)).reshape(len(f), -1).sum(axis=1)
                signal = float((energy * power).sum())
                total += float((noise * alive * energy / f**2).sum()) / max(signal, 1e-30)
                continue
            energy = (w**2).sum(axis=(0, 1))
            signal = float((energy * power).sum())
            steps = np.abs(w / f).max(axis=(1, 2)) / 127
            rounding = float((steps**2).sum()) / 12 * w.shape[1] * float((power * f**2).sum())
            total += (float((noise * alive * energy / f**2).sum()) + rounding) / max(signal, 1e-30)
        else:
            total += float((noise * alive / f**2).sum()) / max(float(power.sum()), 1e-30)
    return total


def _apply(graph: Graph, node: Node, tensors: Mapping[Value, Array], factors: Array) -> None:
    def of(v: Value | None) -> Array | None:
        if v is None or v not in tensors:
            return None
        f = factors[tensors[v]]
        return f if np.any(f != 1) else None

    y = node.outputs[0]
    if node.op in _DOT and _plain_dot(node):
        before, after = of(node.inputs[0]), of(y)
        if before is None and after is None:
            return
        weight, bias = node.inputs[1], node.input(2)
        assert weight is not None and weight.data is not None
        w = weight.data.astype(np.float64)
        columns = 1.0 if before is None else 1 / before
        rows = np.ones(1) if after is None else after
        if node.op == "MatMul":
            w = w * columns * rows[:, None] if node.attr("transpose_b") else w * np.reshape(columns, (-1, 1)) * rows
        elif w.shape[3] == 1 and int(node.attr("group")) > 1:
            spread = 1.0 if before is None else np.repeat(1 / before, w.shape[0] // len(before))[:, None, None, None]
            w = w * spread * rows[:, None, None, None]
        else:
            w = w * columns * rows[:, None, None, None]
        inputs = list(node.inputs)
        inputs[1] = graph.constant(weight.name, w.astype(np.float32))
        if bias is not None and bias.data is not None:
            inputs[2] = graph.constant(bias.name, (bias.data * rows).astype(np.float32))
        graph.set_inputs(node, inputs)
    elif node.op in ("LayerNorm", "RMSNorm"):
        after = of(y)
        if after is None:
            return
        inputs = list(node.inputs)
        for i in (1, 2):
            v = node.input(i)
            if v is not None and v.data is not None:
                inputs[i] = graph.constant(v.name, (v.data * after).astype(np.float32))
            elif i == 1:
                inputs += [None] * (2 - len(inputs))
                inputs[1] = graph.constant(f"{node.name}:scale", after.astype(np.float32))
        graph.set_inputs(node, inputs)
