"""Layers of ncnn that move, join, cut, pad and resample."""

from __future__ import annotations

import itertools

import numpy as np

from edgec.converter.frontends.layers.importer import MAX_ELEMENTS
from edgec.converter.frontends.layers.ops import pixel_shuffle, positive, reorg, resize, shuffle_channels
from edgec.converter.frontends.ncnn.context import NcnnContext
from edgec.converter.frontends.ncnn.expression import evaluate
from edgec.converter.frontends.ncnn.param import NOTHING
from edgec.converter.frontends.ncnn.registry import NCNN
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value

_LETTERS = {1: "w", 2: "hw", 3: "chw", 4: "cdhw"}  # dimensions of a tensor, outermost first


def letters(x: Value) -> str:
    return _LETTERS.get(x.rank - 1, "")


@NCNN.layer("Split", "Noop", "DeepCopy", "Cast", "Packing")
def same(c: NcnnContext) -> list[Value]:
    """Cast and Packing change how ncnn stores a tensor, not its values."""
    inputs = c.many()
    return inputs * len(c.output_names) if len(inputs) == 1 else inputs


@NCNN.layer("MemoryData")
def memory_data(c: NcnnContext) -> Value:
    w, h, channels, depth = c.p.integer(0, 0), c.p.integer(1, 0), c.p.integer(2, 0), c.p.integer(11, 0)
    shape = [v for v in (channels, depth, h, w) if v != 0]
    if not shape:
        return c.const(np.zeros((1, 1), np.float32))
    data = c.floats(shape, "data") if c.p.integer(21, 1) == 0 else c.raw(shape, "data")
    return c.const(data[None])


@NCNN.layer("Concat")
def concat(c: NcnnContext) -> Value:
    inputs = c.many()
    axis = c.axis_of(inputs[0], c.p.integer(0, 0))
    if len(inputs) == 1:
        return inputs[0]
    several = [v for v in inputs if v.shape[0] != 1]
    if several and len(several) < len(inputs):  # constants of the file have a batch of 1
        batch = c.dim(several[0], 0)
        inputs = [
            c.emit("Expand", [v, c.shape_vector([batch, *c.dims(v)[1:]])]) if v.shape[0] == 1 else v for v in inputs
        ]
    return c.emit("Concat", inputs, {"axis": axis})


@NCNN.layer("Slice")
def slice_layer(c: NcnnContext) -> list[Value]:
    x, count = c.x(), len(c.output_names)
    axis = c.axis_of(x, c.p.integer(1, 0))
    size, given, points = c.channels(x, axis), c.p.integers(0), c.p.integers(2)
    sizes: list[int] = []
    for i in range(count):
        if points:
            last = size if i == count - 1 else points[i] % size if points[i] < 0 else points[i]
            sizes.append(last - sum(sizes))
        else:
            part = given[i]
            sizes.append((size - sum(sizes)) // (count - i) if part == NOTHING else part)
    if sum(sizes) != size or min(sizes) < 1:
        raise c.bad(f"cannot cut {size} elements into {sizes}")
    return c.emit_many("Split", [x], {"axis": axis, "sizes": sizes}, count) if count > 1 else [x]


@NCNN.layer("Flatten")
def flatten(c: NcnnContext) -> Value:
    x = c.x()
    return x if x.rank == 2 else c.reshape(x, [c.dim(x, 0), c.mul(1, *c.dims(x)[1:])])


@NCNN.layer("Reshape")
def reshape(c: NcnnContext) -> Value:
    """Sizes w, h, d, c: -1 is what is left, 0 what the input has."""
    x = c.many()[0]
    if any(c.p.integer(k, 233) != 233 for k in (12, 13)):
        raise Unsupported("a reshape that moves the batch")
    keys = {"w": 0, "h": 1, "d": 11, "c": 2}
    given = {letter: c.p.integer(key, NOTHING) for letter, key in keys.items()}
    expression = c.p.text(6)
    if expression:
        sizes = evaluate(c, expression, c.many())  # w, h, c or w, h, d, c
        if not 1 <= len(sizes) <= 4:
            raise c.bad(f"its expression gives {len(sizes)} sizes")
        given = dict(zip(reversed(_LETTERS[len(sizes)]), sizes))
    else:
        given = {k: v for k, v in given.items() if v != NOTHING}
    order = _LETTERS.get(len(given), "")
    if sorted(order) != sorted(given) or list(given.values()).count(-1) > 1:
        raise c.bad(f"cannot reshape to {given}")
    have = dict(zip(letters(x), c.dims(x)[1:]))
    dims = []
    for letter in order:
        size = given[letter]
        if size < -1 or size > MAX_ELEMENTS:
            raise c.bad(f"cannot reshape to {given}")
        dims.append(have.get(letter, 1) if size == 0 else size)
    batch = c.dim(x, 0)
    if -1 in [d for d in dims if isinstance(d, int)] and not isinstance(batch, int):
        # Reshape takes one -1: the batch needs it, so what is left is computed.
        total = c.mul(1, *c.dims(x)[1:])
        known = c.mul(1, *[d for d in dims if not (isinstance(d, int) and d == -1)])
        dims = [c.div(total, known) if isinstance(d, int) and d == -1 else d for d in dims]
    return c.reshape(x, [batch, *dims])


@NCNN.layer("Permute")
def permute(c: NcnnContext) -> Value:
    """Orders are numbered as the permutations of the dimensions, innermost first."""
    x, kind = c.x(), c.p.integer(0, 0)
    count = x.rank - 1
    orders = _orders(count)
    if not 0 <= kind < len(orders):
        raise c.bad(f"there is no order {kind} of {count} dimensions")
    return c.transpose(x, [0, *(axis + 1 for axis in orders[kind])])


def _orders(count: int) -> list[list[int]]:
    """For each number the source axis of every axis, outermost first."""
    names = {1: "w", 2: "wh", 3: "whc", 4: "whdc"}[count]
    place = {name: count - 1 - i for i, name in enumerate(names)}
    # ncnn counts with the outermost dimension slowest: whc, hwc, wch, cwh, hcw, chw.
    found = []
    for outer in itertools.permutations(range(count)):
        found.append([names[i] for i in outer])
    found.sort(key=lambda order: [-names.index(n) for n in reversed(order)])
    return [[place[n] for n in reversed(order)] for order in found]


@NCNN.layer("Crop")
def crop(c: NcnnContext) -> Value:
    x = c.many()[0]
    names, starts, ends = letters(x), c.p.integers(9), c.p.integers(10)
    if c.p.text(19) and c.p.text(20):
        starts, ends = evaluate(c, c.p.text(19), c.many()), evaluate(c, c.p.text(20), c.many())
        axes = evaluate(c, c.p.text(21), c.many()) if c.p.text(21) else list(range(len(starts)))
        return _cut(c, x, starts, ends, axes)
    if starts and ends:
        return _cut(c, x, starts, ends, c.p.integers(11) or list(range(x.rank - 1)))
    sizes = c.fixed(x, 1)
    offset = {"w": c.p.integer(0, 0), "h": c.p.integer(1, 0), "d": c.p.integer(13, 0), "c": c.p.integer(2, 0)}
    size = {"w": c.p.integer(3, 0), "h": c.p.integer(4, 0), "d": c.p.integer(14, 0), "c": c.p.integer(5, 0)}
    behind = {"w": c.p.integer(6, 0), "h": c.p.integer(7, 0), "d": c.p.integer(15, 0), "c": c.p.integer(8, 0)}
    if not any(size.values()) and not any(behind.values()):  # to the sizes of a second input
        reference = c.many(2)[1]
        other = dict(zip(letters(reference), c.fixed(reference, 1)))
        if len(other) != len(sizes) and "c" in names:
            other["c"] = sizes[0] - offset["c"]
        size = {n: other.get(n, 1) for n in names}
    else:
        rest = {n: s - offset[n] - behind[n] for n, s in zip(names, sizes)}
        size = {n: rest[n] if size[n] == NOTHING else min(size[n], rest[n]) for n in names}
    begin = [offset[n] for n in names]
    end = [offset[n] + size[n] for n in names]
    if any(b < 0 or e <= b or e > s for b, e, s in zip(begin, end, sizes)):
        raise c.bad(f"cannot cut {sizes} from {begin} to {end}")
    if begin == [0] * len(sizes) and end == sizes:
        return x
    return c.slice(x, begin, end, list(range(1, x.rank)))


def _cut(c: NcnnContext, x: Value, starts: list[int], ends: list[int], axes: list[int]) -> Value:
    if not len(starts) == len(ends) == len(axes):
        raise c.bad(f"{len(starts)} starts, {len(ends)} ends and {len(axes)} axes")
    limit = 2**31 - 1
    begin = [0 if s == NOTHING else s for s in starts]
    # 0 counts from the end, as -0.
    end = [limit if e in (NOTHING, 0) else e for e in ends]
    return c.slice(x, begin, end, [c.axis_of(x, a) for a in axes])


@NCNN.layer("Padding")
def padding(c: NcnnContext) -> Value:
    x, p = c.ranked(c.many()[0], 2, 3, 4, 5), c.p
    count = p.integer(6, 0)
    values = c.raw([count], "padding values") if count else None
    top, bottom, left, right, front, behind = (p.integer(k, 0) for k in (0, 1, 2, 3, 7, 8))
    if len(c.inputs) > 1 or min(top, bottom, left, right, front, behind) < 0:
        raise Unsupported("padding that the network computes, or a negative one")
    begin = {"w": left, "h": top, "d": front if x.rank == 5 else 0, "c": front if x.rank == 4 else 0}
    end = {"w": right, "h": bottom, "d": behind if x.rank == 5 else 0, "c": behind if x.rank == 4 else 0}
    names, kind = letters(x), p.integer(4, 0)
    if kind not in (0, 1, 2):
        raise c.bad(f"there is no padding type {kind}")
    pads = [0, *(begin[n] for n in names), 0, *(end[n] for n in names)]
    if not any(pads):
        return x
    value = p.number(5, 0.0)
    if values is not None and kind == 0:
        if len(set(values.tolist())) > 1:
            raise Unsupported("padding with a value for each channel")
        value = float(values[0])
    if kind:
        return c.emit("Pad", [x, c.i64(pads)], {"mode": "edge" if kind == 1 else "reflect"})
    return c.emit("Pad", [x, c.i64(pads), c.const(np.float32(value))])


@NCNN.layer("Squeeze")
def squeeze(c: NcnnContext) -> Value:
    x = c.x()
    names = letters(x)
    if 3 in c.p:
        axes = [c.axis_of(x, a) for a in c.p.integers(3)]
    else:
        keys = {"w": 0, "h": 1, "d": 11, "c": 2}
        axes = [i + 1 for i, n in enumerate(names) if c.p.integer(keys[n], 0)]
    axes = sorted({a for a in axes if x.shape[a] == 1})
    if len(axes) == x.rank - 1:
        axes = axes[:-1]  # ncnn has no tensor without dimensions
    return c.squeeze(x, axes) if axes else x


@NCNN.layer("ExpandDims")
def expand_dims(c: NcnnContext) -> Value:
    x, axes = c.x(), c.p.integers(3)
    rank = x.rank - 1 + len(axes)
    places = [a + rank if a < 0 else a for a in axes]
    if any(not 0 <= a < rank for a in places) or len(set(places)) < len(places):
        raise c.bad(f"axes {axes} for a tensor of {x.rank - 1} dimensions")
    return c.unsqueeze(x, sorted(a + 1 for a in places)) if places else x


@NCNN.layer("Tile")
def tile(c: NcnnContext) -> Value:
    x, repeats = c.x(), c.p.integers(2)
    if not repeats:
        axis = c.axis_of(x, c.p.integer(0, 0))
        repeats = [c.p.integer(1, 1) if i == axis else 1 for i in range(1, x.rank)]
    positive(c, "its repetitions", repeats)
    if len(repeats) > x.rank - 1:
        x = c.unsqueeze(x, list(range(1, len(repeats) - x.rank + 2)))
    full = [1] * (x.rank - len(repeats)) + repeats
    return c.emit("Tile", [x, c.i64(full)])


@NCNN.layer("PixelShuffle")
def pixel_shuffle_layer(c: NcnnContext) -> Value:
    return pixel_shuffle(c, c.x(), c.p.integer(0, 1), block_first=c.p.integer(1, 0) == 1)


@NCNN.layer("Reorg")
def reorg_layer(c: NcnnContext) -> Value:
    return reorg(c, c.x(), c.p.integer(0, 1), channels_last_of_block=c.p.integer(1, 0) == 0)


@NCNN.layer("ShuffleChannel")
def shuffle_channel(c: NcnnContext) -> Value:
    x, group = c.x(), c.p.integer(0, 1)
    if c.p.integer(1, 0) and group >= 1:
        group = c.channels(x) // group
    return shuffle_channels(c, x, group)


@NCNN.layer("Flip")
def flip(c: NcnnContext) -> Value:
    x = c.x()
    axes = [c.axis_of(x, a) for a in c.p.integers(0)]
    n = len(axes)
    return c.slice(x, [-1] * n, [-(2**62)] * n, axes, [-1] * n) if axes else x


@NCNN.layer("Embed")
def embed(c: NcnnContext) -> Value:
    columns, rows = c.p.integer(0, 0), c.p.integer(1, 0)
    positive(c, "its sizes", [rows, columns])
    table = c.tagged([rows, columns], "weight")
    bias = c.raw([columns], "bias") if c.p.integer(2, 0) else None
    if c.p.integer(18, 0):
        table = table.astype(np.float32) / c.raw([1], "scale", 1.0)
    y = c.emit("Gather", [c.const(table.astype(np.float32)), c.cast(c.x(), "i64")], {"axis": 0})
    return y if bias is None else c.binary("Add", y, c.const(bias))


_MODES = {1: ("nearest", "asymmetric"), 2: ("linear", "half_pixel"), 3: ("cubic", "half_pixel")}


@NCNN.layer("Interp")
def interp(c: NcnnContext) -> Value:
    x, p = c.many()[0], c.p
    kind, aligned = p.integer(0, 0), p.integer(6, 0)
    by_scale = not p.text(9) and len(c.inputs) == 1 and 0 in (p.integer(3, 0), p.integer(4, 0))
    if by_scale and x.rank == 4 and None in x.shape[2:]:
        return _scaled(c, x, kind, aligned, [p.number(1, 1.0), p.number(2, 1.0)])
    have = (1, 1) if x.rank == 2 else tuple(c.fixed(x, x.rank - 2))
    if p.text(9):
        sizes = evaluate(c, p.text(9), c.many())
        wanted = [have[0], sizes[0]] if len(sizes) == 1 else [sizes[1], sizes[0]]
    elif len(c.inputs) > 1:
        wanted = c.fixed(c.need(1), c.need(1).rank - 2)
    else:
        wanted = [p.integer(3, 0), p.integer(4, 0)]
        if 0 in wanted:
            wanted = [int(n * np.float32(s)) for n, s in zip(have, (p.number(1, 1.0), p.number(2, 1.0)))]
    positive(c, "its output size", wanted)
    if x.rank == 2:  # a vector becomes constant planes
        y = c.unsqueeze(x, [2, 3])
        return c.emit("Expand", [y, c.i64([1, 1, *wanted])])
    if x.rank == 3:
        x = c.unsqueeze(x, [1])  # rows keep their number, only the width changes
        wanted = [have[0], wanted[1]]
        y = _resized(c, x, kind, aligned, wanted)
        return c.squeeze(y, [1])
    return _resized(c, c.ranked(x, 4), kind, aligned, wanted)


def _mode(c: NcnnContext, kind: int, aligned: int) -> tuple[str, str]:
    if kind not in _MODES:
        raise c.bad(f"there is no resize type {kind}")
    mode, coordinate = _MODES[kind]
    return mode, "align_corners" if aligned and kind != 1 else coordinate


def _resized(c: NcnnContext, x: Value, kind: int, aligned: int, wanted: list[int]) -> Value:
    return x if c.fixed(x, 2) == wanted else resize(c, x, wanted, *_mode(c, kind, aligned))


def _scaled(c: NcnnContext, x: Value, kind: int, aligned: int, scales: list[float]) -> Value:
    """By factors, where the sizes are symbolic."""
    if any(not 0 < s < 2**16 for s in scales):
        raise c.bad(f"its scales {scales} must be positive")
    mode, coordinate = _mode(c, kind, aligned)
    attrs = {"mode": mode, "coordinate": coordinate, "nearest_mode": "floor", "scales": [1.0, *scales, 1.0]}
    return c.from_nhwc(c.emit("Resize", [c.to_nhwc(x)], attrs), 4)
