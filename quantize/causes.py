"""Why a tensor loses accuracy in 8 bits, in words, and what the user can do about it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from edgec.converter.ir.graph import Node, Value
from edgec.quantize.placement import Placement, data_inputs
from edgec.quantize.statistics import BINS, TensorStatistics

# Extremes so many times larger than what 99.99 % of the values reach are outliers.
OUTLIER = 4.0
# Parts of one concatenation, and channels of one tensor, whose ranges differ by more than this lose 3 or 4 of 8 bits.
MIXED, FEW_CHANNELS = 8.0, 16.0
# A tensor that is at most so many dB worse than its worst input has inherited its error.
INHERITED_DB = 3.0


@dataclass(frozen=True)
class Cause:
    """`text` says what is wrong, `advice` what is left to the user ("" when nothing is)."""

    kind: str
    text: str
    advice: str = ""


def cause_of(
    node: Node, v: Value, placement: Placement, statistics: Mapping[str, TensorStatistics], sqnr: Mapping[str, float]
) -> Cause:
    """The most likely reason for the error of one tensor."""
    own = sqnr.get(v.name, np.inf)
    expectation = _softmax_expectation(node)
    if expectation:
        return expectation
    s = statistics.get(v.name)
    found = _mixed(v, placement, statistics) or (None if s is None else _range(s))
    if found is not None:
        return found
    before = [(sqnr[i.name], i.name) for i in data_inputs(node) if i.name in sqnr] if node in placement.nodes else []
    if before and own > min(before)[0] - INHERITED_DB:
        return Cause("inherited", f"the error comes in with '{min(before)[1]}'")
    return Cause("rounding", "rounding of weights and activations, no single cause")


def _mixed(v: Value, placement: Placement, statistics: Mapping[str, TensorStatistics]) -> Cause | None:
    if v not in placement.groups:
        return None
    for member in placement.members(v):
        node = member.producer
        if node is None or node.op != "Concat":
            continue
        parts = {i.name: statistics[i.name].largest for i in node.inputs if i is not None and i.name in statistics}
        small, large = min(parts, key=parts.__getitem__), max(parts, key=parts.__getitem__)
        if parts[small] > 0 and parts[large] > MIXED * parts[small]:
            return Cause(
                "mixed ranges",
                f"one scale for two ranges: '{large}' is {parts[large] / parts[small]:.0f} times as large as '{small}'",
                f"--keep-float '{node.outputs[0].name}' keeps both ranges apart",
            )
    return None


def _range(s: TensorStatistics) -> Cause | None:
    if s.not_finite:
        return Cause(
            "not finite", f"{s.not_finite} values are NaN or infinite", "check the model and its preprocessing"
        )
    usual = _reach(s, 0.9999)
    if usual > 0 and s.largest > OUTLIER * usual:
        return Cause(
            "range outlier",
            f"the largest value, {s.largest:.3g}, is {s.largest / usual:.0f} times what 99.99 % reach ({usual:.3g})",
            "are there broken samples in the calibration data? --method percentile clips rare values",
        )
    if s.channel_minimum is not None and s.channel_maximum is not None and len(s.channel_maximum) > 1:
        extent = np.maximum(np.abs(s.channel_minimum), np.abs(s.channel_maximum))
        alive = extent[extent > 1e-6 * extent.max()]
        middle = float(np.median(alive)) if alive.size else 0.0
        if middle > 0 and extent.max() > FEW_CHANNELS * middle:
            few = int((extent > extent.max() / 4).sum())
            return Cause(
                "few channels hold the range",
                f"{few} of {len(extent)} channels hold the range; the typical one uses 1/{extent.max() / middle:.0f} of it",
                "--equalize scales channels where the network allows it; --keep-float where it does not",
            )
    if s.widened >= 3 and s.samples >= 8:
        return Cause(
            "clipped calibration",
            f"the range grew by more than 5 % in {s.widened} of {s.samples} samples: more data will grow it further",
            "calibrate with more, or more varied, samples",
        )
    return None


def _softmax_expectation(node: Node) -> Cause | None:
    x = node.input(0)
    if node.op in ("Conv2d", "MatMul") and x is not None and x.producer is not None:
        source = x.producer
        while source.op in ("Reshape", "Transpose", "Squeeze", "Unsqueeze") and source.inputs[0] is not None:
            if source.inputs[0].producer is None:
                return None
            source = source.inputs[0].producer
        if source.op == "Softmax":
            return Cause(
                "softmax expectation",
                "a weighted mean over a softmax: each probability's rounding counts with its weight",
                f"--keep-float '{node.name}'",
            )
    return None


def _reach(s: TensorStatistics, share: float) -> float:
    """The magnitude that `share` of the values does not exceed."""
    order = np.argsort(np.abs(s.centers))
    at = int(np.searchsorted(np.cumsum(s.counts[order]), share * s.counts.sum()))
    return float(np.abs(s.centers[order[min(at, BINS - 1)]])) + (s.high - s.low) / BINS
