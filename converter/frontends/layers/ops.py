"""Pieces of IR that Caffe's and ncnn's handlers share. Tensors are [N, C, H, W], weights NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgec.converter.frontends.layers.importer import LayerContext
from edgec.converter.ir.graph import Value


def positive(c: LayerContext, what: str, values: Sequence[int]) -> list[int]:
    if any(v < 1 or v >= 2**31 for v in values):
        raise c.bad(f"{what} {list(values)} must be at least 1")
    return list(values)


def check_groups(c: LayerContext, channels: int, outputs: int, group: int) -> None:
    if group < 1 or channels % group or outputs % group:
        raise c.bad(f"{channels} input and {outputs} output channels do not divide into {group} groups")


def kernel_of(c: LayerContext, weight: np.ndarray) -> Value:
    """[O, I/g, kh, kw] as the constant [O, kh, kw, I/g] that Conv2d takes."""
    return c.const(np.ascontiguousarray(weight.transpose(0, 2, 3, 1)))


def optional(c: LayerContext, array: np.ndarray | None) -> Value | None:
    return None if array is None else c.const(array)


def conv2d(
    c: LayerContext,
    x: Value,
    kernel: Value,
    bias: Value | None,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    group: int = 1,
    pad_value: float = 0.0,
) -> Value:
    """x [N, C, H, W] or [N, C, L]; kernel [O, kh, kw, I/g]; pads [top, left, bottom, right], negative ones crop."""
    top, left, bottom, right = pads
    if (pad_value != 0.0 and any(pads)) or min(pads) < 0:
        edges = [0, 0, top, left, 0, 0, bottom, right] if x.rank == 4 else [0, 0, left, 0, 0, right]
        x = c.emit("Pad", [x, c.i64(edges), c.const(np.float32(pad_value))])
        pads = [0, 0, 0, 0]
    attrs = {"strides": list(strides), "dilations": list(dilations), "pads": list(pads), "group": group}
    return c.from_nhwc(c.emit("Conv2d", [c.to_nhwc(x), kernel, bias], attrs), x.rank)


def deconv2d(
    c: LayerContext,
    x: Value,
    weight: np.ndarray,
    bias: np.ndarray | None,
    strides: Sequence[int],
    dilations: Sequence[int],
    pads: Sequence[int],
    group: int = 1,
    output_padding: Sequence[int] = (0, 0),
) -> Value:
    """weight [I, O/g, kh, kw]."""
    channels, out_per_group, kh, kw = weight.shape
    w = weight.reshape(group, channels // group, out_per_group, kh, kw).transpose(0, 2, 3, 4, 1)
    attrs = {
        "strides": list(strides),
        "dilations": list(dilations),
        "pads": list(pads),
        "output_padding": list(output_padding),
        "group": group,
    }
    w = np.ascontiguousarray(w.reshape(group * out_per_group, kh, kw, channels // group))
    y = c.emit("ConvTranspose2d", [c.to_nhwc(x), c.const(w), optional(c, bias)], attrs)
    return c.from_nhwc(y, x.rank)


def pool2d(
    c: LayerContext,
    x: Value,
    average: bool,
    kernel: Sequence[int],
    strides: Sequence[int],
    pads: Sequence[int],
    ceil_mode: bool = False,
    count_include_pad: bool = True,
) -> Value:
    attrs: dict[str, Any] = {
        "kernel": positive(c, "the kernel", kernel),
        "strides": positive(c, "the stride", strides),
        "pads": list(pads),
        "ceil_mode": int(ceil_mode),
    }
    if average:
        attrs["count_include_pad"] = int(count_include_pad)
    return c.from_nhwc(c.emit("AvgPool2d" if average else "MaxPool2d", [c.to_nhwc(x)], attrs), x.rank)


def matrix(c: LayerContext, x: Value, weight: np.ndarray, bias: np.ndarray | None) -> Value:
    """x [..., K] times weight [N, K] transposed."""
    y = c.emit("MatMul", [x, c.const(np.ascontiguousarray(weight.T))])
    return y if bias is None else c.emit("Add", [y, c.const(bias)])


def per_channel(values: np.ndarray, rank: int, axis: int = 1) -> np.ndarray:
    """A vector as something that broadcasts along `axis` of a tensor of this rank."""
    return values.reshape([-1 if i == axis else 1 for i in range(rank)])


def lrn_across(c: LayerContext, x: Value, size: int, alpha: float, beta: float, bias: float) -> Value:
    order = [0, *range(2, x.rank), 1]
    attrs = {"size": size, "alpha": alpha, "beta": beta, "bias": bias, "axis": -1}
    y = c.emit("LocalResponseNorm", [c.transpose(x, order)], attrs)
    return c.transpose(y, [0, x.rank - 1, *range(1, x.rank - 1)])


def lrn_within(c: LayerContext, x: Value, size: int, alpha: float, beta: float, bias: float) -> Value:
    """x / (bias + alpha * mean of squares over a window)^beta; the padding counts."""
    pad = (size - 1) // 2
    mean = pool2d(c, c.emit("Mul", [x, x]), True, [size] * 2, [1, 1], [pad] * 4)
    return c.emit("Mul", [x, c.binary("Pow", c.affine(mean, alpha, bias), -beta)])


def reorg(c: LayerContext, x: Value, stride: int, channels_last_of_block: bool = False) -> Value:
    """Blocks of stride x stride pixels become channels: [block, C] order, or [C, block]."""
    batch, channels, height, width = c.dims(c.ranked(x, 4))
    positive(c, "the stride", [stride])
    for size in (height, width):
        if isinstance(size, int) and size % stride:
            raise c.bad(f"an image of {height} x {width} does not divide into blocks of {stride}")
    down, across = c.div(height, stride), c.div(width, stride)
    y = c.reshape(x, [batch, channels, down, stride, across, stride])
    y = c.transpose(y, [0, 1, 3, 5, 2, 4] if channels_last_of_block else [0, 3, 5, 1, 2, 4])
    return c.reshape(y, [batch, c.mul(channels, stride * stride), down, across])


def shuffle_channels(c: LayerContext, x: Value, group: int) -> Value:
    batch, channels, *rest = c.dims(x)
    if group < 1 or not isinstance(channels, int) or channels % group:
        raise c.bad(f"{channels} channels do not divide into {group} groups")
    y = c.reshape(x, [batch, group, channels // group, *rest])
    y = c.transpose(y, [0, 2, 1, *range(3, y.rank)])
    return c.reshape(y, [batch, channels, *rest])


def pixel_shuffle(c: LayerContext, x: Value, factor: int, block_first: bool = False) -> Value:
    batch, channels, height, width = c.dims(c.ranked(x, 4))
    if factor < 1 or not isinstance(channels, int) or channels % (factor * factor):
        raise c.bad(f"{channels} channels with an upscale factor of {factor}")
    depth = channels // (factor * factor)
    if block_first:
        y = c.transpose(c.reshape(x, [batch, factor, factor, depth, height, width]), [0, 3, 4, 1, 5, 2])
    else:
        y = c.transpose(c.reshape(x, [batch, depth, factor, factor, height, width]), [0, 1, 4, 2, 5, 3])
    return c.reshape(y, [batch, depth, c.mul(height, factor), c.mul(width, factor)])


def resize(
    c: LayerContext, x: Value, sizes: Sequence[int], mode: str, coordinate: str, nearest: str = "floor"
) -> Value:
    """Resamples H and W of [N, C, H, W] to fixed sizes."""
    attrs: dict[str, Any] = {"mode": mode, "coordinate": coordinate, "nearest_mode": nearest}
    wanted = [c.dim(x, 0), *positive(c, "the output size", sizes), c.channels(x)]
    return c.from_nhwc(c.emit("Resize", [c.to_nhwc(x), c.shape_vector(wanted)], attrs), 4)


def reduce(c: LayerContext, op: str, x: Value, axes: Sequence[int], keepdims: bool) -> Value:
    return c.emit(op, [x], {"axes": list(axes), "keepdims": int(keepdims)})


def exponential(c: LayerContext, x: Value, base: float, scale: float, shift: float) -> Value:
    """base ^ (shift + scale * x); base -1 means e."""
    if base != -1 and base <= 0:
        raise c.bad(f"base {base} must be positive, or -1 for e")
    factor = 1.0 if base == -1 else math.log(base)
    return c.emit("Exp", [c.affine(x, scale * factor, shift * factor)])


def logarithm(c: LayerContext, x: Value, base: float, scale: float, shift: float) -> Value:
    """log of (shift + scale * x); base -1 means e."""
    if base != -1 and (base <= 0 or base == 1):
        raise c.bad(f"base {base} must be positive and not 1, or -1 for e")
    y = c.emit("Log", [c.affine(x, scale, shift)])
    return y if base == -1 else c.affine(y, 1.0 / math.log(base))


def power(c: LayerContext, x: Value, exponent: float, scale: float, shift: float) -> Value:
    """(shift + scale * x) ^ exponent."""
    y = c.affine(x, scale, shift)
    if exponent == 1:
        return y
    if exponent == 2:
        return c.emit("Mul", [y, y])
    if exponent == 0.5:
        return c.emit("Sqrt", [y])
    return c.binary("Pow", y, exponent)


def threshold(c: LayerContext, x: Value, limit: float) -> Value:
    """1 where x > limit, else 0."""
    return c.cast(c.binary("Greater", x, limit), "f32")


def combine(c: LayerContext, op: str, values: Sequence[Value]) -> Value:
    """A binary operator over any number of tensors, from the left."""
    result = values[0]
    for value in values[1:]:
        result = c.emit(op, [result, value])
    return result


def weighted_sum(c: LayerContext, values: Sequence[Value], coefficients: Sequence[float]) -> Value:
    if coefficients and len(coefficients) != len(values):
        raise c.bad(f"{len(coefficients)} coefficients for {len(values)} inputs")
    return combine(c, "Add", [c.affine(v, k) for v, k in zip(values, coefficients or [1.0] * len(values))])


def lstm_outputs(c: LayerContext, y: Value) -> Value:
    """[T, D, N, H] -> [T, N, D * H]"""
    steps, directions, batch, hidden = c.dims(y)
    if directions == 1:
        return c.squeeze(y, [1])
    return c.reshape(c.transpose(y, [0, 2, 1, 3]), [steps, batch, c.mul(directions, hidden)])


def centred(c: LayerContext, x: Value, axes: Sequence[int]) -> Value:
    return c.emit("Sub", [x, reduce(c, "ReduceMean", x, axes, True)])
