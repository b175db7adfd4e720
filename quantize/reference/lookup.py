"""Lookup, and the tables that the converter computes for it and for QuantizedSoftmax."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from .common import Array, f64


def lookup(x: Array, table: Array) -> Array:
    """x i8; table i8 [256], or [C, 256] with C the last dimension of x."""
    index = x.astype(np.int64) + 128
    return table[index] if table.ndim == 1 else table[np.arange(x.shape[-1]), index]


def function_table(
    f: Callable[[Array], Array], x_scale: float, x_zero_point: int, y_scale: float, y_zero_point: int
) -> Array:
    """i8 [256]: clamp(rne(f(real(x)) / y_scale) + y_zero_point, -128, 127) in f64; NaN becomes the zero point.

    >>> function_table(np.abs, 1.0, 0, 1.0, 0)[[0, 127, 128, 255]].tolist()
    [127, 1, 0, 127]
    """
    real = (np.arange(-128, 128) - x_zero_point) * f64(x_scale)
    with np.errstate(all="ignore"):
        v = np.asarray(f(real), np.float64) / f64(y_scale)
    v = np.where(np.isnan(v), 0.0, v)
    steps = np.rint(np.clip(v, -(2.0**30), 2.0**30)) + y_zero_point
    return np.asarray(np.clip(steps, -128, 127), np.int8)


def softmax_table(x_scale: float) -> Array:
    """i32 [256]: rne(exp(-d * x_scale) * 2^23) for the distances d from the maximum."""
    return np.rint(np.exp(-np.arange(256) * f64(x_scale)) * 2.0**23).astype(np.int32)
