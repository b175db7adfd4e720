"""Convolutions, inner products and pooling of Caffe."""

from __future__ import annotations

from collections.abc import Sequence

from edgec.converter.frontends.caffe.context import CaffeContext
from edgec.converter.frontends.caffe.registry import CAFFE
from edgec.converter.frontends.caffe.text import Message
from edgec.converter.frontends.layers.ops import (
    check_groups,
    conv2d,
    deconv2d,
    kernel_of,
    matrix,
    optional,
    pool2d,
    positive,
    reduce,
)
from edgec.converter.frontends.onnx.ops_pool import max_pool
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value

_CONVOLUTIONS = ("Convolution", "DepthwiseConvolution", "ConvolutionDepthwise", "ConvolutionDepthWise")


def pair(c: CaffeContext, p: Message, name: str, default: int | None, short: str = "") -> list[int]:
    """[h, w] from a repeated field, or from <name>_h and <name>_w."""
    short = short or name
    if f"{short}_h" in p or f"{short}_w" in p:
        if name in p and f"{short}_h" in p and f"{short}_w" in p:
            raise c.bad(f"gives both {name} and {short}_h, {short}_w")
        each = p.ints(name)[-1] if name in p else default
        return [p.integer(f"{short}_h", each), p.integer(f"{short}_w", each)]
    values = p.ints(name)
    if not values:
        if default is None:
            raise c.bad(f"does not say its {name}")
        return [default, default]
    if len(values) > 2:
        raise c.bad(f"has {len(values)} values for {name}, expected one for each of 2 dimensions")
    return [values[0], values[-1]]


def _window(c: CaffeContext, p: Message) -> tuple[list[int], list[int], list[int], list[int]]:
    """kernel, strides, dilations, pads [top, left, bottom, right]."""
    kernel = positive(c, "kernel_size", pair(c, p, "kernel_size", None, "kernel"))
    strides = positive(c, "stride", pair(c, p, "stride", 1))
    dilations = positive(c, "dilation", pair(c, p, "dilation", 1))
    pads = pair(c, p, "pad", 0)
    if min(pads) < 0 or max(pads) >= 2**31:
        raise c.bad(f"pad {pads} is negative or too large")
    return kernel, strides, dilations, pads * 2


def _parameters(c: CaffeContext) -> tuple[Value, Message, int, int, int]:
    """input, convolution_param, channels, outputs, groups"""
    x, p = c.x(), c.param("convolution_param")
    if p.integer("axis", 1) not in (1, -3) or x.rank != 4:
        raise Unsupported(f"convolution over a tensor of {x.rank} dimensions with axis {p.integer('axis', 1)}")
    channels, outputs = c.channels(x), p.integer("num_output")
    positive(c, "num_output", [outputs])
    group = p.integer("group", channels if c.op not in ("Convolution", "Deconvolution") else 1)
    check_groups(c, channels, outputs, group)
    return x, p, channels, outputs, group


@CAFFE.layer(*_CONVOLUTIONS)
def convolution(c: CaffeContext) -> Value:
    x, p, channels, outputs, group = _parameters(c)
    kernel, strides, dilations, pads = _window(c, p)
    weight = c.weight(0, [outputs, channels // group, *kernel], "weight")
    bias = c.weight(1, [outputs], "bias") if p.flag("bias_term", True) else None
    return conv2d(c, x, kernel_of(c, weight), optional(c, bias), strides, dilations, pads, group)


@CAFFE.layer("Deconvolution", "DeconvolutionDepthwise", "DepthwiseDeconvolution")
def deconvolution(c: CaffeContext) -> Value:
    x, p, channels, outputs, group = _parameters(c)
    kernel, strides, dilations, pads = _window(c, p)
    weight = c.weight(0, [channels, outputs // group, *kernel], "weight")
    bias = c.weight(1, [outputs], "bias") if p.flag("bias_term", True) else None
    return deconv2d(c, x, weight, bias, strides, dilations, pads, group)


@CAFFE.layer("InnerProduct")
def inner_product(c: CaffeContext) -> Value:
    x, p = c.x(), c.param("inner_product_param")
    axis = c.normalize_axis(p.integer("axis", 1), x.rank)
    outputs = p.integer("num_output")
    positive(c, "num_output", [outputs])
    columns = c.mul(1, *c.dims(x)[axis:])
    if not isinstance(columns, int):
        raise Unsupported("an inner product over symbolic sizes", "give fixed sizes with --shape")
    if p.flag("transpose", False):
        weight = c.weight(0, [columns, outputs], "weight").T
    else:
        weight = c.weight(0, [outputs, columns], "weight")
    bias = c.weight(1, [outputs], "bias") if p.flag("bias_term", True) else None
    if x.rank != axis + 1:
        x = c.reshape(x, [*c.dims(x)[:axis], columns])
    return matrix(c, x, weight, bias)


@CAFFE.layer("Pooling")
def pooling(c: CaffeContext) -> Value | list[Value]:
    x, p = c.ranked(c.x(), 4), c.param("pooling_param")
    method = {"0": "MAX", "1": "AVE", "2": "STOCHASTIC"}.get(p.text("pool", "MAX"), p.text("pool", "MAX"))
    if method not in ("MAX", "AVE"):
        raise Unsupported(f"{method} pooling", "use MAX or AVE")
    average = method == "AVE"
    if p.flag("global_pooling", False):
        return reduce(c, "ReduceMean" if average else "ReduceMax", x, [2, 3], True)
    kernel, strides, dilations, pads = _window(c, p)
    if dilations != [1, 1]:
        raise Unsupported("pooling with a dilation")
    if any(pad >= k for pad, k in zip(pads, kernel)):
        raise c.bad(f"pad {pads[:2]} must be smaller than the kernel {kernel}")
    ceil = p.text("round_mode", "CEIL") in ("CEIL", "0") and p.flag("ceil_mode", True)
    if ceil and not any(pads) and _window_outside(x.shape[2:], kernel, strides):
        raise Unsupported("a pooling window that lies outside the image", "Caffe's result there is not defined")
    if len(c.output_names) == 2 and not average:
        return _with_positions(c, x, kernel, strides, pads, ceil)
    return pool2d(c, x, average, kernel, strides, pads, ceil)


def _with_positions(
    c: CaffeContext, x: Value, kernel: list[int], strides: list[int], pads: list[int], ceil: bool
) -> list[Value]:
    """Maxima and where they were, for an Upsample layer: flat positions in the whole tensor."""
    c.attributes = {"kernel_shape": kernel, "strides": strides, "pads": pads, "ceil_mode": int(ceil)}
    y, positions = max_pool(c)
    c.layers.marked[id(positions)] = x
    return [y, positions]


def _window_outside(sizes: Sequence[int | None], kernel: list[int], strides: list[int]) -> bool:
    """Rounded up, strides longer than the kernel may place a last window behind the image."""
    return any(s > k and (n is None or -(-max(n - k, 0) // s) * s >= n) for n, k, s in zip(sizes, kernel, strides))


@CAFFE.layer("SPP")
def spatial_pyramid(c: CaffeContext) -> Value:
    """Pools into 1, 4, 16... bins and joins the flattened results."""
    x, p = c.ranked(c.x(), 4), c.param("spp_param")
    batch, _channels, *sizes = c.fixed(x)
    method = p.text("pool", "MAX")
    if method not in ("MAX", "AVE", "0", "1"):
        raise Unsupported(f"{method} pooling in SPP")
    levels = p.integer("pyramid_height")
    if not 1 <= levels <= 8:
        raise c.bad(f"pyramid_height {levels}, expected 1 to 8")
    parts = []
    for level in range(levels):
        bins = 2**level
        kernel = [-(-n // bins) for n in sizes]
        pads = [(k * bins - n + 1) // 2 for k, n in zip(kernel, sizes)]
        y = pool2d(c, x, method in ("AVE", "1"), kernel, kernel, pads * 2, ceil_mode=True)
        parts.append(c.reshape(y, [batch, -1]))
    return c.emit("Concat", parts, {"axis": 1}) if len(parts) > 1 else parts[0]
