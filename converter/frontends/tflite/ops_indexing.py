"""Scattering, segments, diagonals, sets, spectra: operators that move or combine elements by index."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.frontends.tflite.context import ComplexPair, TfliteContext
from edgec.converter.frontends.tflite.registry import tflite_op
from edgec.converter.ir.graph import Value

_LAST = 2**62


@tflite_op("WHERE")
def where(c: TfliteContext) -> Value:
    """Indices of what is not zero, one row each."""
    x = c.raw(0)
    return c.transpose(c.emit("NonZero", [x]), [1, 0])


@tflite_op("SCATTER_ND")
def scatter_nd(c: TfliteContext) -> Value:
    """Updates at the same place add up."""
    indices, updates = c.vector(0), c.need(1)
    zeros = c.emit("ConstantOfShape", [c.vector(2)], {"value": 0.0, "dtype": updates.dtype})
    return c.emit("ScatterND", [zeros, indices, updates], {"reduction": "add"})


@tflite_op("SPARSE_TO_DENSE")
def sparse_to_dense(c: TfliteContext) -> Value:
    indices, values, fill = c.vector(0), c.need(2), c.need(3)
    fill = fill if fill.rank == 0 else c.reshape(fill, [])
    base = c.emit("Expand", [fill, c.vector(1)])
    if indices.rank == 0:
        indices = c.reshape(indices, [1, 1])
    elif indices.rank == 1:
        indices = c.unsqueeze(indices, [1])
    count = c.dim(indices, 0)
    if values.rank == 0:
        values = c.emit("Expand", [values, c.shape_vector([count])])
    return c.emit("ScatterND", [base, indices, values])


@tflite_op("DYNAMIC_UPDATE_SLICE")
def dynamic_update_slice(c: TfliteContext) -> Value:
    """Writes `update` into x at a start that is moved so that it fits."""
    x, update, start = c.need(0), c.need(1), c.vector(2)
    room = c.emit("Sub", [c.shape_vector(c.dims(x)), c.shape_vector(c.dims(update))])
    start = c.emit("Max", [c.emit("Min", [start, room]), c.i64([0])])
    sizes = c.sizes(update, "DYNAMIC_UPDATE_SLICE")
    grid = np.stack(np.meshgrid(*[np.arange(s) for s in sizes], indexing="ij"), axis=-1).astype(np.int64)
    return c.emit("ScatterND", [x, c.emit("Add", [c.i64(grid), start]), update])


@tflite_op("BROADCAST_ARGS")
def broadcast_args(c: TfliteContext) -> Value:
    """The shape that two shapes broadcast to."""
    a, b = c.vector(0), c.vector(1)
    length = max(c.sizes(a, "BROADCAST_ARGS")[0], c.sizes(b, "BROADCAST_ARGS")[0])

    def wide(v: Value) -> Value:
        missing = length - c.sizes(v, "BROADCAST_ARGS")[0]
        return c.emit("Concat", [c.i64([1] * missing), v], {"axis": 0}) if missing else v

    a, b = wide(a), wide(b)
    return c.emit("Where", [c.emit("Equal", [a, c.i64([1])]), b, a])


@tflite_op("REVERSE_SEQUENCE")
def reverse_sequence(c: TfliteContext) -> Value:
    o = c.options("ReverseSequenceOptions")
    x, lengths = c.need(0), c.vector(1)
    time, batch = c.normalize_axis(o.SeqDim(), x.rank), c.normalize_axis(o.BatchDim(), x.rank)
    if time == batch:
        raise BadFileError(f"{c.op} ({c.source}): dimension {time} is both time and batch")
    front = [batch, time, *(i for i in range(x.rank) if i not in (batch, time))]
    moved = c.transpose(x, front)
    steps = c.dim(moved, 1)
    if not isinstance(steps, int):
        raise Unsupported("REVERSE_SEQUENCE over an open length", "give a fixed length with --shape")
    at = c.i64(np.arange(steps).reshape(1, -1))
    ends = c.unsqueeze(lengths, [1])
    turned = c.emit("Sub", [c.emit("Sub", [ends, c.i64([1])]), at])
    index = c.emit("Where", [c.emit("Less", [at, ends]), turned, at])
    y = c.emit("GatherND", [moved, c.unsqueeze(index, [2])], {"batch_dims": 1})
    return c.transpose(y, [int(i) for i in np.argsort(front)])


# -- diagonals ------------------------------------------------------------------------------------
def _eye(c: TfliteContext, rows: int, columns: int) -> Value:
    return c.const(np.eye(rows, columns, dtype=bool))


@tflite_op("MATRIX_DIAG")
def matrix_diag(c: TfliteContext) -> Value:
    x = c.need(0)
    size = c.sizes(x, "MATRIX_DIAG")[-1]
    return c.emit("Where", [_eye(c, size, size), c.unsqueeze(x, [x.rank]), c.like(0, x)])


@tflite_op("MATRIX_SET_DIAG")
def matrix_set_diag(c: TfliteContext) -> Value:
    x, diagonal = c.need(0), c.need(1)
    rows, columns = c.sizes(x, "MATRIX_SET_DIAG")[-2:]
    wide = diagonal
    if columns > rows:  # the diagonal, lengthened to a row
        pads = [0] * (2 * diagonal.rank)
        pads[-1] = columns - rows
        wide = c.emit("Pad", [diagonal, c.i64(pads)])
    return c.emit("Where", [_eye(c, rows, columns), c.unsqueeze(wide, [wide.rank - 1]), x])


# -- segments -------------------------------------------------------------------------------------
_UNSORTED = {
    "UNSORTED_SEGMENT_SUM": ("add", 0.0), "UNSORTED_SEGMENT_PROD": ("mul", 1.0),
    "UNSORTED_SEGMENT_MAX": ("max", -np.inf), "UNSORTED_SEGMENT_MIN": ("min", np.inf),
}  # fmt: skip


@tflite_op(*_UNSORTED, "SEGMENT_SUM")
def segments(c: TfliteContext) -> Value:
    """Rows with the same segment id are combined; rows with a negative id are dropped."""
    x, ids = c.need(0), c.vector(1)
    reduction, start = _UNSORTED.get(c.op, ("add", 0.0))
    if c.op == "SEGMENT_SUM":
        known = c.ints(ids)
        if known is None:
            raise Unsupported("segment ids that are computed while the model runs")
        count = max(known, default=-1) + 1
    else:
        count = c.numbers(2, "the number of segments")[0]
    if ids.rank != 1 or count < 0 or count > 1 << 24:
        raise Unsupported(f"segment ids of {ids.rank} dimensions, {count} segments")
    if not np.isfinite(start):
        limits: Any = np.finfo if x.dtype == "f32" else np.iinfo
        info = limits({"f32": np.float32, "i32": np.int32, "i64": np.int64}[x.dtype])
        start = info.min if start < 0 else info.max
    rest = c.dims(x)[1:]
    # One more row takes what belongs nowhere.
    base = c.emit("Expand", [c.like(start, x), c.shape_vector([count + 1, *rest])])
    inside = c.emit("And", [c.emit("GreaterEqual", [ids, c.i64(0)]), c.emit("Less", [ids, c.i64(count)])])
    ids = c.emit("Where", [inside, ids, c.i64(count)])
    y = c.emit("ScatterND", [base, c.unsqueeze(ids, [1]), x], {"reduction": reduction})
    return c.slice(y, [0], [count], [0])


@tflite_op("BUCKETIZE")
def bucketize(c: TfliteContext) -> Value:
    """How many boundaries are not above the value."""
    o = c.options("BucketizeOptions")
    x = c.need(0)
    bounds = np.array(o.BoundariesAsNumpy() if o.BoundariesLength() else [], np.float32)
    reached = c.emit("GreaterEqual", [c.unsqueeze(c.cast(x, "f32"), [x.rank]), c.const(bounds)])
    return c.emit("ReduceSum", [c.cast(reached, "i32")], {"axes": [x.rank], "keepdims": 0})


@tflite_op("UNIQUE")
def unique(c: TfliteContext) -> list[Value]:
    """Values in the order of their first appearance, and where each element's value went."""
    y, _, inverse, _ = c.emit_many("Unique", [c.raw(0)], {"flat": 1, "sorted": 0}, 4)
    return [y, c.cast(inverse, c.out(1).dtype)]


# -- spectra --------------------------------------------------------------------------------------
@tflite_op("RFFT2D")
def rfft2d(c: TfliteContext) -> ComplexPair:
    """As products with the matrices of the transform: sizes of speech and small images are small."""
    x, lengths = c.ranked(c.need(0), 2, 3, 4), c.numbers(1, "the transform's size")
    if len(lengths) != 2 or min(lengths) < 1 or max(lengths) > 4096:
        raise Unsupported(f"a transform of size {lengths}")
    for axis, length in zip((x.rank - 2, x.rank - 1), lengths):
        size = c.sizes(x, "RFFT2D")[axis]
        if size > length:
            x = c.slice(x, [0], [length], [axis])
        elif size < length:
            pads = [0] * (2 * x.rank)
            pads[x.rank + axis] = length - size
            x = c.emit("Pad", [x, c.i64(pads)])
    rows, columns = lengths
    angle = 2 * np.pi * np.outer(np.arange(columns), np.arange(columns // 2 + 1)) / columns
    real = c.emit("MatMul", [x, c.const(np.cos(angle), "f32")])
    imaginary = c.emit("MatMul", [x, c.const(-np.sin(angle), "f32")])
    if rows == 1:
        return ComplexPair(real, imaginary)
    angle = 2 * np.pi * np.outer(np.arange(rows), np.arange(rows)) / rows
    cos, sin = c.const(np.cos(angle), "f32"), c.const(np.sin(angle), "f32")
    a = c.emit("Add", [c.emit("MatMul", [cos, real]), c.emit("MatMul", [sin, imaginary])])
    b = c.emit("Sub", [c.emit("MatMul", [cos, imaginary]), c.emit("MatMul", [sin, real])])
    return ComplexPair(a, b)


def _pair(c: TfliteContext) -> ComplexPair:
    value = c.any(0)
    if not isinstance(value, ComplexPair):
        raise Unsupported("complex numbers that no RFFT2D before it made")
    return value


@tflite_op("REAL")
def real(c: TfliteContext) -> Value:
    return _pair(c).real


@tflite_op("IMAG")
def imag(c: TfliteContext) -> Value:
    return _pair(c).imaginary


@tflite_op("COMPLEX_ABS")
def complex_abs(c: TfliteContext) -> Value:
    p = _pair(c)
    squares = [c.emit("Mul", [v, v]) for v in (p.real, p.imaginary)]
    return c.emit("Sqrt", [c.emit("Add", squares)])


@tflite_op("DENSIFY")
def densify(c: TfliteContext) -> Value:
    """Sparse weights are decoded when the file is read."""
    return c.emit("Identity", [c.need(0)])


# -- detection ------------------------------------------------------------------------------------
@tflite_op("NON_MAX_SUPPRESSION_V4", "NON_MAX_SUPPRESSION_V5")
def non_max_suppression(c: TfliteContext) -> list[Value | None]:
    """The selected indices, filled up with zeros to the limit; (their scores;) how many there are."""
    boxes, scores = c.ranked(c.need(0), 2), c.ranked(c.need(1), 1)
    limit = c.numbers(2, "the number of boxes")[0]
    if not 0 <= limit <= 1 << 20:
        raise BadFileError(f"{c.op} ({c.source}): {limit} boxes")
    sigma = c.scalar(c.input(5), 0.0) if c.op.endswith("V5") else 0.0
    if sigma:
        raise Unsupported("soft non-maximum suppression")
    inputs = [c.unsqueeze(boxes, [0]), c.unsqueeze(scores, [0, 1]), c.i64([limit]), _flat(c, 3), _flat(c, 4)]
    found = c.emit("NonMaxSuppression", inputs)  # [n, 3]: batch, class, box
    picked = c.squeeze(c.slice(found, [2], [3], [1]), [1])
    count = c.emit("Shape", [picked])
    padded = c.emit("Concat", [picked, c.i64([0] * limit)], {"axis": 0})
    indices = c.reshape(c.slice(padded, [0], [limit], [0]), [limit])
    count = c.reshape(count, [])
    if c.op.endswith("V4"):
        return [c.cast(indices, "i32"), c.cast(count, "i32")]
    inside = c.emit("Less", [c.i64(np.arange(limit)), count])
    chosen = c.emit("Where", [inside, c.emit("Gather", [scores, indices], {"axis": 0}), c.like(0, scores)])
    return [c.cast(indices, "i32"), chosen, c.cast(count, "i32")]


def _flat(c: TfliteContext, i: int) -> Value | None:
    value = c.input(i)
    return None if value is None else c.reshape(value, [1])
