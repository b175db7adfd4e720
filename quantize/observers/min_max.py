"""Everything that was seen fits."""

from __future__ import annotations

from edgec.quantize.parameters import Range
from edgec.quantize.statistics import TensorStatistics


def min_max(statistics: TensorStatistics) -> Range:
    """Smallest to largest value of all samples."""
    return Range(statistics.minimum, statistics.maximum).with_zero()
