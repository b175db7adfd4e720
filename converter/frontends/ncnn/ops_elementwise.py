"""Activations, unary and binary layers of ncnn."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgec.converter.frontends.layers.ops import (
    combine,
    exponential,
    logarithm,
    per_channel,
    power,
    threshold,
    weighted_sum,
)
from edgec.converter.frontends.ncnn.context import NcnnContext
from edgec.converter.frontends.ncnn.param import NOTHING
from edgec.converter.frontends.ncnn.registry import NCNN
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value

_SIMPLE = {
    "AbsVal": "Abs", "BNLL": "Softplus", "Mish": "Mish", "Sigmoid": "Sigmoid", "Softplus": "Softplus",
    "Swish": "Silu", "TanH": "Tanh", "Erf": "Erf",
}  # fmt: skip


@NCNN.layer(*_SIMPLE)
def simple(c: NcnnContext) -> Value:
    return c.emit(_SIMPLE[c.op], [c.x()])


@NCNN.layer("ReLU")
def relu(c: NcnnContext) -> Value:
    slope = c.p.number(0, 0.0)
    return c.emit("LeakyRelu", [c.x()], {"alpha": slope}) if slope else c.emit("Relu", [c.x()])


@NCNN.layer("PReLU")
def prelu(c: NcnnContext) -> Value:
    x, count = c.x(), c.p.integer(0, 0)
    slope = c.raw([count], "slope", 0.25)
    if count > 1 and count != c.channels(x):
        raise c.bad(f"{count} slopes for {c.channels(x)} channels")
    return c.emit("PRelu", [x, c.const(per_channel(slope, x.rank))])


@NCNN.layer("Clip")
def clip(c: NcnnContext) -> Value:
    limit = float(np.finfo(np.float32).max)
    return c.emit("Clip", [c.x()], {"min": c.p.number(0, -limit), "max": c.p.number(1, limit)})


@NCNN.layer("ELU")
def elu(c: NcnnContext) -> Value:
    return c.emit("Elu", [c.x()], {"alpha": c.p.number(0, 0.1)})


@NCNN.layer("CELU")
def celu(c: NcnnContext) -> Value:
    return c.emit("Celu", [c.x()], {"alpha": c.p.number(0, 1.0)})


@NCNN.layer("SELU")
def selu(c: NcnnContext) -> Value:
    return c.emit("Selu", [c.x()], {"alpha": c.p.number(0, 1.67326324), "gamma": c.p.number(1, 1.050700987)})


@NCNN.layer("GELU")
def gelu(c: NcnnContext) -> Value:
    return c.emit("Gelu", [c.x()], {"approximate": "tanh" if c.p.integer(0, 0) else "none"})


@NCNN.layer("HardSigmoid")
def hard_sigmoid(c: NcnnContext) -> Value:
    return c.emit("HardSigmoid", [c.x()], {"alpha": c.p.number(0, 0.2), "beta": c.p.number(1, 0.5)})


@NCNN.layer("HardSwish")
def hard_swish(c: NcnnContext) -> Value:
    return c.hard_swish(c.x(), c.p.number(0, 0.2), c.p.number(1, 0.5))


@NCNN.layer("Shrink")
def shrink(c: NcnnContext) -> Value:
    return c.emit("Shrink", [c.x()], {"bias": c.p.number(0, 0.0), "lambd": c.p.number(1, 0.5)})


@NCNN.layer("GLU")
def glu(c: NcnnContext) -> Value:
    x = c.x()
    axis = c.axis_of(x, c.p.integer(0, 0)) if x.rank > 2 else 1
    size = c.channels(x, axis)
    if size % 2:
        raise c.bad(f"{size} elements do not divide into two halves")
    first, second = c.emit_many("Split", [x], {"axis": axis, "sizes": [size // 2] * 2}, 2)
    return c.emit("Mul", [first, c.emit("Sigmoid", [second])])


@NCNN.layer("Exp")
def exp(c: NcnnContext) -> Value:
    return exponential(c, c.x(), c.p.number(0, -1.0), c.p.number(1, 1.0), c.p.number(2, 0.0))


@NCNN.layer("Log")
def log(c: NcnnContext) -> Value:
    return logarithm(c, c.x(), c.p.number(0, -1.0), c.p.number(1, 1.0), c.p.number(2, 0.0))


@NCNN.layer("Power")
def power_layer(c: NcnnContext) -> Value:
    return power(c, c.x(), c.p.number(0, 1.0), c.p.number(1, 1.0), c.p.number(2, 0.0))


@NCNN.layer("Threshold")
def threshold_layer(c: NcnnContext) -> Value:
    return threshold(c, c.x(), c.p.number(0, 0.0))


@NCNN.layer("Dropout")
def dropout(c: NcnnContext) -> Value:
    return c.affine(c.x(), c.p.number(0, 1.0))


# -- unary ---------------------------------------------------------------------------------------
_UNARY: dict[int, str] = {
    0: "Abs", 1: "Neg", 2: "Floor", 3: "Ceil", 5: "Sqrt", 6: "Rsqrt", 7: "Exp", 8: "Log", 9: "Sin", 10: "Cos",
    11: "Tan", 12: "Asin", 13: "Acos", 14: "Atan", 15: "Reciprocal", 16: "Tanh", 18: "Round", 20: "Sign",
    22: "Sinh", 23: "Asinh", 24: "Cosh", 25: "Acosh", 26: "Atanh",
}  # fmt: skip


def _truncated(c: NcnnContext, x: Value) -> Value:
    return c.emit("Mul", [c.emit("Sign", [x]), c.emit("Floor", [c.emit("Abs", [x])])])


_COMPOSED: dict[int, Callable[[NcnnContext, Value], Value]] = {
    4: lambda c, x: c.emit("Mul", [x, x]),
    17: lambda c, x: c.affine(c.emit("Log", [x]), 1 / math.log(10)),
    19: _truncated,
    21: lambda c, x: c.affine(c.emit("Exp", [x]), 1.0, -1.0),
    27: lambda c, x: c.emit("Log", [c.affine(x, 1.0, 1.0)]),
}


@NCNN.layer("UnaryOp")
def unary(c: NcnnContext) -> Value:
    kind = c.p.integer(0, 0)
    if kind in _UNARY:
        return c.emit(_UNARY[kind], [c.x()])
    if kind in _COMPOSED:
        return _COMPOSED[kind](c, c.x())
    raise Unsupported(f"the unary operation {kind}")


# -- binary --------------------------------------------------------------------------------------
_BINARY: dict[int, tuple[str, bool]] = {  # operator, and whether the operands change places
    0: ("Add", False), 1: ("Sub", False), 2: ("Mul", False), 3: ("Div", False), 4: ("Max", False), 5: ("Min", False),
    6: ("Pow", False), 7: ("Sub", True), 8: ("Div", True), 9: ("Pow", True),
}  # fmt: skip


def aligned(c: NcnnContext, a: Value, b: Value) -> tuple[Value, Value]:
    """Ranks made equal by ncnn's rule: dimensions of 1 are added at the inner end, the opposite of NumPy's."""
    if a.rank == b.rank:
        return a, b
    if a.rank > b.rank:
        return a, _widened(c, b, a)
    return _widened(c, a, b), b


def _widened(c: NcnnContext, small: Value, large: Value) -> Value:
    extra = [1] * (large.rank - small.rank)
    batch, *dims = c.dims(small)
    if len(dims) == 1 and dims[0] != large.shape[1] and dims[0] in (large.shape[-1], 1):
        return c.reshape(small, [batch, *extra, *dims])  # a vector along the width
    return c.reshape(small, [batch, *dims, *extra])


@NCNN.layer("BinaryOp")
def binary(c: NcnnContext) -> Value:
    kind = c.p.integer(0, 0)
    if c.p.integer(1, 0):
        a = c.x()
        b = c.const(np.float32(c.p.number(2, 0.0)))
    else:
        a, b = c.many(2)[:2]
        a, b = aligned(c, a, b)
    if kind in _BINARY:
        op, swapped = _BINARY[kind]
        return c.emit(op, [b, a] if swapped else [a, b])
    if kind in (15, 16):
        return c.emit("Floor", [c.emit("Div", [a, b] if kind == 15 else [b, a])])
    if kind in (12, 13, 17, 18):
        return c.emit("Mod", [a, b] if kind in (12, 17) else [b, a], {"fmod": int(kind < 14)})
    if kind == 14:  # log(e^a + e^b)
        larger = c.emit("Max", [a, b])
        distance = c.emit("Abs", [c.emit("Sub", [a, b])])
        return c.emit("Add", [larger, c.emit("Softplus", [c.emit("Neg", [distance])])])
    raise Unsupported(f"the binary operation {kind}")


@NCNN.layer("Eltwise")
def eltwise(c: NcnnContext) -> Value:
    kind, inputs = c.p.integer(0, 0), c.many(2)
    if kind == 1:
        return weighted_sum(c, inputs, c.p.numbers(1))
    if kind not in (0, 2):
        raise c.bad(f"there is no operation {kind}; 0 is product, 1 sum, 2 maximum")
    return combine(c, "Mul" if kind == 0 else "Max", inputs)


@NCNN.layer("Scale")
def scale(c: NcnnContext) -> Value:
    count, with_bias = c.p.integer(0, 0), c.p.integer(1, 0)
    if count == NOTHING:
        if with_bias:
            raise Unsupported("a bias beside a scale that the network computes")
        x, factor = c.many(2)[:2]
        return c.emit("Mul", list(aligned(c, x, factor)))
    x = c.x()
    factor_data = c.raw([count], "scale", 1.0)
    bias = c.raw([count], "bias", 0.0) if with_bias else None
    if count not in (1, c.channels(x)):
        raise c.bad(f"{count} scales for {c.channels(x)} channels")
    return c.affine(x, per_channel(factor_data, x.rank), 0.0 if bias is None else per_channel(bias, x.rank))


@NCNN.layer("Bias")
def bias_layer(c: NcnnContext) -> Value:
    x, count = c.x(), c.p.integer(0, 0)
    values = c.raw([count], "bias")
    if count not in (1, c.channels(x)):
        raise c.bad(f"{count} biases for {c.channels(x)} channels")
    return c.affine(x, 1.0, per_channel(values, x.rank))
