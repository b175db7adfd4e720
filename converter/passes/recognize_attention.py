"""Softmax attention from its pieces: MatMul, scale, mask, Softmax, MatMul."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgec.converter.ir import schema
from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.match import array, is_f32, only_use, producer, scalar, with_scalar
from edgec.converter.passes.merge_transposes import compose
from edgec.converter.passes.merge_views import VIEWS, reshape_spec

# Anything below this is minus infinity after exp: people write -1e9, finfo.min or -inf.
_MASKED = -1e8
_LAYOUT = ("Transpose", *VIEWS)


@dataclass
class _Scores:
    """scale * (q @ k^T) + masks."""

    matmul: Node
    scale: float
    masks: list[Value]
    nodes: list[Node]


@rewrite("recognize-attention", ops=("MatMul",), stages=("recognise", "fuse"))
def recognize_attention(graph: Graph, node: Node) -> Patch | None:
    """Softmax(scale * q @ k^T + mask) @ v -> Attention; repeated k and v of grouped queries are read in place."""
    if not schema.known("Attention") or node.attr("transpose_a") or any(node.input(i) is not None for i in (2, 3)):
        return None
    if node.attr("activation") != "none" or not is_f32(*node.inputs):
        return None
    guarded = _guarded(graph, node.inputs[0])
    softmax = producer(node.inputs[0] if guarded is None else guarded[0], "Softmax")
    if softmax is None or softmax.outputs[0].rank not in (3, 4):
        return None
    if guarded is None and not only_use(graph, softmax.outputs[0]):
        return None
    if softmax.attr("axis") not in (-1, softmax.outputs[0].rank - 1):
        return None
    scores = _scores(graph, softmax.inputs[0])
    if scores is None:
        return None
    patch = Patch(graph, "", node, [softmax, *scores.nodes, scores.matmul, *(guarded[1] if guarded else [])])
    q, q_scale = _without_scale(patch, scores.matmul.inputs[0])
    k, k_scale = _keys(patch, scores.matmul)
    v = node.inputs[1]
    if q is None or k is None or v is None or scores.matmul.attr("transpose_a"):
        return None
    if node.attr("transpose_b"):
        v = _swapped(patch, v)
    rank = softmax.outputs[0].rank
    if q.rank != rank or k.rank != rank or v.rank != rank:
        return None
    heads = q.shape[1] if rank == 4 else None
    if rank == 4:
        k, v, grouped = _ungrouped(patch, k, v, heads)
    else:
        grouped = False
    mask, causal = _mask(patch, scores.masks, softmax.outputs[0])
    if mask is False:
        return None
    operands: list[Value] = [q, k, v]
    if rank == 3:
        if isinstance(mask, Value) and mask.rank == 3:
            mask = patch.add("Unsqueeze", [mask], {"axes": [1]})
        operands = [patch.add("Unsqueeze", [t], {"axes": [1]}) for t in operands]
    if not _consistent(operands, node.outputs[0], rank):
        return None
    attrs = {"scale": scores.scale * q_scale * k_scale, "causal": int(causal)}
    if guarded is not None and isinstance(mask, Value):
        attrs["zero_masked_rows"] = 1
    out = patch.add("Attention", [*operands, mask if isinstance(mask, Value) else None], attrs)
    if rank == 3:
        out = patch.add("Squeeze", [out], {"axes": [1]})
    patch.label = "Attention recognised" + (" (grouped queries)" if grouped else "") + (" (causal)" if causal else "")
    return patch.replace(node.outputs[0], out) if out.types == node.outputs[0].types else None


def _guarded(graph: Graph, value: Value | None) -> tuple[Value, list[Node]] | None:
    """(p, nodes) for Where(IsNaN(p), 0, p): torch's softmax gives 0 where a mask hides every key."""
    where = producer(value, "Where")
    if where is None or value is None or not only_use(graph, value):
        return None
    test, zero, p = where.inputs
    nan = producer(test, "IsNaN")
    if nan is None or test is None or p is None or nan.inputs[0] is not p or scalar(zero) != 0:
        return None
    if len(test.consumers) != 1 or len(p.consumers) != 2 or graph.is_output(p) or graph.is_output(test):
        return None
    return p, [where, nan]


def _scores(graph: Graph, value: Value | None) -> _Scores | None:
    """Walks from the input of Softmax up to the first MatMul through scales and masks."""
    scale = 1.0
    masks: list[Value] = []
    nodes: list[Node] = []
    while value is not None and (node := producer(value)) is not None:
        if not only_use(graph, value):
            return None
        if node.op == "MatMul":
            plain = node.attr("activation") == "none" and node.input(2) is None and node.input(3) is None
            return _Scores(node, scale, masks, nodes) if plain and is_f32(*node.inputs) else None
        nodes.append(node)
        if node.op == "Mul" and (pair := with_scalar(node)) is not None:
            value, scale = pair[0], scale * pair[1]
        elif node.op == "Div" and (divisor := scalar(node.inputs[1])):
            value, scale = node.inputs[0], scale / divisor
        elif node.op == "Add":
            if scale != 1:
                return None  # the mask is scaled, too
            a, b = node.inputs
            below = [
                (x, m)
                for x, m in ((a, b), (b, a))
                if x is not None and m is not None and _leads_to_matmul(x) and x.types == node.outputs[0].types
            ]
            if not below:
                return None
            value = below[0][0]
            masks.append(below[0][1])
        else:
            return None
    return None


def _leads_to_matmul(value: Value) -> bool:
    node = producer(value, "MatMul", "Mul", "Div", "Add")
    while node is not None and node.op != "MatMul":
        found = None
        for v in node.inputs:
            found = found or producer(v, "MatMul", "Mul", "Div", "Add")
        node = found
    return node is not None


def _without_scale(patch: Patch, value: Value | None) -> tuple[Value | None, float]:
    """The value without a scalar factor that was applied to it, below or above transposes and views."""
    chain: list[Node] = []
    at = value
    while at is not None and (node := producer(at)) is not None:
        if not only_use(patch.graph, at):
            break
        if node.op == "Mul" and (pair := with_scalar(node)) is not None:
            source, more = _without_scale(patch, pair[0])
            for step in reversed(chain):
                source = patch.add(step.op, [source, *step.inputs[1:]], dict(step.attrs), name=step.name)
            return source, pair[1] * more
        if node.op not in _LAYOUT:
            break
        chain.append(node)
        at = node.inputs[0]
    return value, 1.0


def _swapped(patch: Patch, value: Value) -> Value:
    """The value with its last two dimensions swapped; merged into the Transpose that made it, if one did."""
    rank = value.rank
    swap = [*range(rank - 2), rank - 1, rank - 2]
    transpose = producer(value, "Transpose")
    if transpose is None:
        return patch.add("Transpose", [value], {"perm": swap})
    perm = compose(transpose.attrs["perm"], swap)
    source = transpose.inputs[0]
    assert source is not None
    return source if perm == sorted(perm) else patch.add("Transpose", [source], {"perm": perm}, name=transpose.name)


def _keys(patch: Patch, matmul: Node) -> tuple[Value | None, float]:
    """k as [..., T, D], and the factor that was applied to it."""
    value, factor = _without_scale(patch, matmul.inputs[1])
    if value is None or matmul.attr("transpose_b"):
        return value, factor
    return _swapped(patch, value), factor


def _ungrouped(patch: Patch, k: Value, v: Value, heads: int | None) -> tuple[Value, Value, bool]:
    """k and v before their heads were repeated, if both were."""
    first, second = _before_repeat(patch, k, heads), _before_repeat(patch, v, heads)
    if first is None or second is None or first.shape[1] != second.shape[1]:
        return k, v, False
    return first, second, True


def _before_repeat(patch: Patch, value: Value, heads: int | None) -> Value | None:
    """[B,Hk,T,D] when the value is [B,Hk,T,D] -> [B,Hk,1,T,D] -> Expand or Tile to [B,Hk,G,T,D] -> [B,Hk*G,T,D].

    The repetition may stand below a Transpose (heads repeated as [B,T,Hk,G,D] before the heads move forward).
    """
    transpose = producer(value, "Transpose")
    joined = value if transpose is None else transpose.inputs[0]
    perm = None if transpose is None else list(transpose.attrs["perm"])
    head_axis = 1 if perm is None else perm[1]
    join = producer(joined, *VIEWS)
    if join is None or heads is None or joined is None:
        return None
    repeat = producer(join.inputs[0], "Expand", "Tile")
    if repeat is None or repeat.inputs[0] is None:
        return None
    small, big = repeat.inputs[0], repeat.outputs[0]
    if big.rank != 5 or small.rank != 5 or joined.rank != 4:
        return None
    group_axis = head_axis + 1
    changed = [i for i in range(5) if any(s.shape[i] != b.shape[i] for s, b in zip(small.types, big.types))]
    if changed != [group_axis] or small.shape[group_axis] != 1 or big.shape[head_axis] is None:
        return None
    shapes = [tuple(d for i, d in enumerate(t.shape) if i != group_axis) for t in small.types]
    merged = [
        (*s[:head_axis], s[head_axis] * b.shape[group_axis], *s[head_axis + 1 :]) for s, b in zip(shapes, big.types)
    ]
    if merged != [t.shape for t in joined.types]:
        return None
    spec = reshape_spec([t.shape for t in small.types], shapes)
    if spec is None:
        return None
    shape = patch.constant(f"{value.name}:shape", np.array(spec, np.int64))
    plain = patch.add("Reshape", [small, shape], name=repeat.name)
    return plain if perm is None else patch.add("Transpose", [plain], {"perm": perm}, name=repeat.name)


def _mask(patch: Patch, masks: list[Value], scores: Value) -> tuple[Value | bool | None, bool]:
    """(additive mask or None, causal); (False, ...) when the masks have a form that Attention does not take."""
    causal = False
    rest: list[Value] = []
    for m in masks:
        if not is_f32(m) or m.rank > scores.rank:
            return False, False
        if _is_causal(m, scores):
            causal = True
        else:
            rest.append(m)
    if not rest:
        return None, causal
    total = rest[0]
    for m in rest[1:]:
        total = patch.add("Add", [total, m])
    return total, causal


def _is_causal(mask: Value, scores: Value) -> bool:
    """A constant [.., S, S] that hides exactly what lies above the diagonal."""
    data = array(mask)
    rows, columns = scores.shape[-2:]
    if (
        data is None
        or data.ndim < 2
        or data.shape[-2:] != (rows, columns)
        or rows != columns
        or data.size != data.shape[-1] * data.shape[-2]
    ):
        return False
    square = data.reshape(data.shape[-2:])
    above = np.triu(np.ones(square.shape, bool), 1)
    return bool(rows != 1 and (square[above] <= _MASKED).all() and (square[~above] == 0).all())


def _consistent(operands: list[Value], out: Value, rank: int) -> bool:
    q, k, v = (t.types for t in operands)
    for tq, tk, tv in zip(q, k, v):
        b, h, _, d = tq.shape
        if tk.shape[0] != b or tv.shape[0] != b or tk.shape[1] != tv.shape[1] or tk.shape[1] == 0 or h % tk.shape[1]:
            return False
        if tk.shape[3] != d or tk.shape[2] != tv.shape[2]:
            return False
    return True
