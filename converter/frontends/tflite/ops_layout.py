"""Shapes, slices, joins, paddings."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.frontends.tflite.context import TfliteContext
from edgec.converter.frontends.tflite.registry import tflite_op
from edgec.converter.ir.graph import Value

_LAST = 2**62


@tflite_op("RESHAPE")
def reshape(c: TfliteContext) -> Value:
    x = c.need(0)
    if c.any(1) is not None and c.raw(1).rank == 1:
        return c.emit("Reshape", [x, c.vector(1)], {"allowzero": 1} if 0 in (c.ints(c.raw(1)) or ()) else None)
    o = c.options("ReshapeOptions")
    dims = [int(d) for d in o.NewShapeAsNumpy()] if o.NewShapeLength() else []
    if len(dims) > 8:
        raise BadFileError(f"{c.op} ({c.source}): a shape of {len(dims)} dimensions")
    if dims == [0]:  # how old converters write a scalar
        dims = []
    return c.reshape(x, dims)


@tflite_op("SQUEEZE")
def squeeze(c: TfliteContext) -> Value:
    x, o = c.need(0), c.options("SqueezeOptions")
    axes = [int(a) for a in o.SqueezeDimsAsNumpy()] if o.SqueezeDimsLength() else []
    axes = [c.normalize_axis(a, x.rank) for a in axes] or [i for i, d in enumerate(x.shape) if d == 1]
    return c.squeeze(x, axes) if axes else c.emit("Identity", [x])


@tflite_op("EXPAND_DIMS")
def expand_dims(c: TfliteContext) -> Value:
    x = c.need(0)
    return c.unsqueeze(x, [c.normalize_axis(c.numbers(1, "the axis")[0], x.rank + 1)])


@tflite_op("TRANSPOSE")
def transpose(c: TfliteContext) -> Value:
    x = c.need(0)
    perm = [c.normalize_axis(p, x.rank) for p in c.numbers(1, "the permutation")]
    return c.emit("Transpose", [x], {"perm": perm})


@tflite_op("CONCATENATION")
def concatenation(c: TfliteContext) -> Value:
    o = c.options("ConcatenationOptions")
    parts = [c.need(i) for i in range(c.count)]
    axis = c.normalize_axis(o.Axis(), parts[0].rank)
    return c.fused(c.emit("Concat", parts, {"axis": axis}), o.FusedActivationFunction())


@tflite_op("PACK")
def pack(c: TfliteContext) -> Value:
    parts = [c.need(i) for i in range(c.count)]
    axis = c.normalize_axis(c.options("PackOptions").Axis(), parts[0].rank + 1)
    return c.emit("Concat", [c.unsqueeze(p, [axis]) for p in parts], {"axis": axis})


@tflite_op("UNPACK")
def unpack(c: TfliteContext) -> list[Value]:
    o = c.options("UnpackOptions")
    x = c.need(0)
    axis = c.normalize_axis(o.Axis(), x.rank)
    count = len(c.operator.outputs)
    parts = c.emit_many("Split", [x], {"axis": axis, "sizes": [1] * count}, count) if count > 1 else [x]
    return [c.squeeze(p, [axis]) for p in parts]


@tflite_op("SPLIT")
def split(c: TfliteContext) -> list[Value]:
    x = c.need(1)
    axis = c.normalize_axis(c.numbers(0, "the axis")[0], x.rank)
    return c.emit_many("Split", [x], {"axis": axis}, len(c.operator.outputs))


@tflite_op("SPLIT_V")
def split_v(c: TfliteContext) -> list[Value]:
    x, sizes = c.need(0), c.numbers(1, "the sizes")
    axis = c.normalize_axis(c.numbers(2, "the axis")[0], x.rank)
    if sizes.count(-1) == 1:
        whole = x.shape[axis]
        if whole is None:
            raise Unsupported("a split of an open size", "give fixed sizes with --shape")
        sizes = [s if s != -1 else whole - sum(sizes) - 1 for s in sizes]
    return c.emit_many("Split", [x], {"axis": axis, "sizes": sizes}, len(c.operator.outputs))


@tflite_op("SLICE")
def slice_(c: TfliteContext) -> Value:
    """From `begin`, `size` elements; -1 is all that are left."""
    x = c.need(0)
    begin, size = c.ints(c.raw(1)), c.ints(c.raw(2))
    axes = list(range(x.rank))
    if begin is not None and size is not None:
        if len(begin) != x.rank or len(size) != x.rank:
            raise BadFileError(f"{c.op} ({c.source}): begin {begin}, size {size} for {x.rank} dimensions")
        return c.slice(x, begin, [_LAST if s == -1 else b + s for b, s in zip(begin, size)], axes)
    starts, sizes = c.vector(1), c.vector(2)
    ends = c.emit("Add", [starts, sizes])
    ends = c.emit("Where", [c.emit("Equal", [sizes, c.i64([-1])]), c.i64([_LAST]), ends])
    return c.emit("Slice", [x, starts, ends, c.i64(axes)])


@tflite_op("STRIDED_SLICE")
def strided_slice(c: TfliteContext) -> Value:
    """NumPy's slicing: each bit of a mask says something about one entry of begin, end and strides."""
    o = c.options("StridedSliceOptions")
    x = c.need(0)
    count = c.raw(1).shape[0] if c.raw(1).rank == 1 else None
    if count is None:
        raise Unsupported("STRIDED_SLICE with an open number of entries")
    strides = c.ints(c.raw(3))
    if strides is None:
        raise Unsupported("strides that are computed while the model runs")
    entries = list(range(count))
    ellipsis, new_axis, shrink = o.EllipsisMask(), o.NewAxisMask(), o.ShrinkAxisMask()
    used = [e for e in entries if not (ellipsis >> e & 1) and not (new_axis >> e & 1)]
    covered = x.rank - len(used)
    if covered < 0:
        raise BadFileError(f"{c.op} ({c.source}): {len(used)} entries for {x.rank} dimensions")
    axes, picked, squeezed, added = [], [], [], []
    axis = place = 0  # of the input, of the result before dimensions are dropped
    for e in entries:
        if ellipsis >> e & 1:
            axis, place = axis + covered, place + covered
        elif new_axis >> e & 1:
            added.append(place)
            place += 1
        else:
            axes.append(axis)
            picked.append(e)
            if shrink >> e & 1:
                squeezed.append(axis)
            else:
                place += 1
            axis += 1
    y = _sliced(c, x, axes, picked, [strides[e] for e in picked], squeezed)
    if squeezed:
        y = c.squeeze(y, squeezed)
    return c.unsqueeze(y, added) if added else y


def _sliced(
    c: TfliteContext, x: Value, axes: list[int], picked: list[int], strides: list[int], squeezed: list[int]
) -> Value:
    if not axes:
        return c.emit("Identity", [x])
    o = c.options("StridedSliceOptions")
    whole_begin = [bool(o.BeginMask() >> e & 1) for e in picked]
    whole_end = [bool(o.EndMask() >> e & 1) for e in picked]
    one = [a in squeezed for a in axes]
    if any(s == 0 for s in strides):
        raise BadFileError(f"{c.op} ({c.source}): stride 0")
    first = [0 if s > 0 else _LAST for s in strides]
    last = [_LAST if s > 0 else -_LAST for s in strides]
    begin, end = c.ints(c.raw(1)), c.ints(c.raw(2))
    if begin is not None and end is not None:
        offset = bool(o.Offset())
        starts, ends, steps = [], [], []
        for i, e in enumerate(picked):
            start = first[i] if whole_begin[i] and not one[i] else begin[e]
            stop = last[i] if whole_end[i] else begin[e] + end[e] if offset else end[e]
            if one[i]:
                stop = start + 1 if start != -1 else _LAST
            elif strides[i] < 0 and stop < 0 and not whole_end[i]:
                size = x.shape[axes[i]]
                stop = stop if size is None else max(stop + size, -1)
                stop = -_LAST if stop == -1 else stop
            starts.append(start)
            ends.append(stop)
            steps.append(1 if one[i] else strides[i])
        return c.slice(x, starts, ends, axes, steps)
    index = c.i64(picked)
    starts_value = c.emit("Gather", [c.vector(1), index], {"axis": 0})
    ends_value = c.emit("Gather", [c.vector(2), index], {"axis": 0})
    if o.Offset():
        ends_value = c.emit("Add", [ends_value, starts_value])
    single = c.const(np.array(one))
    keep = c.const(np.array([w and not s for w, s in zip(whole_begin, one)]))
    starts_value = c.emit("Where", [keep, c.i64(first), starts_value])
    after = c.emit("Add", [starts_value, c.i64([1])])
    after = c.emit("Where", [c.emit("Equal", [starts_value, c.i64([-1])]), c.i64([_LAST]), after])
    ends_value = c.emit("Where", [c.const(np.array(whole_end)), c.i64(last), ends_value])
    ends_value = c.emit("Where", [single, after, ends_value])
    steps_value = c.i64([1 if s else t for s, t in zip(one, strides)])
    return c.emit("Slice", [x, starts_value, ends_value, c.i64(axes), steps_value])


# -- picking --------------------------------------------------------------------------------------
@tflite_op("GATHER")
def gather(c: TfliteContext) -> Value:
    o = c.options("GatherOptions")
    x, indices = c.need(0), c.vector(1)
    axis = c.normalize_axis(o.Axis(), x.rank)
    batch = o.BatchDims()
    batch = batch + indices.rank if batch < 0 else batch
    if not batch:
        return c.emit("Gather", [x, indices], {"axis": axis})
    if not 0 < batch <= min(axis, indices.rank):
        raise BadFileError(f"{c.op} ({c.source}): {batch} batch dimensions, axis {axis}")
    others = [i for i in range(batch, x.rank) if i != axis]
    x = c.transpose(x, [*range(batch), axis, *others])
    y = c.emit("GatherND", [x, c.unsqueeze(indices, [indices.rank])], {"batch_dims": batch})
    # [batch, indices, dimensions before the axis, dimensions behind it]
    before, new = axis - batch, indices.rank - batch
    front = list(range(batch))
    return c.transpose(
        y,
        [
            *front,
            *range(batch + new, batch + new + before),
            *range(batch, batch + new),
            *range(batch + new + before, y.rank),
        ],
    )


@tflite_op("GATHER_ND")
def gather_nd(c: TfliteContext) -> Value:
    return c.emit("GatherND", [c.need(0), c.vector(1)])


@tflite_op("EMBEDDING_LOOKUP")
def embedding_lookup(c: TfliteContext) -> Value:
    return c.emit("Gather", [c.need(1), c.vector(0)], {"axis": 0})


@tflite_op("ONE_HOT")
def one_hot(c: TfliteContext) -> Value:
    indices, depth = c.vector(0), c.reshape(c.vector(1), [])
    off, on = c.reshape(c.need(3), [1]), c.reshape(c.need(2), [1])
    axis = c.options("OneHotOptions").Axis()
    return c.emit("OneHot", [indices, depth, c.emit("Concat", [off, on], {"axis": 0})], {"axis": int(axis)})


@tflite_op("REVERSE_V2")
def reverse(c: TfliteContext) -> Value:
    x = c.need(0)
    axes = [c.normalize_axis(a, x.rank) for a in c.numbers(1, "the axes")]
    n = len(axes)
    return c.slice(x, [-1] * n, [-_LAST] * n, axes, [-1] * n) if n else c.emit("Identity", [x])


# -- padding and repeating ------------------------------------------------------------------------
def _pads(c: TfliteContext) -> Value:
    """[[before, after], ...] as all before, then all after."""
    return c.reshape(c.transpose(c.vector(1), [1, 0]), [-1])


@tflite_op("PAD")
def pad(c: TfliteContext) -> Value:
    return c.emit("Pad", [c.need(0), _pads(c)])


@tflite_op("PADV2")
def pad_v2(c: TfliteContext) -> Value:
    value = c.need(2)
    return c.emit("Pad", [c.need(0), _pads(c), value if value.rank == 0 else c.reshape(value, [])])


@tflite_op("MIRROR_PAD")
def mirror_pad(c: TfliteContext) -> Value:
    x, pads = c.need(0), _pads(c)
    if c.options("MirrorPadOptions").Mode() == 0:
        return c.emit("Pad", [x, pads], {"mode": "reflect"})
    # Symmetric: the edge itself is repeated. Along each dimension it is a reversed piece on either side.
    known = c.ints(pads)
    if known is None:
        raise Unsupported("symmetric padding that is computed while the model runs")
    for axis in range(x.rank):
        before, after = known[axis], known[x.rank + axis]
        parts = [x]
        if before:
            parts.insert(0, c.slice(x, [before - 1], [-_LAST], [axis], [-1]))
        if after:
            parts.append(c.slice(x, [-1], [-1 - after], [axis], [-1]))
        x = c.emit("Concat", parts, {"axis": axis}) if len(parts) > 1 else x
    return x


@tflite_op("TILE")
def tile(c: TfliteContext) -> Value:
    return c.emit("Tile", [c.need(0), c.vector(1)])


@tflite_op("BROADCAST_TO")
def broadcast_to(c: TfliteContext) -> Value:
    return c.emit("Expand", [c.need(0), c.vector(1)])


@tflite_op("FILL")
def fill(c: TfliteContext) -> Value:
    value = c.need(1)
    return c.emit("Expand", [value if value.rank == 0 else c.reshape(value, []), c.vector(0)])


@tflite_op("RANGE")
def range_(c: TfliteContext) -> Value:
    parts = [c.reshape(c.raw(i), []) if c.raw(i).rank else c.raw(i) for i in range(3)]
    return c.emit("Range", parts)


@tflite_op("SHAPE")
def shape(c: TfliteContext) -> Value:
    return c.emit("Shape", [c.raw(0)])


@tflite_op("RANK")
def rank(c: TfliteContext) -> Any:
    return c.const(np.int32(c.raw(0).rank))


# -- blocks ---------------------------------------------------------------------------------------
@tflite_op("SPACE_TO_DEPTH")
def space_to_depth(c: TfliteContext) -> Value:
    x, block = c.ranked(c.need(0), 4), c.options("SpaceToDepthOptions").BlockSize()
    n, h, w, channels = c.dims(x)
    if block < 1:
        raise BadFileError(f"{c.op} ({c.source}): block size {block}")
    y = c.reshape(x, [n, c.div(h, block), block, c.div(w, block), block, channels])
    return c.reshape(
        c.transpose(y, [0, 1, 3, 2, 4, 5]), [n, c.div(h, block), c.div(w, block), c.mul(channels, block * block)]
    )


@tflite_op("DEPTH_TO_SPACE")
def depth_to_space(c: TfliteContext) -> Value:
    x, block = c.ranked(c.need(0), 4), c.options("DepthToSpaceOptions").BlockSize()
    n, h, w, channels = c.dims(x)
    if block < 1:
        raise BadFileError(f"{c.op} ({c.source}): block size {block}")
    depth = c.div(channels, block * block)
    y = c.transpose(c.reshape(x, [n, h, w, block, block, depth]), [0, 1, 3, 2, 4, 5])
    return c.reshape(y, [n, c.mul(h, block), c.mul(w, block), depth])


@tflite_op("SPACE_TO_BATCH_ND")
def space_to_batch(c: TfliteContext) -> Value:
    x, block = c.need(0), c.numbers(1, "the block shape")
    pads = np.array(c.numbers(2, "the paddings")).reshape(-1, 2)
    n = len(block)
    if len(pads) != n or min(block, default=0) < 1 or x.rank <= n:
        raise BadFileError(f"{c.op} ({c.source}): blocks {block}, paddings {pads.tolist()}")
    rest = x.rank - 1 - n
    if pads.any():
        x = c.emit("Pad", [x, c.i64([0, *pads[:, 0], *[0] * rest, 0, *pads[:, 1], *[0] * rest])])
    dims = c.dims(x)
    parts = [v for d, b in zip(dims[1:], block) for v in (c.div(d, b), b)]
    y = c.reshape(x, [dims[0], *parts, *dims[1 + n :]])
    inner, outer = [2 + 2 * i for i in range(n)], [1 + 2 * i for i in range(n)]
    y = c.transpose(y, [*inner, 0, *outer, *range(1 + 2 * n, 1 + 2 * n + rest)])
    return c.reshape(y, [c.mul(dims[0], *block), *(c.div(d, b) for d, b in zip(dims[1:], block)), *dims[1 + n :]])


@tflite_op("BATCH_TO_SPACE_ND")
def batch_to_space(c: TfliteContext) -> Value:
    if c.operator.inputs[0] in c.frame.undilated:  # part of a convolution that is dilated by itself
        q = c.need_tensor(0).quantization
        return c.raw(0) if q is not None and q.same(c.out().quantization) else c.need(0)
    x, block = c.need(0), c.numbers(1, "the block shape")
    crops = np.array(c.numbers(2, "the crops")).reshape(-1, 2)
    n = len(block)
    if len(crops) != n or min(block, default=0) < 1 or x.rank <= n:
        raise BadFileError(f"{c.op} ({c.source}): blocks {block}, crops {crops.tolist()}")
    dims = c.dims(x)
    batch = c.div(dims[0], int(np.prod(block)))
    y = c.reshape(x, [*block, batch, *dims[1:]])
    order = [n] + [v for i in range(n) for v in (n + 1 + i, i)] + list(range(2 * n + 1, y.rank))
    y = c.reshape(c.transpose(y, order), [batch, *(c.mul(d, b) for d, b in zip(dims[1:], block)), *dims[1 + n :]])
    if crops.any():
        ends = [-int(e) if e else _LAST for e in crops[:, 1]]
        y = c.slice(y, crops[:, 0].tolist(), ends, list(range(1, 1 + n)))
    return y
