"""Quantized operators. Q/DQ is the only representation: integer convolutions and products are float operators
between DequantizeLinear and QuantizeLinear, which a pass turns into integer kernels."""

from __future__ import annotations

from typing import Any

from edgec.converter.frontends.onnx_context import Context
from edgec.converter.frontends.onnx_model import dtype_name
from edgec.converter.frontends.onnx_registry import Unsupported, handler_of, onnx_op
from edgec.converter.ir.graph import Value


def _as(c: Context, op: str, inputs: list[Value | None], attributes: dict[str, Any]) -> Value:
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


@onnx_op("QLinearConv")
def qlinear_conv(c: Context) -> Value:
    x, w = _dequantized(c, 0, 1), _dequantized(c, 3, 0)
    bias = c.input(8)
    if bias is not None:
        scale = c.emit("Mul", [c.cast(c.need(1), "f32"), c.cast(c.need(4), "f32")])
        bias = c.emit("Mul", [c.cast(bias, "f32"), c.reshape(scale, [-1])])
    y = _as(c, "Conv", [x, w, bias], c.attributes)
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


@onnx_op("MatMulInteger")
def matmul_integer(c: Context) -> Value:
    a = c.need(0)
    rows = _shifted(c, 0, 2, "i32", a.rank - 2 if a.rank > 1 else 0)
    columns = _shifted(c, 1, 3, "i32", c.need(1).rank - 1)
    return c.emit("MatMul", [rows, columns])


@onnx_op("ConvInteger")
def conv_integer(c: Context) -> Value:
    """In f32: exact while every sum stays below 2^24, which is 258 products of the largest bytes."""
    y = _as(c, "Conv", [_shifted(c, 0, 2, "f32", 1), _shifted(c, 1, 3, "f32", 0), None], c.attributes)
    return c.cast(y, "i32")
