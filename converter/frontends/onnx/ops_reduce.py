"""Reductions, softmax, arg and sorting operators."""

from __future__ import annotations

from collections.abc import Callable

from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.registry import HANDLERS, MAIN, onnx_op
from edgec.converter.ir.graph import Value

REDUCTIONS = [
    "ReduceSum",
    "ReduceMean",
    "ReduceMax",
    "ReduceMin",
    "ReduceProd",
    "ReduceL1",
    "ReduceL2",
    "ReduceLogSum",
    "ReduceLogSumExp",
    "ReduceSumSquare",
]


def _reduction(op: str) -> Callable[[Context], Value]:
    def handler(c: Context) -> Value:
        x = c.need(0)
        if c.input(1) is not None and c.ints(c.input(1)) is None:
            none = {"no_axes": "none"} if c.attr("noop_with_empty_axes", 0) else {}
            return c.emit(op, [x, c.as_i64(c.need(1))], {"keepdims": int(c.attr("keepdims", 1)), **none})
        axes = c.ints_attr_or_input("axes", 1, [])
        if not axes and c.attr("noop_with_empty_axes", 0):
            return _over_nothing(c, op, x)
        if x.rank == 0:
            return _over_nothing(c, op, x)
        axes = sorted({c.axis(a, x) for a in axes or []})
        attrs = {"axes": axes, "keepdims": int(c.attr("keepdims", 1))}
        if x.dtype == "bool" and op in ("ReduceMax", "ReduceMin"):
            return c.cast(c.emit(op, [c.cast(x, "u8")], attrs), "bool")
        return c.emit(op, [x], attrs)

    return handler


def _over_nothing(c: Context, op: str, x: Value) -> Value:
    """Reducing over no axis still applies the elementwise part of the reduction."""
    if op in ("ReduceL1", "ReduceL2"):
        return c.emit("Abs", [x])
    if op == "ReduceSumSquare":
        return c.emit("Mul", [x, x])
    if op == "ReduceLogSum":
        return c.emit("Log", [x])
    return c.emit("Identity", [x])


for _op in REDUCTIONS:
    HANDLERS[(MAIN, _op)] = _reduction(_op)


@onnx_op("ArgMax", "ArgMin")
def arg(c: Context) -> Value:
    x = c.need(0)
    attrs = {
        "axis": c.axis(int(c.attr("axis", 0)), x),
        "keepdims": int(c.attr("keepdims", 1)),
        "select_last_index": int(c.attr("select_last_index", 0)),
    }
    return c.emit(c.op, [x], attrs)


@onnx_op("Softmax", "LogSoftmax")
def softmax(c: Context) -> Value:
    """Before opset 13 the axes from `axis` on are normalised together."""
    x = c.need(0)
    if x.rank == 0:
        x = c.unsqueeze(x, [0])
        return c.squeeze(c.emit(c.op, [x], {"axis": 0}), [0])
    axis = c.normalize_axis(int(c.attr("axis", 1 if c.opset < 13 else -1)), x.rank)
    rest = x.shape[axis + 1 :]
    if c.opset >= 13 or all(d == 1 for d in rest):
        return c.emit(c.op, [x], {"axis": axis})
    flat = c.emit(c.op, [c.emit("Flatten", [x], {"axis": axis})], {"axis": 1})
    return c.reshape(flat, c.dims(x))


@onnx_op("CumSum", "CumProd")
def cumulative_sum(c: Context) -> Value:
    attrs = {"exclusive": int(c.attr("exclusive", 0)), "reverse": int(c.attr("reverse", 0))}
    axis = c.need(1)
    known = c.ints(axis)
    if known is not None:
        return c.emit(c.op, [c.need(0)], {**attrs, "axis": c.axis(known[0], c.need(0))})
    return c.emit(c.op, [c.need(0), c.as_i64(c.reshape(axis, []) if axis.rank else axis)], attrs)


@onnx_op("TopK")
def top_k(c: Context) -> list[Value]:
    x = c.need(0)
    k = c.i64(int(c.need_attr("k"))) if c.opset < 10 else c.as_i64(c.need(1))
    assert k is not None
    k = c.reshape(k, []) if k.rank else k
    attrs = {
        "axis": c.axis(int(c.attr("axis", -1)), x),
        "largest": int(c.attr("largest", 1)),
        "sorted": int(c.attr("sorted", 1)),
    }
    return c.emit_many("TopK", [x, k], attrs, 2)
