"""Sampling, boxes, patches, unpooling."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.ops_conv import spatial
from edgec.converter.frontends.onnx.registry import Unsupported, onnx_op
from edgec.converter.ir.graph import Value


def _static(c: Context, x: Value, what: str) -> list[int]:
    if any(d is None for d in x.shape):
        raise Unsupported(f"{what} over symbolic sizes", "give fixed sizes with --shape")
    return [int(d) for d in x.shape]  # type: ignore[arg-type]


class _Sampler:
    """Reads [N, C, positions] from an image [N, C, *sizes] at positions that are computed while the model runs."""

    def __init__(self, c: Context, x: Value, sizes: Sequence[int]) -> None:
        self.c, self.sizes = c, list(sizes)
        self.batch, self.channels = c.dim(x, 0), c.dim(x, 1)
        self.flat = c.reshape(x, [self.batch, self.channels, int(np.prod(sizes))])

    def op(self, name: str, a: Value, b: Any) -> Value:
        b = b if isinstance(b, Value) else self.c.like(b, a)
        return self.c.emit(name, [a, b])

    def read(self, where: Sequence[Value]) -> Value:
        """Values at whole positions (floats, [N, P] per axis); outside the image: zero."""
        c = self.c
        index: Value | None = None
        inside: Value | None = None
        for at, size in zip(where, self.sizes):
            ok = c.emit("And", [self.op("GreaterEqual", at, 0.0), self.op("LessEqual", at, float(size - 1))])
            inside = ok if inside is None else c.emit("And", [inside, ok])
            whole = c.cast(c.emit("Clip", [at], {"min": 0.0, "max": float(size - 1)}), "i64")
            index = whole if index is None else c.emit("Add", [c.emit("Mul", [index, c.i64(size)]), whole])
        assert index is not None and inside is not None
        positions = c.dim(index, 1)
        wide = c.emit("Expand", [c.unsqueeze(index, [1]), c.shape_vector([self.batch, self.channels, positions])])
        values = c.emit("GatherElements", [self.flat, wide], {"axis": 2})
        return c.emit("Mul", [values, c.cast(c.unsqueeze(inside, [1]), values.dtype)])

    def weighted(self, corner: Sequence[Value], weight: Value, total: Value | None) -> Value:
        term = self.c.emit("Mul", [self.read(corner), self.c.unsqueeze(weight, [1])])
        return term if total is None else self.c.emit("Add", [total, term])

    def linear(self, where: Sequence[Value]) -> Value:
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


@onnx_op("GridSample")
def grid_sample(c: Context) -> Value:
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(str(c.attr("mode", "linear")), str(c.attr("mode", "linear")))
    attrs = {
        "mode": mode,
        "padding_mode": c.attr("padding_mode", "zeros"),
        "align_corners": int(c.attr("align_corners", 0)),
    }
    return c.emit("GridSample", [c.need(0), c.need(1)], attrs)


@onnx_op("NonMaxSuppression")
def non_max_suppression(c: Context) -> Value:
    limit = None if c.input(2) is None else c.as_i64(c.input(2))
    inputs = [c.need(0), c.need(1), limit, c.input(3), c.input(4)]
    return c.emit("NonMaxSuppression", inputs, {"center_point_box": int(c.attr("center_point_box", 0))})


@onnx_op("RoiAlign")
def roi_align(c: Context) -> Value:
    default = "output_half_pixel" if c.opset < 16 else "half_pixel"
    attrs = {
        "mode": c.attr("mode", "avg"),
        "output_height": int(c.attr("output_height", 1)),
        "output_width": int(c.attr("output_width", 1)),
        "sampling_ratio": int(c.attr("sampling_ratio", 0)),
        "spatial_scale": float(c.attr("spatial_scale", 1.0)),
        "coordinate": c.attr("coordinate_transformation_mode", default),
    }
    return c.emit("RoiAlign", [c.need(0), c.need(1), c.as_i64(c.need(2))], attrs)


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
    filled = c.emit(
        "ScatterElements", [flat, c.reshape(index, [-1]), c.reshape(x, [-1])], {"axis": 0, "reduction": "none"}
    )
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
        sampler = _Sampler(c, image, [height, width])
        for tap in range(taps):
            where = []
            for axis, (grid, step) in enumerate(zip(base, dilations)):
                kernel_at = (tap // kw if axis == 0 else tap % kw) * step
                moved = c.slice(shifts, [g, tap, axis], [g + 1, tap + 1, axis + 1], [1, 2, 3])
                moved = c.reshape(moved, [batch, pixels])
                where.append(c.emit("Add", [moved, c.like((grid + kernel_at).reshape(1, -1), x)]))
            values = sampler.linear(where)  # [N, part, pixels]
            if mask is not None:
                amount = c.slice(
                    c.reshape(mask, [batch, offset_group * taps, pixels]), [g * taps + tap], [g * taps + tap + 1], [1]
                )
                values = c.emit("Mul", [values, amount])
            planes.append(c.unsqueeze(values, [2]))
    groups = [c.emit("Concat", planes[g * taps : (g + 1) * taps], {"axis": 2}) for g in range(offset_group)]
    columns = c.emit("Concat", groups, {"axis": 1}) if offset_group > 1 else groups[0]  # [N, C, taps, pixels]
    columns = c.reshape(columns, [batch, group, per_group * taps, pixels])
    matrix = c.reshape(weight, [1, group, out_channels // group, per_group * taps])
    y = c.reshape(c.emit("MatMul", [matrix, columns]), [batch, out_channels, out_h, out_w])
    return y if bias is None else c.emit("Add", [y, c.reshape(bias, [out_channels, 1, 1])])
