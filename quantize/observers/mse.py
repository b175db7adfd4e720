"""The range with the smallest squared error: clipping error of what falls outside, rounding error of what stays."""

from __future__ import annotations

import numpy as np

from edgec.quantize.parameters import Range
from edgec.quantize.statistics import TensorStatistics

# Ends are tried at these shares of the full range; two rounds of one end at a time reach any combination that matters.
_SHARES = np.concatenate([np.geomspace(0.02, 0.5, 14), np.linspace(0.55, 1.0, 19)])
_ROUNDS = 2


def mse(statistics: TensorStatistics) -> Range:
    """The best of ranges that shrink from either end, by the histogram's squared error."""
    full = Range(statistics.minimum, statistics.maximum).with_zero()
    used = statistics.counts > 0
    centers, counts = statistics.centers[used], statistics.counts[used].astype(np.float64)
    best = full
    for _ in range(_ROUNDS):
        best = min((Range(best.low, full.high * s) for s in _SHARES), key=lambda r: squared_error(centers, counts, r))
        if full.low < 0:
            best = min(
                (Range(full.low * s, best.high) for s in _SHARES), key=lambda r: squared_error(centers, counts, r)
            )
    return best


def squared_error(centers: np.ndarray, counts: np.ndarray, r: Range) -> float:
    """Expected squared error of values at `centers` that occur `counts` times."""
    step = max(r.high - r.low, 1e-30) / 255
    outside = centers - np.clip(centers, r.low, r.high)
    inside = outside == 0
    # Inside, rounding is uniform noise; exact zeros (relu) cost nothing.
    exact = np.abs(centers) < 1e-3 * step
    return float(np.dot(counts, outside * outside + inside * ~exact * (step * step / 12)))
