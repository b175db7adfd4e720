"""Slices of slices, slices of concatenations, concatenations of everything a split gave."""

from __future__ import annotations

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, replaceable, rewrite
from edgec.converter.passes.hoist_selects import add_slice, select_of
from edgec.converter.passes.match import normalized_axis, producer, quantized


@rewrite("slice-of-slice", ops=("Slice",), stages=("simplify",))
def slice_of_slice(graph: Graph, node: Node) -> Patch | None:
    """Two Slices of the same dimension -> one."""
    inner = producer(node.inputs[0], "Slice")
    outer_select = select_of(node)
    inner_select = None if inner is None else select_of(inner)
    if inner is None or outer_select is None or inner_select is None or outer_select.axis != inner_select.axis:
        return None
    source = inner.inputs[0]
    if source is None or quantized(node):
        return None
    patch = Patch(graph, "Slice of Slice merged", node, [inner])
    start = inner_select.start + outer_select.start * inner_select.step
    step = inner_select.step * outer_select.step
    new = add_slice(patch, source, outer_select.axis, start, outer_select.count, step, node.name)
    return patch.replace(node.outputs[0], new)


@rewrite("slice-of-concat", ops=("Slice",), stages=("simplify",))
def slice_of_concat(graph: Graph, node: Node) -> Patch | None:
    """Slice that lies within one operand of a Concat along the same dimension -> Slice of that operand."""
    concat = producer(node.inputs[0], "Concat")
    select = select_of(node)
    if concat is None or select is None or quantized(node):
        return None
    if normalized_axis(concat.attr("axis"), node.outputs[0].rank) != select.axis:
        return None
    begin, last = 0, select.start + (select.count - 1) * select.step
    for v in concat.inputs:
        size = None if v is None else v.shape[select.axis]
        if v is None or size is None:
            return None
        if begin <= select.start and last < begin + size:
            patch = Patch(graph, "Slice of Concat reads its operand", node, [concat])
            if v.types == node.outputs[0].types:
                return patch.replace(node.outputs[0], v) if replaceable(graph, node.outputs[0], v) else None
            new = add_slice(patch, v, select.axis, select.start - begin, select.count, select.step, node.name)
            return patch.replace(node.outputs[0], new)
        begin += size
    return None


@rewrite("concat-of-parts", ops=("Concat",), stages=("simplify",))
def concat_of_parts(graph: Graph, node: Node) -> Patch | None:
    """Concat of all outputs of a Split, or of Slices that follow each other, along the same dimension -> the source."""
    y = node.outputs[0]
    axis = normalized_axis(node.attr("axis"), y.rank)
    source: Value | None = None
    at = 0
    for v in node.inputs:
        part = _part_of(v, axis)
        if part is None or part[1] != at or (source is not None and part[0] is not source):
            return None
        source, _, count = part
        at += count
    if source is None or source.types != y.types or source.quantization != y.quantization:
        return None
    if not replaceable(graph, y, source):
        return None
    return Patch(graph, "Concat of all parts removed", node).replace(y, source)


def _part_of(value: Value | None, axis: int) -> tuple[Value, int, int] | None:
    """(source, first element, number of elements) of a part along `axis`."""
    node = producer(value, "Slice", "Split")
    if node is None or value is None or node.inputs[0] is None:
        return None
    source = node.inputs[0]
    if node.op == "Slice":
        select = select_of(node)
        if select is None or select.axis != axis or (select.step != 1 and select.count > 1):
            return None
        return source, select.start, select.count
    if normalized_axis(node.attr("axis"), source.rank) != axis:
        return None
    begin = 0
    for out in node.outputs:
        size = out.shape[axis]
        if size is None:
            return None
        if out is value:
            return source, begin, size
        begin += size
    return None


@rewrite("concat-of-concat", ops=("Concat",), stages=("simplify",))
def concat_of_concat(graph: Graph, node: Node) -> Patch | None:
    """Concat whose operand is a Concat along the same dimension that nobody else reads -> one Concat."""
    rank = node.outputs[0].rank
    axis = normalized_axis(node.attr("axis"), rank)
    inputs: list[Value | None] = []
    merged: list[Node] = []
    for v in node.inputs:
        inner = producer(v, "Concat")
        if (
            inner is not None
            and v is not None
            and all(c is node for c in v.consumers)
            and not graph.is_output(v)
            and normalized_axis(inner.attr("axis"), rank) == axis
            and not quantized(inner)
        ):
            inputs += inner.inputs
            merged.append(inner)
        else:
            inputs.append(v)
    if not merged or quantized(node):
        return None
    patch = Patch(graph, "Concat of Concat merged", node, merged)
    return patch.replace(node.outputs[0], patch.add("Concat", inputs, dict(node.attrs)))


@rewrite("slices-to-split", ops=("Slice",), stages=("finish",))
def slices_to_split(graph: Graph, node: Node) -> Patch | None:
    """Slices that cut one tensor into consecutive parts -> one Split. Seen from the first of them."""
    x = node.inputs[0]
    first = select_of(node)
    if x is None or first is None or first.step != 1 or first.start != 0 or quantized(node):
        return None
    parts: dict[int, tuple[int, list[Node]]] = {}
    for reader in x.consumers:
        if reader.op != "Slice" or reader.inputs[0] is not x:
            continue
        select = select_of(reader)
        if select is None or select.axis != first.axis or (select.step != 1 and select.count > 1):
            continue
        size, readers = parts.setdefault(select.start, (select.count, []))
        if size == select.count and reader not in readers:
            readers.append(reader)
    order: list[list[Node]] = []
    sizes: list[int] = []
    at = 0
    while at in parts:
        size, readers = parts[at]
        sizes.append(size)
        order.append(readers)
        at += size
    if len(order) < 2 or at != x.shape[first.axis]:
        return None
    patch = Patch(graph, "Slices made one Split", node, [n for readers in order for n in readers])
    before = min((n for readers in order for n in readers), key=lambda n: n.order)
    attrs = {"axis": first.axis, "sizes": sizes}
    for readers, part in zip(order, patch.add_many("Split", [x], attrs, len(order), node.name, before=before)):
        for reader in readers:
            patch.replace(reader.outputs[0], part)
    return patch
