"""The mean error of a layer, which rounding leaves behind and later layers amplify, moves into its bias."""

from __future__ import annotations

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


def corrected(bias: Array | None, weight: Array, mean: Array, rounded: Array, rounded_mean: Array) -> Array:
    """f32 [O]: the bias with which the mean output is the float layer's.

    weight, rounded: [O, K]; mean, rounded_mean: the mean input of the float and of the quantized network, [K] for all
    channels or [O, K] for each.
    """
    before = np.zeros(len(weight)) if bias is None else bias.astype(np.float64)
    wanted = (weight.astype(np.float64) * mean).sum(axis=1)
    found = (rounded.astype(np.float64) * rounded_mean).sum(axis=1)
    return np.asarray((before + wanted - found).astype(np.float32))
