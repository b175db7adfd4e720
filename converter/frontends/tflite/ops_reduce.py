"""Reductions, sorting, softmax and norms."""

from __future__ import annotations

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.tflite.context import TfliteContext
from edgec.converter.frontends.tflite.file import Quantization
from edgec.converter.frontends.tflite.registry import tflite_op
from edgec.converter.ir.graph import Value

_REDUCE = {
    "MEAN": "ReduceMean", "SUM": "ReduceSum", "REDUCE_PROD": "ReduceProd", "REDUCE_MAX": "ReduceMax",
    "REDUCE_MIN": "ReduceMin",
}  # fmt: skip


def _axes(c: TfliteContext, rank: int) -> list[int]:
    axes = [c.normalize_axis(a, rank) for a in c.numbers(1, "the axes")]
    return sorted(set(axes))


@tflite_op(*_REDUCE)
def reduce(c: TfliteContext) -> Value:
    x = c.need(0)
    axes, keep = _axes(c, x.rank), int(c.options("ReducerOptions").KeepDims())
    if not axes:
        return c.emit("Identity", [x])
    q = c.need_tensor(0).quantization
    if c.op != "MEAN" or not c.need_tensor(0).quantized or q is None or not q.same(c.out().quantization):
        return c.emit(_REDUCE[c.op], [x], {"axes": axes, "keepdims": keep})
    # TFLite's means of integers round to the even integer; without a zero point it is the same one here.
    plain = Quantization(q.scale, np.zeros_like(q.zero_point), 0)
    y = c.emit("ReduceMean", [c.dequantize(c.raw(0), plain)], {"axes": axes, "keepdims": keep})
    return c.quantize(y, plain, c.raw(0).dtype)


@tflite_op("REDUCE_ANY", "REDUCE_ALL")
def reduce_bool(c: TfliteContext) -> Value:
    x = c.raw(0)
    axes, keep = _axes(c, x.rank), int(c.options("ReducerOptions").KeepDims())
    if not axes:
        return c.emit("Identity", [x])
    op = "ReduceMax" if c.op == "REDUCE_ANY" else "ReduceMin"
    return c.cast(c.emit(op, [c.cast(x, "i32")], {"axes": axes, "keepdims": keep}), "bool")


@tflite_op("ARG_MAX", "ARG_MIN")
def arg_max(c: TfliteContext) -> Value:
    x = c.need(0)
    axis = c.normalize_axis(c.numbers(1, "the axis")[0], x.rank)
    return c.emit("ArgMax" if c.op == "ARG_MAX" else "ArgMin", [x], {"axis": axis, "keepdims": 0})


@tflite_op("TOPK_V2")
def top_k(c: TfliteContext) -> list[Value]:
    return c.emit_many("TopK", [c.need(0), c.reshape(c.vector(1), [1])], {"axis": -1}, 2)


@tflite_op("CUMSUM")
def cumsum(c: TfliteContext) -> Value:
    o = c.options("CumsumOptions")
    x = c.need(0)
    axis = c.normalize_axis(c.numbers(1, "the axis")[0], x.rank)
    return c.emit("CumSum", [x], {"axis": axis, "exclusive": int(o.Exclusive()), "reverse": int(o.Reverse())})


# -- softmax and norms ----------------------------------------------------------------------------
@tflite_op("SOFTMAX")
def softmax(c: TfliteContext) -> Value:
    x, beta = c.need(0), float(c.options("SoftmaxOptions").Beta())
    if not np.isfinite(beta):
        raise BadFileError(f"{c.op} ({c.source}): beta {beta}")
    # 0 is what old files hold that never set it: TFLite's kernels would then give a constant.
    if beta not in (0.0, 1.0):
        x = c.emit("Mul", [x, c.like(beta, x)])
    return c.emit("Softmax", [x], {"axis": -1})


@tflite_op("LOG_SOFTMAX")
def log_softmax(c: TfliteContext) -> Value:
    return c.emit("LogSoftmax", [c.need(0)], {"axis": -1})


@tflite_op("L2_NORMALIZATION")
def l2_normalization(c: TfliteContext) -> Value:
    """x / max(|x|, 1e-6), over the last dimension."""
    x = c.need(0)
    norm = c.emit("ReduceL2", [x], {"axes": [-1], "keepdims": 1})
    y = c.emit("Div", [x, c.emit("Max", [norm, c.like(1e-6, x)])])
    return c.fused(y, c.options("L2NormOptions").FusedActivationFunction())


@tflite_op("LOCAL_RESPONSE_NORMALIZATION")
def local_response_normalization(c: TfliteContext) -> Value:
    o = c.options("LocalResponseNormalizationOptions")
    size = 2 * o.Radius() + 1
    if o.Radius() < 0:
        raise BadFileError(f"{c.op} ({c.source}): radius {o.Radius()}")
    # The IR divides alpha by the size, TensorFlow does not.
    attrs = {"size": size, "alpha": float(o.Alpha()) * size, "beta": float(o.Beta()), "bias": float(o.Bias())}
    return c.emit("LocalResponseNorm", [c.need(0)], {**attrs, "axis": -1})
