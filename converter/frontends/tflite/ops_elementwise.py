"""Arithmetic, comparisons, activations, type conversions."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.tflite.context import TfliteContext
from edgec.converter.frontends.tflite.file import DTYPES
from edgec.converter.frontends.tflite.registry import tflite_op
from edgec.converter.ir.graph import Value

_UNARY = {
    "ABS": "Abs", "CEIL": "Ceil", "COS": "Cos", "EXP": "Exp", "FLOOR": "Floor", "LOG": "Log", "LOGISTIC": "Sigmoid",
    "LOGICAL_NOT": "Not", "NEG": "Neg", "RELU": "Relu", "ROUND": "Round", "RSQRT": "Rsqrt", "SIGN": "Sign",
    "SIN": "Sin", "SQRT": "Sqrt", "TANH": "Tanh", "HARD_SWISH": "HardSwish",
}  # fmt: skip
_BINARY = {
    "POW": "Pow", "MAXIMUM": "Max", "MINIMUM": "Min", "LESS": "Less", "LESS_EQUAL": "LessEqual", "GREATER": "Greater",
    "GREATER_EQUAL": "GreaterEqual", "EQUAL": "Equal", "LOGICAL_AND": "And", "LOGICAL_OR": "Or",
    "BITWISE_XOR": "BitwiseXor",
}  # fmt: skip
_WITH_ACTIVATION = {"ADD": "Add", "SUB": "Sub", "MUL": "Mul", "DIV": "Div"}


@tflite_op(*_UNARY)
def unary(c: TfliteContext) -> Value:
    return c.emit(_UNARY[c.op], [c.need(0)])


@tflite_op(*_BINARY)
def binary(c: TfliteContext) -> Value:
    return c.emit(_BINARY[c.op], [c.need(0), c.need(1)])


@tflite_op(*_WITH_ACTIVATION)
def arithmetic(c: TfliteContext) -> Value:
    y = c.emit(_WITH_ACTIVATION[c.op], [c.need(0), c.need(1)])
    return c.fused(y, c.options(f"{c.op.capitalize()}Options").FusedActivationFunction())


@tflite_op("NOT_EQUAL")
def not_equal(c: TfliteContext) -> Value:
    return c.emit("Not", [c.emit("Equal", [c.need(0), c.need(1)])])


@tflite_op("SQUARED_DIFFERENCE")
def squared_difference(c: TfliteContext) -> Value:
    d = c.emit("Sub", [c.need(0), c.need(1)])
    return c.emit("Mul", [d, d])


@tflite_op("SQUARE")
def square(c: TfliteContext) -> Value:
    return c.emit("Mul", [c.need(0), c.need(0)])


@tflite_op("ADD_N")
def add_n(c: TfliteContext) -> Value:
    total = c.need(0)
    for i in range(1, c.count):
        total = c.emit("Add", [total, c.need(i)])
    return total if c.count > 1 else c.emit("Identity", [total])


def _is_float(value: Value) -> bool:
    return value.dtype in ("f32", "f16", "f64", "bf16")


@tflite_op("FLOOR_DIV")
def floor_div(c: TfliteContext) -> Value:
    a, b = c.need(0), c.need(1)
    if _is_float(a):
        return c.emit("Floor", [c.emit("Div", [a, b])])
    quotient = c.emit("Div", [a, b])  # truncates: one less where the signs differ and something is left
    rest = c.emit("Sub", [a, c.emit("Mul", [quotient, b])])
    zero = c.like(0, a)
    uneven = c.emit("Not", [c.emit("Equal", [rest, zero])])
    signs = c.emit("Xor", [c.emit("Less", [rest, zero]), c.emit("Less", [b, zero])])
    return c.emit("Sub", [quotient, c.cast(c.emit("And", [uneven, signs]), a.dtype)])


@tflite_op("FLOOR_MOD")
def floor_mod(c: TfliteContext) -> Value:
    a, b = c.need(0), c.need(1)
    if not _is_float(a):
        return c.emit("Mod", [a, b])  # the sign of the divisor
    rest = c.emit("Mod", [a, b], {"fmod": 1})
    zero = c.like(0, a)
    uneven = c.emit("Not", [c.emit("Equal", [rest, zero])])
    signs = c.emit("Xor", [c.emit("Less", [rest, zero]), c.emit("Less", [b, zero])])
    return c.emit("Where", [c.emit("And", [uneven, signs]), c.emit("Add", [rest, b]), rest])


@tflite_op("ATAN2")
def atan2(c: TfliteContext) -> Value:
    """atan(y / x), moved by pi where x is negative, towards the sign of y; on the axis x = 0 it is +-pi/2 or 0."""
    y, x = c.need(0), c.need(1)
    zero, pi = c.like(0, x), c.like(math.pi, x)
    base = c.emit("Atan", [c.emit("Div", [y, x])])
    shift = c.emit("Where", [c.emit("Less", [y, zero]), c.emit("Neg", [pi]), pi])
    left = c.emit("Where", [c.emit("Less", [x, zero]), c.emit("Add", [base, shift]), base])
    vertical = c.emit("Mul", [c.emit("Sign", [y]), c.like(math.pi / 2, x)])
    return c.emit("Where", [c.emit("Equal", [x, zero]), vertical, left])


@tflite_op("RIGHT_SHIFT")
def right_shift(c: TfliteContext) -> Value:
    """Arithmetic shift: floor division by a power of two, the shift limited to the width as TFLite does."""
    a, b = c.raw(0), c.raw(1)
    if a.dtype in ("u8", "u16", "u32", "u64"):
        return c.emit("BitShift", [a, b], {"direction": "RIGHT"})
    bits = {"i8": 7, "i16": 15, "i32": 31, "i64": 62}.get(a.dtype, 31)
    amount = c.cast(c.emit("Min", [c.cast(b, "i64"), c.i64(bits)]), "u64")
    wide = c.cast(a, "i64")
    # floor(a / 2^n) for negative a is ~((~a) >> n), and both are shifts of numbers that are not negative.
    zero = c.i64(0)
    negative = c.emit("Less", [wide, zero])
    positive = c.emit("Where", [negative, c.emit("BitwiseNot", [wide]), wide])
    shifted = c.cast(c.emit("BitShift", [c.cast(positive, "u64"), amount], {"direction": "RIGHT"}), "i64")
    return c.cast(c.emit("Where", [negative, c.emit("BitwiseNot", [shifted]), shifted]), a.dtype)


# -- activations ----------------------------------------------------------------------------------
@tflite_op("RELU6")
def relu6(c: TfliteContext) -> Value:
    return c.emit("Clip", [c.need(0)], {"min": 0.0, "max": 6.0})


@tflite_op("RELU_N1_TO_1")
def relu_n1_to_1(c: TfliteContext) -> Value:
    return c.emit("Clip", [c.need(0)], {"min": -1.0, "max": 1.0})


@tflite_op("RELU_0_TO_1")
def relu_0_to_1(c: TfliteContext) -> Value:
    return c.emit("Clip", [c.need(0)], {"min": 0.0, "max": 1.0})


@tflite_op("LEAKY_RELU")
def leaky_relu(c: TfliteContext) -> Value:
    return c.emit("LeakyRelu", [c.need(0)], {"alpha": float(c.options("LeakyReluOptions").Alpha())})


@tflite_op("ELU")
def elu(c: TfliteContext) -> Value:
    return c.emit("Elu", [c.need(0)], {"alpha": 1.0})


@tflite_op("GELU")
def gelu(c: TfliteContext) -> Value:
    return c.emit("Gelu", [c.need(0)], {"approximate": "tanh" if c.options("GeluOptions").Approximate() else "none"})


@tflite_op("PRELU")
def prelu(c: TfliteContext) -> Value:
    return c.emit("PRelu", [c.need(0), c.need(1)])


@tflite_op("FAKE_QUANT")
def fake_quant(c: TfliteContext) -> Value:
    """Quantize and dequantize with the range that training found, nudged so that zero is exact."""
    o = c.options("FakeQuantOptions")
    bits, narrow = o.NumBits(), int(o.NarrowRange())
    if not 2 <= bits <= 16:
        raise BadFileError(f"{c.op} ({c.source}): {bits} bits")
    low, high = np.float32(o.Min()), np.float32(o.Max())
    first, last = narrow, (1 << bits) - 1
    if not (np.isfinite(low) and np.isfinite(high) and low < high):
        raise BadFileError(f"{c.op} ({c.source}): the range [{low}, {high}]")
    scale = (high - low) / np.float32(last - first)
    zero = min(max(int(np.rint(first - low / scale)), first), last)
    dtype, offset = ("i8", 128) if bits <= 8 else ("i16", 32768)
    x = c.need(0)
    if bits not in (8, 16) or narrow:
        x = c.emit("Clip", [x], {"min": float((first - zero) * scale), "max": float((last - zero) * scale)})
    s, z = c.const(scale, "f32"), c.const(zero - offset, dtype)
    q = c.emit("QuantizeLinear", [x, s, z])
    return c.emit("DequantizeLinear", [q, s, z])


# -- types ----------------------------------------------------------------------------------------
@tflite_op("CAST")
def cast(c: TfliteContext) -> Any:
    value, target = c.raw(0), c.out().dtype
    if value.dtype == target:
        return c.emit("Identity", [value])
    return c.cast(value, target)


@tflite_op("BITCAST")
def bitcast(c: TfliteContext) -> Value:
    return c.emit("BitCast", [c.raw(0)], {"to": c.out().dtype})


@tflite_op("QUANTIZE")
def quantize(c: TfliteContext) -> Value:
    """From floats, or from other scales: then the value goes through real numbers."""
    return c.need(0)


@tflite_op("DEQUANTIZE")
def dequantize(c: TfliteContext) -> Value:
    tensor = c.need_tensor(0)
    if tensor.quantization is None or tensor.dtype not in DTYPES.values() or tensor.dtype in ("f16", "f32", "bf16"):
        return c.cast(c.raw(0), "f32")
    if not tensor.quantized:
        return c.dequantize(c.raw(0), tensor.quantization)
    return c.need(0)


@tflite_op("SELECT", "SELECT_V2")
def select(c: TfliteContext) -> Value:
    condition, x, y = c.raw(0), c.need(1), c.need(2)
    if c.op == "SELECT" and condition.rank == 1 and x.rank > 1:  # one decision per row
        condition = c.unsqueeze(condition, list(range(1, x.rank)))
    return c.emit("Where", [condition, x, y])


@tflite_op("ZEROS_LIKE")
def zeros_like(c: TfliteContext) -> Value:
    x = c.need(0)
    return c.emit("ConstantOfShape", [c.emit("Shape", [x])], {"value": 0.0, "dtype": x.dtype})
