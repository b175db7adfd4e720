"""The rarest values are clipped."""

from __future__ import annotations

import numpy as np

from edgec.quantize.parameters import Range
from edgec.quantize.statistics import BINS, TensorStatistics

SHARE = 1e-4  # of all values, clipped at each end


def percentile(statistics: TensorStatistics, share: float = SHARE) -> Range:
    """The range outside of which `share` of the values lies, at each end."""
    sums = np.cumsum(statistics.counts)
    total = int(sums[-1])
    width = (statistics.high - statistics.low) / BINS
    first = int(np.searchsorted(sums, share * total))
    last = int(np.searchsorted(sums, (1 - share) * total))
    low = max(statistics.low + first * width, statistics.minimum)
    high = min(statistics.low + (last + 1) * width, statistics.maximum)
    return Range(low, high).with_zero()
