"""QuantizedSoftmax."""

from __future__ import annotations

import numpy as np

from .common import Array, quantize


def quantized_softmax(x: Array, table: Array, *, axis: int = -1, y_scale: float = 1.0, y_zero_point: int = 0) -> Array:
    """x i8; table i32 [256] over the distance from the greatest element along the axis."""
    distance = x.max(axis=axis, keepdims=True).astype(np.int64) - x
    e = table[distance]
    total = e.sum(axis=axis, keepdims=True, dtype=np.int64)
    return quantize(e.astype(np.float32) / total.astype(np.float32) / np.float32(y_scale), y_zero_point)
