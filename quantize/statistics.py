"""What every tensor of a float model holds: collected once, by the runtime, in bounded memory.

One run per calibration sample with all tensors kept; of each tensor a histogram, the range of every channel and the
first moments stay. Observers and algorithms read these and never run the model again for them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgec.errors import InvalidArgumentError
from edgec.model import Model
from edgec.session import Session

Array = np.ndarray[Any, Any]
Feeds = Mapping[str, Array]

BINS = 2048
# Ranges per channel are kept for the last dimension (channels, features) up to this size.
MAX_CHANNELS = 8192
# The range of one picture, for "clipped calibration": how much later samples still widened it.
_FLOAT_KINDS = "f"


@dataclass
class TensorStatistics:
    """Histogram over [low, high] (BINS equal bins), extremes, and extremes per index of the last dimension."""

    name: str
    minimum: float = np.inf
    maximum: float = -np.inf
    low: float = 0.0
    high: float = 0.0
    counts: Array = field(default_factory=lambda: np.zeros(BINS, np.int64))
    channel_minimum: Array | None = None
    channel_maximum: Array | None = None
    channel_square: Array | None = None  # sums per channel, of squares and of values
    channel_total: Array | None = None
    elements: int = 0
    total: float = 0.0
    square: float = 0.0
    widened: int = 0  # samples after the first half that still widened the range by more than 5 %
    samples: int = 0
    not_finite: int = 0

    @property
    def largest(self) -> float:
        """max |x|."""
        return max(abs(self.minimum), abs(self.maximum)) if self.elements else 0.0

    @property
    def power(self) -> float:
        """Mean of x squared."""
        return self.square / self.elements if self.elements else 0.0

    @property
    def channel_variance(self) -> Array:
        """Variance of every channel."""
        assert self.channel_square is not None and self.channel_total is not None
        count = max(1.0, self.elements / len(self.channel_square))
        return np.asarray(np.maximum(self.channel_square / count - (self.channel_total / count) ** 2, 0.0))

    @property
    def centers(self) -> Array:
        """Middle of every bin."""
        width = (self.high - self.low) / BINS
        return self.low + width * (np.arange(BINS) + 0.5)

    def add(self, x: Array) -> None:
        """Takes one more tensor into account; values that are not finite are counted and left out."""
        values = x.reshape(-1)
        low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
        if not (np.isfinite(low) and np.isfinite(high)):
            finite = np.isfinite(values)
            self.not_finite += int(values.size - finite.sum())
            x = np.where(np.isfinite(x), x, np.float32(0))
            values = x.reshape(-1)
            low, high = (float(values.min()), float(values.max())) if values.size else (0.0, 0.0)
        self.samples += 1
        if not values.size:
            return
        if self.elements:
            span = self.maximum - self.minimum
            self.widened += high > self.maximum + 0.05 * span or low < self.minimum - 0.05 * span
        self._cover(low, high)
        self.minimum, self.maximum = min(self.minimum, low), max(self.maximum, high)
        width = (self.high - self.low) / BINS
        index = ((values - np.float32(self.low)) * np.float32(1 / width)).astype(np.int32)
        self.counts += np.bincount(np.clip(index, 0, BINS - 1), minlength=BINS)
        self.elements += values.size
        self.total += float(values.sum(dtype=np.float64))
        self.square += float(np.dot(values, values))
        if x.ndim >= 2 and x.shape[-1] <= MAX_CHANNELS:
            self._add_channels(x.reshape(-1, x.shape[-1]))

    def _add_channels(self, rows: Array) -> None:
        low, high, square = rows.min(axis=0), rows.max(axis=0), np.einsum("ij,ij->j", rows, rows)
        total = rows.sum(axis=0, dtype=np.float64)
        if self.channel_minimum is None or self.channel_maximum is None or self.channel_minimum.shape != low.shape:
            self.channel_minimum, self.channel_maximum, self.channel_square = low, high, square.astype(np.float64)
            self.channel_total = total
            return
        self.channel_minimum = np.minimum(self.channel_minimum, low)
        self.channel_maximum = np.maximum(self.channel_maximum, high)
        self.channel_square = self.channel_square + square
        self.channel_total = self.channel_total + total

    def _cover(self, low: float, high: float) -> None:
        """Doubles the histogram's range, merging bins, until it covers [low, high]."""
        if not self.elements:
            margin = max(high - low, 1e-6 * max(abs(low), abs(high)), 1e-30)
            self.low, self.high = low - 0.01 * margin, high + 0.01 * margin
            return
        while low < self.low or high > self.high:
            merged = self.counts.reshape(-1, 2).sum(axis=1)
            self.counts = np.zeros(BINS, np.int64)
            width = self.high - self.low
            if high > self.high:
                self.high += width
                self.counts[: BINS // 2] = merged
            else:
                self.low -= width
                self.counts[BINS // 2 :] = merged


Progress = Callable[[int, int], None]


def collect(
    model: Model, samples: Iterable[Feeds], threads: int = 1, progress: Progress | None = None, total: int = 0
) -> dict[str, TensorStatistics]:
    """Runs the model on every sample and returns the statistics of all its floating-point tensors by name.

    Raises InvalidArgumentError when there is no sample.
    """
    session = Session(model, threads=threads, keep_all=True)
    found: dict[str, TensorStatistics] = {}
    count = 0
    for feeds in samples:
        session.run(None, feeds)
        for name in session.tensor_names:
            x = session.tensor(name)
            if x.dtype.kind in _FLOAT_KINDS:
                found.setdefault(name, TensorStatistics(name)).add(x.astype(np.float32, copy=False))
        for name, fed in feeds.items():
            if fed.dtype.kind in _FLOAT_KINDS and name not in session.tensor_names:
                found.setdefault(name, TensorStatistics(name)).add(np.asarray(fed, np.float32))
        count += 1
        if progress is not None:
            progress(count, total or count)
    if not count:
        raise InvalidArgumentError("calibration: there is not a single sample")
    return found
