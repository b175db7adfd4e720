"""Of the ranges that the observers propose, the one that harms the outputs least, measured.

Clipping helps the many samples and harms the rare ones with large values, which a few calibration samples show badly. So
everything that was seen stays inside unless another range wins clearly, on samples that did not choose it.
"""

from __future__ import annotations

from collections.abc import Mapping

from edgec.quantize.parameters import Range, Scale
from edgec.quantize.probe import Probe

# The error must become smaller than this share of that of min-max (4 dB): with 1.5 dB, accuracy on other data was worse.
CLEARLY = 0.4


# What measuring may cost, in multiply-adds: a large network is measured on fewer samples. Not in seconds, for the same data
# must give the same model on every machine; about 45 s on one core of a laptop.
WORK = 6e11
_LEAST = 4  # two to choose, two to confirm


def affordable(work_per_run: float, leaders: int, proposals: int) -> tuple[int, int]:
    """On how many samples the ranges can be measured, and those of how many scales."""
    runs = WORK / max(work_per_run, 1.0)
    samples = max(_LEAST, int(runs / max(1, leaders * (proposals + 2))))
    return samples, max(1, int(runs / ((proposals + 2) * samples / 2 + 2)))


def harm(probe: Probe, leader: str, wide: Range) -> float:
    """The outputs' error from one scale with everything inside, on few samples."""
    return probe.error({leader: Scale.of(wide)}, slice(0, 2))


def choose(probe: Probe, leader: str, proposals: Mapping[str, Range]) -> str:
    """Name of the observer whose range is best for the tensors of one scale; "minmax" is among the proposals."""
    half = max(1, probe.count // 2)
    first, second = slice(0, half), slice(half if probe.count > 1 else 0, None)

    def error(name: str, part: slice) -> float:
        return probe.error({leader: Scale.of(proposals[name])}, part)

    errors = {name: error(name, first) for name in proposals}
    best = min(errors, key=errors.__getitem__)
    if errors[best] >= CLEARLY * errors["minmax"]:
        return "minmax"
    return best if error(best, second) < CLEARLY * error("minmax", second) else "minmax"
