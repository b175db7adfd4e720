"""QuantizedLayerNorm."""

from __future__ import annotations

import numpy as np

from .common import Array, f64, quantize


def quantized_layer_norm(
    x: Array,
    scale: Array | None = None,
    bias: Array | None = None,
    *,
    axis: int = -1,
    epsilon: float = 1e-5,
    x_scale: float = 1.0,
    x_zero_point: int = 0,
    y_scale: float = 1.0,
    y_zero_point: int = 0,
) -> Array:
    """x i8, normalised over the dimensions axis and after it; scale and bias f32 of their size."""
    rows = x.reshape(int(np.prod(x.shape[: axis % x.ndim], dtype=np.int64)), -1)
    wide = rows.astype(np.int64)
    count = np.float64(rows.shape[1])
    mean = wide.sum(axis=1, keepdims=True).astype(np.float64) / count
    variance = np.maximum((wide * wide).sum(axis=1, keepdims=True).astype(np.float64) / count - mean * mean, 0.0)
    with np.errstate(all="ignore"):
        factor = (1.0 / np.sqrt(variance + f64(epsilon) / (f64(x_scale) * f64(x_scale)))).astype(np.float32)
        v = (rows.astype(np.float32) - mean.astype(np.float32)) * factor
        if scale is not None:
            v = v * scale.reshape(-1)
        if bias is not None:
            v = v + bias.reshape(-1)
        v = v / np.float32(y_scale)
    v = np.where(np.isnan(v), -np.inf, v)  # 0 * inf of a row without deviation and without epsilon
    return quantize(v, y_zero_point).reshape(x.shape)
