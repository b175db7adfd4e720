"""The range whose 8-bit histogram is closest to the original one in information (Kullback-Leibler)."""

from __future__ import annotations

import numpy as np

from edgec.quantize.parameters import Range
from edgec.quantize.statistics import BINS, TensorStatistics

_SHARES = np.linspace(0.1, 1.0, 37)
_LEVELS = 256


def kl(statistics: TensorStatistics) -> Range:
    """Both ends shrink together towards 0; of all candidates the one with the smallest divergence."""
    full = Range(statistics.minimum, statistics.maximum).with_zero()
    return min((Range(full.low * s, full.high * s) for s in _SHARES), key=lambda r: _divergence(statistics, r))


def _divergence(statistics: TensorStatistics, r: Range) -> float:
    counts = statistics.counts.astype(np.float64)
    # The bin of zero holds what relu cut off: it says nothing about the shape of the rest.
    width = (statistics.high - statistics.low) / BINS
    zero = int(np.clip((0.0 - statistics.low) / width, 0, BINS - 1))
    counts[zero] = 0
    first = int(np.clip((r.low - statistics.low) / width, 0, BINS - 1))
    last = int(np.clip((r.high - statistics.low) / width, first, BINS - 1))
    p = counts[first : last + 1].copy()
    p[0] += counts[:first].sum()
    p[-1] += counts[last + 1 :].sum()
    inside = counts[first : last + 1]
    level = np.arange(inside.size) * _LEVELS // inside.size
    occupied = np.bincount(level, inside > 0, _LEVELS)
    mass = np.bincount(level, inside, _LEVELS)
    q = np.where(inside > 0, mass[level] / np.maximum(occupied[level], 1), 0.0)
    total_p, total_q = p.sum(), q.sum()
    if not total_p or not total_q:
        return float("inf") if total_p else 0.0
    p, q = p / total_p, q / total_q
    where = p > 0
    return float(np.sum(p[where] * np.log(p[where] / np.maximum(q[where], 1e-12))))
