"""Quantized operators. Q/DQ is the only representation: integer convolutions and products are float operators
between DequantizeLinear and QuantizeLinear, which a pass turns into integer kernels."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.model import dtype_name
from edgec.converter.frontends.onnx.registry import Unsupported, handler_of, onnx_op
from edgec.converter.ir.graph import Value


def as_onnx(c: Context, op: str, inputs: list[Value | None], attributes: dict[str, Any]) -> Value:
    """What the handler of another ONNX operator makes of these inputs."""
    handler = handler_of("", op)
    assert handler is not None
    result = handler(Context(c.importer, c.scope, op, c.name, c.source, attributes, inputs, [""], c.opset))
    value = result[0] if isinstance(result, (list, tuple)) else result
    assert isinstance(value, Value)
    return value


def _scaling(c: Context) -> dict[str, Any]:
    return {"axis": int(c.attr("axis", 1)), "block_size": int(c.attr("block_size", 0))}


def _type_attribute(c: Context) -> str:
    code = int(c.attr("output_dtype", 0))
    name = dtype_name(code) if code else ""
    if name is None:
        raise Unsupported(f"ONNX data type {code}")
    return name


@onnx_op("QuantizeLinear")
def quantize_linear(c: Context) -> Value:
    attrs = {**_scaling(c), "saturate": int(c.attr("saturate", 1))}
    if c.input(2) is None:
        attrs["to"] = _type_attribute(c) or "u8"
    return c.emit("QuantizeLinear", [c.need(0), c.need(1), c.input(2)], attrs)


@onnx_op("DequantizeLinear")
def dequantize_linear(c: Context) -> Value:
    attrs = {**_scaling(c), "to": _type_attribute(c)}
    return c.emit("DequantizeLinear", [c.need(0), c.need(1), c.input(2)], attrs)


def _dequantized(c: Context, i: int, axis: int) -> Value:
    """Inputs i, i + 1, i + 2 are data, scale and zero point."""
    x, scale, zero = c.need(i), c.need(i + 1), c.need(i + 2)
    if scale.rank > 1 and x.rank == scale.rank:  # one scale per row or column, with dimensions of size 1 around it
        counts = [a for a, d in enumerate(scale.shape) if d != 1]
        if len(counts) > 1:
            return _by_hand(c, x, scale, zero)
        axis = counts[0] if counts else axis
        scale, zero = c.reshape(scale, [-1]), c.reshape(zero, [-1])
    return c.emit("DequantizeLinear", [x, scale, zero], {"axis": axis, "to": "f32"})


def _by_hand(c: Context, x: Value, scale: Value, zero: Value) -> Value:
    difference = c.emit("Sub", [c.cast(x, "f32"), c.cast(zero, "f32")])
    return c.emit("Mul", [difference, c.cast(scale, "f32")])


def dequantized_bias(c: Context, bias: Value, x_scale: Value, w_scale: Value) -> Value:
    """An i32 bias in steps of x_scale * w_scale."""
    scale = c.reshape(c.emit("Mul", [c.cast(x_scale, "f32"), c.cast(w_scale, "f32")]), [-1])
    if c.static(scale) is None:
        return c.emit("Mul", [c.cast(bias, "f32"), scale])
    return c.emit("DequantizeLinear", [bias, scale], {"axis": 0, "to": "f32"})


@onnx_op("QLinearConv")
def qlinear_conv(c: Context) -> Value:
    x, w = _dequantized(c, 0, 1), _dequantized(c, 3, 0)
    bias = c.input(8)
    if bias is not None:
        bias = dequantized_bias(c, bias, c.need(1), c.need(4))
    y = as_onnx(c, "Conv", [x, w, bias], c.attributes)
    return c.emit("QuantizeLinear", [y, c.need(6), c.need(7)], {"axis": 1})


@onnx_op("QLinearMatMul")
def qlinear_matmul(c: Context) -> Value:
    y = c.emit("MatMul", [_dequantized(c, 0, 0), _dequantized(c, 3, 1)])
    return c.emit("QuantizeLinear", [y, c.need(6), c.need(7)], {"axis": 0})


def _shifted(c: Context, i: int, zero: int, dtype: str, axis: int) -> Value:
    """Input i minus its zero point (input `zero`: one value, or one per index of `axis`)."""
    x, offset = c.cast(c.need(i), dtype), c.input(zero)
    if offset is None:
        return x
    if offset.rank == 1 and offset.shape[0] != 1:
        offset = c.reshape(offset, [1 if a != axis else -1 for a in range(x.rank)])
    elif offset.rank == 1:
        offset = c.reshape(offset, [])
    return c.emit("Sub", [x, c.cast(offset, dtype)])


def uniform(c: Context, zero: Value | None) -> int | None:
    """The one zero point that a known scalar or vector holds; 0 when there is none."""
    if zero is None:
        return 0
    known = c.static(zero)
    if known is None or known.size == 0 or (known != known.reshape(-1)[0]).any():
        return None
    return int(known.reshape(-1)[0])


def unscaled(c: Context, x: Value, zero: int) -> Value:
    """x - zero in f32 as DequantizeLinear, which the integer rewrites recognise."""
    return c.emit("DequantizeLinear", [x, c.const(np.float32(1.0)), c.const(zero, x.dtype)], {"axis": 0, "to": "f32"})


def integer_matmul(c: Context, a: Value, b: Value, a_zero: Value | None, b_zero: Value | None) -> Value | None:
    """(a - a_zero) @ (b - b_zero) in i32 for constant b, as a product that becomes a QuantizedMatMul; None if it cannot.

    A zero point that only the run knows leaves the product: (128 - a_zero) times the sums of b's columns.
    """
    weights, right = c.static(b), uniform(c, b_zero)
    if weights is None or weights.ndim != 2 or right is None or a.rank < 2:
        return None
    left = uniform(c, a_zero)
    known = left is not None
    middle = 128 if a.dtype == "u8" else 0
    product = c.emit("MatMul", [unscaled(c, a, left if left is not None else middle), unscaled(c, b, right)])
    total = c.cast(product, "i32")
    if known:
        return total
    assert a_zero is not None
    if a_zero.rank > 1 or (a_zero.rank == 1 and a_zero.shape != (1,)):
        return None
    sums = c.const((weights.astype(np.int64) - right).sum(axis=0), "i32")
    shift = c.emit("Sub", [c.const(middle, "i32"), c.reshape(c.cast(a_zero, "i32"), [])])
    return c.emit("Add", [total, c.emit("Mul", [shift, sums])])


@onnx_op("MatMulInteger")
def matmul_integer(c: Context) -> Value:
    a = c.need(0)
    found = integer_matmul(c, a, c.need(1), c.input(2), c.input(3))
    if found is not None:
        return found
    rows = _shifted(c, 0, 2, "i32", a.rank - 2 if a.rank > 1 else 0)
    columns = _shifted(c, 1, 3, "i32", c.need(1).rank - 1)
    return c.emit("MatMul", [rows, columns])


@onnx_op("ConvInteger")
def conv_integer(c: Context) -> Value:
    """In f32 where it does not become an integer operator: exact while every sum stays below 2^24, which is 258 products
    of the largest bytes."""
    x, w, x_zero = c.need(0), c.need(1), c.input(2)
    left, right = uniform(c, x_zero), uniform(c, c.input(3))
    if left is not None and right is not None:
        y = as_onnx(c, "Conv", [unscaled(c, x, left), unscaled(c, w, right), None], c.attributes)
        return c.cast(y, "i32")
    known = c.static(w)
    pads = [int(p) for p in c.attr("pads", [0] * (2 * (w.rank - 2)))]
    automatic = str(c.attr("auto_pad", "NOTSET")) not in ("NOTSET", "VALID")
    if known is None or right is None or automatic or x.dtype != "u8" or x_zero is None or x_zero.rank > 1:
        y = as_onnx(c, "Conv", [_shifted(c, 0, 2, "f32", 1), _shifted(c, 1, 3, "f32", 0), None], c.attributes)
        return c.cast(y, "i32")
    # A zero point that only the run knows: padded with it, the sums differ by (128 - zero point) * sum of the weights.
    zero = c.reshape(x_zero, [])
    if any(pads):
        half = len(pads) // 2
        x = c.emit("Pad", [x, c.i64([0, 0, *pads[:half], 0, 0, *pads[half:]]), zero])
    attributes = {k: v for k, v in c.attributes.items() if k not in ("pads", "auto_pad")}
    y = c.cast(as_onnx(c, "Conv", [unscaled(c, x, 128), unscaled(c, w, right), None], attributes), "i32")
    sums = (known.astype(np.int64) - right).reshape(known.shape[0], -1).sum(axis=1)
    shift = c.emit("Sub", [c.const(128, "i32"), c.cast(zero, "i32")])
    return c.emit("Add", [y, c.emit("Mul", [shift, c.const(sums.reshape(-1, *[1] * (w.rank - 2)), "i32")])])
