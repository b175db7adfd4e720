"""Layers of Caffe that move, join and cut data, and those that resample it."""

from __future__ import annotations

import itertools

import numpy as np

from edgec.converter.frontends.caffe.context import CaffeContext
from edgec.converter.frontends.caffe.registry import CAFFE
from edgec.converter.frontends.caffe.text import Message
from edgec.converter.frontends.layers.ops import pixel_shuffle, positive, reorg, resize, shuffle_channels
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value


@CAFFE.layer("Concat")
def concat(c: CaffeContext) -> Value:
    p, inputs = c.param("concat_param"), c.many()
    axis = p.integer("concat_dim", 1) if "concat_dim" in p else p.integer("axis", 1)
    if len(inputs) == 1:
        return inputs[0]
    return c.emit("Concat", inputs, {"axis": c.normalize_axis(axis, inputs[0].rank)})


@CAFFE.layer("Slice")
def slice_layer(c: CaffeContext) -> list[Value]:
    x, p = c.x(), c.param("slice_param")
    axis = c.normalize_axis(p.integer("slice_dim", 1) if "slice_dim" in p else p.integer("axis", 1), x.rank)
    size, count, points = c.channels(x, axis), len(c.output_names), p.ints("slice_point")
    if count == 1:
        return [x]
    if points:
        edges = [0, *points, size]
        if len(points) != count - 1 or any(a >= b for a, b in itertools.pairwise(edges)):
            raise c.bad(f"slice points {points} for {count} outputs of a dimension of {size}")
    elif size % count:
        raise c.bad(f"a dimension of {size} does not divide into {count} outputs")
    else:
        edges = [i * (size // count) for i in range(count + 1)]
    sizes = [b - a for a, b in itertools.pairwise(edges)]
    return c.emit_many("Split", [x], {"axis": axis, "sizes": sizes}, count)


@CAFFE.layer("Flatten")
def flatten(c: CaffeContext) -> Value:
    x, p = c.x(), c.param("flatten_param")
    first = c.normalize_axis(p.integer("axis", 1), x.rank)
    last = c.normalize_axis(p.integer("end_axis", -1), x.rank)
    if last < first:
        raise c.bad(f"end_axis {last} lies before axis {first}")
    dims = c.dims(x)
    return c.reshape(x, [*dims[:first], c.mul(1, *dims[first : last + 1]), *dims[last + 1 :]])


@CAFFE.layer("Reshape")
def reshape(c: CaffeContext) -> Value:
    x, p = c.x(), c.param("reshape_param")
    wanted, dims = p.message("shape").ints("dim"), c.dims(x)
    first = p.integer("axis", 0)
    first = first if first >= 0 else x.rank + first + 1
    count = p.integer("num_axes", -1)
    last = x.rank if count == -1 else first + count
    if not 0 <= first <= last <= x.rank or len(wanted) > 16:
        raise c.bad(f"axis {first} with {count} axes of a tensor of {x.rank} dimensions")
    middle = []
    for i, d in enumerate(wanted):
        if d == 0 and first + i >= x.rank:
            raise c.bad(f"dimension {i} is to be copied, the input has {x.rank} dimensions")
        if d < -1 or d >= 2**31 or wanted.count(-1) > 1:
            raise c.bad(f"cannot reshape to {wanted}")
        middle.append(dims[first + i] if d == 0 else d)
    if -1 in wanted and (first > 0 or last < x.rank):
        # -1 stands for what is left of the replaced axes only.
        known = [d for d in middle if not (isinstance(d, int) and d == -1)]
        total, rest = c.mul(1, *dims[first:last]), c.mul(1, *known)
        if isinstance(total, int) and isinstance(rest, int):
            if rest < 1 or total % rest:
                raise c.bad(f"{total} elements do not divide into {wanted}")
            middle[wanted.index(-1)] = total // rest
    return c.reshape(x, [*dims[:first], *middle, *dims[last:]])


@CAFFE.layer("Permute")
def permute(c: CaffeContext) -> Value:
    x = c.x()
    order = c.param("permute_param").ints("order")
    order += [i for i in range(x.rank) if i not in order]
    if sorted(order) != list(range(x.rank)):
        raise c.bad(f"order {order} is no order of {x.rank} dimensions")
    return c.transpose(x, order)


@CAFFE.layer("Crop")
def crop(c: CaffeContext) -> Value:
    """Cuts the first input to the sizes of the second, from `axis` on."""
    x, reference = c.many(2)[:2]
    p = c.param("crop_param")
    axis = c.normalize_axis(p.integer("axis", 2), x.rank)
    wanted, sizes = c.dims(reference)[axis:], c.dims(x)[axis:]
    offsets = p.ints("offset") or [0]
    if len(offsets) == 1:
        offsets = offsets * len(wanted)
    if len(wanted) != len(sizes) or len(offsets) != len(wanted):
        raise c.bad(f"{len(offsets)} offsets to cut {list(x.shape)} to {list(reference.shape)} from axis {axis}")
    known = [(o, w, n) for o, w, n in zip(offsets, wanted, sizes) if isinstance(w, int) and isinstance(n, int)]
    if any(o < 0 or o >= 2**31 for o in offsets) or any(o + w > n for o, w, n in known):
        raise c.bad(f"cannot cut {list(x.shape)} to {list(reference.shape)} at {offsets} from axis {axis}")
    if len(known) == len(wanted) and wanted == sizes:
        return x
    ends = c.shape_vector([c.plus(o, w) for o, w in zip(offsets, wanted)])
    axes = list(range(axis, x.rank))
    return c.emit("Slice", [x, c.i64(offsets), ends, c.i64(axes), c.i64([1] * len(axes))])


@CAFFE.layer("Tile")
def tile(c: CaffeContext) -> Value:
    x, p = c.x(), c.param("tile_param")
    axis, tiles = c.normalize_axis(p.integer("axis", 1), x.rank), p.integer("tiles")
    positive(c, "tiles", [tiles])
    return c.emit("Tile", [x, c.i64([tiles if i == axis else 1 for i in range(x.rank)])])


@CAFFE.layer("Embed")
def embed(c: CaffeContext) -> Value:
    x, p = c.x(), c.param("embed_param")
    rows, columns = p.integer("input_dim"), p.integer("num_output")
    positive(c, "input_dim and num_output", [rows, columns])
    table = c.const(c.weight(0, [rows, columns], "weight"))
    y = c.emit("Gather", [table, c.cast(x, "i64")], {"axis": 0})
    return c.binary("Add", y, c.const(c.weight(1, [columns], "bias"))) if p.flag("bias_term", True) else y


@CAFFE.layer("Parameter")
def parameter(c: CaffeContext) -> Value:
    shape = c.param("parameter_param").message("shape").ints("dim")
    return c.const(c.weight(0, shape, "value"))


@CAFFE.layer("Reorg")
def reorg_layer(c: CaffeContext) -> Value:
    """Darknet's order of channels, which is not that of space to depth: the fork takes over its index arithmetic."""
    x, p = c.ranked(c.x(), 4), c.param("reorg_param")
    stride = p.integer("stride", 2)
    positive(c, "stride", [stride])
    if not p.flag("reverse", False):
        batch, channels, height, width = c.fixed(x)
        if channels % (stride * stride) or height % stride or width % stride:
            raise c.bad(f"{channels} channels of {height} x {width} with stride {stride}")
        # Darknet reads the tensor as [C/s^2, H*s, W*s] and takes every s-th row and column of that.
        y = c.reshape(x, [batch, channels // stride**2, height, stride, width, stride])
        y = c.transpose(y, [0, 3, 5, 1, 2, 4])
        return c.reshape(y, [batch, channels * stride * stride, height // stride, width // stride])
    return pixel_shuffle(c, x, stride, block_first=True)


@CAFFE.layer("SpaceToDepth")
def space_to_depth(c: CaffeContext) -> Value:
    return reorg(c, c.x(), c.param("space_to_depth_param").integer("block_size", 2))


@CAFFE.layer("PixelShuffle")
def pixel_shuffle_layer(c: CaffeContext) -> Value:
    return pixel_shuffle(c, c.x(), c.param("pixel_shuffle_param").integer("upscale_factor", 2))


@CAFFE.layer("ShuffleChannel")
def shuffle_channel(c: CaffeContext) -> Value:
    return shuffle_channels(c, c.x(), c.param("shuffle_channel_param").integer("group", 1))


@CAFFE.layer("Interp")
def interp(c: CaffeContext) -> Value:
    """Bilinear with the corners aligned; the size as such, or by zooming and shrinking."""
    x, p = c.ranked(c.many()[0], 4), c.param("interp_param")
    begin, end = p.integer("pad_beg", 0), p.integer("pad_end", 0)
    if begin > 0 or end > 0:
        raise c.bad(f"pad_beg {begin} and pad_end {end} must not be positive")
    sizes = c.fixed(x, 2)
    if begin or end:
        sizes = positive(c, "the size without its border", [n + begin + end for n in sizes])
        x = c.slice(x, [-begin] * 2, [n - begin for n in sizes], [2, 3])
    zoom, shrink = p.integer("zoom_factor", 1), p.integer("shrink_factor", 1)
    positive(c, "zoom_factor and shrink_factor", [zoom, shrink])
    if len(c.inputs) == 2:
        wanted = c.fixed(c.need(1), 2)
    elif "height" in p or "width" in p:
        wanted = [p.integer("height"), p.integer("width")]
    else:
        wanted = [(n - 1) // shrink + 1 for n in sizes]
        wanted = [n + (n - 1) * (zoom - 1) for n in wanted]
    return x if wanted == sizes else resize(c, x, wanted, "linear", "align_corners")


@CAFFE.layer("Upsample", "NearestUpsample", "Upsampling")
def upsample(c: CaffeContext) -> Value:
    """Repeats pixels. With a second input: puts them back where a pooling layer took them from (SegNet)."""
    x = c.ranked(c.many()[0], 4)
    p = c.param("upsample_param" if c.op != "Upsampling" else "upsampling_param")
    if len(c.inputs) == 2:
        return _unpooled(c, x, c.need(1), p)
    scale = p.integer("scale", p.integer("stride", 2))
    positive(c, "scale", [scale])
    batch, channels, height, width = c.dims(x)
    y = c.reshape(x, [batch, channels, height, 1, width, 1])
    y = c.emit("Tile", [y, c.i64(np.array([1, 1, 1, scale, 1, scale]))])
    return c.reshape(y, [batch, channels, c.mul(height, scale), c.mul(width, scale)])


def _unpooled(c: CaffeContext, x: Value, positions: Value, p: Message) -> Value:
    pooled = c.layers.marked.get(id(positions))
    if pooled is None:
        raise c.bad("its second input is not the mask of a pooling layer")
    shape, scale = c.fixed(pooled), p.integer("scale", 2)
    wanted = [p.integer("upsample_h", c.fixed(x)[2] * scale), p.integer("upsample_w", c.fixed(x)[3] * scale)]
    if c.fixed(x)[:2] != shape[:2] or wanted != shape[2:]:
        raise Unsupported(f"upsampling to {wanted} with the positions of {shape[2:]}")
    empty = c.const(np.zeros(int(np.prod(shape)), np.float32))
    flat = [c.reshape(positions, [-1]), c.reshape(x, [-1])]
    y = c.emit("ScatterElements", [empty, *flat], {"axis": 0, "reduction": "none"})
    return c.reshape(y, shape)
