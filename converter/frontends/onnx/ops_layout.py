"""Shape, layout and indexing operators."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.model import NUMPY, dtype_name
from edgec.converter.frontends.onnx.registry import MICROSOFT, Unsupported, onnx_op
from edgec.converter.ir.graph import Value

INT_MAX = 2**63 - 1


@onnx_op("Transpose")
def transpose(c: Context) -> Value:
    x = c.need(0)
    perm = c.attr("perm") or list(range(x.rank))[::-1]
    perm = [p + x.rank if p < 0 else p for p in perm]  # the TorchScript exporter counts from the end at times
    if sorted(perm) != list(range(x.rank)):
        raise BadFileError(f"Transpose '{c.name}': perm {list(perm)} for a tensor of rank {x.rank}")
    if perm == list(range(x.rank)):
        return c.emit("Identity", [x])
    return c.transpose(x, perm)


@onnx_op("Reshape")
def reshape(c: Context) -> Value:
    shape = c.i64(c.attr("shape")) if c.opset < 5 else c.as_i64(c.need(1))
    return c.emit("Reshape", [c.need(0), shape], {"allowzero": int(c.attr("allowzero", 0))})


@onnx_op("Flatten")
def flatten(c: Context) -> Value:
    x = c.need(0)
    axis = int(c.attr("axis", 1))
    return c.emit("Flatten", [x], {"axis": axis + x.rank if axis < 0 else axis})


@onnx_op("Squeeze")
def squeeze(c: Context) -> Value:
    x = c.need(0)
    if c.input(1) is not None and c.ints(c.input(1)) is None:
        return c.emit("Squeeze", [x, c.as_i64(c.need(1))])
    axes = c.ints_attr_or_input("axes", 1)
    if not x.types:
        return c.emit("Squeeze", [x], {"axes": axes or []})
    if axes is None:
        if any(d is None for d in x.shape):
            raise Unsupported("Squeeze without axes over symbolic dimensions", "name the axes")
        axes = [i for i, d in enumerate(x.shape) if d == 1]
    axes = [c.axis(a, x) for a in axes]
    return c.squeeze(x, axes) if axes else c.emit("Identity", [x])


@onnx_op("Unsqueeze")
def unsqueeze(c: Context) -> Value:
    x = c.need(0)
    if c.input(1) is not None and c.ints(c.input(1)) is None:
        return c.emit("Unsqueeze", [x, c.as_i64(c.need(1))])
    axes = c.ints_attr_or_input("axes", 1)
    if axes is not None and not x.types:
        return c.emit("Unsqueeze", [x], {"axes": axes})
    if axes is None:
        raise BadFileError(f"Unsqueeze '{c.name}' has no axes")
    rank = x.rank + len(axes)
    return c.unsqueeze(x, sorted(c.normalize_axis(a, rank) for a in axes))


@onnx_op("Concat")
def concat(c: Context) -> Value:
    values = [c.need(i) for i in range(len(c.inputs))]
    axis = c.axis(int(c.attr("axis", 1)), values[0])
    return c.emit("Concat", values, {"axis": axis})


@onnx_op("Split")
def split(c: Context) -> list[Value]:
    x = c.need(0)
    axis = c.axis(int(c.attr("axis", 0)), x)
    parts = len(c.output_names)
    if c.input(1) is not None and c.ints(c.input(1)) is None:
        return c.emit_many("Split", [x, c.as_i64(c.need(1))], {"axis": axis}, parts)
    sizes = c.ints_attr_or_input("split", 1)
    if sizes is None:
        count = int(c.attr("num_outputs", parts))
        total = x.shape[axis] if x.types else None
        if total is not None and total % count:
            size = -(-total // count)  # the last part is smaller
            sizes = [size] * (count - 1) + [total - size * (count - 1)]
    return c.emit_many("Split", [x], {"axis": axis, "sizes": sizes or []}, parts)


@onnx_op("Slice")
def slice_(c: Context) -> Value:
    x = c.need(0)
    if c.opset < 10:
        starts, ends = c.need_attr("starts"), c.need_attr("ends")
        axes = c.attr("axes") or list(range(len(starts)))
        return c.emit("Slice", [x, c.i64(starts), c.i64(ends), c.i64(axes)])
    return c.emit("Slice", [x, *(c.as_i64(c.input(i)) for i in range(1, 5))])


@onnx_op("Gather")
def gather(c: Context) -> Value:
    x = c.need(0)
    return c.emit("Gather", [x, c.as_i64(c.need(1))], {"axis": c.axis(int(c.attr("axis", 0)), x)})


@onnx_op("GatherElements")
def gather_elements(c: Context) -> Value:
    x = c.need(0)
    axis = c.axis(int(c.attr("axis", 0)), x)
    return c.emit("GatherElements", [x, c.as_i64(c.need(1))], {"axis": axis})


@onnx_op("GatherND")
def gather_nd(c: Context) -> Value:
    return c.emit("GatherND", [c.need(0), c.as_i64(c.need(1))], {"batch_dims": int(c.attr("batch_dims", 0))})


@onnx_op("ScatterElements", "Scatter")
def scatter_elements(c: Context) -> Value:
    x = c.need(0)
    attrs = {"axis": c.axis(int(c.attr("axis", 0)), x), "reduction": c.attr("reduction", "none")}
    return c.emit("ScatterElements", [x, c.as_i64(c.need(1)), c.need(2)], attrs)


@onnx_op("ScatterND")
def scatter_nd(c: Context) -> Value:
    x, updates, reduction = c.need(0), c.need(2), c.attr("reduction", "none")
    mask = _places_of(c.need(1))
    one = _spread(updates)
    if mask is not None and one is not None and mask.types and mask.rank == x.rank and reduction == "none":
        return c.emit("Where", [mask, one, x])  # x[mask] = one number, as exporters write it: shapes stay known
    return c.emit("ScatterND", [x, c.as_i64(c.need(1)), updates], {"reduction": reduction})


def _places_of(indices: Value) -> Value | None:
    """The mask whose true places these are: Transpose(NonZero(mask))."""
    transpose = indices.producer
    if transpose is None or transpose.op != "Transpose" or list(transpose.attrs["perm"]) != [1, 0]:
        return None
    source = transpose.inputs[0]
    if source is None or source.producer is None or source.producer.op != "NonZero":
        return None
    mask = source.producer.inputs[0]
    return mask if mask is not None and mask.types and mask.dtype == "bool" else None


def _spread(value: Value | None) -> Value | None:
    """The one number that views and Expand made a tensor of, without dimensions of its own beside ones."""
    while value is not None and not (value.types and all(t.shape == () for t in value.types)):
        if value.producer is None or value.producer.op not in ("Expand", "Reshape", "Unsqueeze", "Squeeze"):
            return None
        value = value.producer.inputs[0]
    return value


@onnx_op("TensorScatter")
def tensor_scatter(c: Context) -> Value:
    """Writes `update` into a cache at per-batch positions along `axis` (ONNX 24, key-value caches)."""
    cache, update = c.need(0), c.need(1)
    axis = c.axis(int(c.attr("axis", -2)), cache)
    batch, length, room = update.shape[0], update.shape[axis], cache.shape[axis]
    if batch is None or length is None or room is None:
        raise Unsupported("TensorScatter with symbolic sizes", "give fixed sizes with --shape")
    start = c.as_i64(c.input(2)) or c.i64(np.zeros(batch, np.int64))
    position = c.emit("Add", [c.reshape(start, [batch, 1]), c.i64(np.arange(length)[None])])
    if c.attr("mode", "linear") == "circular":
        position = c.emit("Mod", [position, c.i64(room)], {"fmod": 0})
    view = [1] * cache.rank
    view[0], view[axis] = batch, length
    index = c.emit("Expand", [c.reshape(position, view), c.shape_vector(c.dims(update))])
    return c.emit("ScatterElements", [cache, index, update], {"axis": axis, "reduction": "none"})


@onnx_op("Pad")
def pad(c: Context) -> Value:
    x, mode = c.need(0), c.attr("mode", "constant")
    if c.opset < 11:
        pads = c.attr("pads", c.attr("paddings", []))
        value = c.like(c.attr("value", 0.0), x)
        return c.emit("Pad", [x, c.i64(pads), value], {"mode": mode})
    value, axes = c.input(2), c.input(3)  # type: ignore[assignment]
    if value is not None and value.rank:
        value = c.reshape(value, [])
    if value is not None:
        value = c.cast(value, x.dtype)
    return c.emit("Pad", [x, c.as_i64(c.need(1)), value, c.as_i64(axes)], {"mode": mode})


@onnx_op("Expand")
def expand(c: Context) -> Value:
    return c.emit("Expand", [c.need(0), c.as_i64(c.need(1))])


@onnx_op("Tile")
def tile(c: Context) -> Value:
    x = c.need(0)
    if c.opset < 6:
        repeats = [1] * x.rank
        repeats[int(c.scalar(c.need(2)))] = int(c.scalar(c.need(1)))
        return c.emit("Tile", [x, c.i64(repeats)])
    return c.emit("Tile", [x, c.as_i64(c.need(1))])


@onnx_op("Shape")
def shape(c: Context) -> Value:
    return c.emit("Shape", [c.need(0)], {"start": int(c.attr("start", 0)), "end": int(c.attr("end", INT_MAX))})


@onnx_op("Size")
def size(c: Context) -> Value:
    return c.emit("Size", [c.need(0)])


@onnx_op("ConstantOfShape")
def constant_of_shape(c: Context) -> Value:
    value: float | int = 0.0
    dtype: str | None = "f32"
    if c.attr("value") is not None:
        tensor = c.attr("value")
        dtype = dtype_name(tensor.data_type)
        value = c.importer.file.array(tensor).reshape(-1)[0].item()
    if dtype is None:
        raise Unsupported("ConstantOfShape of strings or float8")
    return c.emit("ConstantOfShape", [c.as_i64(c.need(0))], {"value": float(value), "dtype": dtype})


@onnx_op("Range")
def range_(c: Context) -> Value:
    values = [c.reshape(v, []) if v.rank else v for v in (c.need(0), c.need(1), c.need(2))]
    return c.emit("Range", values)


@onnx_op("OneHot")
def one_hot(c: Context) -> Value:
    """Indices may be floats in ONNX; depth may be a scalar or one element of any type."""
    indices, depth, values = c.need(0), c.need(1), c.need(2)
    depth = c.reshape(depth, []) if depth.rank else depth
    return c.emit("OneHot", [c.as_i64(indices), c.as_i64(depth), values], {"axis": int(c.attr("axis", -1))})


@onnx_op("Trilu")
def trilu(c: Context) -> Value:
    return c.emit("Trilu", [c.need(0), c.as_i64(c.input(1))], {"upper": int(c.attr("upper", 1))})


@onnx_op("Trilu", domain=MICROSOFT)
def microsoft_trilu(c: Context) -> Value:
    return trilu(c)


@onnx_op("EyeLike")
def eye_like(c: Context) -> Value:
    x = c.need(0)
    dtype = dtype_name(c.attr("dtype")) if c.attr("dtype") is not None else x.dtype
    if dtype is None:
        raise Unsupported("EyeLike of strings or float8")
    return c.emit("EyeLike", [x], {"k": int(c.attr("k", 0)), "dtype": dtype})


@onnx_op("NonZero")
def non_zero(c: Context) -> Value:
    return c.emit("NonZero", [c.need(0)])


@onnx_op("Compress")
def compress(c: Context) -> Value:
    """Positions where the condition holds, gathered along the axis."""
    x, condition = c.need(0), c.need(1)
    axis = c.attr("axis")
    if axis is None:
        x, axis = c.reshape(x, [-1]), 0
    length, have = x.shape[int(axis)], condition.shape[0]
    if length is not None and have is not None and have > length:
        condition = c.slice(condition, [0], [length], [0])
    where = c.reshape(c.emit("NonZero", [condition]), [-1])
    return c.emit("Gather", [x, where], {"axis": c.normalize_axis(int(axis), x.rank)})


@onnx_op("DepthToSpace")
def depth_to_space(c: Context) -> Value:
    x, block = c.need(0), int(c.need_attr("blocksize"))
    batch, channels, height, width = c.dims(x)
    if block < 1 or not isinstance(channels, int) or channels % (block * block):
        raise BadFileError(f"DepthToSpace '{c.name}': {channels} channels with block size {block}")
    depth = channels // (block * block)
    if c.attr("mode", "DCR") == "CRD":
        y = c.transpose(_split(c, x, [batch, depth, block, block, height, width]), [0, 1, 4, 2, 5, 3])
    else:
        y = c.transpose(_split(c, x, [batch, block, block, depth, height, width]), [0, 3, 4, 1, 5, 2])
    return c.reshape(y, [batch, depth, c.mul(height, block), c.mul(width, block)])


@onnx_op("SpaceToDepth")
def space_to_depth(c: Context) -> Value:
    x, block = c.need(0), int(c.need_attr("blocksize"))
    batch, channels, height, width = c.dims(x)
    down, across = c.div(height, block), c.div(width, block)
    order = [0, 1, 3, 5, 2, 4] if c.attr("mode", "DCR") == "CRD" else [0, 3, 5, 1, 2, 4]
    y = c.transpose(_split(c, x, [batch, channels, down, block, across, block]), order)
    return c.reshape(y, [batch, c.mul(channels, block * block), down, across])


def _split(c: Context, x: Value, dims: list[Any]) -> Value:
    return c.reshape(x, dims)


@onnx_op("ReverseSequence")
def reverse_sequence(c: Context) -> Value:
    """Gathers along time with indices that run backwards inside each sequence's length."""
    x, lengths = c.need(0), c.as_i64(c.need(1))
    time, batch = int(c.attr("time_axis", 0)), int(c.attr("batch_axis", 1))
    steps, items = x.shape[time], x.shape[batch]
    if steps is None or items is None:
        raise Unsupported("ReverseSequence with symbolic sizes", "give fixed sizes with --shape")
    view_time, view_batch = [1] * x.rank, [1] * x.rank
    view_time[time], view_batch[batch] = steps, items
    position = c.i64(np.arange(steps).reshape(view_time))
    length = c.reshape(lengths, view_batch)  # type: ignore[arg-type]
    back = c.emit("Sub", [c.emit("Sub", [length, c.i64(1)]), position])
    index = c.emit("Where", [c.emit("Less", [position, length]), back, position])
    index = c.emit("Expand", [index, c.shape_vector(c.dims(x))])
    return c.emit("GatherElements", [x, index], {"axis": time})


@onnx_op("Unique")
def unique(c: Context) -> list[Value]:
    axis = c.attr("axis")
    attrs = {"flat": int(axis is None), "axis": int(axis or 0), "sorted": int(c.attr("sorted", 1))}
    return c.emit_many("Unique", [c.need(0)], attrs, len(c.output_names))


@onnx_op("Hardmax")
def hardmax(c: Context) -> Value:
    """One at the first maximum. Before opset 13 the axes from `axis` on count as one."""
    x = c.need(0)
    axis = c.normalize_axis(int(c.attr("axis", 1 if c.opset < 13 else -1)), x.rank)
    flat, at = x, axis
    if c.opset < 13 and axis != x.rank - 1:
        flat, at = c.emit("Flatten", [x], {"axis": axis}), 1
    size = flat.shape[at]
    if size is None:
        raise Unsupported("Hardmax over a symbolic dimension")
    best = c.emit("ArgMax", [flat], {"axis": at, "keepdims": 0})
    values = c.const(np.array([0, 1]).astype(NUMPY.get(x.dtype, np.float32)))
    y = c.emit("OneHot", [best, c.i64(size), values], {"axis": at})
    return y if flat is x else c.reshape(y, c.dims(x))


@onnx_op("CenterCropPad")
def center_crop_pad(c: Context) -> Value:
    x = c.need(0)
    target = c.need_ints(c.need(1), "the target shape")
    axes = [c.axis(a, x) for a in c.attr("axes", list(range(x.rank)))]
    starts, ends, pads = [], [], [0] * (2 * x.rank)
    for axis, want in zip(axes, target):
        have = x.shape[axis]
        if have is None:
            raise Unsupported("CenterCropPad over a symbolic dimension", "give fixed sizes with --shape")
        start = max((have - want) // 2, 0)
        starts.append(start)
        ends.append(start + min(want, have))
        before = max((want - have) // 2, 0)
        pads[axis], pads[x.rank + axis] = before, max(want - have, 0) - before
    return c.emit("Pad", [c.slice(x, starts, ends, axes), c.i64(pads)])
