"""Convolutions and matrix products. Activations are NHWC and convolution weights OHWI in the file already."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.frontends.tflite.context import TfliteContext
from edgec.converter.frontends.tflite.registry import tflite_op
from edgec.converter.ir.graph import Value

SAME, VALID = 0, 1


def same_padding(size: int, kernel: int, stride: int, dilation: int) -> tuple[int, int]:
    """Padding before and after: the odd element goes behind."""
    total = max((-(-size // stride) - 1) * stride + dilation * (kernel - 1) + 1 - size, 0)
    return total // 2, total - total // 2


def window(
    c: TfliteContext,
    x: Value,
    padding: int,
    kernel: Sequence[int],
    strides: Sequence[int],
    dilations: Sequence[int] = (1, 1),
    may_pad: bool = True,
) -> tuple[Value, list[int]]:
    """(x, [top, left, bottom, right]). Where the padding depends on an open size, `x` comes back padded with zeros."""
    if padding not in (SAME, VALID):
        raise BadFileError(f"{c.op} ({c.source}): padding {padding} does not exist")
    if min(*kernel, *strides, *dilations) < 1:
        raise BadFileError(
            f"{c.op} ({c.source}): kernel {list(kernel)}, strides {list(strides)}, dilations {list(dilations)}"
        )
    rank = len(kernel)
    if padding == VALID:
        return x, [0] * (2 * rank)
    sizes = x.shape[1 : 1 + rank]
    if all(s is not None or stride == 1 for s, stride in zip(sizes, strides)):
        both = [same_padding(s or 1 << 20, k, t, d) for s, k, t, d in zip(sizes, kernel, strides, dilations)]
        return x, [b for b, _ in both] + [a for _, a in both]
    if not may_pad:
        raise Unsupported("SAME padding with a stride over an open size", "give fixed sizes with --shape")
    before, after = [c.i64([0])], [c.i64([0])]
    for axis, (k, t, d) in enumerate(zip(kernel, strides, dilations)):
        size = c.dim(x, 1 + axis)
        size = c.i64([size]) if isinstance(size, int) else size
        steps = c.div(c.plus(size, t - 1), t)
        total = c.emit("Sub", [c.plus(c.mul(c.plus(steps, -1), t), d * (k - 1) + 1), size])
        total = c.emit("Max", [total, c.i64([0])])
        half = c.div(total, 2)
        before.append(half)
        after.append(c.emit("Sub", [total, half]))
    pads = c.emit("Concat", [*before, c.i64([0]), *after, c.i64([0])], {"axis": 0})
    return c.emit("Pad", [x, pads]), [0] * (2 * rank)


def _weight_shape(c: TfliteContext, i: int, rank: int) -> list[int]:
    shape = c.raw(i).shape
    if len(shape) != rank or any(d is None or d < 1 for d in shape):
        raise BadFileError(f"{c.op} ({c.source}): weights of shape {list(shape)}")
    return [int(d) for d in shape if d is not None]


def _channels(c: TfliteContext, x: Value) -> int:
    size = x.shape[-1]
    if not size:
        raise BadFileError(f"{c.op} ({c.source}): the number of channels of its input {list(x.shape)} is not known")
    return size


def _undilated(c: TfliteContext, o: Any) -> tuple[Value, list[int], list[int]] | None:
    """(x, dilations, pads) of a dilated convolution that is written as SPACE_TO_BATCH_ND, this operator,
    BATCH_TO_SPACE_ND. The last of them finds its work done (`Frame.undilated`)."""
    if o.Padding() != VALID or [o.StrideH(), o.StrideW(), o.DilationHFactor(), o.DilationWFactor()] != [1] * 4:
        return None
    frame, output = c.frame, c.operator.outputs[0]
    before = frame.writers.get(c.operator.inputs[0])
    after = frame.readers.get(output, [])
    if before is None or before.name != "SPACE_TO_BATCH_ND" or len(after) != 1 or after[0].name != "BATCH_TO_SPACE_ND":
        return None
    if output in frame.graph.outputs or len(before.inputs) != 3 or len(after[0].inputs) != 3:
        return None
    places = [i for i in (*before.inputs[1:], *after[0].inputs[1:]) if i >= 0]
    data = [frame.graph.tensors[i].data for i in places]
    known = [d.reshape(-1) for d in data if d is not None]
    if [k.size for k in known] != [2, 4, 2, 4]:
        return None
    block, pads = known[0], known[1] - known[3]
    if (block != known[2]).any() or (block < 1).any() or (pads < 0).any():
        return None
    frame.undilated.add(output)
    source = TfliteContext(c.tflite, frame, before, [frame.values.get(i) for i in before.inputs])
    return source.need(0), [int(b) for b in block], [int(p) for p in pads.reshape(2, 2).T.reshape(-1)]


@tflite_op("CONV_2D")
def conv_2d(c: TfliteContext) -> Value:
    o = c.options("Conv2DOptions")
    x = c.ranked(c.need(0), 4)
    _, kh, kw, per_group = _weight_shape(c, 1, 4)
    channels = _channels(c, x)
    if channels % per_group:
        raise BadFileError(f"{c.op} ({c.source}): {channels} channels, weights for {per_group}")
    strides, dilations = [o.StrideH(), o.StrideW()], [o.DilationHFactor(), o.DilationWFactor()]
    single = kh == kw == 1 and strides == [1, 1]  # which TFLite's kernels take for a product of matrices
    x = c.operand(x, 1, [3] if single else [1, 2, 3])
    direct = _undilated(c, o)
    if direct is not None:
        x, dilations, pads = direct
    else:
        x, pads = window(c, x, o.Padding(), [kh, kw], strides, dilations)
    attrs = {"strides": strides, "dilations": dilations, "pads": pads, "group": channels // per_group}
    y = c.emit("Conv2d", [x, c.weight(1, [0, 1, 2, 3]), c.bias(2, 0, 1)], attrs)
    return c.fused(y, o.FusedActivationFunction())


@tflite_op("DEPTHWISE_CONV_2D")
def depthwise_conv_2d(c: TfliteContext) -> Value:
    o = c.options("DepthwiseConv2DOptions")
    x = c.ranked(c.need(0), 4)
    one, kh, kw, filters = _weight_shape(c, 1, 4)
    channels = _channels(c, x)
    if one != 1 or filters % channels:
        raise BadFileError(f"{c.op} ({c.source}): weights of shape {[one, kh, kw, filters]} for {channels} channels")
    strides, dilations = [o.StrideH(), o.StrideW()], [o.DilationHFactor(), o.DilationWFactor()]
    x = c.operand(x, 1, [1, 2, 3])
    direct = _undilated(c, o)
    if direct is not None:
        x, dilations, pads = direct
    else:
        x, pads = window(c, x, o.Padding(), [kh, kw], strides, dilations)
    attrs = {"strides": strides, "dilations": dilations, "pads": pads, "group": channels}
    y = c.emit("Conv2d", [x, c.weight(1, [3, 1, 2, 0]), c.bias(2, 0, 1)], attrs)
    return c.fused(y, o.FusedActivationFunction())


@tflite_op("TRANSPOSE_CONV")
def transpose_conv(c: TfliteContext) -> Value:
    o = c.options("TransposeConvOptions")
    x = c.ranked(c.need(2), 4)
    _, kh, kw, _ = _weight_shape(c, 1, 4)
    kernel, strides = [kh, kw], [o.StrideH(), o.StrideW()]
    if min(strides) < 1:
        raise BadFileError(f"{c.op} ({c.source}): strides {strides}")
    wanted = known_entries(c.raw(0))
    sizes = x.shape[1:3]
    begin, end, extra = [0, 0], [0, 0], [0, 0]
    for i in range(2):
        size, target = sizes[i], wanted[1 + i] if len(wanted) == 4 else None
        if size is None or target is None:
            if o.Padding() == SAME:  # output = input * stride
                total = max(kernel[i] - strides[i], 0)
                begin[i], end[i] = total // 2, total - total // 2
                extra[i] = max(strides[i] - kernel[i], 0)
            continue
        if o.Padding() == SAME:
            begin[i] = same_padding(target, kernel[i], strides[i], 1)[0]
        end[i] = (size - 1) * strides[i] + kernel[i] - begin[i] - target
        if end[i] < 0:
            extra[i], end[i] = -end[i], 0
    attrs = {"strides": strides, "pads": [*begin, *end], "output_padding": extra}
    y = c.emit("ConvTranspose2d", [x, c.weight(1, [0, 1, 2, 3]), c.bias(3, 2, 1)], attrs)
    return c.fused(y, o.FusedActivationFunction())


def known_entries(value: Value) -> list[int | None]:
    """A vector's entries, where they are the same for all sizes of the open dimensions."""
    if value.static_value is not None:
        return [int(v) for v in value.static_value.reshape(-1)]
    if not value.known or any(k is None for k in value.known):
        return []
    columns = np.stack([np.asarray(k).reshape(-1) for k in value.known], axis=1)
    return [int(row[0]) if (row == row[0]).all() else None for row in columns]


# -- 3-D ------------------------------------------------------------------------------------------
@tflite_op("CONV_3D")
def conv_3d(c: TfliteContext) -> Value:
    """Sum over the kernel's depth of 2-D convolutions on frames [N*D, H, W, C]. Weights DHWIO."""
    o = c.options("Conv3DOptions")
    x = c.ranked(c.need(0), 5)
    kernel = _weight_shape(c, 1, 5)[:3]
    strides = [o.StrideD(), o.StrideH(), o.StrideW()]
    dilations = [o.DilationDFactor(), o.DilationHFactor(), o.DilationWFactor()]
    x, pads = window(c, x, o.Padding(), kernel, strides, dilations)
    y = _frames(c, x, c.weight(1), c.bias(2, 0, 1), strides, dilations, pads)
    return c.fused(y, o.FusedActivationFunction())


def _frames(
    c: TfliteContext,
    x: Value,
    weight: Value,
    bias: Value | None,
    strides: list[int],
    dilations: list[int],
    pads: list[int],
) -> Value:
    """3-D convolution; weight [D, H, W, I, O], pads three before and three behind."""
    taps = int(weight.shape[0] or 0)
    channels = _channels(c, x)
    if pads[0] or pads[3]:
        x = c.emit("Pad", [x, c.i64([0, pads[0], 0, 0, 0, 0, pads[3], 0, 0, 0])])
    batch, depth, height, width, _ = c.dims(x)
    if not isinstance(depth, int):
        raise Unsupported("3-D convolution over an open depth", "give a fixed depth with --shape")
    out_depth = (depth - dilations[0] * (taps - 1) - 1) // strides[0] + 1
    if out_depth < 1:
        raise BadFileError(f"{c.op} ({c.source}): the kernel is deeper than the padded input")
    per_group = int(weight.shape[3] or 1)
    attrs = {
        "strides": strides[1:],
        "dilations": dilations[1:],
        "pads": [pads[1], pads[2], pads[4], pads[5]],
        "group": channels // per_group,
    }
    total: Value | None = None
    for i in range(taps):
        start = i * dilations[0]
        part = c.slice(x, [start], [start + (out_depth - 1) * strides[0] + 1], [1], [strides[0]])
        part = c.reshape(part, [c.mul(batch, out_depth), height, width, channels])
        plane = c.transpose(c.squeeze(c.slice(weight, [i], [i + 1], [0]), [0]), [3, 0, 1, 2])
        term = c.emit("Conv2d", [part, plane, bias if i == 0 else None], attrs)
        total = term if total is None else c.emit("Add", [total, term])
    assert total is not None
    _, out_h, out_w, out_c = c.dims(total)
    return c.reshape(total, [batch, out_depth, out_h, out_w, out_c])


@tflite_op("CONV_3D_TRANSPOSE")
def conv_3d_transpose(c: TfliteContext) -> Value:
    """As a 3-D convolution of the input with zeros between its elements and a flipped kernel. Weights DHWOI."""
    o = c.options("Conv3DOptions")
    wanted = c.ints(c.raw(0)) or list(c.out().signature)
    if len(wanted) != 5 or min(wanted[1:]) < 1:
        raise Unsupported("an output size that is computed while the model runs", "give fixed sizes with --shape")
    x = c.ranked(c.need(2), 5)
    kernel = _weight_shape(c, 1, 5)[:3]
    strides = [o.StrideD(), o.StrideH(), o.StrideW()]
    if [o.DilationDFactor(), o.DilationHFactor(), o.DilationWFactor()] != [1, 1, 1]:
        raise Unsupported("dilated 3-D transposed convolution")
    sizes = c.dims(x)
    if not all(isinstance(d, int) for d in sizes[1:]):
        raise Unsupported("3-D transposed convolution over an open size", "give fixed sizes with --shape")
    before, after = [], []
    for i in range(3):
        begin = same_padding(wanted[1 + i], kernel[i], strides[i], 1)[0] if o.Padding() == SAME else 0
        end = (sizes[1 + i] - 1) * strides[i] + kernel[i] - begin - wanted[1 + i]
        before.append(kernel[i] - 1 - begin)
        after.append(kernel[i] - 1 - end)
    if min(before + after) < 0:
        raise Unsupported("3-D transposed convolution with more padding than its kernel reaches")
    for axis, stride in zip((1, 2, 3), strides):
        if stride == 1:
            continue
        dims = c.dims(x)
        spread = c.unsqueeze(x, [axis + 1])
        pads = [0] * (2 * spread.rank)
        pads[spread.rank + axis + 1] = stride - 1
        spread = c.emit("Pad", [spread, c.i64(pads)])
        x = c.reshape(spread, [*dims[:axis], dims[axis] * stride, *dims[axis + 1 :]])
        x = c.slice(x, [0], [dims[axis] * stride - stride + 1], [axis])
    weight = c.slice(c.weight(1, [0, 1, 2, 4, 3]), [-1] * 3, [-(2**31)] * 3, [0, 1, 2], [-1] * 3)
    y = _frames(c, x, weight, c.bias(3, 2, 1), [1, 1, 1], [1, 1, 1], before + after)
    return c.fused(y, o.FusedActivationFunction())


# -- matrix products ------------------------------------------------------------------------------
@tflite_op("FULLY_CONNECTED")
def fully_connected(c: TfliteContext) -> Value:
    o = c.options("FullyConnectedOptions")
    if o.WeightsFormat():
        raise Unsupported("weights in the shuffled 4x16 format", "convert the model with a newer TensorFlow")
    x, weight = c.need(0), c.weight(1)
    if weight.rank != 2:
        raise BadFileError(f"{c.op} ({c.source}): weights of shape {list(weight.shape)}")
    depth = weight.shape[1]
    if not depth:
        raise BadFileError(f"{c.op} ({c.source}): weights of shape {list(weight.shape)}")
    if (not o.KeepNumDims() and x.rank != 2) or x.shape[-1] != depth:
        x = c.reshape(x, [-1, depth])
    x = c.operand(x, 1, [x.rank - 1])
    y = c.emit("MatMul", [x, weight, _row(c, c.bias(2, 0, 1))], {"transpose_b": 1})
    return c.fused(y, o.FusedActivationFunction())


def _row(c: TfliteContext, bias: Value | None) -> Value | None:
    return bias if bias is None or bias.rank == 1 else c.reshape(bias, [-1])


@tflite_op("BATCH_MATMUL")
def batch_matmul(c: TfliteContext) -> Any:
    o = c.options("BatchMatMulOptions")
    attrs = {"transpose_a": int(o.AdjX()), "transpose_b": int(o.AdjY())}
    return c.emit("MatMul", [c.need(0), c.need(1)], attrs)
