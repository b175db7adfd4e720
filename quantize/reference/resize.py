"""QuantizedResize: linear interpolation along one or two axes."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .common import Array, f64, quantize


def quantized_resize(
    x: Array,
    *,
    sizes: Sequence[int] = (),
    scales: Sequence[float] = (),
    coordinate: str = "half_pixel",
    x_scale: float = 1.0,
    x_zero_point: int = 0,
    y_scale: float = 1.0,
    y_zero_point: int = 0,
) -> Array:
    """x i8; sizes (or scales) of all dimensions. The last axis that changes is interpolated first."""
    v = (x.astype(np.int32) - x_zero_point).astype(np.float32)
    for axis in reversed(range(x.ndim)):
        size = x.shape[axis]
        factor = np.float32(scales[axis]) if len(scales) else None
        target = int(sizes[axis]) if len(sizes) else int(np.floor(np.float32(size) * factor))
        exact = factor is None or abs(float(np.float32(size) * factor) - target) <= 1e-6 * target
        if size == target and exact:
            continue
        left, right, weight = _taps(size, target, None if exact else factor, coordinate)
        a, b = v.take(left, axis), v.take(right, axis)
        v = a + (b - a) * weight.reshape([-1 if d == axis else 1 for d in range(x.ndim)])
    return quantize(v * np.float32(f64(x_scale) / f64(y_scale)), y_zero_point)


def _taps(size: int, target: int, factor: np.float32 | None, coordinate: str) -> tuple[Array, Array, Array]:
    """Per output index: the two input indices and the f32 weight of the second."""
    o = np.arange(target, dtype=np.float64)

    def divided(position: Array) -> Array:
        if factor is None:
            return np.asarray(position * np.float64(size) / np.float64(target))
        return np.asarray((position.astype(np.float32) / factor).astype(np.float64))

    if coordinate == "asymmetric":
        position = divided(o)
    elif coordinate == "align_corners":
        position = np.zeros(1) if target == 1 else o * np.float64(size - 1) / np.float64(target - 1)
    elif coordinate == "pytorch_half_pixel" and target == 1:
        position = np.array([-0.5])
    elif coordinate == "half_pixel_symmetric":
        whole = np.float64(target) if factor is None else f64(float(factor)) * size
        position = np.float64(size) / 2 * (1 - np.float64(target) / whole) + divided(o + 0.5) - 0.5
    else:
        position = divided(o + 0.5) - 0.5
    base = np.ceil(position) - 1
    weight = np.maximum(0.0, 1 - np.abs(base + 1 - position)).astype(np.float32)
    left = np.clip(base, 0, size - 1).astype(np.int64)
    right = np.clip(base + 1, 0, size - 1).astype(np.int64)
    return left, right, weight
