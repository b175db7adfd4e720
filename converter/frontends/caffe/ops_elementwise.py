"""Activations and elementwise layers of Caffe."""

from __future__ import annotations

import numpy as np

from edgec.converter.frontends.caffe.context import CaffeContext
from edgec.converter.frontends.caffe.registry import CAFFE
from edgec.converter.frontends.layers.ops import (
    combine,
    exponential,
    logarithm,
    per_channel,
    power,
    threshold,
    weighted_sum,
)
from edgec.converter.ir.graph import Value

_SIMPLE = {
    "Sigmoid": "Sigmoid", "TanH": "Tanh", "AbsVal": "Abs", "BNLL": "Softplus", "HSwish": "HardSwish",
    "HardSwish": "HardSwish", "Mish": "Mish", "Softplus": "Softplus",
}  # fmt: skip


@CAFFE.layer(*_SIMPLE)
def simple(c: CaffeContext) -> Value:
    return c.emit(_SIMPLE[c.op], [c.x()])


@CAFFE.layer("ReLU")
def relu(c: CaffeContext) -> Value:
    slope = c.param("relu_param").number("negative_slope", 0.0)
    return c.emit("LeakyRelu", [c.x()], {"alpha": slope}) if slope else c.emit("Relu", [c.x()])


@CAFFE.layer("ReLU6")
def relu6(c: CaffeContext) -> Value:
    return c.emit("Clip", [c.x()], {"min": 0.0, "max": 6.0})


@CAFFE.layer("HSigmoid", "HardSigmoid")
def hard_sigmoid(c: CaffeContext) -> Value:
    return c.emit("HardSigmoid", [c.x()], {"alpha": 1 / 6, "beta": 0.5})


@CAFFE.layer("PReLU")
def prelu(c: CaffeContext) -> Value:
    x, p = c.x(), c.param("prelu_param")
    if p.flag("channel_shared", False):
        slope = c.weight(0, [1], "slope", 0.25).reshape([1] * x.rank)
    else:
        slope = per_channel(c.weight(0, [c.channels(x)], "slope", 0.25), x.rank)
    return c.emit("PRelu", [x, c.const(slope)])


@CAFFE.layer("ELU")
def elu(c: CaffeContext) -> Value:
    return c.emit("Elu", [c.x()], {"alpha": c.param("elu_param").number("alpha", 1.0)})


@CAFFE.layer("Swish", "SiLU")
def swish(c: CaffeContext) -> Value:
    x, beta = c.x(), c.param("swish_param").number("beta", 1.0)
    return c.emit("Silu", [x]) if beta == 1 else c.emit("Mul", [x, c.emit("Sigmoid", [c.affine(x, beta)])])


@CAFFE.layer("Clip")
def clip(c: CaffeContext) -> Value:
    p = c.param("clip_param")
    return c.emit("Clip", [c.x()], {"min": p.number("min"), "max": p.number("max")})


@CAFFE.layer("Power")
def power_layer(c: CaffeContext) -> Value:
    p = c.param("power_param")
    return power(c, c.x(), p.number("power", 1.0), p.number("scale", 1.0), p.number("shift", 0.0))


@CAFFE.layer("Exp")
def exp(c: CaffeContext) -> Value:
    p = c.param("exp_param")
    return exponential(c, c.x(), p.number("base", -1.0), p.number("scale", 1.0), p.number("shift", 0.0))


@CAFFE.layer("Log")
def log(c: CaffeContext) -> Value:
    p = c.param("log_param")
    return logarithm(c, c.x(), p.number("base", -1.0), p.number("scale", 1.0), p.number("shift", 0.0))


@CAFFE.layer("Threshold")
def threshold_layer(c: CaffeContext) -> Value:
    return threshold(c, c.x(), c.param("threshold_param").number("threshold", 0.0))


@CAFFE.layer("Eltwise")
def eltwise(c: CaffeContext) -> Value:
    p, inputs = c.param("eltwise_param"), c.many(2)
    operation = p.text("operation", "SUM")
    operation = {"0": "PROD", "1": "SUM", "2": "MAX"}.get(operation, operation)
    coefficients = p.floats("coeff")
    if operation == "SUM":
        return weighted_sum(c, inputs, coefficients)
    if coefficients:
        raise c.bad(f"coefficients for the operation {operation}, which takes none")
    if operation not in ("PROD", "MAX"):
        raise c.bad(f"operation '{operation}', expected PROD, SUM or MAX")
    return combine(c, "Mul" if operation == "PROD" else "Max", inputs)


@CAFFE.layer("Axpy")
def axpy(c: CaffeContext) -> Value:
    """One factor per channel times x, plus y (squeeze and excite)."""
    factor, x, y = c.many(3)[:3]
    batch, channels = c.dim(x, 0), c.channels(x)
    return c.emit("Add", [c.emit("Mul", [c.reshape(factor, [batch, channels, 1, 1]), x]), y])


def _along(c: CaffeContext, x: Value, value: Value, axis: int) -> Value:
    """`value`, whose dimensions are those of x from `axis` on, as something that broadcasts with x."""
    dims = c.dims(value)
    if axis + len(dims) > x.rank:
        raise c.bad(f"a second input of shape {list(value.shape)} from axis {axis} of {list(x.shape)}")
    return c.reshape(value, [*[1] * axis, *dims, *[1] * (x.rank - axis - len(dims))])


def _covered(c: CaffeContext, x: Value, axis: int, count: int) -> list[int]:
    """The sizes of the axes that a learned scale or bias covers."""
    sizes = c.fixed(x, axis) if count < 0 else [c.channels(x, axis + i) for i in range(count)]
    if axis + len(sizes) > x.rank:
        raise c.bad(f"{count} axes from axis {axis} of {list(x.shape)}")
    return sizes


@CAFFE.layer("Scale", "Bias")
def scale(c: CaffeContext) -> Value:
    op, name = ("Mul", "scale") if c.op == "Scale" else ("Add", "bias")
    p, x = c.param(f"{name}_param"), c.many()[0]
    axis = c.normalize_axis(p.integer("axis", 1), x.rank)
    with_bias = c.op == "Scale" and p.flag("bias_term", False)
    if len(c.inputs) == 2:
        other = c.need(1)
        # A fork's form for squeeze and excite: [N, C] or [N, C, 1, 1] from axis 0.
        y = c.emit(op, [x, _along(c, x, other, 0 if other.rank == x.rank else axis)])
        sizes, first = [d for d in other.shape if d is not None], 0
    else:
        sizes = _covered(c, x, axis, p.integer("num_axes", 1))
        factor = c.weight(0, sizes, name, 1.0 if op == "Mul" else 0.0)
        y, first = c.emit(op, [x, _along(c, x, c.const(factor), axis)]), 1
    if not with_bias:
        return y
    return c.emit("Add", [y, _along(c, x, c.const(c.weight(first, sizes, "bias", 0.0)), axis)])


@CAFFE.layer("Dropout")
def dropout(c: CaffeContext) -> Value:
    p = c.param("dropout_param")
    if p.flag("scale_train", True):
        return c.x()
    return c.affine(c.x(), float(np.float32(1 - p.number("dropout_ratio", 0.5))))


@CAFFE.layer("Split")
def split(c: CaffeContext) -> list[Value]:
    return [c.x()] * len(c.output_names)
