"""Scale and zero point of a range; the arithmetic of docs/numerics.md for constants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

LOWEST, HIGHEST = -128, 127
WEIGHT_LIMIT = 127
# A bias is at most this after quantization: the sum of products of the longest dot product still fits beside it.
BIAS_LIMIT = 2.0**30
SMALLEST_SCALE = 2.0**-100


@dataclass(frozen=True)
class Range:
    """Real values that the 256 steps of a tensor cover; 0 is always one of them."""

    low: float
    high: float

    def with_zero(self) -> Range:
        """The range widened so that it holds 0: padding and relu need an exact 0."""
        return Range(min(self.low, 0.0), max(self.high, 0.0))

    def union(self, other: Range) -> Range:
        """The smallest range that holds both."""
        return Range(min(self.low, other.low), max(self.high, other.high))


@dataclass(frozen=True)
class Scale:
    """real = (q - zero_point) * scale with q in [-128, 127]."""

    scale: np.float32
    zero_point: int

    @classmethod
    def of(cls, wanted: Range) -> Scale:
        """The finest scale whose steps reach both ends."""
        r = wanted.with_zero()
        scale = np.float32(max((r.high - r.low) / (HIGHEST - LOWEST), SMALLEST_SCALE))
        zero = int(np.clip(np.rint(LOWEST - r.low / float(scale)), LOWEST, HIGHEST))
        return cls(scale, zero)

    @property
    def range(self) -> Range:
        """Smallest and largest value that it can represent."""
        return Range(
            float((LOWEST - self.zero_point) * np.float64(self.scale)),
            float((HIGHEST - self.zero_point) * np.float64(self.scale)),
        )

    def quantize(self, x: Array) -> Array:
        """i8 values of x."""
        return np.asarray(np.clip(np.rint(x / self.scale) + self.zero_point, LOWEST, HIGHEST), np.int8)

    def round_trip(self, x: Array) -> Array:
        """What remains of x after quantization."""
        return np.asarray((self.quantize(x).astype(np.float32) - np.float32(self.zero_point)) * self.scale, np.float32)
