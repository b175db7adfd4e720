"""LayerNorm and RMSNorm from their pieces, scale and bias into them, GroupNorm from reshaped forms."""

from __future__ import annotations

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.match import array, is_f32, normalized_axis, only_use, producer, scalar
from edgec.converter.passes.merge_views import VIEWS


def _last_axes(node: Node) -> int | None:
    """First axis of a ReduceMean over the last dimensions with keepdims, else None."""
    x = node.inputs[0]
    if x is None or not node.attr("keepdims"):
        return None
    axes = sorted(normalized_axis(a, x.rank) for a in node.attr("axes"))
    return axes[0] if axes and axes == list(range(axes[0], x.rank)) else None


def _mean(value: Value | None) -> tuple[Value, int] | None:
    """(x, axis) when the value is the mean of x over the dimensions axis.. ."""
    node = producer(value, "ReduceMean")
    axis = None if node is None else _last_axes(node)
    return None if node is None or axis is None or node.inputs[0] is None else (node.inputs[0], axis)


def _square_of(value: Value) -> Value | None:
    """x when the value is x * x."""
    node = producer(value, "Mul")
    return node.inputs[0] if node is not None and node.inputs[0] is node.inputs[1] else None


def _root_of_mean_square(value: Value | None, inverse: bool) -> tuple[Value, int, float] | None:
    """(x, axis, epsilon) when the value is sqrt(mean(x*x) + epsilon), or its reciprocal if `inverse`."""
    root = producer(value, "Rsqrt" if inverse else "Sqrt")
    if root is None:
        return None
    total = producer(root.inputs[0], "Add")
    operands = (
        [(root.inputs[0], 0.0)] if total is None else [(a, scalar(b)) for a, b in (total.inputs, total.inputs[::-1])]
    )
    for mean, epsilon in operands:
        found = _mean(mean)
        if found is None or epsilon is None or epsilon < 0:
            continue
        x = _square_of(found[0])
        if x is not None:
            return x, found[1], epsilon
    return None


def _normalized(node: Node) -> tuple[Value, int, float] | None:
    """(d, axis, epsilon) when the node computes d / sqrt(mean(d*d) + epsilon)."""
    a, b = node.inputs
    pairs = [(a, b, False)] if node.op == "Div" else [(a, b, True), (b, a, True)]
    for d, root, inverse in pairs:
        found = _root_of_mean_square(root, inverse)
        if found is not None and found[0] is d:
            return found
    return None


def _centred(d: Value, axis: int) -> Value | None:
    """x when d is x - mean(x) over the same dimensions."""
    node = producer(d, "Sub")
    if node is None or node.inputs[0] is None:
        return None
    found = _mean(node.inputs[1])
    return node.inputs[0] if found is not None and found[0] is node.inputs[0] and found[1] == axis else None


@rewrite("recognize-layer-norm", ops=("Div", "Mul"), stages=("recognise", "fuse"))
def recognize_layer_norm(graph: Graph, node: Node) -> Patch | None:
    """(x - mean(x)) / sqrt(mean((x - mean(x))^2) + e) -> LayerNorm; x / sqrt(mean(x^2) + e) -> RMSNorm."""
    if not is_f32(*node.inputs, *node.outputs):
        return None
    found = _normalized(node)
    if found is None:
        return None
    d, axis, epsilon = found
    if d.types != node.outputs[0].types:
        return None
    x = _centred(d, axis)
    op, source = ("RMSNorm", d) if x is None else ("LayerNorm", x)
    patch = Patch(graph, f"{op} recognised", node)
    attrs = {"axis": axis - d.rank, "epsilon": epsilon}
    return patch.replace(node.outputs[0], patch.add(op, [source], attrs))


def _over_normalized_dims(value: Value | None, x: Value, axis: int) -> np.ndarray | None:
    """A constant that varies over the normalised dimensions only, in exactly their shape."""
    data = array(value)
    if data is None or data.dtype != np.float32:
        return None
    shape = x.shape[axis:]
    if any(s is None for s in shape):
        return None
    wanted: tuple[int, ...] = tuple(int(s) for s in shape if s is not None)
    kept = (
        data.reshape(data.shape[-len(wanted) :])
        if data.ndim > len(wanted) and data.size == int(np.prod(data.shape[-len(wanted) :]))
        else data
    )
    try:
        return np.ascontiguousarray(np.broadcast_to(kept, wanted))
    except ValueError:
        return None


@rewrite("norm-scale-bias", ops=("Mul", "Add"), stages=("recognise", "fuse"))
def norm_scale_bias(graph: Graph, node: Node) -> Patch | None:
    """LayerNorm, RMSNorm or GroupNorm, then Mul or Add of a constant over the normalised dims -> its scale or bias."""
    for y, c in (node.inputs, node.inputs[::-1]):
        norm = producer(y, "LayerNorm", "RMSNorm", "GroupNorm")
        if norm is None or y is None or not only_use(graph, y) or y.types != node.outputs[0].types:
            continue
        if not is_f32(*node.inputs, *norm.inputs) or (norm.op == "RMSNorm" and node.op == "Add"):
            continue
        axis = normalized_axis(norm.attr("axis"), y.rank) if norm.op != "GroupNorm" else y.rank - 1
        data = _over_normalized_dims(c, y, axis)
        scale, bias = norm.input(1), norm.input(2)
        if data is None or c is None:
            continue
        old_scale, old_bias = array(scale), array(bias)
        if (scale is not None and old_scale is None) or (bias is not None and old_bias is None):
            continue
        patch = Patch(graph, f"{node.op} folded into {norm.op}", node, [norm])
        new_scale, new_bias = scale, bias
        if node.op == "Mul":
            new_scale = patch.constant(c.name, data if old_scale is None else old_scale.reshape(data.shape) * data)
            if old_bias is not None:
                new_bias = patch.constant(f"{c.name}:bias", old_bias.reshape(data.shape) * data)
        else:
            if scale is None:
                new_scale = patch.constant(f"{c.name}:scale", np.ones(data.shape, np.float32))
            new_bias = patch.constant(c.name, data if old_bias is None else old_bias.reshape(data.shape) + data)
        new = patch.add(norm.op, [norm.inputs[0], new_scale, new_bias], dict(norm.attrs), name=norm.name)
        return patch.replace(node.outputs[0], new)
    return None


@rewrite("recognize-group-norm", ops=VIEWS, stages=("recognise",))
def recognize_group_norm(graph: Graph, node: Node) -> Patch | None:
    """[N,C,H,W] -> [N,G,-1] -> normalised over the last dimension -> [N,C,H,W] is GroupNorm.

    The middle is LayerNorm without scale, or GroupNorm with G groups between transposes (InstanceNorm of the groups).
    """
    y = node.outputs[0]
    inner = _normalized_groups(graph, node.inputs[0])
    if inner is None or y.rank < 3:
        return None
    grouped, epsilon, consumed = inner
    before = producer(grouped, *VIEWS)
    if before is None or before.inputs[0] is None:
        return None
    x = before.inputs[0]
    groups, channels = grouped.shape[1], y.shape[1]
    if x.types != y.types or grouped.rank < 3 or not groups or not channels or channels % groups:
        return None
    if any(t.shape[0] != g.shape[0] for t, g in zip(x.types, grouped.types)):
        return None
    last = [0, *range(2, y.rank), 1]
    first = [0, y.rank - 1, *range(1, y.rank - 1)]
    patch = Patch(graph, "GroupNorm recognised", node, [*consumed, before])
    nhwc = patch.add("Transpose", [x], {"perm": last})
    norm = patch.add("GroupNorm", [nhwc], {"groups": groups, "epsilon": epsilon})
    return patch.replace(y, patch.add("Transpose", [norm], {"perm": first}))


def _normalized_groups(graph: Graph, value: Value | None) -> tuple[Value, float, list[Node]] | None:
    """(tensor [N, G, ...] that is normalised over everything after G, epsilon, nodes)."""
    norm = producer(value, "LayerNorm")
    if norm is not None:
        x = norm.inputs[0]
        if (
            x is None
            or not _neutral(norm)
            or normalized_axis(norm.attr("axis"), x.rank) != 2
            or not only_use(graph, norm.outputs[0])
        ):
            return None
        return x, float(norm.attr("epsilon")), [norm]
    back = producer(value, "Transpose")
    norm = None if back is None else producer(back.inputs[0], "GroupNorm")
    if back is None or norm is None:
        return None
    forth = producer(norm.inputs[0], "Transpose")
    if forth is None or forth.inputs[0] is None or not _neutral(norm):
        return None
    x = forth.inputs[0]
    last = [0, *range(2, x.rank), 1]
    if list(forth.attrs["perm"]) != last or list(back.attrs["perm"]) != [0, x.rank - 1, *range(1, x.rank - 1)]:
        return None
    if (
        norm.attr("groups") != x.shape[1]
        or not only_use(graph, norm.outputs[0])
        or not only_use(graph, back.outputs[0])
    ):
        return None
    return x, float(norm.attr("epsilon")), [forth, norm, back]


def _neutral(norm: Node) -> bool:
    """Scale and bias are missing or 1 and 0."""
    return all(v is None or scalar(v) == neutral for v, neutral in ((norm.input(1), 1.0), (norm.input(2), 0.0)))
