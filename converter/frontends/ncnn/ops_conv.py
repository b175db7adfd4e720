"""Convolutions and inner products of ncnn, in f32 and in int8."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgec.converter.frontends.layers.ops import check_groups, conv2d, deconv2d, kernel_of, matrix, optional, positive
from edgec.converter.frontends.ncnn.context import NcnnContext
from edgec.converter.frontends.ncnn.ops_quant import dequantized_bias, fake_quantized, from_integers
from edgec.converter.frontends.ncnn.registry import NCNN
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value

SAME_UPPER, SAME_LOWER = -233, -234


@dataclass
class Window:
    """Sizes as [h, w]; pads [top, left, bottom, right], where SAME_UPPER or SAME_LOWER may stand."""

    kernel: list[int]
    strides: list[int]
    dilations: list[int]
    pads: list[int]

    def explicit(self, c: NcnnContext, x: Value) -> list[int]:
        """Pads as numbers."""
        if self.pads[0] not in (SAME_UPPER, SAME_LOWER):
            return self.pads
        sizes = ([1] if x.rank == 3 else []) + c.fixed(x, 2)
        begin, end = [], []
        for size, kernel, stride, dilation in zip(sizes, self.kernel, self.strides, self.dilations):
            total = max(dilation * (kernel - 1) + 1 + (size - 1) // stride * stride - size, 0)
            small, large = total // 2, total - total // 2
            begin.append(small if self.pads[0] == SAME_UPPER else large)
            end.append(large if self.pads[0] == SAME_UPPER else small)
        return begin + end


def window(c: NcnnContext, one_dimensional: bool) -> Window:
    p = c.p

    def pair(wide: int, high: int, default: int) -> list[int]:
        w = p.integer(wide, default)
        return [1 if one_dimensional else p.integer(high, w), w]

    left = p.integer(4, 0)
    if one_dimensional:
        pads = [left if left in (SAME_UPPER, SAME_LOWER) else 0, left, 0, p.integer(15, left)]
    else:
        top = p.integer(14, left)
        pads = [top, left, p.integer(16, top), p.integer(15, left)]
    special = [v for v in pads if v in (SAME_UPPER, SAME_LOWER)]
    if special:
        pads = [special[0]] * 4
    elif max(pads) >= 2**31 or min(pads) < 0:
        raise c.bad(f"its pads {pads} are negative or too large")
    return Window(
        positive(c, "its kernel", pair(1, 11, 0)),
        positive(c, "its strides", pair(3, 13, 1)),
        positive(c, "its dilations", pair(2, 12, 1)),
        pads,
    )


def _sizes(c: NcnnContext, w: Window, group: int) -> tuple[int, int]:
    """(outputs, inputs per group) from the parameters alone, as ncnn does it."""
    outputs, size = c.p.integer(0, 0), c.p.integer(6, 0)
    positive(c, "its number of outputs", [outputs])
    taps = w.kernel[0] * w.kernel[1]
    if size < 1 or size % (outputs * taps):
        raise c.bad(f"{size} weights for {outputs} outputs and a kernel of {w.kernel[0]} x {w.kernel[1]}")
    return outputs, size // (outputs * taps)


@dataclass
class Scales:
    """What quantization multiplies by: weights (per output, or one per group), input, and output if it is int8 too."""

    weight: np.ndarray
    x: float
    y: float | None


def read_scales(c: NcnnContext, term: int, weights: int, inner: int) -> Scales | None:
    """`inner`: products per output, for the scales that go with random weights."""
    if not term:
        return None
    random = 127.0 * float(np.sqrt(inner)) / 3
    shared = "DepthWise" in c.op and term in (2, 102)
    weight = c.raw([1 if shared else weights], "weight scales", random)
    x = float(c.raw([1], "input scale", 32.0)[0])
    y = float(c.raw([1], "output scale", 32.0)[0]) if term > 100 else None
    if not (np.isfinite(weight).all() and np.isfinite(x) and x > 0) or (y is not None and not y > 0):
        raise c.bad("a scale of its int8 weights is not a positive number")
    return Scales(np.broadcast_to(weight, (weights,)), x, y)


def _convolution(c: NcnnContext, group: int, one_dimensional: bool) -> Value:
    if c.p.integer(19, 0):
        raise Unsupported("weights that the network computes", "make them constants")
    w = window(c, one_dimensional)
    outputs, per_group = _sizes(c, w, group)
    term = c.p.integer(8, 0)
    weight = c.tagged([outputs, per_group, *w.kernel], "weight", bool(term))
    bias = c.raw([outputs], "bias") if c.p.integer(5, 0) else None
    scales = read_scales(c, term, group if "DepthWise" in c.op else outputs, weight[0].size)
    x = c.ranked(c.needs_one_input(), 3 if one_dimensional else 4)
    if c.channels(x) != per_group * group:
        raise c.bad(f"its weight is for {per_group * group} channels, its input has {c.channels(x)}")
    check_groups(c, per_group * group, outputs, group)
    if scales is None:
        kernel, bias_value = kernel_of(c, _real(c, weight)), optional(c, bias)
    else:
        scale = np.repeat(scales.weight, outputs // len(scales.weight))
        weight = _quantized(weight, scale)
        x = fake_quantized(c, x, scales.x)
        kernel = _int8(c, np.ascontiguousarray(weight.transpose(0, 2, 3, 1)), scale)
        bias_value = None if bias is None else dequantized_bias(c, bias, scales.x * scale)
    y = conv2d(c, x, kernel, bias_value, w.strides, w.dilations, w.explicit(c, x), group, c.p.number(18, 0.0))
    y = c.activate(y)
    return y if scales is None or scales.y is None else fake_quantized(c, y, scales.y)


def _real(c: NcnnContext, weight: np.ndarray) -> np.ndarray:
    if weight.dtype == np.int8:
        raise c.bad("its weight is int8 without scales")
    return weight


def _quantized(weight: np.ndarray, scale: np.ndarray) -> np.ndarray:
    """i8 weights. A file with scales may still hold f32 ones, which ncnn quantizes when it loads them."""
    if weight.dtype == np.int8:
        return weight
    return np.clip(np.rint(weight * scale.reshape(-1, *[1] * (weight.ndim - 1))), -127, 127).astype(np.int8)


def _int8(c: NcnnContext, weight: np.ndarray, scale: np.ndarray) -> Value:
    """i8 weights with one scale per output (dimension 0), as f32."""
    # A scale of 0 belongs to weights that are all 0.
    step = np.where(scale > 0, 1.0 / np.where(scale > 0, scale, 1.0), 1.0).astype(np.float32)
    return c.emit("DequantizeLinear", [c.const(weight), c.const(step)], {"axis": 0})


@NCNN.layer("Convolution", "Convolution1D")
def convolution(c: NcnnContext) -> Value:
    return _convolution(c, 1, c.op.endswith("1D"))


@NCNN.layer("ConvolutionDepthWise", "ConvolutionDepthWise1D")
def depthwise(c: NcnnContext) -> Value:
    group = c.p.integer(7, 1)
    positive(c, "its number of groups", [group])
    return _convolution(c, group, c.op.endswith("1D"))


@NCNN.layer("Deconvolution", "DeconvolutionDepthWise", "Deconvolution1D", "DeconvolutionDepthWise1D")
def deconvolution(c: NcnnContext) -> Value:
    one_dimensional = c.op.endswith("1D")
    if c.p.integer(28, 0):
        raise Unsupported("weights that the network computes", "make them constants")
    w = window(c, one_dimensional)
    group = c.p.integer(7, 1) if "DepthWise" in c.op else 1
    positive(c, "its number of groups", [group])
    outputs, per_group = _sizes(c, w, group)
    weight = c.floats([outputs, per_group, *w.kernel], "weight")
    bias = c.raw([outputs], "bias") if c.p.integer(5, 0) else None
    x = c.ranked(c.needs_one_input(), 3 if one_dimensional else 4)
    if c.channels(x) != per_group * group:
        raise c.bad(f"its weight is for {per_group * group} channels, its input has {c.channels(x)}")
    check_groups(c, per_group * group, outputs, group)
    # ncnn: [group, O/g, I/g, kh, kw]; here [I, O/g, kh, kw]
    split = weight.reshape(group, outputs // group, per_group, *w.kernel).transpose(0, 2, 1, 3, 4)
    split = split.reshape(per_group * group, outputs // group, *w.kernel)
    right = c.p.integer(18, 0)
    extra = [0, right] if one_dimensional else [c.p.integer(19, right), right]
    pads, crop = _transposed_pads(c, x, w, extra, one_dimensional)
    y = deconv2d(c, x, np.ascontiguousarray(split), bias, w.strides, w.dilations, pads, group, extra)
    if any(crop):
        edges = [-v for v in crop]
        y = c.emit(
            "Pad", [y, c.i64([0, 0, *edges[:2], 0, 0, *edges[2:]] if y.rank == 4 else [0, 0, edges[1], 0, 0, edges[3]])]
        )
    return c.activate(y)


def _transposed_pads(
    c: NcnnContext, x: Value, w: Window, extra: list[int], one_dimensional: bool
) -> tuple[list[int], list[int]]:
    """(pads, what is cut off behind them): the file may give the size of the output instead of pads."""
    wide = c.p.integer(20, 0)
    wanted = [1 if one_dimensional else c.p.integer(21, wide), wide]
    if w.pads[0] not in (SAME_UPPER, SAME_LOWER):
        return w.pads, [0] * 4
    if min(wanted) <= 0:
        return [0] * 4, [0] * 4
    sizes = ([1] if x.rank == 3 else []) + c.fixed(x, 2)
    begin, end = [], []
    for i, size in enumerate(sizes):
        full = (size - 1) * w.strides[i] + w.dilations[i] * (w.kernel[i] - 1) + 1 + extra[i]
        cut = full - wanted[i]
        if cut < 0:
            raise c.bad(f"its output would have {full} pixels, expected {wanted[i]}")
        small, large = cut // 2, cut - cut // 2
        begin.append(small if w.pads[0] == SAME_UPPER else large)
        end.append(large if w.pads[0] == SAME_UPPER else small)
    return [0] * 4, begin + end


@NCNN.layer("InnerProduct")
def inner_product(c: NcnnContext) -> Value:
    outputs, size, term = c.p.integer(0, 0), c.p.integer(2, 0), c.p.integer(8, 0)
    positive(c, "its number of outputs", [outputs])
    if size < 1 or size % outputs:
        raise c.bad(f"{size} weights for {outputs} outputs")
    columns = size // outputs
    weight = c.tagged([outputs, columns], "weight", bool(term))
    bias = c.raw([outputs], "bias") if c.p.integer(1, 0) else None
    scales = read_scales(c, min(term, 1), outputs, columns)
    x = from_integers(c, c.needs_one_input(), None if scales is None else scales.x)
    if not (x.rank == 3 and x.shape[2] == columns) and x.rank != 2:
        x = c.reshape(x, [c.dim(x, 0), c.mul(1, *c.dims(x)[1:])])
    if x.shape[-1] != columns:
        raise c.bad(f"its weight is for {columns} values, its input has {x.shape[-1]}")
    if scales is None:
        return c.activate(matrix(c, x, _real(c, weight), bias))
    x = fake_quantized(c, x, scales.x)
    kernel = c.transpose(_int8(c, _quantized(weight, scales.weight), scales.weight), [1, 0])
    addend = None if bias is None else dequantized_bias(c, bias, scales.x * scales.weight)
    return c.activate(c.emit("MatMul", [x, kernel, addend]))
