"""Quantized operators, composed of exact integer and float steps in ONNX's own order of rounding.

`QuantizeLinear` is Cast(Clip(Round(x / scale) + zero_point)) and `DequantizeLinear` (Cast(x) - zero_point) * scale; the
quantizer's passes recognise these forms.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.frontends.onnx_context import Context
from edgec.converter.frontends.onnx_model import dtype_name
from edgec.converter.frontends.onnx_ops_conv import convolve
from edgec.converter.frontends.onnx_registry import MICROSOFT, Unsupported, onnx_op
from edgec.converter.ir.graph import Value

RANGES = {
    "i8": (-128, 127), "u8": (0, 255), "i16": (-32768, 32767), "u16": (0, 65535), "i4": (-8, 7), "u4": (0, 15),
    "i2": (-2, 1), "u2": (0, 3), "i32": (-(2**31), 2**31 - 1),
}  # fmt: skip


def along(c: Context, vector: Value, rank: int, axis: int) -> Value:
    """A per-axis vector shaped to broadcast; scalars stay."""
    if vector.rank == 0:
        return vector
    if vector.rank == 1 and vector.shape[0] == 1:
        return c.reshape(vector, [])
    shape: list[Any] = [1] * rank
    shape[axis] = c.dim(vector, 0)
    return c.reshape(vector, shape)


def spread(c: Context, v: Value, x: Value, axis: int, block: int) -> Value:
    """Scales or zero points of an operator with axis and block size, shaped to broadcast over `x`."""
    if block and v.rank == x.rank:
        dims: list[Any] = [c.dim(v, i) for i in range(v.rank)]
        count, size = dims[axis], x.shape[axis]
        if not isinstance(count, int) or size is None:
            raise Unsupported("blocked quantization over a symbolic dimension")
        dtype = v.dtype
        wide = c.unsqueeze(v if dtype[0] == "f" else c.cast(v, "i32"), [axis + 1])
        target = [*dims[: axis + 1], block, *dims[axis + 1 :]]
        wide = c.emit("Expand", [wide, c.shape_vector(target)])
        wide = c.reshape(wide, [*dims[:axis], count * block, *dims[axis + 1 :]])
        return wide if count * block == size else c.slice(wide, [0], [size], [axis])
    return along(c, v, x.rank, axis)


def dequantize(c: Context, x: Value, scale: Value, zero: Value | None, axis: int = 1, block: int = 0) -> Value:
    axis = axis % max(x.rank, 1)
    real = c.cast(x, "f32")
    if zero is not None and not _all_zero(c, zero):
        real = c.emit("Sub", [real, c.cast(spread(c, zero, x, axis, block), "f32")])
    factor = spread(c, scale, x, axis, block)
    return c.cast(c.emit("Mul", [real, c.cast(factor, "f32")]), scale.dtype)


def _all_zero(c: Context, zero: Value) -> bool:
    known = c.static(zero)
    return known is not None and not np.any(known.astype(np.float32))


def quantize(
    c: Context, x: Value, scale: Value, zero: Value | None, to: str, axis: int = 1, block: int = 0, divide: bool = True
) -> Value:
    """saturate(round_half_even(x / scale) + zero); `divide` False: x is scaled already."""
    axis = axis % max(x.rank, 1)
    y = c.cast(x, "f32")
    if divide:
        y = c.emit("Div", [y, c.cast(spread(c, scale, x, axis, block), "f32")])
    if to not in RANGES:
        return c.cast(y, to)  # float8 and float4: the cast itself rounds and saturates
    y = c.emit("Round", [y])
    if zero is not None and not _all_zero(c, zero):
        y = c.emit("Add", [y, c.cast(spread(c, zero, x, axis, block), "f32")])
    low, high = RANGES[to]
    return c.cast(c.emit("Clip", [y], {"min": float(low), "max": float(high)}), to)


@onnx_op("DequantizeLinear")
@onnx_op("DequantizeLinear", domain=MICROSOFT)
def dequantize_linear(c: Context) -> Value:
    scale = c.need(1)
    y = dequantize(c, c.need(0), scale, c.input(2), int(c.attr("axis", 1)), int(c.attr("block_size", 0)))
    to = dtype_name(c.attr("output_dtype", 0)) if c.attr("output_dtype", 0) else None
    return c.cast(y, to) if to else y


@onnx_op("QuantizeLinear")
@onnx_op("QuantizeLinear", domain=MICROSOFT)
def quantize_linear(c: Context) -> Value:
    zero = c.input(2)
    to = zero.dtype if zero is not None else dtype_name(c.attr("output_dtype", 0) or 2)
    if to is None:
        raise Unsupported("QuantizeLinear to a type that is not known")
    return quantize(c, c.need(0), c.need(1), zero, to, int(c.attr("axis", 1)), int(c.attr("block_size", 0)))


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


@onnx_op("MatMulInteger")
def matmul_integer(c: Context) -> Value:
    a, b = c.need(0), c.need(1)
    return c.emit(
        "MatMul", [integer(c, a, c.input(2), a.rank - 2 if a.rank > 1 else None), integer(c, b, c.input(3), b.rank - 1)]
    )


@onnx_op("MatMulIntegerToFloat", domain=MICROSOFT)
def matmul_integer_to_float(c: Context) -> Value:
    a, b = c.need(0), c.need(1)
    total = c.emit("MatMul", [integer(c, a, c.input(4)), integer(c, b, c.input(5), b.rank - 1)])
    y = c.emit("Mul", [c.cast(total, "f32"), c.emit("Mul", [c.need(2), c.need(3)])])
    return y if c.input(6) is None else c.emit("Add", [y, c.need(6)])


@onnx_op("QLinearMatMul")
def qlinear_matmul(c: Context) -> Value:
    a, a_scale, a_zero, b, b_scale, b_zero, y_scale, y_zero = (c.need(i) for i in range(8))
    total = c.emit("MatMul", [integer(c, a, a_zero, a.rank - 2), integer(c, b, b_zero, b.rank - 1)])
    left = along(c, a_scale, a.rank, a.rank - 2) if a_scale.rank == 1 else a_scale
    factor = c.emit("Div", [c.emit("Mul", [c.cast(left, "f32"), c.cast(b_scale, "f32")]), c.cast(y_scale, "f32")])
    return quantize(c, c.emit("Mul", [c.cast(total, "f32"), factor]), y_scale, y_zero, y_zero.dtype, divide=False)


def _integer_conv(c: Context, x: Value, x_zero: Value | None, w: Value, w_zero: Value | None) -> Value:
    """The convolution in f32: exact while sums stay below 2^24, which 8-bit products of up to 256 taps do."""
    left = c.cast(integer(c, x, x_zero), "f32")
    return convolve(c, left, c.cast(integer(c, w, w_zero, 0), "f32"), None)


@onnx_op("ConvInteger")
def conv_integer(c: Context) -> Value:
    return c.cast(_integer_conv(c, c.need(0), c.input(2), c.need(1), c.input(3)), "i32")


@onnx_op("QLinearConv")
def qlinear_conv(c: Context) -> Value:
    x, x_scale, x_zero, w, w_scale, w_zero, y_scale, y_zero = (c.need(i) for i in range(8))
    total = _integer_conv(c, x, x_zero, w, w_zero)
    if c.input(8) is not None:
        total = c.emit("Add", [total, along(c, c.cast(c.need(8), "f32"), total.rank, 1)])
    factor = c.emit("Div", [c.emit("Mul", [x_scale, along(c, w_scale, x.rank, 1)]), y_scale])
    return quantize(c, c.emit("Mul", [total, factor]), y_scale, y_zero, y_zero.dtype, divide=False)


# -- com.microsoft -------------------------------------------------------------------------------
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
    total = c.emit("MatMul", [integer(c, a, a_zero), integer(c, b, b_zero, columns)], attrs)
    if c.input(6) is not None:
        total = c.emit("Add", [total, c.need(6)])
    y = c.emit("Mul", [c.cast(total, "f32"), c.emit("Mul", [a_scale, b_scale])])
    alpha = float(c.attr("alpha", 1.0))
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
