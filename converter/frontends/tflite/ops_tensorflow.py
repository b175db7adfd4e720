"""TensorFlow operators that TFLite has no built-in form of and that edgec computes anyway.

TensorFlow's converter keeps them as custom operators under TensorFlow's own names, their attributes as a flexbuffer.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.frontends.tensorflow.keras_recurrent import CARRIER, RESET_BEFORE
from edgec.converter.frontends.tflite.context import TfliteContext
from edgec.converter.frontends.tflite.ops_conv import SAME, VALID, window
from edgec.converter.frontends.tflite.registry import custom_op
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
    x, size = c.raw(0), [_clamped(c, c.raw(1))]
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


def _clamped(c: TfliteContext, size: Value) -> int:
    """The number of bins: known, or min(n, max(n, something)), which Keras writes for a fixed n."""
    known = c.static(size)
    if known is None and size.producer is not None and size.producer.op == "Min":
        for limit, rest in (size.producer.inputs, size.producer.inputs[::-1]):
            top = c.static(limit)
            inner = rest.producer if rest is not None else None
            if top is not None and inner is not None and inner.op == "Max":
                bottoms = [c.static(v) for v in inner.inputs]
                known = top if any(b is not None and np.array_equal(b, top) for b in bottoms) else None
    if known is None or known.size != 1:
        raise Unsupported("a number of bins that depends on the data", "tf.math.bincount(minlength=n, maxlength=n)")
    return int(known.reshape(-1)[0])


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
    """Two products with constant matrices: TensorFlow rounds its weights to a table, which Resize does not."""
    found = attributes(c)
    x = c.ranked(c.need(0), 4)
    height, width = x.shape[1:3]
    if height is None or width is None:
        raise Unsupported("bicubic interpolation over an open size", "give fixed sizes with --shape")
    wanted = c.numbers(1, "the new size")
    if len(wanted) != 2 or min(*wanted, height, width) < 1 or max(*wanted, height, width) > 1 << 14:
        raise BadFileError(f"{c.op} ({c.source}): from {height}x{width} to {wanted}")
    half, align = bool(found.get("half_pixel_centers")), bool(found.get("align_corners"))
    rows = c.const(bicubic_weights(height, wanted[0], half, align))
    columns = c.const(bicubic_weights(width, wanted[1], half, align))
    batch, channels = c.dim(x, 0), c.dim(x, 3)
    y = c.emit("MatMul", [columns, x])  # [N, H, W', C]
    y = c.reshape(y, [batch, height, c.mul(wanted[1], channels)])
    y = c.emit("MatMul", [rows, y])
    return c.reshape(y, [batch, *wanted, channels])


def bicubic_weights(size: int, wanted: int, half_pixel: bool, align_corners: bool) -> np.ndarray:
    """[wanted, size]: the weights of resize_bicubic_op.cc, taken from a table with 1024 steps between two pixels."""
    steps = 1024
    a = -0.5 if half_pixel else -0.75
    place = np.arange(wanted, dtype=np.float32)
    if align_corners and wanted > 1:
        location = place * np.float32((size - 1) / (wanted - 1))
    else:
        scale = np.float32(size / wanted)
        location = (place + np.float32(0.5)) * scale - np.float32(0.5) if half_pixel else place * scale
    first = np.floor(location)
    offset = np.rint((location - first) * steps)
    near, far = offset / steps, 1 + offset / steps

    def inner(t: np.ndarray) -> np.ndarray:
        return ((a + 2) * t - (a + 3)) * t * t + 1

    def outer(t: np.ndarray) -> np.ndarray:
        return ((a * t - 5 * a) * t + 8 * a) * t - 4 * a

    weights = np.zeros((wanted, size))
    for shift, values in ((-1, outer(far)), (0, inner(near)), (1, inner(1 - near)), (2, outer(2 - near))):
        index = first.astype(np.int64) + shift
        inside = (index >= 0) & (index < size)
        if half_pixel:  # pixels beyond the border do not count
            values = np.where(inside, values, 0)
        np.add.at(weights, (np.arange(wanted), np.clip(index, 0, size - 1)), values)
    if half_pixel:
        weights /= weights.sum(1, keepdims=True)
    return weights.astype(np.float32)


@custom_op(CARRIER)
def recurrent(c: TfliteContext) -> list[Value]:
    """What keras_recurrent.py packed: x [T, N, I], h and c [1, N, H], all weights in Keras' order."""
    found = attributes(c)
    x, h, packed = c.need(0), c.need(1), c.constant(3)
    mode = str(found.get("rnn_mode", "lstm"))
    inputs, hidden = x.shape[-1], h.shape[-1]
    gates = {"lstm": 4, "gru": 3}.get(mode)
    if packed is None or not inputs or not hidden or gates is None or x.rank != 3 or h.rank != 3:
        raise Unsupported("weights or sizes of a recurrent layer that are not known", "give fixed sizes with --shape")
    reset_before = found.get("seed") == RESET_BEFORE
    biases = 2 if mode == "gru" and packed.size == gates * hidden * (inputs + hidden + 2) else 1
    wide = gates * hidden
    if packed.size != wide * (inputs + hidden + biases):
        raise Unsupported("the packed weights of cuDNN", "convert the Keras model itself")
    ends = np.cumsum([inputs * wide, hidden * wide])
    w, r, b = np.split(packed.reshape(-1), ends)
    # Keras' gates are i f c o and z r h; the IR's are i o f c and z r h.
    order = [0, 3, 1, 2] if mode == "lstm" else [0, 1, 2]

    def by_gate(matrix: np.ndarray, rows: int) -> np.ndarray:
        """[rows, gates * H] -> [gates * H, rows]."""
        return matrix.reshape(rows, gates, hidden)[:, order].transpose(1, 2, 0).reshape(wide, rows)

    b = np.concatenate([b, np.zeros(wide, b.dtype)]) if biases == 1 else b
    bias = b.reshape(2, gates, hidden)[:, order].reshape(1, 2 * wide)
    constants = [c.const(np.ascontiguousarray(v)) for v in (by_gate(w, inputs)[None], by_gate(r, hidden)[None], bias)]
    attrs: dict[str, Any] = {"hidden_size": hidden}
    if mode == "lstm":
        y, last, cell = c.emit_many("LSTM", [x, *constants, None, h, c.need(2)], attrs, 3)
    else:
        attrs["linear_before_reset"] = int(not reset_before)
        y, last = c.emit_many("GRU", [x, *constants, None, h], attrs, 2)
        cell = last
    # The last two are what cuDNN keeps for training.
    return [c.squeeze(y, [1]), last, cell, c.const(np.zeros(0, np.float32)), c.const(np.zeros(0, np.int8))]
