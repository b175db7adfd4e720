"""QuantizedAvgPool2d, QuantizedReduceMean, and MaxPool2d of integers."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .common import Array, f64, quantize, wrap_i32


def quantized_avg_pool2d(
    x: Array,
    *,
    kernel: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    ceil_mode: int = 0,
    count_include_pad: int = 0,
    x_scale: float = 1.0,
    x_zero_point: int = 0,
    y_scale: float = 1.0,
    y_zero_point: int = 0,
    minimum: int = -128,
    maximum: int = 127,
) -> Array:
    """x i8[N,H,W,C]. Padding adds nothing; it counts only with count_include_pad, and never beyond the padded image."""
    down = _windows(x.shape[1], kernel[0], strides[0], dilations[0], pads[0], pads[2], ceil_mode)
    across = _windows(x.shape[2], kernel[1], strides[1], dilations[1], pads[1], pads[3], ceil_mode)
    out = np.empty((x.shape[0], len(down), len(across), x.shape[3]), np.int8)
    for i, (rows, padded_rows) in enumerate(down):
        for j, (columns, padded_columns) in enumerate(across):
            part = x[:, rows][:, :, columns].astype(np.int64) - x_zero_point
            count = padded_rows * padded_columns if count_include_pad else len(rows) * len(columns)
            sums = wrap_i32(part.sum(axis=(1, 2)))
            multiplier = np.float32(f64(x_scale) / (f64(y_scale) * max(count, 1)))
            out[:, i, j] = quantize(sums.astype(np.float32) * multiplier, y_zero_point, minimum, maximum)
    return out


def max_pool2d(
    x: Array,
    *,
    kernel: Sequence[int],
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    ceil_mode: int = 0,
) -> Array:
    """x i8[N,H,W,C]: the greatest integer inside each window, -128 where there is none."""
    down = _windows(x.shape[1], kernel[0], strides[0], dilations[0], pads[0], pads[2], ceil_mode)
    across = _windows(x.shape[2], kernel[1], strides[1], dilations[1], pads[1], pads[3], ceil_mode)
    out = np.empty((x.shape[0], len(down), len(across), x.shape[3]), np.int8)
    for i, (rows, _) in enumerate(down):
        for j, (columns, _) in enumerate(across):
            out[:, i, j] = x[:, rows][:, :, columns].max(axis=(1, 2), initial=-128)
    return out


def quantized_reduce_mean(
    x: Array,
    *,
    axes: Sequence[int] = (),
    keepdims: int = 1,
    x_scale: float = 1.0,
    x_zero_point: int = 0,
    y_scale: float = 1.0,
    y_zero_point: int = 0,
    minimum: int = -128,
    maximum: int = 127,
) -> Array:
    """x i8; no axes means all."""
    reduced = tuple(a % x.ndim for a in axes) or tuple(range(x.ndim))
    count = int(np.prod([x.shape[a] for a in reduced], dtype=np.int64))
    sums = wrap_i32((x.astype(np.int64) - x_zero_point).sum(axis=reduced, keepdims=bool(keepdims)))
    multiplier = np.float32(f64(x_scale) / (f64(y_scale) * max(count, 1)))
    return quantize(sums.astype(np.float32) * multiplier, y_zero_point, minimum, maximum)


def _windows(
    size: int, kernel: int, stride: int, dilation: int, begin: int, end: int, ceil_mode: int
) -> list[tuple[list[int], int]]:
    """Per output: the positions inside the image, and how many taps lie inside the padded image."""
    span = size + begin + end - (kernel - 1) * dilation - 1
    count = (span + (stride - 1 if ceil_mode else 0)) // stride + 1
    if ceil_mode and (count - 1) * stride >= size + begin:
        count -= 1  # it would start in the trailing padding
    found = []
    for o in range(count):
        taps = [o * stride - begin + k * dilation for k in range(kernel)]
        found.append(([t for t in taps if 0 <= t < size], sum(t < size + end for t in taps)))
    return found
