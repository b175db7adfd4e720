"""The rules that all integer operators share."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[Any]


def f64(scale: float) -> np.float64:
    """A scale attribute: an f32 value, computed with in f64."""
    exact: np.float64 = np.float64(np.float32(scale))
    return exact


def wrap_i32(values: Array) -> Array:
    """Exact integers (as i64 or f64 below 2^53) to i32, modulo 2^32."""
    return values.astype(np.int64).astype(np.int32)


def quantize(v: Array, zero_point: int, minimum: int = -128, maximum: int = 127, dtype: str = "i8") -> Array:
    """`q(v, lo, hi)`: clamp(rne(v) + zero_point, minimum, maximum) of f32 values.

    >>> quantize(np.float32([0.5, 1.5, 1e30]), 0).tolist()
    [0, 2, 127]
    """
    bound = np.float32(2**30)
    rounded = np.rint(np.clip(np.asarray(v, np.float32), -bound, bound)).astype(np.int32)
    q: Array = np.clip(rounded + np.int32(zero_point), minimum, maximum)
    return q.astype(np.uint8 if dtype == "u8" else np.int8)
