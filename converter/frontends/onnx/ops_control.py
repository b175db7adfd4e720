"""If, Loop and Scan. What shapes and constants decide disappears; the rest keeps its sub-graphs.

A sub-graph sees nothing of the graph around it: what its nodes read from outside becomes one more input of the
operator and of the sub-graph (Importer._capture).
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.importer import POISON, TensorSequence
from edgec.converter.frontends.onnx.registry import Unsupported, onnx_op
from edgec.converter.ir.graph import Graph, GraphError, TensorType, Value

# A loop whose number of rounds is known is unrolled up to this many ONNX nodes: shapes stay static and fusions work.
UNROLL_NODES = 3000
# Sizes for which a branch is imported that does not fit those of the model; the second probe has twice as much.
BRANCH_SIZES = (32, 64, 128, 256, 512, 1024, 96, 160, 224, 320, 16, 8, 4, 2)


def _known_bool(value: Value | None) -> bool | None:
    if value is None:
        return True
    data = value.static_value
    return None if data is None or data.size != 1 else bool(data.reshape(-1)[0])


def _scalar(c: Context, value: Value | None) -> Value | None:
    """A one-element tensor without dimensions."""
    return value if value is None or not value.types or value.rank == 0 else c.reshape(value, [])


@onnx_op("If")
def if_(c: Context) -> list[Any]:
    condition = c.need(0)
    branches = {name: c.need_attr(name) for name in ("then_branch", "else_branch")}
    known = _known_bool(condition)
    if known is not None:
        return c.importer.run_subgraph(branches["then_branch" if known else "else_branch"], c.scope, [], c.scope.prefix)
    graphs: dict[str, Graph] = {}
    captured: dict[str, list[Value]] = {}
    for name, body in branches.items():
        graphs[name], captured[name] = _branch(c, body, f"{c.name}/{name}/")
    union: list[Value] = []
    for values in captured.values():
        union += [v for v in values if all(v is not u for u in union)]
    for name, graph in graphs.items():
        own = {id(outer): inner for outer, inner in zip(captured[name], graph.inputs)}
        graph.inputs = []
        for outer in union:
            if id(outer) in own:
                graph.inputs.append(own[id(outer)])
            else:
                c.importer.open_input(graph, outer.name, outer)
    outputs = c.emit_many("If", [_scalar(c, condition), *union], dict(graphs), len(c.output_names))
    for i, value in enumerate(outputs):
        _same_type(value, *(graphs[n].outputs[i] for n in branches))
    return outputs


def _branch(c: Context, body: Any, prefix: str) -> tuple[Graph, list[Value]]:
    """A branch that does not fit the sizes of its tensors is imported for other sizes: it may never be taken.

    It keeps its operators, for tensors of any shape; when it is taken all the same, the run says what does not fit.
    """
    importer = c.importer
    refused, problems = len(importer.refusals), len(importer.problems)
    seen: list[Value] = []
    try:
        return importer.build_subgraph(body, c.scope, [], prefix, seen)
    except Unsupported:
        reasons = importer.refusals[refused:]
        if not reasons or len(importer.problems) > problems:
            raise
    for assumed in _other_sizes(seen):
        del importer.refusals[refused:]
        with contextlib.suppress(Unsupported):
            result = importer.build_subgraph(body, c.scope, [], prefix, assumed=assumed)
            importer.assumptions += 1
            return result
    raise GraphError(reasons[0][1])


def _other_sizes(values: list[Value]) -> Iterator[dict[int, tuple[TensorType, ...]]]:
    """One dimension of one tensor after the other, with a size for each probe; the last ones first: they are lengths."""
    for value in values:
        if not value.types or value.dtype[0] not in "fb":
            continue
        for axis in reversed(range(value.rank)):
            if all(t.shape[axis] == 1 for t in value.types):
                continue
            for size in BRANCH_SIZES:
                types = tuple(
                    TensorType(t.dtype, (*t.shape[:axis], size << probe, *t.shape[axis + 1 :]))
                    for probe, t in enumerate(value.types)
                )
                yield {id(value): types}


def _same_type(value: Value, *sources: Value) -> None:
    """The type of a control flow output where all its sources agree."""
    first = sources[0].types
    if first and all(v.types == first for v in sources):
        value.types = first
        value.known = (None,) * len(first)


def _no_poison(values: list[Any]) -> None:
    if any(v is POISON for v in values):
        raise Unsupported("its sub-graph holds operators that are not supported")


@onnx_op("Loop")
def loop(c: Context) -> list[Any]:
    body = c.need_attr("body")
    start = [c.inputs[i] for i in range(2, len(c.inputs))]
    carried = len(body.input) - 2
    if len(start) != carried or len(body.output) < carried + 1:
        raise BadFileError(f"Loop '{c.name}': {len(start)} carried values, the body takes {carried}")
    unrolled = _unroll(c, body, start, carried)
    if unrolled is not None:
        return unrolled
    if any(not isinstance(v, Value) for v in start):
        raise Unsupported("a Loop with sequences whose number of rounds depends on data")
    limit = _scalar(c, c.input(0))
    limit = None if limit is None or not limit.types else c.cast(limit, "i64")
    condition = _scalar(c, c.input(1))
    counter, true = c.i64(0), c.const(np.array(True))
    stable = [bool(v.types) for v in start]  # type: ignore[union-attr]
    for _ in range(carried + 1):  # each round opens at least one more type
        inputs = [(counter, True), (true, True), *zip(start, stable)]
        try:
            graph, captures = c.importer.build_subgraph(body, c.scope, inputs, f"{c.name}/")  # type: ignore[arg-type]
        except GraphError:
            if not any(stable):
                raise
            stable = [False] * carried
            continue
        results = graph.outputs[1 : 1 + carried]
        now = [s and r.types == v.types for s, r, v in zip(stable, results, start)]  # type: ignore[union-attr]
        if now == stable:
            break
        stable = now
    attrs = {"body": graph, "carried": carried}
    outputs = c.emit_many("Loop", [limit, condition, *start, *captures], attrs, len(body.output) - 1)
    for value, first, last, fixed in zip(outputs, start, graph.outputs[1:], stable):
        if fixed:
            _same_type(value, first, last)  # type: ignore[arg-type]
    return outputs


def _unroll(c: Context, body: Any, start: list[Any], carried: int) -> list[Any] | None:
    """The rounds one after another, when their number is known; None when it depends on data."""
    trips = c.ints(c.input(0)) if c.input(0) is not None else None
    going = _known_bool(c.input(1))
    if going is None or (c.input(0) is not None and trips is None):
        return None
    scans: list[list[Value]] = [[] for _ in body.output[1 + carried :]]
    size = max(len(body.node), 1)
    limit = trips[0] if trips else None
    if limit is not None and limit * size > UNROLL_NODES and all(isinstance(v, Value) for v in start):
        return None
    values, turn = list(start), 0
    while going and (limit is None or turn < limit):
        if turn * size > UNROLL_NODES:
            return None
        step = [c.i64(turn), c.const(np.array(True)), *values]
        results = c.importer.run_subgraph(body, c.scope, step, f"{c.name}/{turn}/")
        _no_poison(results)
        known = _known_bool(results[0])
        if known is None:
            return None
        going, values = known, results[1 : 1 + carried]
        for stack, value in zip(scans, results[1 + carried :]):
            stack.append(value)
        turn += 1
    if any(not stack for stack in scans):
        return None  # no round at all: only the runtime's Loop knows an empty result's type
    stacked = [c.emit("Concat", [c.unsqueeze(v, [0]) for v in stack], {"axis": 0}) for stack in scans]
    return [*values, *stacked]


@onnx_op("Scan")
def scan(c: Context) -> list[Any]:
    body = c.need_attr("body")
    count = int(c.need_attr("num_scan_inputs"))
    values = [c.need(i) for i in range(1 if c.opset < 9 else 0, len(c.inputs))]
    carried = len(values) - count
    if count < 1 or carried < 0 or len(body.input) != len(values):
        raise BadFileError(f"Scan '{c.name}': {len(values)} inputs, {count} scanned; the body takes {len(body.input)}")
    if c.opset < 9:
        return _scan_batches(c, body, values, carried)
    axes = c.attr("scan_input_axes", [0] * count)
    directions = c.attr("scan_input_directions", [0] * count)
    scanned = []
    for value, axis, backwards in zip(values[carried:], axes, directions):
        axis = c.normalize_axis(int(axis), value.rank)
        if axis:
            value = c.transpose(value, [axis, *(i for i in range(value.rank) if i != axis)])
        scanned.append(_reversed(c, value) if backwards else value)
    outputs = _scan(c, body, values[:carried], scanned)
    extra = len(outputs) - carried
    out_axes = c.attr("scan_output_axes", [0] * extra)
    out_directions = c.attr("scan_output_directions", [0] * extra)
    for i, (axis, backwards) in enumerate(zip(out_axes, out_directions)):
        value = outputs[carried + i]
        if backwards:
            value = _reversed(c, value)
        if axis:
            axis = c.normalize_axis(int(axis), value.rank)
            order = list(range(1, value.rank))
            order.insert(axis, 0)
            value = c.transpose(value, order)
        outputs[carried + i] = value
    return outputs


def _reversed(c: Context, value: Value) -> Value:
    return c.slice(value, [-1], [-(2**62)], [0], [-1])


def _scan(c: Context, body: Any, states: list[Value], scanned: list[Value]) -> list[Any]:
    carried = len(states)
    length = scanned[0].shape[0]
    if length and length * max(len(body.node), 1) <= UNROLL_NODES:
        stacks: list[list[Value]] = [[] for _ in body.output[carried:]]
        for step in range(length):
            pieces = [c.squeeze(c.slice(s, [step], [step + 1], [0]), [0]) for s in scanned]
            results = c.importer.run_subgraph(body, c.scope, [*states, *pieces], f"{c.name}/{step}/")
            _no_poison(results)
            states = results[:carried]
            for stack, value in zip(stacks, results[carried:]):
                stack.append(value)
        return [*states, *(c.emit("Concat", [c.unsqueeze(v, [0]) for v in s], {"axis": 0}) for s in stacks)]
    first = [c.squeeze(c.slice(s, [0], [1], [0]), [0]) for s in scanned]
    inputs = [(v, True) for v in [*states, *first]]
    graph, captures = c.importer.build_subgraph(body, c.scope, inputs, f"{c.name}/")
    attrs = {"body": graph, "carried": carried, "scan_inputs": len(scanned)}
    return c.emit_many("Scan", [*states, *scanned, *captures], attrs, len(body.output))


def _scan_batches(c: Context, body: Any, values: list[Value], carried: int) -> list[Any]:
    """Opset 8: every input has a batch dimension in front, one scan per sample."""
    if c.input(0) is not None:
        raise Unsupported("Scan (opset 8) with sequence lengths", "export with opset 9 or newer")
    if any(c.attr("directions", [])):
        raise Unsupported("Scan (opset 8) with directions", "export with opset 9 or newer")
    batch = values[0].shape[0]
    if batch is None:
        raise Unsupported("Scan (opset 8) over a symbolic batch", "give a fixed batch with --shape")
    parts = []
    for sample in range(batch):
        one = [c.squeeze(c.slice(v, [sample], [sample + 1], [0]), [0]) for v in values]
        parts.append(_scan(c, body, one[:carried], one[carried:]))
    return [c.emit("Concat", [c.unsqueeze(p[i], [0]) for p in parts], {"axis": 0}) for i in range(len(parts[0]))]


# -- optionals -----------------------------------------------------------------------------------
@onnx_op("Optional")
def optional(c: Context) -> Any:
    return c.inputs[0] if c.inputs else None


@onnx_op("OptionalHasElement")
def optional_has_element(c: Context) -> Value:
    return c.const(np.array(bool(c.inputs) and c.inputs[0] is not None))


@onnx_op("OptionalGetElement")
def optional_get_element(c: Context) -> Any:
    value = c.inputs[0] if c.inputs else None
    if value is None:
        raise BadFileError(f"OptionalGetElement '{c.name}': the optional is empty")
    return TensorSequence(value) if isinstance(value, TensorSequence) else value
