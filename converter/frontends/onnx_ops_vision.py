"""Sampling at computed positions, unpooling, column images, regions of interest."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx_context import Context
from edgec.converter.frontends.onnx_ops_conv import spatial
from edgec.converter.frontends.onnx_registry import Unsupported, onnx_op
from edgec.converter.ir.graph import Value


def _static(c: Context, x: Value, what: str) -> list[int]:
    if any(d is None for d in x.shape):
        raise Unsupported(f"{what} over symbolic sizes", "give fixed sizes with --shape")
    return [int(d) for d in x.shape]  # type: ignore[arg-type]


class _Sampler:
    """Reads [N, C, positions] from an image [N, C, *sizes] at positions that are computed while the model runs."""

    def __init__(self, c: Context, x: Value, sizes: Sequence[int], padding: str, align: bool) -> None:
        self.c, self.sizes, self.padding, self.align = c, list(sizes), padding, align
        self.batch, self.channels = c.dim(x, 0), c.dim(x, 1)
        self.flat = c.reshape(x, [self.batch, self.channels, int(np.prod(sizes))])
        self.x = x

    def op(self, name: str, a: Value, b: Any) -> Value:
        b = b if isinstance(b, Value) else self.c.like(b, a)
        return self.c.emit(name, [a, b])

    def pixel(self, unit: Value, size: int) -> Value:
        """[-1, 1] -> pixel position."""
        if self.align:
            return self.op("Mul", self.op("Add", unit, 1.0), (size - 1) / 2)
        return self.op("Mul", self.op("Sub", self.op("Mul", self.op("Add", unit, 1.0), float(size)), 1.0), 0.5)

    def reflect(self, at: Value, size: int) -> Value:
        """Folds positions back into the image."""
        low, span = (0.0, float(size - 1)) if self.align else (-0.5, float(size))
        if span <= 0:
            return self.op("Mul", at, 0.0)
        shifted = self.c.emit("Abs", [self.op("Sub", at, low)])
        turns = self.c.emit("Floor", [self.op("Mul", shifted, 1.0 / span)])
        rest = self.op("Sub", shifted, self.op("Mul", turns, span))
        odd = self.op("Sub", turns, self.op("Mul", self.c.emit("Floor", [self.op("Mul", turns, 0.5)]), 2.0))
        # even turn: low + rest; odd turn: low + span - rest
        folded = self.op("Add", self.op("Mul", rest, self.op("Sub", self.op("Mul", odd, -2.0), -1.0)), self.op("Mul", odd, span))
        return self.op("Add", folded, low)

    def prepared(self, at: Value, size: int) -> Value:
        if self.padding == "border":
            return self.c.emit("Clip", [at], {"min": 0.0, "max": float(size - 1)})
        if self.padding == "reflection":
            return self.c.emit("Clip", [self.reflect(at, size)], {"min": 0.0, "max": float(size - 1)})
        return at

    def read(self, where: Sequence[Value]) -> Value:
        """Values at whole positions (floats, [N, P] per axis); outside: zero, the border, or the reflection."""
        c = self.c
        index: Value | None = None
        inside: Value | None = None
        for at, size in zip(where, self.sizes):
            if self.padding != "zeros":
                at = self.prepared(at, size)
            else:
                ok = c.emit("And", [self.op("GreaterEqual", at, 0.0), self.op("LessEqual", at, float(size - 1))])
                inside = ok if inside is None else c.emit("And", [inside, ok])
            whole = c.cast(c.emit("Clip", [at], {"min": 0.0, "max": float(size - 1)}), "i64")
            index = whole if index is None else c.emit("Add", [c.emit("Mul", [index, c.i64(size)]), whole])
        assert index is not None
        positions = c.dim(index, 1)
        wide = c.emit("Expand", [c.unsqueeze(index, [1]), c.shape_vector([self.batch, self.channels, positions])])
        values = c.emit("GatherElements", [self.flat, wide], {"axis": 2})
        if inside is None:
            return values
        return c.emit("Mul", [values, c.cast(c.unsqueeze(inside, [1]), values.dtype)])

    def weighted(self, corner: Sequence[Value], weight: Value, total: Value | None) -> Value:
        term = self.c.emit("Mul", [self.read(corner), self.c.unsqueeze(weight, [1])])
        return term if total is None else self.c.emit("Add", [total, term])

    def linear(self, where: Sequence[Value]) -> Value:
        where = [self.prepared(at, size) for at, size in zip(where, self.sizes)]
        floors = [self.c.emit("Floor", [at]) for at in where]
        parts = [self.op("Sub", at, low) for at, low in zip(where, floors)]
        total: Value | None = None
        for corner in itertools.product((0, 1), repeat=len(where)):
            weight: Value | None = None
            for bit, part in zip(corner, parts):
                w = part if bit else self.op("Add", self.op("Mul", part, -1.0), 1.0)
                weight = w if weight is None else self.c.emit("Mul", [weight, w])
            at = [self.op("Add", low, 1.0) if bit else low for bit, low in zip(corner, floors)]
            assert weight is not None
            total = self.weighted(at, weight, total)
        assert total is not None
        return total

    def cubic(self, where: Sequence[Value]) -> Value:
        floors = [self.c.emit("Floor", [at]) for at in where]
        tables = [self._cubic_weights(self.op("Sub", at, low)) for at, low in zip(where, floors)]
        total: Value | None = None
        for taps in itertools.product(range(4), repeat=len(where)):
            weight = tables[0][taps[0]]
            for table, tap in zip(tables[1:], taps[1:]):
                weight = self.c.emit("Mul", [weight, table[tap]])
            total = self.weighted([self.op("Add", low, float(t - 1)) for low, t in zip(floors, taps)], weight, total)
        assert total is not None
        return total

    def _cubic_weights(self, t: Value, a: float = -0.75) -> list[Value]:
        def polynomial(x: Value, *coefficients: float) -> Value:
            result = self.op("Mul", x, coefficients[0])
            for k in coefficients[1:-1]:
                result = self.op("Mul", self.op("Add", result, k), x)
            return self.op("Add", result, coefficients[-1])

        other = self.op("Add", self.op("Mul", t, -1.0), 1.0)
        near, far = (a + 2, -(a + 3), 0.0, 1.0), (a, -5 * a, 8 * a, -4 * a)
        return [
            polynomial(self.op("Add", t, 1.0), *far),
            polynomial(t, *near),
            polynomial(other, *near),
            polynomial(self.op("Add", other, 1.0), *far),
        ]


@onnx_op("GridSample")
def grid_sample(c: Context) -> Value:
    x, grid = c.need(0), c.need(1)
    sizes = _static(c, x, "GridSample")[2:]
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(c.attr("mode", "linear"), c.attr("mode", "linear"))
    sampler = _Sampler(c, x, sizes, c.attr("padding_mode", "zeros"), bool(c.attr("align_corners", 0)))
    out = [c.dim(grid, i) for i in range(1, grid.rank - 1)]
    points = c.cast(c.reshape(grid, [c.dim(grid, 0), c.mul(*out), len(sizes)]), x.dtype)
    where = []
    for axis, size in enumerate(sizes):  # the grid's last dimension runs x, y(, z): backwards
        k = len(sizes) - 1 - axis
        where.append(sampler.pixel(c.squeeze(c.slice(points, [k], [k + 1], [2]), [2]), size))
    if mode == "nearest":
        # Away from the pixel grid, positions are folded before they are rounded (as PyTorch does).
        values = sampler.read([c.emit("Round", [sampler.prepared(at, s)]) for at, s in zip(where, sizes)])
    elif mode == "cubic":
        values = sampler.cubic(where)
    else:
        values = sampler.linear(where)
    return c.reshape(values, [sampler.batch, sampler.channels, *out])


@onnx_op("MaxUnpool")
def max_unpool(c: Context) -> Value:
    x, index = c.need(0), c.need(1)
    shape = _static(c, x, "MaxUnpool")
    kernel = [int(k) for k in c.need_attr("kernel_shape")]
    rank = len(kernel)
    strides, pads = spatial(c, "strides", rank, 1), [int(p) for p in c.attr("pads", [0] * 2 * rank)]
    sizes = [(shape[2 + i] - 1) * strides[i] + kernel[i] - pads[i] - pads[rank + i] for i in range(rank)]
    wanted = c.need_ints(c.input(2), "the output shape")[2:] if c.input(2) is not None else sizes
    total = shape[0] * shape[1] * int(np.prod(sizes))
    flat = c.like(np.zeros(total), x)
    filled = c.emit("ScatterElements", [flat, c.reshape(index, [-1]), c.reshape(x, [-1])], {"axis": 0, "reduction": "none"})
    if wanted == sizes:
        return c.reshape(filled, [*shape[:2], *sizes])
    if wanted != sizes:  # the indices count in the larger image
        total = shape[0] * shape[1] * int(np.prod(wanted))
        filled = c.emit(
            "ScatterElements",
            [c.like(np.zeros(total), x), c.reshape(index, [-1]), c.reshape(x, [-1])],
            {"axis": 0, "reduction": "none"},
        )
    return c.reshape(filled, [*shape[:2], *wanted])


@onnx_op("Col2Im")
def col2im(c: Context) -> Value:
    """Adds the columns up at constant positions of the padded image, then cuts the padding off."""
    x = c.need(0)
    image, block = c.need_ints(c.need(1), "the image shape"), c.need_ints(c.need(2), "the block shape")
    rank = len(image)
    shape = _static(c, x, "Col2Im")
    strides, dilations = spatial(c, "strides", rank, 1), spatial(c, "dilations", rank, 1)
    pads = [int(p) for p in c.attr("pads", [0] * 2 * rank)]
    full = [image[i] + pads[i] + pads[rank + i] for i in range(rank)]
    outs = [(full[i] - dilations[i] * (block[i] - 1) - 1) // strides[i] + 1 for i in range(rank)]
    taps, columns = int(np.prod(block)), int(np.prod(outs))
    if shape[1] % taps or shape[2] != columns:
        raise BadFileError(f"Col2Im '{c.name}': input {shape} does not fit the image {image} and the block {block}")
    channels = shape[1] // taps
    grid = np.meshgrid(*[np.arange(o) for o in outs], indexing="ij")
    kernel = np.meshgrid(*[np.arange(k) for k in block], indexing="ij")
    flat = np.zeros((taps, columns), np.int64)
    for i in range(rank):
        at = kernel[i].reshape(-1, 1) * dilations[i] + grid[i].reshape(1, -1) * strides[i]
        flat = flat * full[i] + at
    target = [shape[0], channels, taps * columns]
    index = c.emit("Expand", [c.i64(flat.reshape(1, 1, -1)), c.i64(target)])
    zeros = c.like(np.zeros((shape[0], channels, int(np.prod(full)))), x)
    total = c.emit("ScatterElements", [zeros, index, c.reshape(x, target)], {"axis": 2, "reduction": "add"})
    total = c.reshape(total, [shape[0], channels, *full])
    if not any(pads):
        return total
    axes = list(range(2, 2 + rank))
    return c.slice(total, pads[:rank], [f - p for f, p in zip(full, pads[rank:])], axes)


@onnx_op("RoiAlign")
def roi_align(c: Context) -> Value:
    """Bilinear samples on a regular grid in each box, averaged (or their maximum)."""
    x, rois, batch_index = c.need(0), c.need(1), c.need(2)
    height, width = _static(c, x, "RoiAlign")[2:]
    count = rois.shape[0]
    out_h, out_w = int(c.attr("output_height", 1)), int(c.attr("output_width", 1))
    ratio, scale = int(c.attr("sampling_ratio", 0)), float(c.attr("spatial_scale", 1.0))
    half_pixel = c.attr("coordinate_transformation_mode", "half_pixel" if c.opset >= 16 else "output_half_pixel") == "half_pixel"
    boxes = c.static(rois)
    if ratio == 0 and boxes is not None:
        sizes = np.maximum(boxes[:, 2:] - boxes[:, :2], 1e-6) * scale
        ratio = int(np.max(np.ceil(sizes / [out_w, out_h])))  # exact when all boxes ask for the same
    if ratio == 0 or count is None:
        raise Unsupported("RoiAlign with sampling_ratio 0", "export with a fixed sampling_ratio, e.g. 2")
    channels = c.dim(x, 1)
    # One image per box, then the sampler of GridSample with border padding.
    images = c.emit("Gather", [x, c.as_i64(batch_index)], {"axis": 0})
    sampler = _Sampler(c, images, [height, width], "border", True)
    offset = 0.5 if half_pixel else 0.0

    def column(k: int) -> Value:
        value = c.slice(rois, [k], [k + 1], [1])
        return sampler.op("Sub", sampler.op("Mul", value, scale), offset)

    left, top, right, bottom = (column(k) for k in range(4))
    where = []
    outside: Value | None = None
    for low, high, cells, size in ((top, bottom, out_h, height), (left, right, out_w, width)):
        span = c.emit("Sub", [high, low])
        if not half_pixel:
            span = c.emit("Max", [span, c.like(1.0, span)])
        steps = (np.arange(cells * ratio) + 0.5) / (cells * ratio)
        at = c.emit("Add", [low, c.emit("Mul", [span, c.like(steps[None], span)])])  # [R, cells * ratio]
        where.append((at, size))
    (ys, _), (xs, _) = where
    rows, columns = out_h * ratio, out_w * ratio
    target = c.i64([count, rows, columns])
    grid_y = c.reshape(c.emit("Expand", [c.unsqueeze(ys, [2]), target]), [count, rows * columns])
    grid_x = c.reshape(c.emit("Expand", [c.unsqueeze(xs, [1]), target]), [count, rows * columns])
    for at, size in ((grid_y, height), (grid_x, width)):
        beyond = c.emit("Or", [sampler.op("Less", at, -1.0), sampler.op("Greater", at, float(size))])
        outside = beyond if outside is None else c.emit("Or", [outside, beyond])
    assert outside is not None
    if c.attr("mode", "avg") == "max":
        values = _corner_maximum(c, sampler, [grid_y, grid_x])
    else:
        values = sampler.linear([grid_y, grid_x])
    values = c.emit("Where", [c.unsqueeze(outside, [1]), c.like(0.0, values), values])
    cells_ = c.reshape(values, [count, channels, out_h, ratio, out_w, ratio])
    op = "ReduceMax" if c.attr("mode", "avg") == "max" else "ReduceMean"
    return c.emit(op, [cells_], {"axes": [3, 5], "keepdims": 0})


def _corner_maximum(c: Context, s: _Sampler, where: Sequence[Value]) -> Value:
    """ONNX's mode "max" takes the largest weighted corner, not the largest interpolated value."""
    where = [s.prepared(at, size) for at, size in zip(where, s.sizes)]
    floors = [c.emit("Floor", [at]) for at in where]
    parts = [s.op("Sub", at, low) for at, low in zip(where, floors)]
    best: Value | None = None
    for corner in itertools.product((0, 1), repeat=2):
        weights = [p if bit else s.op("Add", s.op("Mul", p, -1.0), 1.0) for bit, p in zip(corner, parts)]
        at = [s.op("Add", low, 1.0) if bit else low for bit, low in zip(corner, floors)]
        term = s.weighted(at, c.emit("Mul", weights), None)
        best = term if best is None else c.emit("Max", [best, term])
    assert best is not None
    return best


_Reader = Callable[[Sequence[Value]], Value]


@onnx_op("DeformConv")
def deform_conv(c: Context) -> Value:
    """Samples the input at shifted positions (one plane per kernel tap), then a 1x1 product with the weights."""
    x, weight, offset = c.need(0), c.need(1), c.need(2)
    bias, mask = c.input(3), c.input(4)
    batch, channels, height, width = _static(c, x, "DeformConv")
    out_channels, per_group, kh, kw = _static(c, weight, "DeformConv")
    strides, dilations = spatial(c, "strides", 2, 1), spatial(c, "dilations", 2, 1)
    pads = [int(p) for p in c.attr("pads", [0] * 4)]
    group, offset_group = int(c.attr("group", 1)), int(c.attr("offset_group", 1))
    _, _, out_h, out_w = _static(c, offset, "DeformConv")
    taps, pixels = kh * kw, out_h * out_w
    part = channels // offset_group
    shifts = c.reshape(offset, [batch, offset_group, taps, 2, pixels])
    base = np.meshgrid(np.arange(out_h) * strides[0] - pads[0], np.arange(out_w) * strides[1] - pads[1], indexing="ij")
    planes = []
    for g in range(offset_group):
        image = c.slice(x, [g * part], [(g + 1) * part], [1])
        sampler = _Sampler(c, image, [height, width], "zeros", True)
        for tap in range(taps):
            where = []
            for axis, (grid, step) in enumerate(zip(base, dilations)):
                kernel_at = (tap // kw if axis == 0 else tap % kw) * step
                moved = c.slice(shifts, [g, tap, axis], [g + 1, tap + 1, axis + 1], [1, 2, 3])
                moved = c.reshape(moved, [batch, pixels])
                where.append(c.emit("Add", [moved, c.like((grid + kernel_at).reshape(1, -1), x)]))
            values = sampler.linear(where)  # [N, part, pixels]
            if mask is not None:
                amount = c.slice(c.reshape(mask, [batch, offset_group * taps, pixels]), [g * taps + tap], [g * taps + tap + 1], [1])
                values = c.emit("Mul", [values, amount])
            planes.append(c.unsqueeze(values, [2]))
    groups = [c.emit("Concat", planes[g * taps : (g + 1) * taps], {"axis": 2}) for g in range(offset_group)]
    columns = c.emit("Concat", groups, {"axis": 1}) if offset_group > 1 else groups[0]  # [N, C, taps, pixels]
    columns = c.reshape(columns, [batch, group, per_group * taps, pixels])
    matrix = c.reshape(weight, [1, group, out_channels // group, per_group * taps])
    y = c.reshape(c.emit("MatMul", [matrix, columns]), [batch, out_channels, out_h, out_w])
    return y if bias is None else c.emit("Add", [y, c.reshape(bias, [out_channels, 1, 1])])
