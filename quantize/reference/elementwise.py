"""QuantizedAdd, QuantizedSub, QuantizedMul, Requantize, QuantizeLinear and DequantizeLinear."""

from __future__ import annotations

import numpy as np

from .common import Array, f64, quantize


def quantized_add(
    a: Array,
    b: Array,
    *,
    a_scale: float = 1.0,
    a_zero_point: int = 0,
    b_scale: float = 1.0,
    b_zero_point: int = 0,
    y_scale: float = 1.0,
    y_zero_point: int = 0,
    minimum: int = -128,
    maximum: int = 127,
    sign: int = 1,
) -> Array:
    """i8 of any shapes that broadcast; sign -1 subtracts."""
    first = _centered(a, a_zero_point) * np.float32(f64(a_scale) / f64(y_scale))
    second = _centered(b, b_zero_point) * np.float32(f64(b_scale) / f64(y_scale))
    return quantize(first + second if sign > 0 else first - second, y_zero_point, minimum, maximum)


def quantized_mul(
    a: Array,
    b: Array,
    *,
    a_scale: float = 1.0,
    a_zero_point: int = 0,
    b_scale: float = 1.0,
    b_zero_point: int = 0,
    y_scale: float = 1.0,
    y_zero_point: int = 0,
    minimum: int = -128,
    maximum: int = 127,
) -> Array:
    """i8 of any shapes that broadcast."""
    product = (a.astype(np.int32) - a_zero_point) * (b.astype(np.int32) - b_zero_point)
    multiplier = np.float32(f64(np.float32(f64(a_scale) * f64(b_scale))) / f64(y_scale))
    return quantize(product.astype(np.float32) * multiplier, y_zero_point, minimum, maximum)


def requantize(
    x: Array,
    *,
    x_scale: float = 1.0,
    x_zero_point: int = 0,
    y_scale: float = 1.0,
    y_zero_point: int = 0,
    minimum: int = -128,
    maximum: int = 127,
    to: str = "i8",
) -> Array:
    """i8, u8, i16 or i32 to i8 or u8; u8 has the limits of its type."""
    if to == "u8":
        minimum, maximum = 0, 255
    v = _centered(x, x_zero_point) * np.float32(f64(x_scale) / f64(y_scale))
    return quantize(v, y_zero_point, minimum, maximum, to)


def quantize_linear(x: Array, scale: float, zero_point: int = 0, to: str = "i8") -> Array:
    """f32 of any shape, one scale."""
    with np.errstate(over="ignore", invalid="ignore"):
        v = x.astype(np.float32) / np.float32(scale)
    v = np.where(np.isnan(v), np.float32(0), v)
    minimum, maximum = (0, 255) if to == "u8" else (-128, 127)
    return quantize(v, zero_point, minimum, maximum, to)


def dequantize_linear(x: Array, scale: float, zero_point: int = 0) -> Array:
    """i8 or u8 of any shape, one scale, to f32."""
    return np.asarray(_centered(x, zero_point) * np.float32(scale))


def _centered(x: Array, zero_point: int) -> Array:
    return (x.astype(np.int64) - zero_point).astype(np.float32)
