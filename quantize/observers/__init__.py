"""Observers choose the range of a tensor from its statistics; one file each, listed in `OBSERVERS`."""

from __future__ import annotations

from collections.abc import Callable

from edgec.quantize.observers.kl import kl
from edgec.quantize.observers.min_max import min_max
from edgec.quantize.observers.mse import mse
from edgec.quantize.observers.percentile import percentile
from edgec.quantize.parameters import Range
from edgec.quantize.statistics import TensorStatistics

OBSERVERS: dict[str, Callable[[TensorStatistics], Range]] = {
    "minmax": min_max,
    "percentile": percentile,
    "kl": kl,
    "mse": mse,
}

__all__ = ["OBSERVERS"]
