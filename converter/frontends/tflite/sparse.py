"""Sparse TFLite tensors (block sparse and compressed rows) as ordinary arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError

_SPARSE = 1  # DimensionType.SPARSE_CSR
_INDEX_TYPES = {1: ("Int32Vector", np.int32), 2: ("Uint16Vector", np.uint16), 3: ("Uint8Vector", np.uint8)}


def densify(
    sparsity: Any,
    content: memoryview,
    shape: tuple[int, ...],
    dtype: np.dtype[Any],
    where: str,
    count: Callable[[Any, str], int],
) -> np.ndarray:
    """The tensor of `shape` whose non-zero values are in `content`.

    Dimensions are stored in `traversal_order`, those of the blocks behind those of the tensor; each is dense (a size)
    or sparse (segments and indices, as in compressed rows).
    """

    def vector(n: Any, values: Callable[[], Any]) -> list[int]:
        return [int(v) for v in values()] if count(n, f"the sparsity of {where}") else []

    order = vector(sparsity.TraversalOrderLength(), sparsity.TraversalOrderAsNumpy)
    blocks = vector(sparsity.BlockMapLength(), sparsity.BlockMapAsNumpy)
    levels = count(sparsity.DimMetadataLength(), f"the sparsity of {where}")
    rank = len(shape)
    if levels != rank + len(blocks) or sorted(order) != list(range(levels)) or any(not 0 <= b < rank for b in blocks):
        raise BadFileError(
            f"{where}: its sparsity (order {order}, blocks {blocks}) does not fit its shape {list(shape)}"
        )
    # positions[d][k]: index of the k-th stored element along stored dimension d
    positions: list[np.ndarray] = []
    length = 1
    sizes: dict[int, int] = {}
    for level in range(levels):
        meta = sparsity.DimMetadata(level)
        if meta.Format() == _SPARSE:
            segments = _indices(meta.ArraySegments, meta.ArraySegmentsType(), where, count)
            indices = _indices(meta.ArrayIndices, meta.ArrayIndicesType(), where, count)
            starts, ends = segments[:-1], segments[1:]
            if segments.size != length + 1 or segments[0] != 0 or (ends < starts).any() or segments[-1] > indices.size:
                raise BadFileError(f"{where}: the segments of its sparse dimension {level} do not fit")
            repeats = ends - starts
            own = indices[: segments[-1]]
            sizes[order[level]] = int(own.max()) + 1 if own.size else 0
        else:
            size = meta.DenseSize()
            if size < 0 or length * size > math.prod(shape):
                raise BadFileError(f"{where}: its dense dimension {level} has size {size}")
            repeats = np.full(length, size)
            own = np.tile(np.arange(size), length)
            sizes[order[level]] = size
        positions = [np.repeat(p, repeats) for p in positions] + [own]
        length = int(own.size)
    values = np.frombuffer(content, dtype)
    if values.size != length:
        raise BadFileError(f"{where}: {values.size} values are stored, its sparsity has {length}")
    block_of = {dimension: rank + i for i, dimension in enumerate(blocks)}
    at = {order[level]: positions[level] for level in range(levels)}
    flat = np.zeros(length, np.int64)
    for d in range(rank):
        index = at[d].astype(np.int64)
        if d in block_of:
            index = index * sizes[block_of[d]] + at[block_of[d]]
        if index.size and (index.min() < 0 or index.max() >= shape[d]):
            raise BadFileError(f"{where}: a stored value lies outside its shape {list(shape)}")
        flat = flat * shape[d] + index
    dense = np.zeros(math.prod(shape), dtype)
    dense[flat] = values
    return dense.reshape(shape)


def _indices(table: Callable[[], Any], kind: int, where: str, count: Callable[[Any, str], int]) -> np.ndarray:
    import tflite

    union = table()
    if union is None or kind not in _INDEX_TYPES:
        raise BadFileError(f"{where}: a sparse dimension has no indices")
    name, dtype = _INDEX_TYPES[kind]
    vector = getattr(tflite, name)()
    vector.Init(union.Bytes, union.Pos)
    n = count(vector.ValuesLength(), f"the sparsity of {where}")
    return np.asarray(vector.ValuesAsNumpy() if n else [], dtype).astype(np.int64)
