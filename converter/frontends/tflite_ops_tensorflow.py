"""TensorFlow operators that TFLite has no built-in form of and that edgec computes anyway.

TensorFlow's converter keeps them as custom operators under TensorFlow's own names, their attributes as a flexbuffer.
"""

from __future__ import annotations

from typing import Any

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx_registry import Unsupported
from edgec.converter.frontends.tflite_context import TfliteContext
from edgec.converter.frontends.tflite_ops_conv import SAME, VALID, window
from edgec.converter.frontends.tflite_registry import custom_op
from edgec.converter.ir.graph import Value


def attributes(c: TfliteContext) -> dict[str, Any]:
    """The attributes of TensorFlow's node."""
    from flatbuffers import flexbuffers

    content = c.operator.custom_options
    if not content:
        return {}
    try:
        found = flexbuffers.Loads(content)
    except Exception as e:  # the package raises struct.error, IndexError, ValueError... for damaged bytes
        raise BadFileError(f"{c.op} ({c.source}): its attributes cannot be read ({e})") from None
    if not isinstance(found, dict):
        raise BadFileError(f"{c.op} ({c.source}): its attributes are {type(found).__name__}, expected a map")
    return found


_UNARY = ("Erf", "Asin", "Acos", "Atan", "Asinh", "Acosh", "Atanh", "Sinh", "Cosh", "Tan")


@custom_op(*_UNARY)
def unary(c: TfliteContext) -> Value:
    return c.emit(c.op, [c.need(0)])


@custom_op("MaxPool3D", "AvgPool3D")
def pool_3d(c: TfliteContext) -> Value:
    """Maxima and averages are separable: planes first, then along the depth."""
    found = attributes(c)
    if str(found.get("data_format", "NDHWC")) != "NDHWC":
        raise Unsupported(f"data format {found['data_format']}", "use channels last")
    x = c.ranked(c.need(0), 5)
    kernel, strides = _window_of(c, found, "ksize"), _window_of(c, found, "strides")
    padding = {"SAME": SAME, "VALID": VALID}.get(str(found.get("padding")), -1)
    x, pads = window(c, x, padding, kernel, strides, may_pad=False)
    op = "MaxPool2d" if c.op == "MaxPool3D" else "AvgPool2d"
    batch, depth, height, width, channels = c.dims(x)
    planes = c.reshape(x, [c.mul(batch, depth), height, width, channels])
    attrs = {"kernel": kernel[1:], "strides": strides[1:], "pads": [pads[1], pads[2], pads[4], pads[5]]}
    planes = c.emit(op, [planes], attrs)
    _, out_height, out_width, _ = c.dims(planes)
    columns = c.reshape(planes, [batch, depth, c.mul(out_height, out_width), channels])
    attrs = {"kernel": [kernel[0], 1], "strides": [strides[0], 1], "pads": [pads[0], 0, pads[3], 0]}
    columns = c.emit(op, [columns], attrs)
    return c.reshape(columns, [batch, c.dim(columns, 1), out_height, out_width, channels])


def _window_of(c: TfliteContext, found: dict[str, Any], key: str) -> list[int]:
    sizes = found.get(key)
    if not isinstance(sizes, list) or len(sizes) != 5 or not all(isinstance(s, int) for s in sizes):
        raise BadFileError(f"{c.op} ({c.source}): {key} {sizes}, expected five integers")
    if sizes[0] != 1 or sizes[4] != 1:
        raise Unsupported("pooling over the batch or the channels")
    return sizes[1:4]


@custom_op("DenseBincount")
def dense_bincount(c: TfliteContext) -> Value:
    """How often each number below `size` occurs in a row; binary: whether it does; with weights: their sum."""
    x, size = c.raw(0), c.numbers(1, "the number of bins")
    weights = c.input(2)
    kind = c.out().dtype
    zero_one = c.const([0, 1], kind)
    hot = c.emit("OneHot", [c.cast(x, "i64"), c.i64(size), zero_one], {"axis": -1})
    axis = hot.rank - 2
    if attributes(c).get("binary_output"):
        return c.emit("ReduceMax", [hot], {"axes": [axis], "keepdims": 0})
    if weights is not None and weights.shape != (0,):
        hot = c.emit("Mul", [hot, c.unsqueeze(weights, [weights.rank])])
    return c.emit("ReduceSum", [hot], {"axes": [axis], "keepdims": 0})


@custom_op("Roll")
def roll(c: TfliteContext) -> Value:
    """Slices change places: each axis is cut where its end becomes its beginning."""
    y = c.raw(0)
    for shift, axis in zip(c.numbers(1, "the shifts"), c.numbers(2, "the axes")):
        axis = c.normalize_axis(axis, y.rank)
        size = y.shape[axis]
        if not size:
            raise Unsupported("Roll along an open size", "give fixed sizes with --shape")
        cut = -shift % size
        if cut:
            parts = [c.slice(y, [cut], [size], [axis]), c.slice(y, [0], [cut], [axis])]
            y = c.emit("Concat", parts, {"axis": axis})
    return y


@custom_op("ResizeBicubic")
def resize_bicubic(c: TfliteContext) -> Value:
    """TensorFlow's kernel: a = -0.5 and weights renormalised at the border for half pixel centres, else -0.75."""
    found = attributes(c)
    x = c.ranked(c.need(0), 4)
    half = bool(found.get("half_pixel_centers"))
    coordinate = "half_pixel" if half else "align_corners" if found.get("align_corners") else "asymmetric"
    attrs = {
        "mode": "cubic",
        "coordinate": coordinate,
        "cubic_coeff": -0.5 if half else -0.75,
        "exclude_outside": int(half),
        "sizes": c.numbers(1, "the new size"),
        "axes": [1, 2],
    }
    return c.emit("Resize", [x], attrs)
