"""Pooling and resizing of NHWC images."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.tflite.context import TfliteContext
from edgec.converter.frontends.tflite.file import Quantization
from edgec.converter.frontends.tflite.ops_conv import window
from edgec.converter.frontends.tflite.registry import tflite_op
from edgec.converter.ir.graph import Value

# Makes a half a little more than a half, by less than any other fraction can notice.
HALVES_AWAY = np.float32(1 + 2.0**-21)


def _pool(c: TfliteContext, x: Value, op: str) -> Value:
    o = c.options("Pool2DOptions")
    kernel, strides = [o.FilterHeight(), o.FilterWidth()], [o.StrideH(), o.StrideW()]
    x, pads = window(c, x, o.Padding(), kernel, strides, may_pad=False)
    return c.emit(op, [x], {"kernel": kernel, "strides": strides, "pads": pads})


def _activated(c: TfliteContext, y: Value) -> Value:
    return c.fused(y, c.options("Pool2DOptions").FusedActivationFunction())


@tflite_op("AVERAGE_POOL_2D")
def average_pool(c: TfliteContext) -> Value:
    q, y = c.need_tensor(0).quantization, c.out().quantization
    if c.need_tensor(0).quantized and q is not None and q.same(y) and not q.per_channel:
        return _average_of_integers(c, q)
    return _activated(c, _pool(c, c.ranked(c.need(0), 4), "AvgPool2d"))


def _average_of_integers(c: TfliteContext, q: Quantization) -> Value:
    """TFLite averages the stored integers and rounds halves away from zero, whatever the zero point. The same between
    Dequantize and Quantize: no zero point, and a scale that is larger by less than any other fraction can notice."""
    x = c.raw(0)
    none = np.zeros(1, np.int64)
    real = c.dequantize(c.ranked(x, 4), Quantization(q.scale * HALVES_AWAY, none, 0))
    y = _pool(c, real, "AvgPool2d")
    low, high = c.activation_range(c.options("Pool2DOptions").FusedActivationFunction())
    if (low, high) != (None, None):
        scale, zero = float(q.scale[0]), int(q.zero_point[0])
        limits = [None if v is None else (round(v / scale) + zero) * scale for v in (low, high)]
        y = c.emit("Clip", [y], {k: v for k, v in zip(("min", "max"), limits) if v is not None})
    return c.quantize(y, Quantization(q.scale, none, 0), x.dtype)


@tflite_op("MAX_POOL_2D")
def max_pool(c: TfliteContext) -> Value:
    return _activated(c, _pool(c, c.ranked(c.need(0), 4), "MaxPool2d"))


@tflite_op("L2_POOL_2D")
def l2_pool(c: TfliteContext) -> Value:
    x = c.ranked(c.need(0), 4)
    return _activated(c, c.emit("Sqrt", [_pool(c, c.emit("Mul", [x, x]), "AvgPool2d")]))


def _target(c: TfliteContext, x: Value) -> dict[str, Any] | Value:
    """Sizes [N, H, W, C] as an attribute, or as a tensor where they are computed."""
    known = c.ints(c.raw(1))
    if known is not None and len(known) != 2:
        raise BadFileError(f"{c.op} ({c.source}): the new size {known} is not [height, width]")
    if known is not None:
        return {"sizes": known, "axes": [1, 2]}
    return c.emit("Concat", [c.shape_vector([c.dim(x, 0)]), c.vector(1), c.shape_vector([c.dim(x, 3)])], {"axis": 0})


def _resize(c: TfliteContext, x: Value, attrs: dict[str, Any]) -> Value:
    target = _target(c, c.ranked(x, 4))
    if isinstance(target, Value):
        return c.emit("Resize", [x, target], attrs)
    return c.emit("Resize", [x], {**attrs, **target})


@tflite_op("RESIZE_BILINEAR")
def resize_bilinear(c: TfliteContext) -> Value:
    o = c.options("ResizeBilinearOptions")
    place = "align_corners" if o.AlignCorners() else "half_pixel" if o.HalfPixelCenters() else "asymmetric"
    attrs = {"mode": "linear", "coordinate": place}
    x, q = c.ranked(c.raw(0), 4), c.need_tensor(0).quantization
    if q is None or q.per_channel or not q.same(c.out().quantization) or c.need_tensor(0).dtype not in ("i8", "u8"):
        return _resize(c, c.need(0), attrs)
    # TFLite rounds halves up, whatever the zero point: counted from the least integer that is away from zero.
    least = np.array([-128 if x.dtype == "i8" else 0])
    y = _resize(c, c.dequantize(x, Quantization(q.scale * HALVES_AWAY, least, 0)), attrs)
    return c.quantize(y, Quantization(q.scale, least, 0), x.dtype)


@tflite_op("RESIZE_NEAREST_NEIGHBOR")
def resize_nearest(c: TfliteContext) -> Value:
    """TensorFlow's nearest: floor(i * scale), with half pixels floor((i + 0.5) * scale), with corners round(i * scale)."""
    o = c.options("ResizeNearestNeighborOptions")
    if o.AlignCorners():
        attrs = {"coordinate": "align_corners", "nearest_mode": "round_prefer_ceil"}
    elif o.HalfPixelCenters():
        # The IR's half pixel is (i + 0.5) * scale - 0.5: rounding it (ties up) is the floor above.
        attrs = {"coordinate": "half_pixel", "nearest_mode": "round_prefer_ceil"}
    else:
        attrs = {"coordinate": "asymmetric", "nearest_mode": "floor"}
    return _resize(c, c.need(0), {"mode": "nearest", **attrs})
