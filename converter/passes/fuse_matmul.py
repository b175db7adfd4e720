"""MatMul takes transposed operands as they lie, and does not need its batch dimensions joined by reshapes."""

from __future__ import annotations

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.hoist_selects import select_of
from edgec.converter.passes.match import is_f32, normalized_axis, only_use, producer
from edgec.converter.passes.merge_views import VIEWS


@rewrite("transpose-into-matmul", ops=("MatMul",), stages=("recognise", "fuse"))
def transpose_into_matmul(graph: Graph, node: Node) -> Patch | None:
    """MatMul of a Transpose that swaps the last two dimensions -> transpose_a or transpose_b."""
    for i, flag in ((1, "transpose_b"), (0, "transpose_a")):
        transpose = producer(node.inputs[i], "Transpose")
        if transpose is None:
            continue
        perm = list(transpose.attrs["perm"])
        rank = len(perm)
        if rank < 2 or perm != [*range(rank - 2), rank - 1, rank - 2]:
            continue
        patch = Patch(graph, "Transpose folded into MatMul", node, [transpose])
        inputs = list(node.inputs)
        inputs[i] = transpose.inputs[0]
        new = patch.add("MatMul", inputs, {**node.attrs, flag: 1 - node.attr(flag)}, name=node.name)
        return patch.replace(node.outputs[0], new)
    return None


@rewrite("constant-transposed-weight", ops=("MatMul",), stages=("finish",))
def constant_transposed_weight(graph: Graph, node: Node) -> Patch | None:
    """MatMul with transpose_b and a constant 2-D right side -> the constant stored transposed, [K, N]."""
    b = node.inputs[1]
    if not node.attr("transpose_b") or b is None or b.data is None or b.data.ndim != 2 or not is_f32(b):
        return None
    if len(b.consumers) != 1 or graph.is_output(b):
        return None  # a tied embedding: two copies would cost more than the packing
    patch = Patch(graph, "weight of MatMul transposed", node)
    weight = patch.constant(b.name, np.ascontiguousarray(b.data.T))
    new = patch.add(
        "MatMul", [node.inputs[0], weight, *node.inputs[2:]], {**node.attrs, "transpose_b": 0}, name=node.name
    )
    return patch.replace(node.outputs[0], new)


@rewrite("reshapes-around-matmul", ops=VIEWS, stages=("recognise", "fuse"))
def reshapes_around_matmul(graph: Graph, node: Node) -> Patch | None:
    """[B,S,K] -> [B*S,K] -> MatMul -> [B*S,N] -> [B,S,N] becomes MatMul on [B,S,K]."""
    y = node.outputs[0]
    matmul = producer(node.inputs[0], "MatMul")
    if (
        matmul is None
        or not only_use(graph, matmul.outputs[0])
        or matmul.input(3) is not None
        or matmul.attr("transpose_a")
    ):
        return None
    before = producer(matmul.inputs[0], *VIEWS)
    weight = matmul.inputs[1]
    if before is None or weight is None or weight.rank != 2 or before.inputs[0] is None:
        return None
    x, joined = before.inputs[0], matmul.inputs[0]
    assert joined is not None
    if x.rank < 2 or y.rank != x.rank or joined.rank < 2 or not x.types:
        return None
    if any(a.shape[-1] != b.shape[-1] for a, b in zip(x.types, joined.types)):
        return None
    if any(a.shape[:-1] != b.shape[:-1] for a, b in zip(x.types, y.types)):
        return None
    patch = Patch(graph, "reshapes around MatMul removed", node, [matmul, before])
    new = patch.add("MatMul", [x, *matmul.inputs[1:]], dict(matmul.attrs), name=matmul.name)
    return patch.replace(y, new) if new.types == y.types else None


@rewrite("split-matmul", ops=("MatMul",), stages=("fuse",))
def split_matmul(graph: Graph, node: Node) -> Patch | None:
    """One product whose columns are only ever read in disjoint slices (q, k, v) -> one product per slice."""
    y, weight = node.outputs[0], node.inputs[1]
    if weight is None or weight.data is None or weight.data.ndim != 2 or graph.is_output(y) or y.rank < 2:
        return None
    if not is_f32(*node.inputs) or node.input(3) is not None or node.attr("transpose_b"):
        return None
    bias = node.input(2)
    if bias is not None and bias.data is None:
        return None
    taken: list[tuple[Value, list[int]]] = []
    for reader in y.consumers:
        parts = _columns(reader, y)
        if parts is None:
            return None
        taken += parts
    if len(taken) < 2:
        return None
    columns = [c for _, part in taken for c in part]
    if len(columns) != len(set(columns)):
        return None
    patch = Patch(graph, "MatMul split instead of its result", node, list(y.consumers))
    for out, part in taken:
        own = patch.constant(weight.name, np.ascontiguousarray(weight.data[:, part]))
        own_bias = None if bias is None or bias.data is None else patch.constant(bias.name, bias.data.reshape(-1)[part])
        new = patch.add("MatMul", [node.inputs[0], own, own_bias], dict(node.attrs), name=node.name)
        patch.replace(out, new)
    return patch


def _columns(reader: Node, y: Value) -> list[tuple[Value, list[int]]] | None:
    """(output, columns of y) of a Slice or Split along the last dimension."""
    if reader.inputs[0] is not y:
        return None
    if reader.op == "Slice":
        select = select_of(reader)
        if select is None or select.axis != y.rank - 1:
            return None
        end = select.start + select.count * select.step
        return [(reader.outputs[0], list(range(select.start, end, select.step)))]
    if reader.op != "Split" or normalized_axis(reader.attr("axis"), y.rank) != y.rank - 1:
        return None
    found, at = [], 0
    for out in reader.outputs:
        size = out.shape[-1]
        if size is None:
            return None
        found.append((out, list(range(at, at + size))))
        at += size
    return [(out, part) for out, part in found if out.consumers]
