"""Symmetric weights in [-127, 127] with one scale per output channel."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.quantize.insert import QuantizedWeight
from edgec.quantize.parameters import BIAS_LIMIT, SMALLEST_SCALE, WEIGHT_LIMIT

Array = np.ndarray[Any, Any]


def channel_scales(weight: Array, axis: int, per_tensor: bool = False) -> Array:
    """f32, one per channel: the largest magnitude becomes 127."""
    others = tuple(i for i in range(weight.ndim) if i != axis)
    largest = np.abs(weight).max(axis=others, initial=0.0)
    if per_tensor:
        largest = np.full_like(largest, largest.max(initial=0.0))
    return np.asarray(np.maximum(largest / np.float32(WEIGHT_LIMIT), np.float32(SMALLEST_SCALE)), np.float32)


def with_room_for_bias(scales: Array, bias: Array | None, input_scale: float) -> Array:
    """Scales widened where the bias would not fit into 32 bits (channels whose weights are almost 0)."""
    if bias is None:
        return scales
    least = np.abs(bias.astype(np.float64)) / (BIAS_LIMIT * float(input_scale))
    return np.asarray(np.maximum(scales, least.astype(np.float32) * np.float32(1.0001)), np.float32)


def round_nearest(weight: Array, scales: Array, axis: int) -> QuantizedWeight:
    """Every weight to the nearest step."""
    shape = [1] * weight.ndim
    shape[axis] = -1
    values = np.clip(np.rint(weight / scales.reshape(shape)), -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8)
    return QuantizedWeight(values, scales, axis)
