"""Sparse weights: compressed rows and blocks."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import pytest
import tflite

from edgec.converter.frontends.tflite.sparse import densify
from edgec.errors import BadFileError


def sparsity(order: list[int], blocks: list[int], levels: list[Any]) -> Any:
    """SparsityParameters as a reader sees them. A level is a size (dense) or (segments, indices)."""
    b = flatbuffers.Builder(256)

    def ints(values: list[int]) -> int:
        return b.CreateNumpyVector(np.asarray(values, np.int32))

    def vector(values: list[int]) -> int:
        at = b.CreateNumpyVector(np.asarray(values, np.uint8))
        tflite.Uint8VectorStart(b)
        tflite.Uint8VectorAddValues(b, at)
        return tflite.Uint8VectorEnd(b)

    made = []
    for level in levels:
        parts = None if isinstance(level, int) else [vector(v) for v in level]
        tflite.DimensionMetadataStart(b)
        if parts is None:
            tflite.DimensionMetadataAddDenseSize(b, level)
        else:
            tflite.DimensionMetadataAddFormat(b, 1)
            tflite.DimensionMetadataAddArraySegmentsType(b, 3)
            tflite.DimensionMetadataAddArraySegments(b, parts[0])
            tflite.DimensionMetadataAddArrayIndicesType(b, 3)
            tflite.DimensionMetadataAddArrayIndices(b, parts[1])
        made.append(tflite.DimensionMetadataEnd(b))
    b.StartVector(4, len(made), 4)
    for item in reversed(made):
        b.PrependUOffsetTRelative(item)
    metadata, traversal, block_map = b.EndVector(), ints(order), ints(blocks)
    tflite.SparsityParametersStart(b)
    tflite.SparsityParametersAddTraversalOrder(b, traversal)
    tflite.SparsityParametersAddBlockMap(b, block_map)
    tflite.SparsityParametersAddDimMetadata(b, metadata)
    b.Finish(tflite.SparsityParametersEnd(b))
    return tflite.SparsityParameters.GetRootAs(bytes(b.Output()), 0)


def decode(parameters: Any, values: Any, shape: tuple[int, ...]) -> np.ndarray:
    content = memoryview(np.asarray(values, np.float32).tobytes())
    return densify(parameters, content, shape, np.dtype(np.float32), "w", lambda n, what: int(n))


def test_compressed_rows() -> None:
    dense = np.array([[0, 1, 0, 2], [0, 0, 0, 0], [3, 0, 0, 4]], np.float32)
    p = sparsity([0, 1], [], [3, ([0, 2, 2, 4], [1, 3, 0, 3])])
    np.testing.assert_array_equal(decode(p, [1, 2, 3, 4], (3, 4)), dense)


def test_columns_first() -> None:
    dense = np.array([[0, 1, 0, 2], [0, 0, 0, 0], [3, 0, 0, 4]], np.float32)
    p = sparsity([1, 0], [], [4, ([0, 1, 2, 2, 4], [2, 0, 0, 2])])
    np.testing.assert_array_equal(decode(p, [3, 1, 2, 4], (3, 4)), dense)


def test_blocks() -> None:
    """Two of the six 2x2 blocks of a 4x6 matrix are stored."""
    dense = np.zeros((4, 6), np.float32)
    dense[0:2, 2:4] = [[1, 2], [3, 4]]
    dense[2:4, 4:6] = [[5, 6], [7, 8]]
    p = sparsity([0, 1, 2, 3], [0, 1], [2, ([0, 1, 2], [1, 2]), 2, 2])
    np.testing.assert_array_equal(decode(p, range(1, 9), (4, 6)), dense)


@pytest.mark.parametrize(
    ("order", "blocks", "levels"),
    [
        ([0, 1], [], [3, ([0, 2, 9, 4], [1, 3, 0, 3])]),
        ([0, 1], [], [3, ([0, 2, 2, 4], [1, 3, 0, 9])]),
        ([0, 1], [], [3, ([0, 2, 4], [1, 3, 0, 3])]),
        ([0, 0], [], [3, ([0, 2, 2, 4], [1, 3, 0, 3])]),
        ([0, 1], [5], [3, 4]),
        ([0, 1], [], [2**30, 4]),
        ([0, 1], [], [3, -4]),
        ([0, 1], [], [3, 4]),
    ],
)
def test_what_does_not_fit(order: list[int], blocks: list[int], levels: list[Any]) -> None:
    with pytest.raises(BadFileError):
        decode(sparsity(order, blocks, levels), [1, 2, 3, 4], (3, 4))
