"""Quantized operators of com.microsoft, as onnxruntime's own tools write them."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.frontends.onnx import (  # noqa: F401  (fills the table entries repeated below)
    ops_quant as onnx_ops_quant,
)
from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.ops_quant import (
    as_onnx,
    dequantize_linear,
    dequantized_bias,
    integer_matmul,
    quantize_linear,
)
from edgec.converter.frontends.onnx.registry import MICROSOFT, Unsupported, onnx_op
from edgec.converter.ir.graph import Value

onnx_op("QuantizeLinear", domain=MICROSOFT)(quantize_linear)
onnx_op("DequantizeLinear", domain=MICROSOFT)(dequantize_linear)


def dequantize(c: Context, x: Value, scale: Value, zero: Value | None) -> Value:
    return c.emit("DequantizeLinear", [x, scale, zero], {"to": "f32"})


def quantize(c: Context, x: Value, scale: Value, zero: Value | None, to: str) -> Value:
    return c.emit("QuantizeLinear", [x, scale, zero], {} if zero is not None else {"to": to})


def along(c: Context, vector: Value, rank: int, axis: int) -> Value:
    """A per-axis vector shaped to broadcast; scalars stay."""
    if vector.rank == 0:
        return vector
    if vector.rank == 1 and vector.shape[0] == 1:
        return c.reshape(vector, [])
    shape: list[Any] = [1] * rank
    shape[axis] = c.dim(vector, 0)
    return c.reshape(vector, shape)


def _all_zero(c: Context, zero: Value) -> bool:
    known = c.static(zero)
    return known is not None and not np.any(known.astype(np.float32))


def integer(c: Context, x: Value, zero: Value | None, axis: int | None = None) -> Value:
    """x - zero_point as i32."""
    wide = c.cast(x, "i32")
    if zero is None or _all_zero(c, zero):
        return wide
    point = c.cast(zero, "i32")
    if point.rank == 1 and point.shape[0] == 1:
        point = c.reshape(point, [])
    if point.rank == 1 and axis is not None:
        point = along(c, point, x.rank, axis)
    return c.emit("Sub", [wide, point])


@onnx_op("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer_to_float(c: Context) -> Value:
    a, b = c.need(0), c.need(1)
    total = integer_matmul(c, a, b, c.input(4), c.input(5))
    if total is None:
        total = c.emit("MatMul", [integer(c, a, c.input(4)), integer(c, b, c.input(5), b.rank - 1)])
    y = c.emit("Mul", [c.cast(total, "f32"), c.emit("Mul", [c.need(2), c.need(3)])])
    return y if c.input(6) is None else c.emit("Add", [y, c.need(6)])


@onnx_op("QLinearAdd", "QLinearMul", domain=MICROSOFT)
def qlinear_binary(c: Context) -> Value:
    a = dequantize(c, c.need(0), c.need(1), c.input(2))
    b = dequantize(c, c.need(3), c.need(4), c.input(5))
    y = c.emit("Add" if c.op == "QLinearAdd" else "Mul", [a, b])
    return quantize(c, y, c.need(6), c.input(7), c.need(0).dtype)


@onnx_op("QLinearSigmoid", "QLinearLeakyRelu", "QLinearSoftmax", domain=MICROSOFT)
def qlinear_unary(c: Context) -> Value:
    x = dequantize(c, c.need(0), c.need(1), c.input(2))
    if c.op == "QLinearSigmoid":
        y = c.emit("Sigmoid", [x])
    elif c.op == "QLinearLeakyRelu":
        y = c.emit("LeakyRelu", [x], {"alpha": float(c.attr("alpha", 0.01))})
    else:
        y = c.emit("Softmax", [x], {"axis": c.normalize_axis(int(c.attr("axis", -1)), x.rank)})
    return quantize(c, y, c.need(3), c.input(4), c.need(0).dtype)


@onnx_op("QLinearGlobalAveragePool", domain=MICROSOFT)
def qlinear_global_average_pool(c: Context) -> Value:
    x = dequantize(c, c.need(0), c.need(1), c.input(2))
    axes = list(range(1, x.rank - 1)) if c.attr("channels_last", 0) else list(range(2, x.rank))
    return quantize(c, c.emit("ReduceMean", [x], {"axes": axes, "keepdims": 1}), c.need(3), c.input(4), c.need(0).dtype)


@onnx_op("QLinearAveragePool", domain=MICROSOFT)
def qlinear_average_pool(c: Context) -> Value:
    x = dequantize(c, c.need(0), c.need(1), c.input(2))
    last = bool(c.attr("channels_last", 0))
    if last:
        x = c.transpose(x, [0, x.rank - 1, *range(1, x.rank - 1)])
    attributes = {k: v for k, v in c.attributes.items() if k != "channels_last"}
    y = as_onnx(c, "AveragePool", [x], attributes)
    if last:
        y = c.transpose(y, [0, *range(2, y.rank), 1])
    return quantize(c, y, c.need(3), c.input(4), c.need(0).dtype)


@onnx_op("QLinearConcat", domain=MICROSOFT)
def qlinear_concat(c: Context) -> Value:
    parts = [dequantize(c, c.need(i), c.need(i + 1), c.input(i + 2)) for i in range(2, len(c.inputs), 3)]
    y = c.emit("Concat", parts, {"axis": c.normalize_axis(int(c.need_attr("axis")), parts[0].rank)})
    return quantize(c, y, c.need(0), c.input(1), c.need(2).dtype)


@onnx_op("QGemm", domain=MICROSOFT)
def qgemm(c: Context) -> Value:
    a, a_scale, a_zero, b, b_scale, b_zero = (c.need(i) for i in range(6))
    attrs = {"transpose_a": int(c.attr("transA", 0)), "transpose_b": int(c.attr("transB", 0))}
    columns = 0 if attrs["transpose_b"] else 1
    alpha = float(c.attr("alpha", 1.0))
    scales = c.static(b_scale)
    if scales is not None and alpha > 0 and c.static(a_scale) is not None:
        factor = c.const(scales * np.float32(alpha), "f32")
        right = c.emit("DequantizeLinear", [b, factor, b_zero], {"axis": columns, "to": "f32"})
        bias = None if c.input(6) is None else dequantized_bias(c, c.reshape(c.need(6), [-1]), a_scale, factor)
        y = c.emit("MatMul", [dequantize(c, a, a_scale, a_zero), right, bias], attrs)
        return y if c.input(7) is None else quantize(c, y, c.need(7), c.input(8), a.dtype)
    total = c.emit("MatMul", [integer(c, a, a_zero), integer(c, b, b_zero, columns)], attrs)
    if c.input(6) is not None:
        total = c.emit("Add", [total, c.need(6)])
    y = c.emit("Mul", [c.cast(total, "f32"), c.emit("Mul", [a_scale, b_scale])])
    if alpha != 1.0:
        y = c.emit("Mul", [y, c.like(alpha, y)])
    return y if c.input(7) is None else quantize(c, y, c.need(7), c.input(8), a.dtype)


@onnx_op("MatMulNBits", domain=MICROSOFT)
def matmul_n_bits(c: Context) -> Value:
    """Constant weights of 2, 4 or 8 bits in blocks along K, expanded to f32 here."""
    x, packed, scales = c.need(0), c.static(c.need(1)), c.static(c.need(2))
    rows, columns, bits, block = (int(c.need_attr(n)) for n in ("K", "N", "bits", "block_size"))
    zeros = c.static(c.input(3)) if c.input(3) is not None else None
    if packed is None or scales is None or (c.input(3) is not None and zeros is None) or bits not in (2, 4, 8):
        raise Unsupported(f"MatMulNBits with {bits} bits or weights that are not constant")
    if c.input(4) is not None:
        raise Unsupported("MatMulNBits with a group index")
    blocks = -(-rows // block)
    codes = _unpack(packed.reshape(columns, -1), bits)[:, : blocks * block].reshape(columns, blocks, block)
    offset: Any = float(1 << (bits - 1))
    if zeros is not None:
        if zeros.dtype == np.uint8:
            zeros = _unpack(zeros.reshape(columns, -1), bits)[:, :blocks]
        offset = zeros.reshape(columns, blocks, 1).astype(np.float32)
    real = (codes.astype(np.float32) - offset) * scales.reshape(columns, blocks, 1).astype(np.float32)
    weight = real.reshape(columns, blocks * block)[:, :rows].T
    y = c.emit("MatMul", [c.cast(x, "f32"), c.const(np.ascontiguousarray(weight, np.float32))])
    if c.input(5) is not None:
        y = c.emit("Add", [y, c.cast(c.need(5), "f32")])
    return c.cast(y, x.dtype)


def _unpack(data: np.ndarray, bits: int) -> np.ndarray:
    """[n, bytes] -> [n, codes], the lowest bits first."""
    data = data.view(np.uint8)
    parts = [(data >> shift) & ((1 << bits) - 1) for shift in range(0, 8, bits)]
    return np.stack(parts, axis=-1).reshape(data.shape[0], -1)
