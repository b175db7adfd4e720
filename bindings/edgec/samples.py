"""Random inputs for checks and benchmarks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from edgec.model import TensorSpec


def smallest_shapes(specs: Sequence[TensorSpec], symbols: Mapping[str, tuple[int, int]]) -> list[list[int]]:
    """The inputs' shapes with every symbolic dimension at the smallest size that it permits."""
    return [[symbols[d][0] if isinstance(d, str) else d for d in s.shape] for s in specs]


def random_input(spec: TensorSpec, shape: Sequence[int], generator: np.random.Generator) -> np.ndarray[Any, Any]:
    """Standard normal floats; 0 or 1 for integers, which are most often indices of something; any bool.

    Integers of 8 bits are pictures or quantized tensors and use their whole range.
    """
    size = tuple(shape)
    if spec.dtype.kind in "iu":
        if spec.dtype.itemsize > 1:
            return generator.integers(0, 2, size).astype(spec.dtype)
        info = np.iinfo(spec.dtype)
        return generator.integers(info.min, info.max + 1, size).astype(spec.dtype)
    if spec.dtype.kind == "b":
        return generator.integers(0, 2, size).astype(np.bool_)
    return generator.standard_normal(size).astype(spec.dtype)
