"""Of the ranges that the observers propose, the one that harms the outputs least, measured.

Clipping helps the many samples and harms the rare ones with large values, which a few calibration samples show badly. So
everything that was seen stays inside unless another range wins clearly, on samples that did not choose it.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgec.quantize.parameters import Range, Scale
from edgec.quantize.probe import Probe

# The error must become smaller than this share of that of min-max (1.5 dB).
CLEARLY = 0.7


def choose(probe: Probe, leader: str, proposals: Mapping[str, Range]) -> str:
    """Name of the observer whose range is best for the tensors of one scale; "minmax" is among the proposals."""
    half = max(1, probe.count // 2)
    first, second = slice(0, half), slice(half if probe.count > 1 else 0, None)

    def error(name: str, part: slice) -> float:
        return probe.error({leader: Scale.of(proposals[name])}, part)

    best = min(proposals, key=lambda name: error(name, first))
    if best == "minmax":
        return best
    wins = all(error(best, part) < CLEARLY * error("minmax", part) for part in (first, second))
    return best if wins else "minmax"
