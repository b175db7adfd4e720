"""Types of tensors whose shape depends on data.

The registry leaves such outputs open: only the run knows. Handlers need the rank and the data type all the same. Here
every dimension that depends on data gets a stand-in size, a different one in each probe, so that it counts as "not
static" exactly like a symbolic dimension. Each operator has its own pair of primes: two tensors agree in such a
dimension only when it comes from the same place.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from edgec.converter.ir.graph import TensorType, Value

_COMPARISONS = {"Equal", "Less", "LessEqual", "Greater", "GreaterEqual", "And", "Or", "Xor"}
_BINARY = {"Add", "Sub", "Mul", "Div", "Pow", "Mod", "Min", "Max"} | _COMPARISONS


def primes(first: int = 41) -> Iterator[int]:
    """Odd sizes that no real network has."""
    n = first
    while True:
        if all(n % d for d in range(3, int(n**0.5) + 1, 2)):
            yield n
        n += 2


def stand_in_types(
    op: str, inputs: Sequence[Value | None], attrs: dict[str, Any], outputs: int, sizes: tuple[int, int]
) -> list[tuple[TensorType, ...]] | None:
    """Types for the outputs of an operator that inference left open; None when even the rank is unknown."""
    if any(v is not None and not v.types for v in inputs):
        return None
    x = inputs[0]
    if x is None:
        return None
    found = _shapes(op, x, inputs, attrs, outputs)
    if found is None:
        return None
    result = []
    for dtype, dims in found:
        result.append(tuple(TensorType(dtype, _probe(dims, p, size)) for p, size in enumerate(sizes)))
    return result


def _probe(dims: Sequence[Any], probe: int, size: int) -> tuple[int, ...]:
    """None is a dimension that depends on data; a pair holds one size per probe."""
    return tuple(size if d is None else d[probe] if isinstance(d, tuple) else d for d in dims)


def _dims(v: Value) -> list[Any]:
    """Sizes per probe."""
    return [tuple(t.shape[i] for t in v.types) for i in range(v.rank)]


def _broadcast(values: Sequence[Value]) -> list[Any]:
    """Sizes of the broadcast result; where stand-ins disagree, the run knows."""
    rank = max(v.rank for v in values)
    padded = [[(1,) * len(v.types)] * (rank - v.rank) + _dims(v) for v in values]
    result: list[Any] = []
    for sizes in zip(*padded):
        wide = {s for s in sizes if any(d != 1 for d in s)}
        result.append(None if len(wide) > 1 else wide.pop() if wide else sizes[0])
    return result


def _length(v: Value | None) -> int | None:
    """Number of elements of a vector of sizes or axes."""
    return None if v is None or v.rank != 1 else v.shape[0]


def _shapes(
    op: str, x: Value, inputs: Sequence[Value | None], attrs: dict[str, Any], outputs: int
) -> list[tuple[str, list[Any]]] | None:
    second = inputs[1] if len(inputs) > 1 else None
    if op == "NonZero":
        return [("i64", [x.rank, None])]
    if op == "NonMaxSuppression":
        return [("i64", [None, 3])]
    if op == "Range":
        return [(x.dtype, [None])]
    if op == "ConstantOfShape":
        count = _length(x)
        return None if count is None else [(str(attrs.get("dtype", "f32")), [None] * count)]
    if op in ("Reshape", "Expand"):
        count = _length(second)
        if count is None:
            return None
        return [(x.dtype, [None] * (count if op == "Reshape" else max(count, x.rank)))]
    if op == "Slice":
        axes = inputs[3] if len(inputs) > 3 else None
        known = axes.static_value if axes is not None else None
        dims = _dims(x)
        cut = range(x.rank) if known is None else [int(a) % max(x.rank, 1) for a in known.reshape(-1)]
        for axis in cut:
            dims[axis] = None
        return [(x.dtype, dims)]
    if op == "Split" and attrs.get("sizes"):
        dims, axis = _dims(x), int(attrs.get("axis", 0)) % x.rank
        return [(x.dtype, [*dims[:axis], (size,) * len(x.types), *dims[axis + 1 :]]) for size in attrs["sizes"]]
    if op in ("Pad", "Tile", "Resize"):
        return [(x.dtype, [None] * x.rank)]
    if op == "TopK":
        dims = _dims(x)
        dims[int(attrs.get("axis", -1)) % x.rank] = None
        return [(x.dtype, dims), ("i64", dims)][:outputs]
    if op in ("ScatterND", "ScatterElements"):
        return [(x.dtype, _dims(x))]
    if op == "Where" and second is not None:
        return [(second.dtype, _broadcast([v for v in inputs if v is not None]))]
    if op in _BINARY and second is not None:
        return [("bool" if op in _COMPARISONS else x.dtype, _broadcast([x, second]))]
    if op == "OneHot":
        values = inputs[2]
        axis = int(attrs.get("axis", -1))
        dims = _dims(x)
        dims.insert(axis % (x.rank + 1), None)
        return None if values is None else [(values.dtype, dims)]
    return None
