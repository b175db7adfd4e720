"""Convolutions and matrix products. Activations NHWC, weights OHWI; 1-D nets run with H = 1."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.registry import MICROSOFT, Unsupported, onnx_op
from edgec.converter.frontends.padding import explicit_pads
from edgec.converter.ir.graph import Value


def spatial(c: Context, name: str, rank: int, default: int) -> list[int]:
    """A per-dimension attribute (strides, dilations...) for `rank` spatial dimensions."""
    values = [int(v) for v in c.attr(name, [default] * rank)]
    if len(values) != rank:
        raise BadFileError(
            f"{c.op} '{c.name}': {name} has {len(values)} entries, the input has {rank} spatial dimensions"
        )
    return values


def positive(c: Context, name: str, values: list[int]) -> list[int]:
    if any(v < 1 for v in values):
        raise BadFileError(f"{c.op} '{c.name}': {name} {values} must be at least 1")
    return values


def _weight_ohwi(c: Context, weight: Value) -> Value:
    """OIHW -> OHWI; OIL -> O1LI."""
    if weight.rank == 3:
        return c.unsqueeze(c.transpose(weight, [0, 2, 1]), [1])
    return c.transpose(weight, [0, 2, 3, 1])


def with_height(values: list[int], fill: int) -> list[int]:
    """[w] -> [fill, w]; [h, w] stays."""
    return [fill, *values] if len(values) == 1 else values


def pads_2d(begin: list[int], end: list[int]) -> list[int]:
    """[top, left, bottom, right]"""
    return with_height(begin, 0) + with_height(end, 0)


def conv_parameters(c: Context, x: Value, kernel: list[int]) -> tuple[list[int], list[int], list[int], list[int]]:
    """strides, dilations, pads before, pads after."""
    rank = len(kernel)
    strides = positive(c, "strides", spatial(c, "strides", rank, 1))
    dilations = positive(c, "dilations", spatial(c, "dilations", rank, 1))
    begin, end = explicit_pads(c, x.shape[2:], kernel, strides, dilations)
    return strides, dilations, begin, end


def convolve(c: Context, x: Value, weight: Value, bias: Value | None) -> Value:
    """NCHW (NCL, NCDHW) convolution with the node's attributes."""
    rank = x.rank - 2
    if rank not in (1, 2, 3):
        raise Unsupported(f"{rank}-dimensional convolution")
    if weight.rank != x.rank or any(d is None for d in weight.shape):
        raise BadFileError(f"{c.op} '{c.name}': weight of shape {list(weight.shape)} for an input of rank {x.rank}")
    kernel = [int(d) for d in weight.shape[2:]]  # type: ignore[arg-type]
    group = int(c.attr("group", 1))
    declared = c.attr("kernel_shape")
    if declared is not None and list(declared) != kernel:
        raise BadFileError(f"{c.op} '{c.name}': kernel_shape {list(declared)}, the weight has {kernel}")
    strides, dilations, begin, end = conv_parameters(c, x, kernel)
    if rank == 3:
        return _conv3d(c, x, weight, bias, kernel, strides, dilations, begin, end, group)
    begin, end, x = _outer_padding(c, x, begin, end)
    attrs = {
        "strides": with_height(strides, 1),
        "dilations": with_height(dilations, 1),
        "pads": pads_2d(begin, end),
        "group": group,
    }
    y = c.emit("Conv2d", [c.to_nhwc(x), _weight_ohwi(c, weight), bias], attrs)
    return c.from_nhwc(y, x.rank)


def _outer_padding(c: Context, x: Value, begin: list[int], end: list[int]) -> tuple[list[int], list[int], Value]:
    """Negative pads crop: the convolution itself takes only non-negative ones."""
    if all(p >= 0 for p in begin + end):
        return begin, end, x
    crop_begin, crop_end = [max(-p, 0) for p in begin], [max(-p, 0) for p in end]
    axes = list(range(2, 2 + len(begin)))
    ends = [-e if e else 2**31 - 1 for e in crop_end]
    x = c.slice(x, crop_begin, ends, axes)
    return [max(p, 0) for p in begin], [max(p, 0) for p in end], x


def _conv3d(
    c: Context,
    x: Value,
    weight: Value,
    bias: Value | None,
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    begin: list[int],
    end: list[int],
    group: int,
) -> Value:
    """Sum over the kernel's depth of 2-D convolutions on frames [N*D, H, W, C]."""
    frames = c.transpose(x, [0, 2, 3, 4, 1])  # N D H W C
    if begin[0] or end[0]:
        pads = [0, begin[0], 0, 0, 0, 0, end[0], 0, 0, 0]
        frames = c.emit("Pad", [frames, c.i64(pads)])
    batch, depth, height, width, channels = c.dims(frames)
    if not isinstance(depth, int):
        raise Unsupported("3-D convolution over a symbolic depth", "give a fixed depth with --shape")
    out_depth = (depth - dilations[0] * (kernel[0] - 1) - 1) // strides[0] + 1
    if out_depth < 1:
        raise BadFileError(f"{c.op} '{c.name}': the kernel is deeper than the padded input")
    attrs = {
        "strides": strides[1:],
        "dilations": dilations[1:],
        "pads": [*begin[1:], *end[1:]],
        "group": group,
    }
    total: Value | None = None
    for i in range(kernel[0]):
        start = i * dilations[0]
        part = c.slice(frames, [start], [start + (out_depth - 1) * strides[0] + 1], [1], [strides[0]])
        part = c.reshape(part, [c.mul(batch, out_depth), height, width, channels])
        plane = c.squeeze(c.slice(weight, [i], [i + 1], [2]), [2])
        term = c.emit("Conv2d", [part, _weight_ohwi(c, plane), bias if i == 0 else None], attrs)
        total = term if total is None else c.emit("Add", [total, term])
    assert total is not None
    _, out_h, out_w, out_c = c.dims(total)
    return c.transpose(c.reshape(total, [batch, out_depth, out_h, out_w, out_c]), [0, 4, 1, 2, 3])


@onnx_op("Conv")
def conv(c: Context) -> Value:
    return convolve(c, c.need(0), c.need(1), c.input(2))


@onnx_op("FusedConv", domain=MICROSOFT)
def fused_conv(c: Context) -> Value:
    y = convolve(c, c.need(0), c.need(1), c.input(2))
    if c.input(3) is not None:
        y = c.emit("Add", [y, c.need(3)])
    return activation(c, y, c.attr("activation", ""), c.attr("activation_params", []))


@onnx_op("NhwcConv", domain=MICROSOFT)
def nhwc_conv(c: Context) -> Value:
    x, weight = c.transpose(c.need(0), [0, 3, 1, 2]), c.transpose(c.need(1), [0, 3, 1, 2])
    return c.transpose(convolve(c, x, weight, c.input(2)), [0, 2, 3, 1])


def activation(c: Context, y: Value, name: str, parameters: list[float]) -> Value:
    """The activation of a fused contrib operator."""
    simple = {"Relu": "Relu", "Tanh": "Tanh", "Sigmoid": "Sigmoid", "Softplus": "Softplus", "Softsign": "Softsign"}
    if name in ("", "none"):
        return y
    if name in simple:
        return c.emit(simple[name], [y])
    if name == "LeakyRelu":
        return c.emit("LeakyRelu", [y], {"alpha": parameters[0] if parameters else 0.01})
    if name == "Clip" and len(parameters) == 2:
        return c.emit("Clip", [y], {"min": parameters[0], "max": parameters[1]})
    if name == "HardSigmoid" and len(parameters) == 2:
        return c.emit("HardSigmoid", [y], {"alpha": parameters[0], "beta": parameters[1]})
    raise Unsupported(f"fused activation {name}")


@onnx_op("ConvTranspose")
def conv_transpose(c: Context) -> Value:
    x, weight, bias = c.need(0), c.need(1), c.input(2)
    rank = x.rank - 2
    if rank not in (1, 2, 3):
        raise Unsupported(f"{rank}-dimensional transposed convolution")
    if weight.rank != x.rank or any(d is None for d in weight.shape):
        raise BadFileError(f"{c.op} '{c.name}': weight of shape {list(weight.shape)} for an input of rank {x.rank}")
    in_channels, out_per_group = int(weight.shape[0]), int(weight.shape[1])  # type: ignore[arg-type]
    kernel = [int(d) for d in weight.shape[2:]]  # type: ignore[arg-type]
    group = int(c.attr("group", 1))
    if group < 1 or in_channels % group:
        raise BadFileError(f"{c.op} '{c.name}': {in_channels} input channels do not divide into {group} groups")
    strides = positive(c, "strides", spatial(c, "strides", rank, 1))
    dilations = positive(c, "dilations", spatial(c, "dilations", rank, 1))
    extra = spatial(c, "output_padding", rank, 0)
    begin, end, extra = _transposed_pads(c, x, kernel, strides, dilations, extra)
    if rank == 3:
        return _conv_transpose3d(c, x, weight, bias, kernel, strides, dilations, begin, end, extra, group)
    # [C, O/g, kh, kw] -> [O, kh, kw, C/g]
    w = weight if rank == 2 else c.unsqueeze(weight, [2])
    kh, kw = with_height(kernel, 1)
    w = c.reshape(w, [group, in_channels // group, out_per_group, kh, kw])
    w = c.reshape(c.transpose(w, [0, 2, 3, 4, 1]), [group * out_per_group, kh, kw, in_channels // group])
    # The IR takes non-negative pads; cropping more than the padding happens afterwards.
    crop = [p for p in begin + end if p < 0]
    attrs = {
        "strides": with_height(strides, 1),
        "dilations": with_height(dilations, 1),
        "pads": pads_2d([max(p, 0) for p in begin], [max(p, 0) for p in end]),
        "output_padding": with_height([e + max(-p, 0) for e, p in zip(extra, end)], 0),
        "group": group,
    }
    y = c.from_nhwc(c.emit("ConvTranspose2d", [c.to_nhwc(x), w, bias], attrs), x.rank)
    if crop and any(p < 0 for p in begin):
        pads = [0, 0, *[max(-p, 0) for p in begin], *[0] * x.rank]
        y = c.emit("Pad", [y, c.i64(pads)])
    return y


def _transposed_pads(
    c: Context, x: Value, kernel: list[int], strides: list[int], dilations: list[int], extra: list[int]
) -> tuple[list[int], list[int], list[int]]:
    rank = len(kernel)
    auto = c.attr("auto_pad", "NOTSET")
    wanted = c.attr("output_shape")
    begin, end = [0] * rank, [0] * rank
    if wanted is None and auto in ("NOTSET", "VALID"):
        if auto == "NOTSET":
            pads = [int(p) for p in c.attr("pads", [0] * 2 * rank)]
            begin, end = pads[:rank], pads[rank:]
        return begin, end, extra
    sizes = x.shape[2:]
    if any(s is None for s in sizes) and wanted is not None:
        raise Unsupported("output_shape with a symbolic input size", "give fixed sizes with --shape")
    if wanted is not None:
        wanted = [int(w) for w in wanted][-rank:]
    for i in range(rank):
        full = dilations[i] * (kernel[i] - 1) + 1 + extra[i]
        if wanted is not None:
            total = strides[i] * (int(sizes[i]) - 1) + full - wanted[i]  # type: ignore[arg-type]
        else:  # SAME: output = input * stride, which makes the padding independent of the size
            total = full - strides[i]
        if total < 0:  # the wanted shape is larger than what the kernel reaches: zeros (bias) behind
            extra = [e - total if j == i else e for j, e in enumerate(extra)]
            total = 0
        # The odd element goes in front, except for SAME_UPPER (the specification's formula).
        begin[i], end[i] = (
            (total // 2, total - total // 2) if auto == "SAME_UPPER" else (total - total // 2, total // 2)
        )
    return begin, end, extra


def _conv_transpose3d(
    c: Context,
    x: Value,
    weight: Value,
    bias: Value | None,
    kernel: list[int],
    strides: list[int],
    dilations: list[int],
    begin: list[int],
    end: list[int],
    extra: list[int],
    group: int,
) -> Value:
    """As a 3-D convolution of the input with zeros between its elements and a flipped kernel."""
    shape = x.shape
    if any(d is None for d in shape[1:]):
        raise Unsupported("3-D transposed convolution with symbolic sizes", "give fixed sizes with --shape")
    for axis, stride in zip((2, 3, 4), strides):
        if stride == 1:
            continue
        dims = c.dims(x)
        spread = c.unsqueeze(x, [axis + 1])
        pads = [0] * (2 * spread.rank)
        pads[spread.rank + axis + 1] = stride - 1
        spread = c.emit("Pad", [spread, c.i64(pads)])
        x = c.reshape(spread, [*dims[:axis], dims[axis] * stride, *dims[axis + 1 :]])
        x = c.slice(x, [0], [dims[axis] * stride - stride + 1], [axis])
    in_channels, out_per_group = int(weight.shape[0]), int(weight.shape[1])  # type: ignore[arg-type]
    w = c.reshape(weight, [group, in_channels // group, out_per_group, *kernel])
    w = c.reshape(c.transpose(w, [0, 2, 1, 3, 4, 5]), [group * out_per_group, in_channels // group, *kernel])
    w = c.slice(w, [-1] * 3, [-(2**31)] * 3, [2, 3, 4], [-1] * 3)
    reach = [d * (k - 1) for d, k in zip(dilations, kernel)]
    before = [r - b for r, b in zip(reach, begin)]
    after = [r - e + x2 for r, e, x2 in zip(reach, end, extra)]
    if any(p < 0 for p in before + after):
        raise Unsupported("3-D transposed convolution with more padding than its kernel reaches")
    return _conv3d(c, x, w, bias, kernel, [1, 1, 1], dilations, before, after, group)


# -- matrix products -----------------------------------------------------------------------------
@onnx_op("MatMul")
def matmul(c: Context) -> Value:
    return c.emit("MatMul", [c.need(0), c.need(1)])


@onnx_op("FusedMatMul", domain=MICROSOFT)
def fused_matmul(c: Context) -> Value:
    if c.attr("transBatchA", 0) or c.attr("transBatchB", 0):
        raise Unsupported("FusedMatMul with transposed batch")
    attrs = {"transpose_a": int(c.attr("transA", 0)), "transpose_b": int(c.attr("transB", 0))}
    y = c.emit("MatMul", [c.need(0), c.need(1)], attrs)
    return scaled(c, y, c.attr("alpha", 1.0))


def scaled(c: Context, value: Value, factor: float) -> Value:
    if factor == 1.0:
        return value
    if value.dtype not in ("f32", "f16", "bf16", "f64") and factor == int(factor):
        factor = int(factor)
    return c.emit("Mul", [value, c.like(factor, value)])


@onnx_op("Gemm")
def gemm(c: Context) -> Value:
    return general_matmul(c)


@onnx_op("FusedGemm", domain=MICROSOFT)
def fused_gemm(c: Context) -> Value:
    parameters = [v for k in ("activation_alpha", "activation_beta") if (v := c.attr(k)) is not None]
    return activation(c, general_matmul(c), c.attr("activation", ""), parameters)


def general_matmul(c: Context) -> Value:
    a, b, bias = c.need(0), c.need(1), c.input(2)
    alpha, beta = c.attr("alpha", 1.0), c.attr("beta", 1.0)
    attrs = {"transpose_a": int(c.attr("transA", 0)), "transpose_b": int(c.attr("transB", 0))}
    if alpha != 1.0:
        b = (
            c.const((b.data * np.asarray(alpha, b.data.dtype)).astype(b.data.dtype))
            if b.data is not None
            else scaled(c, b, alpha)
        )
    if bias is None or beta == 0.0:
        return c.emit("MatMul", [a, b], attrs)
    if bias.data is not None and beta != 1.0:
        bias = c.const((bias.data * np.asarray(beta, bias.data.dtype)).astype(bias.data.dtype))
    else:
        bias = scaled(c, bias, beta)
    columns = b.shape[0] if attrs["transpose_b"] else b.shape[1]
    is_row = (bias.rank == 1 and bias.shape[0] == columns) or (bias.rank == 2 and tuple(bias.shape) == (1, columns))
    if is_row and columns is not None:
        bias = bias if bias.rank == 1 else c.reshape(bias, [columns])
        return c.emit("MatMul", [a, b, bias], attrs)
    return c.emit("Add", [c.emit("MatMul", [a, b], attrs), bias])


@onnx_op("Einsum")
def einsum(c: Context) -> Any:
    from edgec.converter.frontends.einsum import lower_einsum

    return lower_einsum(c, c.need_attr("equation"), [c.need(i) for i in range(len(c.inputs))])


@onnx_op("Det")
def determinant(c: Context) -> Value:
    """Closed form for 1x1 to 3x3 matrices (what graph exporters use for rotations and homographies)."""
    x = c.need(0)
    n = x.shape[-1]
    if n not in (1, 2, 3) or x.shape[-2] != n:
        raise Unsupported(f"determinant of {x.shape[-2]}x{n} matrices", "only 1x1 to 3x3 have a closed form here")

    def item(i: int, j: int) -> Value:
        return c.squeeze(c.slice(x, [i, j], [i + 1, j + 1], [x.rank - 2, x.rank - 1]), [x.rank - 2, x.rank - 1])

    def minor(r: tuple[int, int], k: tuple[int, int]) -> Value:
        left = c.emit("Mul", [item(r[0], k[0]), item(r[1], k[1])])
        return c.emit("Sub", [left, c.emit("Mul", [item(r[0], k[1]), item(r[1], k[0])])])

    if n == 1:
        return item(0, 0)
    if n == 2:
        return minor((0, 1), (0, 1))
    terms = [c.emit("Mul", [item(0, j), minor((1, 2), k)]) for j, k in ((0, (1, 2)), (1, (0, 2)), (2, (0, 1)))]
    return c.emit("Add", [c.emit("Sub", [terms[0], terms[1]]), terms[2]])
