"""How each operator looks when its tensors are stored with permuted dimensions.

A value v stored under the permutation s is a tensor t with t.shape[j] = v.shape[s[j]]. For each operator two questions:
`spread` (if this value is stored so, how would the other values of the node like to be stored?) and `relabel` (the
node that computes the same on values stored so, or None when there is none).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgec.converter.ir import schema
from edgec.converter.ir.graph import Node, Value
from edgec.converter.passes.layout_views import relabel_view, spread_view
from edgec.converter.passes.match import array, normalized_axis
from edgec.converter.passes.merge_views import VIEWS

Perm = tuple[int, ...]
PermOf = Callable[[Value], Perm]


@dataclass(frozen=True)
class Wanted:
    """An input that must be stored under `perm`; lower-rank operands are first viewed with leading ones."""

    value: Value
    perm: Perm


@dataclass
class Relabelled:
    """The node for permuted tensors. Inputs: Wanted, an array (becomes a constant), a Value as it is, or None."""

    op: str
    inputs: list[Wanted | np.ndarray | Value | None]
    attrs: dict[str, Any] = field(default_factory=dict)


def identity(rank: int) -> Perm:
    return tuple(range(rank))


def spread(node: Node, value: Value, perm: Perm) -> list[tuple[Value, Perm]]:
    """The other values of `node` with the permutation that fits `value` stored under `perm`."""
    if node.op in VIEWS:
        return spread_view(node, value, perm)
    if node.op not in _RULES and not _elementwise(node):
        return []
    data = _data_values(node)
    if not any(value is v for v in data):
        return []
    out = node.outputs[0]
    if out.rank == value.rank:
        return [(v, perm) for v in data if v is not value and v.rank == value.rank and not v.is_constant]
    if value is not node.inputs[0]:
        return []  # an output with fewer dimensions does not say where the dropped ones stood
    dropped = _dropped_axes(node)
    return [(v, drop(perm, dropped)) for v in node.outputs] if dropped else []


def relabel(node: Node, perm_of: PermOf) -> Relabelled | None:
    """The node on values stored as `perm_of` says, or None when the operator cannot work like that."""
    if node.op in VIEWS:
        target = relabel_view(node, perm_of)
        if target is None:
            return None
        x = node.inputs[0]
        assert x is not None
        return Relabelled("Reshape", [Wanted(x, perm_of(x)), np.array(target, np.int64)])
    if _elementwise(node):
        return _relabel_elementwise(node, perm_of)
    rule = _RULES.get(node.op)
    x = node.inputs[0]
    if rule is None or x is None:
        return None
    perm = perm_of(x)
    made = rule(node, perm)
    if made is None:
        return None
    expected = drop(perm, _dropped_axes(node)) if node.outputs[0].rank != x.rank else perm
    return made if all(perm_of(v) == expected for v in node.outputs) else None


def drop(perm: Perm, axes: Sequence[int]) -> Perm:
    """The permutation that remains when the original dimensions `axes` disappear."""
    kept = [a for a in range(len(perm)) if a not in axes]
    return tuple(kept.index(a) for a in perm if a not in axes)


def _elementwise(node: Node) -> bool:
    return schema.elementwise(node.op) and len(node.outputs) == 1


def _data_values(node: Node) -> list[Value]:
    """Values whose dimensions the rule permutes: everything but shape-like inputs."""
    if _elementwise(node) or node.op == "Concat":
        ins = [v for v in node.inputs if v is not None]
    else:
        ins = [v for v in node.inputs[:1] if v is not None]
    return [*ins, *node.outputs]


def _relabel_elementwise(node: Node, perm_of: PermOf) -> Relabelled | None:
    out = node.outputs[0]
    perm = perm_of(out)
    inputs: list[Wanted | np.ndarray | Value | None] = []
    for v in node.inputs:
        if v is None or all(d == 1 for d in v.shape):
            inputs.append(v)
        else:
            inputs.append(Wanted(v, perm))
    return Relabelled(node.op, inputs, dict(node.attrs))


def _axis(node: Node, perm: Perm, name: str = "axis") -> dict[str, Any]:
    axis = normalized_axis(node.attr(name), len(perm))
    return {**node.attrs, name: perm.index(axis)}


def _with_axis(node: Node, perm: Perm) -> Relabelled | None:
    x = node.inputs[0]
    assert x is not None
    return Relabelled(node.op, [Wanted(x, perm), *node.inputs[1:]], _axis(node, perm))


def _concat(node: Node, perm: Perm) -> Relabelled | None:
    if any(v is None for v in node.inputs):
        return None
    return Relabelled("Concat", [Wanted(v, perm) for v in node.inputs if v is not None], _axis(node, perm))


def _reduced_axes(node: Node) -> list[int]:
    x = node.inputs[0]
    assert x is not None
    if node.op.startswith("Arg"):
        return [normalized_axis(node.attr("axis"), x.rank)]
    return [normalized_axis(a, x.rank) for a in node.attr("axes")] or list(range(x.rank))


def _dropped_axes(node: Node) -> list[int]:
    """Dimensions of input 0 that the output does not have."""
    x = node.inputs[0]
    assert x is not None
    if node.op == "Gather":
        return [normalized_axis(node.attr("axis"), x.rank)]
    return _reduced_axes(node) if node.op.startswith(("Reduce", "Arg")) else []


def _reduce(node: Node, perm: Perm) -> Relabelled | None:
    x = node.inputs[0]
    assert x is not None
    axes = [normalized_axis(a, x.rank) for a in node.attr("axes")]
    return Relabelled(node.op, [Wanted(x, perm)], {**node.attrs, "axes": sorted(perm.index(a) for a in axes)})


def _slice(node: Node, perm: Perm) -> Relabelled | None:
    x, starts, ends = node.inputs[:3]
    axes, steps = node.input(3), node.input(4)
    assert x is not None and starts is not None
    listed = array(axes) if axes is not None else np.arange(starts.shape[0] or 0)
    if listed is None:
        return None
    moved = np.array([perm.index(normalized_axis(int(a), x.rank)) for a in listed.reshape(-1)], np.int64)
    return Relabelled("Slice", [Wanted(x, perm), starts, ends, moved, steps], dict(node.attrs))


def _pad(node: Node, perm: Perm) -> Relabelled | None:
    x, pads = node.inputs[:2]
    value, axes = node.input(2), node.input(3)
    assert x is not None and pads is not None
    if axes is not None:
        listed = array(axes)
        if listed is None:
            return None
        moved = np.array([perm.index(normalized_axis(int(a), x.rank)) for a in listed.reshape(-1)], np.int64)
        return Relabelled("Pad", [Wanted(x, perm), pads, value, moved], dict(node.attrs))
    amounts = array(pads)
    if amounts is None:
        moved = np.array([perm.index(a) for a in range(x.rank)], np.int64)
        return Relabelled("Pad", [Wanted(x, perm), pads, value, moved], dict(node.attrs))
    begin, end = amounts[: x.rank], amounts[x.rank :]
    permuted = np.concatenate([begin[list(perm)], end[list(perm)]]).astype(np.int64)
    return Relabelled("Pad", [Wanted(x, perm), permuted, value], dict(node.attrs))


def _per_dimension(node: Node, perm: Perm, index: int) -> np.ndarray | None:
    data = array(node.input(index))
    return None if data is None or data.shape != (len(perm),) else data[list(perm)]


def _tile(node: Node, perm: Perm) -> Relabelled | None:
    x, repeats = node.inputs[0], _per_dimension(node, perm, 1)
    assert x is not None
    return None if repeats is None else Relabelled(node.op, [Wanted(x, perm), repeats], dict(node.attrs))


def _expand(node: Node, perm: Perm) -> Relabelled | None:
    x, out = node.inputs[0], node.outputs[0]
    assert x is not None
    if x.rank != out.rank or any(d is None for d in out.shape):
        return None
    shape = np.array([out.shape[a] for a in perm], np.int64)
    return Relabelled("Expand", [Wanted(x, perm), shape], dict(node.attrs))


def _resize(node: Node, perm: Perm) -> Relabelled | None:
    x = node.inputs[0]
    assert x is not None
    inputs: list[Wanted | np.ndarray | Value | None] = [Wanted(x, perm)]
    for i in (1, 2):
        if node.input(i) is None:
            inputs.append(None)
            continue
        permuted = _per_dimension(node, perm, i)
        if permuted is None:
            return None
        inputs.append(permuted)
    attrs = dict(node.attrs)
    for name in ("sizes", "scales"):
        if attrs.get(name):
            attrs[name] = [attrs[name][a] for a in perm]
    return Relabelled("Resize", inputs, attrs)


def _gather(node: Node, perm: Perm) -> Relabelled | None:
    indices = node.inputs[1]
    assert indices is not None
    return _with_axis(node, perm) if indices.rank <= 1 else None


def _cumsum(node: Node, perm: Perm) -> Relabelled | None:
    x = node.inputs[0]
    assert x is not None
    if node.input(1) is None:
        return _with_axis(node, perm)
    axis = array(node.input(1))
    if axis is None:
        return None
    attrs = {**node.attrs, "axis": perm.index(normalized_axis(int(axis.reshape(-1)[0]), x.rank))}
    return Relabelled("CumSum", [Wanted(x, perm)], attrs)


def _scaled(node: Node, perm: Perm) -> Relabelled | None:
    """Quantize and dequantize: one scale, or scales along an axis that moves with the dimensions."""
    scale = node.inputs[1]
    if scale is None or not scale.types or node.attr("block_size"):
        return None
    x = node.inputs[0]
    assert x is not None
    if scale.rank == 0 or scale.shape == (1,):
        return Relabelled(node.op, [Wanted(x, perm), *node.inputs[1:]], dict(node.attrs))
    return _with_axis(node, perm) if scale.rank == 1 else None


_REDUCTIONS = ("Sum", "Mean", "Max", "Min", "Prod", "L1", "L2", "LogSum", "LogSumExp", "SumSquare")

_RULES: dict[str, Callable[[Node, Perm], Relabelled | None]] = {
    "Concat": _concat,
    "Slice": _slice,
    "Pad": _pad,
    "Tile": _tile,
    "Expand": _expand,
    "Resize": _resize,
    "Gather": _gather,
    "CumSum": _cumsum,
    "QuantizeLinear": _scaled,
    "DequantizeLinear": _scaled,
    **dict.fromkeys(("Split", "Softmax", "LogSoftmax", "ArgMax", "ArgMin", "TopK", "LocalResponseNorm"), _with_axis),
    **{f"Reduce{name}": _reduce for name in _REDUCTIONS},
}
