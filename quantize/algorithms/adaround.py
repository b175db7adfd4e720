"""Which weights are rounded up and which down, so that the layer's output changes least; needs no labels.

The error of a layer's output is a quadratic form of the rounding errors of one channel's weights, with the second moments
of the layer's inputs as its matrix. Starting from the nearest step, every weight in turn goes to its other neighbour where
that makes the form smaller: the objective of AdaRound, minimised exactly per coordinate instead of by gradients.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.quantize.parameters import WEIGHT_LIMIT

Array = np.ndarray[Any, Any]

_BLOCK = 64
# Few samples know little about rare directions: this share of the mean diagonal stands for what they did not show.
_RIDGE = 0.02


def second_moments(rows: Array) -> Array:
    """f32 [K, K] of rows [P, K] around their mean: the bias takes care of the mean."""
    centered = rows - rows.mean(axis=0, dtype=np.float64).astype(np.float32)
    moments = centered.T @ centered / np.float32(len(rows))
    moments[np.diag_indices_from(moments)] += np.float32(_RIDGE) * np.trace(moments) / len(moments) + np.float32(1e-20)
    return np.asarray(moments)


def round_rows(weight: Array, scales: Array, moments: Array, pull: Array | None = None, sweeps: int = 3) -> Array:
    """i8 [O, K] for weights [O, K] with one scale per row.

    moments: [K, K] for all rows or [O, K, K] for each. pull: [O, K], the part of the gradient that comes from errors of
    the inputs, in units of the weights' steps.
    """
    exact = weight / scales[:, None]
    steps = np.clip(np.rint(exact), -WEIGHT_LIMIT, WEIGHT_LIMIT)
    error = (steps - exact).astype(np.float32)
    common = moments.ndim == 2
    gradient = error @ moments if common else np.einsum("ok,okj->oj", error, moments)
    if pull is not None:
        gradient = gradient + pull
    count = weight.shape[1]
    for _ in range(sweeps):
        moved = 0
        for start in range(0, count, _BLOCK):
            block = slice(start, min(start + _BLOCK, count))
            local = gradient[:, block].copy()
            change = np.zeros_like(local)
            for i, j in enumerate(range(block.start, block.stop)):
                delta = np.where(error[:, j] > 0, np.float32(-1), np.float32(1))
                own = moments[j, j] if common else moments[:, j, j]
                better = (2 * delta * local[:, i] + own < 0) & (np.abs(steps[:, j] + delta) <= WEIGHT_LIMIT)
                if not better.any():
                    continue
                d = delta * better
                moved += int(better.sum())
                error[:, j] += d
                steps[:, j] += d
                change[:, i] = d
                local += np.outer(d, moments[j, block]) if common else d[:, None] * moments[:, j, block]
            if change.any():
                gradient += change @ moments[block] if common else np.einsum("ob,obk->ok", change, moments[:, block])
        if not moved:
            break
    return steps.astype(np.int8)
