"""QuantizedMatMul, and what happens to the sums of any integer product."""

from __future__ import annotations

import numpy as np

from .common import Array, f64, quantize, wrap_i32


def finish_product(
    sums: Array,
    x_scale: float,
    weight_scale: Array,
    bias: Array | None,
    residual: Array | None,
    y_scale: float,
    y_zero_point: int,
    residual_scale: float,
    residual_zero_point: int,
    minimum: int,
    maximum: int,
    to: str,
) -> Array:
    """Bias, multiplier, residual and rounding of exact sums [..., channels]."""
    acc = wrap_i32(sums.astype(np.int64) + (0 if bias is None else bias.astype(np.int64)))
    if to == "i32":
        return acc
    product = (f64(x_scale) * np.asarray(weight_scale, np.float32)).astype(np.float32)
    if to == "f32":
        return acc.astype(np.float32) * product
    v = acc.astype(np.float32) * (product.astype(np.float64) / f64(y_scale)).astype(np.float32)
    if residual is not None:
        difference = residual.astype(np.int32) - residual_zero_point
        v = v + difference.astype(np.float32) * np.float32(f64(residual_scale) / f64(y_scale))
    return quantize(v, y_zero_point, minimum, maximum)


def quantized_matmul(
    a: Array,
    b: Array,
    b_scale: Array,
    bias: Array | None = None,
    residual: Array | None = None,
    *,
    transpose_b: int = 0,
    a_scale: float = 1.0,
    a_zero_point: int = 0,
    b_zero_point: int = 0,
    y_scale: float = 1.0,
    y_zero_point: int = 0,
    residual_scale: float = 1.0,
    residual_zero_point: int = 0,
    minimum: int = -128,
    maximum: int = 127,
    to: str = "i8",
) -> Array:
    """a i8[...,M,K], b i8[...,K,N], b_scale f32[N] or [1], bias i32[N], residual i8 like y; NumPy's matmul rules."""
    right = b.astype(np.float64) - b_zero_point
    if transpose_b and b.ndim > 1:
        right = right.swapaxes(-1, -2)
    sums = np.asarray((a.astype(np.float64) - a_zero_point) @ right)
    return finish_product(
        sums, a_scale, b_scale, bias, residual, y_scale, y_zero_point, residual_scale, residual_zero_point,
        minimum, maximum, to,
    )  # fmt: skip
