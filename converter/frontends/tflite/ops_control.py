"""Sub-graphs and variables. What shapes and constants decide disappears; the rest becomes If and Loop.

A sub-graph of TFLite takes everything it reads as inputs, so that nothing has to be captured. Variables that the model
changes become inputs and outputs of the model; those that it only reads are constants.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.frontends.tflite.context import TfliteContext
from edgec.converter.frontends.tflite.file import variable_name
from edgec.converter.frontends.tflite.registry import tflite_op
from edgec.converter.ir.graph import Graph, GraphError, Value

# A loop whose number of rounds is known is unrolled up to this many operators: shapes stay static and fusions work.
UNROLL_OPERATORS = 3000


def _known(value: Any) -> bool | None:
    data = value.static_value if isinstance(value, Value) else None
    return None if data is None or data.size != 1 else bool(data.reshape(-1)[0])


def _tensors(c: TfliteContext, values: list[Any]) -> list[Value]:
    for v in values:
        if not isinstance(v, Value):
            raise Unsupported(f"a condition over {v}")
    return values


def _scalar(c: TfliteContext, value: Value) -> Value:
    return value if not value.types or value.rank == 0 else c.reshape(value, [])


def _arguments(c: TfliteContext, first: int = 0) -> list[Any]:
    values = [c.any(i) for i in range(first, c.count)]
    if any(v is None for v in values):
        raise BadFileError(f"{c.op} ({c.source}): an argument is missing")
    return values


@tflite_op("IF")
def if_(c: TfliteContext) -> list[Any]:
    o = c.options("IfOptions")
    branches = [o.ThenSubgraphIndex(), o.ElseSubgraphIndex()]
    arguments, known = _arguments(c, 1), _known(c.any(0))
    if known is not None:
        return c.tflite.inline(c, branches[0 if known else 1], arguments)
    graphs = [c.tflite.body(c, b, [(v, True) for v in _tensors(c, arguments)]) for b in branches]
    attrs = {"then_branch": graphs[0], "else_branch": graphs[1]}
    outputs = c.emit_many("If", [_scalar(c, c.raw(0)), *arguments], attrs, len(graphs[0].outputs))
    for i, value in enumerate(outputs):
        _same_type(value, *(g.outputs[i] for g in graphs))
    return outputs


def _same_type(value: Value, *sources: Value) -> None:
    """The type of a control flow output where all its sources agree."""
    first = sources[0].types
    if first and all(v.types == first for v in sources):
        value.types = first
        value.known = (None,) * len(first)


@tflite_op("WHILE")
def while_(c: TfliteContext) -> list[Any]:
    o = c.options("WhileOptions")
    condition, body = o.CondSubgraphIndex(), o.BodySubgraphIndex()
    values = _arguments(c)
    first = _condition(c, condition, values)
    going = _known(first)
    size = c.tflite.size_of(c, body) + c.tflite.size_of(c, condition)
    start, turns = values, 0
    while going and (turns + 1) * size <= UNROLL_OPERATORS:
        values = c.tflite.inline(c, body, values)
        turns += 1
        going = _known(_condition(c, condition, values))
    if going is False:
        return values
    # What was unrolled so far is not used by anything and disappears.
    return _loop(c, condition, body, _tensors(c, start), first)


def _condition(c: TfliteContext, graph: int, values: list[Any]) -> Any:
    results = c.tflite.inline(c, graph, values)
    if len(results) != 1:
        raise BadFileError(f"{c.op} ({c.source}): its condition has {len(results)} outputs, expected 1")
    return results[0]


def _loop(c: TfliteContext, condition: int, body: int, start: list[Value], first: Value) -> list[Value]:
    stable = [bool(v.types) for v in start]
    for _ in range(len(start) + 1):  # each round opens at least one more type
        try:
            graph = c.tflite.body(c, body, list(zip(start, stable)), condition)
        except GraphError:
            if not any(stable):
                raise
            stable = [False] * len(start)
            continue
        now = [s and r.types == v.types for s, r, v in zip(stable, graph.outputs[1:], start)]
        if now == stable:
            break
        stable = now
    attrs: dict[str, Graph | int] = {"body": graph, "carried": len(start)}
    outputs = c.emit_many("Loop", [None, _scalar(c, first), *start], attrs, len(start))
    for value, begin, last, fixed in zip(outputs, start, graph.outputs[1:], stable):
        if fixed:
            _same_type(value, begin, last)
    return outputs


@tflite_op("CALL")
def call(c: TfliteContext) -> list[Any]:
    return c.tflite.inline(c, c.options("CallOptions").Subgraph(), _arguments(c))


@tflite_op("CALL_ONCE")
def call_once(c: TfliteContext) -> list[Any]:
    """Sets variables before the first run."""
    c.tflite.starting += 1
    try:
        c.tflite.inline(c, c.options("CallOnceOptions").InitSubgraphIndex(), [])
    finally:
        c.tflite.starting -= 1
    return []


# -- variables ------------------------------------------------------------------------------------
class Variable:
    """A resource that operators read and assign."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.start: np.ndarray | None = None  # what the model begins with
        self.value: Value | None = None

    def __repr__(self) -> str:
        return f"the variable '{self.name}'"


@tflite_op("VAR_HANDLE")
def var_handle(c: TfliteContext) -> Variable:
    name = variable_name(c.options("VarHandleOptions"))
    return c.tflite.variables.setdefault(name, Variable(name))


def _variable(c: TfliteContext) -> Variable:
    found = c.any(0)
    if not isinstance(found, Variable):
        raise Unsupported("a variable that is chosen while the model runs")
    if c.frame.depth and c.graph is not c.tflite.outermost:
        raise Unsupported(f"{found} inside a branch or loop that depends on data")
    return found


@tflite_op("READ_VARIABLE")
def read_variable(c: TfliteContext) -> Value:
    v = _variable(c)
    if v.value is None:
        out = c.out()
        assigned = c.tflite.is_assigned(v.name)
        if v.start is None and not assigned:
            raise Unsupported(
                f"{v} has no value in the file", "freeze the weights when you convert the model to .tflite"
            )
        v.value = c.tflite.state(v.name, out.dtype, out.shape, v.start, assigned)
    return v.value


@tflite_op("ASSIGN_VARIABLE")
def assign_variable(c: TfliteContext) -> list[Any]:
    v, value = _variable(c), c.raw(1)
    if c.tflite.starting:
        v.start = value.static_value
        if v.start is None:
            raise Unsupported(f"{v} begins with a value that is computed while the model runs")
        return []
    v.value = value
    c.tflite.new_state(v.name, value)
    return []
