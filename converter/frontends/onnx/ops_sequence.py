"""Sequences of tensors: their length is known while the graph is built, so that nothing of them is left in the IR."""

from __future__ import annotations

from typing import Any

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.importer import TensorSequence
from edgec.converter.frontends.onnx.registry import Unsupported, onnx_op
from edgec.converter.ir.graph import Value


def _sequence(c: Context, i: int = 0) -> TensorSequence:
    value = c.inputs[i] if i < len(c.inputs) else None
    if not isinstance(value, TensorSequence):
        raise BadFileError(f"{c.op} '{c.name}': input {i} is not a sequence")
    return value


def _position(c: Context, i: int, length: int, insert: bool = False) -> int:
    known = c.need_ints(c.input(i), "the position in a sequence")[0]
    limit = length + 1 if insert else length
    if not -length <= known < limit:
        raise BadFileError(f"{c.op} '{c.name}': position {known} in a sequence of {length}")
    return known + length if known < 0 else known


@onnx_op("SequenceConstruct")
def construct(c: Context) -> Any:
    return TensorSequence([c.need(i) for i in range(len(c.inputs))])


@onnx_op("SequenceEmpty")
def empty(c: Context) -> Any:
    return TensorSequence()


@onnx_op("SequenceLength")
def length(c: Context) -> Value:
    return c.i64(len(_sequence(c)))


@onnx_op("SequenceAt")
def at(c: Context) -> Value:
    values = _sequence(c)
    result: Value = values[_position(c, 1, len(values))]
    return result


@onnx_op("SequenceInsert")
def insert(c: Context) -> Any:
    values = TensorSequence(_sequence(c))
    place = _position(c, 2, len(values), insert=True) if c.input(2) is not None else len(values)
    values.insert(place, c.need(1))
    return values


@onnx_op("SequenceErase")
def erase(c: Context) -> Any:
    values = TensorSequence(_sequence(c))
    del values[_position(c, 1, len(values)) if c.input(1) is not None else len(values) - 1]
    return values


@onnx_op("ConcatFromSequence")
def concat(c: Context) -> Value:
    values = list(_sequence(c))
    if not values:
        raise BadFileError(f"ConcatFromSequence '{c.name}': the sequence is empty")
    stack = bool(c.attr("new_axis", 0))
    axis = c.normalize_axis(int(c.need_attr("axis")), values[0].rank + stack)
    if stack:
        values = [c.unsqueeze(v, [axis]) for v in values]
    return c.emit("Concat", values, {"axis": axis})


@onnx_op("SplitToSequence")
def split(c: Context) -> Any:
    x = c.need(0)
    axis = c.normalize_axis(int(c.attr("axis", 0)), x.rank)
    size = x.shape[axis]
    if size is None:
        raise Unsupported("SplitToSequence over a symbolic dimension", "give fixed sizes with --shape")
    keep = bool(c.attr("keepdims", 1))
    if c.input(1) is None:
        sizes = [1] * size
    else:
        keep = True
        given = c.need_ints(c.input(1), "the sizes of the parts")
        if c.need(1).rank == 0:
            step = given[0]
            if step < 1:
                raise BadFileError(f"SplitToSequence '{c.name}': parts of size {step}")
            sizes = [min(step, size - i) for i in range(0, size, step)]
        else:
            sizes = given
    parts = c.emit_many("Split", [x], {"axis": axis, "sizes": sizes}, len(sizes))
    return TensorSequence(parts if keep else [c.squeeze(p, [axis]) for p in parts])
