"""Pooling in one, two and three dimensions."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.model import NUMPY
from edgec.converter.frontends.onnx.ops_conv import pads_2d, positive, spatial, with_height
from edgec.converter.frontends.onnx.registry import Unsupported, onnx_op
from edgec.converter.frontends.padding import explicit_pads
from edgec.converter.ir.graph import Value


def pool(c: Context, x: Value, op: str, extra: dict[str, Any]) -> Value:
    """`op` (MaxPool2d or AvgPool2d) over the spatial dimensions of NCHW `x` with the node's attributes."""
    kernel = [int(k) for k in c.need_attr("kernel_shape")]
    rank = len(kernel)
    if rank != x.rank - 2:
        raise BadFileError(f"{c.op} '{c.name}': kernel_shape {kernel} for an input of rank {x.rank}")
    positive(c, "kernel_shape", kernel)
    strides = positive(c, "strides", spatial(c, "strides", rank, 1))
    dilations = positive(c, "dilations", spatial(c, "dilations", rank, 1))
    begin, end = explicit_pads(c, x.shape[2:], kernel, strides, dilations)
    extra = {**extra, "ceil_mode": int(c.attr("ceil_mode", 0))}

    def attrs(axes: slice) -> dict[str, Any]:
        return {
            "kernel": with_height(kernel[axes], 1),
            "strides": with_height(strides[axes], 1),
            "dilations": with_height(dilations[axes], 1),
            "pads": pads_2d(begin[axes], end[axes]),
            **extra,
        }

    if rank <= 2:
        y = c.emit(op, [c.to_nhwc(x)], attrs(slice(None)))
        return c.from_nhwc(y, x.rank)
    if rank == 3:
        # Maxima and averages are separable: planes first, then along the depth.
        batch, channels, depth, height, width = c.dims(x)
        planes = c.reshape(c.transpose(x, [0, 2, 3, 4, 1]), [c.mul(batch, depth), height, width, channels])
        planes = c.emit(op, [planes], attrs(slice(1, 3)))
        _, out_h, out_w, _ = c.dims(planes)
        columns = c.reshape(planes, [batch, depth, c.mul(out_h, out_w), channels])
        columns = c.emit(
            op,
            [columns],
            {
                "kernel": [kernel[0], 1],
                "strides": [strides[0], 1],
                "dilations": [dilations[0], 1],
                "pads": [begin[0], 0, end[0], 0],
                **extra,
            },
        )
        out_d = c.dim(columns, 1)
        return c.transpose(c.reshape(columns, [batch, out_d, out_h, out_w, channels]), [0, 4, 1, 2, 3])
    raise Unsupported(f"{rank}-dimensional pooling")


@onnx_op("MaxPool")
def max_pool(c: Context) -> list[Value]:
    x = c.need(0)
    y = pool(c, x, "MaxPool2d", {})
    if not c.wants(1):
        return [y]
    return [y, _max_indices(c, x)]


def _max_indices(c: Context, x: Value) -> Value:
    """Flat positions of the maxima: windows are gathered with constant indices, then ArgMax picks one."""
    if any(d is None for d in x.shape):
        raise Unsupported("MaxPool with indices over symbolic sizes", "give fixed sizes with --shape")
    shape = [int(d) for d in x.shape]  # type: ignore[arg-type]
    kernel = [int(k) for k in c.need_attr("kernel_shape")]
    rank = len(kernel)
    strides, dilations = spatial(c, "strides", rank, 1), spatial(c, "dilations", rank, 1)
    begin, end = explicit_pads(c, x.shape[2:], kernel, strides, dilations)
    sizes = shape[2:]
    outs = []
    for i in range(rank):
        room = sizes[i] + begin[i] + end[i] - dilations[i] * (kernel[i] - 1) - 1
        out = (-(-room // strides[i]) if c.attr("ceil_mode", 0) else room // strides[i]) + 1
        if c.attr("ceil_mode", 0) and (out - 1) * strides[i] >= sizes[i] + begin[i]:
            out -= 1
        outs.append(out)
    grids = np.meshgrid(*[np.arange(o) for o in outs], indexing="ij")
    taps = np.meshgrid(*[np.arange(k) for k in kernel], indexing="ij")
    flat = np.zeros((int(np.prod(outs)), int(np.prod(kernel))), np.int64)
    inside = np.ones_like(flat, dtype=bool)
    for i in range(rank):
        at = grids[i].reshape(-1, 1) * strides[i] + taps[i].reshape(1, -1) * dilations[i] - begin[i]
        inside &= (at >= 0) & (at < sizes[i])
        flat = flat * sizes[i] + np.clip(at, 0, sizes[i] - 1)
    if flat.size > 2**22:
        raise Unsupported("MaxPool with indices over a large image")
    planes = c.reshape(x, [shape[0] * shape[1], int(np.prod(sizes))])
    windows = c.emit("Gather", [planes, c.i64(flat)], {"axis": 1})
    if not inside.all():
        lowest = lowest_value(x.dtype)
        outside = c.like(lowest, x)
        windows = c.emit("Where", [c.const(inside), windows, outside])
    best = c.emit("ArgMax", [windows], {"axis": 2, "keepdims": 1})
    table = c.emit("Expand", [c.i64(flat[None]), c.i64([shape[0] * shape[1], *flat.shape])])
    index = c.squeeze(c.emit("GatherElements", [table, best], {"axis": 2}), [2])
    if c.attr("storage_order", 0):
        index = _column_major(c, index, sizes)
    plane = c.i64((np.arange(shape[0] * shape[1]) * int(np.prod(sizes)))[:, None])
    return c.reshape(c.emit("Add", [index, plane]), [shape[0], shape[1], *outs])


def lowest_value(dtype: str) -> float | int:
    kind = NUMPY.get(dtype, np.float32)
    return float(np.finfo(kind).min) if np.issubdtype(kind, np.floating) else int(np.iinfo(kind).min)


def _column_major(c: Context, index: Value, sizes: list[int]) -> Value:
    """Row-major position in a plane -> column-major position."""
    order = np.arange(int(np.prod(sizes))).reshape(sizes[::-1]).transpose(range(len(sizes))[::-1]).reshape(-1)
    return c.emit("Gather", [c.i64(order), index], {"axis": 0})


@onnx_op("AveragePool")
def average_pool(c: Context) -> Value:
    return pool(c, c.need(0), "AvgPool2d", {"count_include_pad": int(c.attr("count_include_pad", 0))})


@onnx_op("LpPool")
def lp_pool(c: Context) -> Value:
    """(count * mean(|x|^p))^(1/p); padding counts as zeros."""
    x, p = c.need(0), float(c.attr("p", 2))
    powered = c.emit("Mul", [x, x]) if p == 2 else c.emit("Pow", [c.emit("Abs", [x]), c.like(p, x)])
    mean = pool(c, powered, "AvgPool2d", {"count_include_pad": 1})
    count = float(np.prod(c.need_attr("kernel_shape")))
    total = c.emit("Mul", [mean, c.like(count, mean)])
    return c.emit("Sqrt", [total]) if p == 2 else c.emit("Pow", [total, c.like(1.0 / p, total)])


def _spatial_axes(x: Value) -> list[int]:
    return list(range(2, x.rank))


@onnx_op("GlobalAveragePool")
def global_average_pool(c: Context) -> Value:
    return c.emit("ReduceMean", [c.need(0)], {"axes": _spatial_axes(c.need(0)), "keepdims": 1})


@onnx_op("GlobalMaxPool")
def global_max_pool(c: Context) -> Value:
    return c.emit("ReduceMax", [c.need(0)], {"axes": _spatial_axes(c.need(0)), "keepdims": 1})


@onnx_op("GlobalLpPool")
def global_lp_pool(c: Context) -> Value:
    x, p = c.need(0), float(c.attr("p", 2))
    attrs = {"axes": _spatial_axes(x), "keepdims": 1}
    if p in (1.0, 2.0):
        return c.emit("ReduceL1" if p == 1 else "ReduceL2", [x], attrs)
    total = c.emit("ReduceSum", [c.emit("Pow", [c.emit("Abs", [x]), c.like(p, x)])], attrs)
    return c.emit("Pow", [total, c.like(1.0 / p, total)])
