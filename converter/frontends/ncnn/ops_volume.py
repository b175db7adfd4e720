"""Three-dimensional convolutions and pooling of ncnn, through ONNX's forms of them."""

from __future__ import annotations

from edgec.converter.frontends.layers.ops import check_groups, positive, reduce
from edgec.converter.frontends.ncnn.context import NcnnContext
from edgec.converter.frontends.ncnn.registry import NCNN
from edgec.converter.frontends.onnx import ops_conv as onnx_ops_conv
from edgec.converter.frontends.onnx import ops_pool as onnx_ops_pool
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value


def _triple(c: NcnnContext, what: str, keys: tuple[int, int, int], default: int) -> list[int]:
    """[d, h, w] from the parameters (w, h, d); the last two default to the first."""
    w = c.p.integer(keys[0], default)
    return positive(c, what, [c.p.integer(keys[2], w), c.p.integer(keys[1], w), w])


def _pads(c: NcnnContext, keys: tuple[int, int, int, int, int, int]) -> list[int]:
    """ONNX's order: front, top, left, behind, bottom, right; the keys are left, right, top, bottom, front, behind."""
    left = c.p.integer(keys[0], 0)
    top, front = c.p.integer(keys[2], left), c.p.integer(keys[4], left)
    pads = [front, top, left, c.p.integer(keys[5], front), c.p.integer(keys[3], top), c.p.integer(keys[1], left)]
    if min(pads) < 0 or max(pads) >= 2**31:
        raise Unsupported(f"the pads {pads} of a volume", "give them as numbers")
    return pads


def _weights(c: NcnnContext, kernel: list[int], group: int) -> tuple[Value, Value | None, int, int]:
    """weight [O, I/g, kd, kh, kw], bias, outputs, inputs per group"""
    outputs, size = c.p.integer(0, 0), c.p.integer(6, 0)
    positive(c, "its numbers of outputs and groups", [outputs, group])
    taps = kernel[0] * kernel[1] * kernel[2]
    if size < 1 or size % (outputs * taps):
        raise c.bad(f"{size} weights for {outputs} outputs and a kernel of {kernel}")
    per_group = size // (outputs * taps)
    weight = c.const(c.floats([outputs, per_group, *kernel], "weight"))
    bias = c.const(c.raw([outputs], "bias")) if c.p.integer(5, 0) else None
    x = c.ranked(c.needs_one_input(), 5)
    if c.channels(x) != per_group * group:
        raise c.bad(f"its weight is for {per_group * group} channels, its input has {c.channels(x)}")
    check_groups(c, per_group * group, outputs, group)
    return weight, bias, outputs, per_group


@NCNN.layer("Convolution3D", "ConvolutionDepthWise3D")
def convolution(c: NcnnContext) -> Value:
    kernel = _triple(c, "its kernel", (1, 11, 21), 0)
    group = c.p.integer(7, 1) if "DepthWise" in c.op else 1
    weight, bias, _, _ = _weights(c, kernel, group)
    if c.p.number(18, 0.0):
        raise Unsupported("a padding value other than 0 around volumes")
    c.attributes = {
        "strides": _triple(c, "its strides", (3, 13, 23), 1),
        "dilations": _triple(c, "its dilations", (2, 12, 22), 1),
        "pads": _pads(c, (4, 15, 14, 16, 24, 17)),
        "group": group,
    }
    return c.activate(onnx_ops_conv.convolve(c, c.x(), weight, bias))


@NCNN.layer("Deconvolution3D", "DeconvolutionDepthWise3D")
def deconvolution(c: NcnnContext) -> Value:
    kernel = _triple(c, "its kernel", (1, 11, 21), 0)
    group = c.p.integer(7, 1) if "DepthWise" in c.op else 1
    weight, bias, outputs, per_group = _weights(c, kernel, group)
    # [g, O/g, I/g, ...] -> [I, O/g, ...]
    split = c.reshape(weight, [group, outputs // group, per_group, *kernel])
    split = c.reshape(c.transpose(split, [0, 2, 1, 3, 4, 5]), [per_group * group, outputs // group, *kernel])
    right = c.p.integer(18, 0)
    c.attributes = {
        "strides": _triple(c, "its strides", (3, 13, 23), 1),
        "dilations": _triple(c, "its dilations", (2, 12, 22), 1),
        "pads": _pads(c, (4, 15, 14, 16, 24, 17)),
        "output_padding": [c.p.integer(20, right), c.p.integer(19, right), right],
        "group": group,
    }
    c.inputs = [c.x(), split, bias]
    return c.activate(onnx_ops_conv.conv_transpose(c))


@NCNN.layer("Pooling3D")
def pooling(c: NcnnContext) -> Value:
    x, average = c.ranked(c.x(), 5), c.p.integer(0, 0) == 1
    if c.p.integer(4, 0):
        return reduce(c, "ReduceMean" if average else "ReduceMax", x, [2, 3, 4], False)
    if c.p.integer(7, 0):
        raise Unsupported("adaptive pooling of volumes")
    kernel, strides = _triple(c, "its kernel", (1, 11, 21), 0), _triple(c, "its strides", (2, 12, 22), 1)
    pads, mode, include = _pads(c, (3, 14, 13, 15, 23, 16)), c.p.integer(5, 0), c.p.integer(6, 0)
    if mode not in (0, 1) or (average and not include and any(pads)):
        raise Unsupported(f"pooling of volumes with pad mode {mode} and pads {pads}")
    if mode == 0:
        for i, size in enumerate(c.fixed(x, 2)):
            over = (size + pads[i] + pads[3 + i] - kernel[i]) % strides[i]
            if over and average and not include:
                raise Unsupported("averages over volumes whose last window is not full")
            pads[3 + i] += strides[i] - over if over else 0
    c.attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads}
    extra = {"count_include_pad": int(bool(include))} if average else {}
    return onnx_ops_pool.pool(c, x, "AvgPool2d" if average else "MaxPool2d", extra)
