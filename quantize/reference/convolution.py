"""QuantizedConv2d and QuantizedConvTranspose2d."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .common import Array
from .matmul import finish_product


def quantized_conv2d(
    x: Array,
    weight: Array,
    weight_scale: Array,
    bias: Array | None = None,
    residual: Array | None = None,
    *,
    strides: Sequence[int] = (1, 1),
    dilations: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    group: int = 1,
    x_scale: float = 1.0,
    x_zero_point: int = 0,
    y_scale: float = 1.0,
    y_zero_point: int = 0,
    residual_scale: float = 1.0,
    residual_zero_point: int = 0,
    minimum: int = -128,
    maximum: int = 127,
    to: str = "i8",
) -> Array:
    """x i8[N,H,W,C], weight i8[O,kh,kw,C/group], weight_scale f32[O] or [1], bias i32[O], residual i8 like y."""
    top, left, bottom, right = pads
    # Padding is x's zero point: zero behind the subtraction.
    image = np.pad(x.astype(np.float64) - x_zero_point, ((0, 0), (top, bottom), (left, right), (0, 0)))
    outputs, kernel_height, kernel_width, channels = weight.shape
    out_height = (image.shape[1] - (kernel_height - 1) * dilations[0] - 1) // strides[0] + 1
    out_width = (image.shape[2] - (kernel_width - 1) * dilations[1] - 1) // strides[1] + 1
    # f64 holds these sums exactly: |product| <= 255 * 128.
    sums = np.zeros((x.shape[0], out_height, out_width, outputs))
    for ins, outs in _groups(group, channels, outputs // group):
        part = weight[outs].astype(np.float64)
        for ky in range(kernel_height):
            for kx in range(kernel_width):
                rows = slice(ky * dilations[0], ky * dilations[0] + (out_height - 1) * strides[0] + 1, strides[0])
                columns = slice(kx * dilations[1], kx * dilations[1] + (out_width - 1) * strides[1] + 1, strides[1])
                sums[..., outs] += image[:, rows, columns, ins] @ part[:, ky, kx].T
    return finish_product(
        sums, x_scale, weight_scale, bias, residual, y_scale, y_zero_point, residual_scale, residual_zero_point,
        minimum, maximum, to,
    )  # fmt: skip


def quantized_conv_transpose2d(
    x: Array,
    weight: Array,
    weight_scale: Array,
    bias: Array | None = None,
    *,
    strides: Sequence[int] = (1, 1),
    dilations: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    output_padding: Sequence[int] = (0, 0),
    group: int = 1,
    x_scale: float = 1.0,
    x_zero_point: int = 0,
    y_scale: float = 1.0,
    y_zero_point: int = 0,
    minimum: int = -128,
    maximum: int = 127,
    to: str = "i8",
) -> Array:
    """x i8[N,H,W,C], weight i8[O,kh,kw,C/group], weight_scale f32[O] or [1], bias i32[O]."""
    image = x.astype(np.float64) - x_zero_point
    batch, height, width, _ = x.shape
    outputs, kernel_height, kernel_width, channels = weight.shape
    full_height = (height - 1) * strides[0] + (kernel_height - 1) * dilations[0] + 1 + output_padding[0]
    full_width = (width - 1) * strides[1] + (kernel_width - 1) * dilations[1] + 1 + output_padding[1]
    sums = np.zeros((batch, full_height, full_width, outputs))
    for ins, outs in _groups(group, channels, outputs // group):
        part = weight[outs].astype(np.float64)
        for ky in range(kernel_height):
            for kx in range(kernel_width):
                rows = slice(ky * dilations[0], ky * dilations[0] + (height - 1) * strides[0] + 1, strides[0])
                columns = slice(kx * dilations[1], kx * dilations[1] + (width - 1) * strides[1] + 1, strides[1])
                sums[:, rows, columns, outs] += image[..., ins] @ part[:, ky, kx].T
    top, left, bottom, right = pads
    sums = sums[:, top : full_height - bottom, left : full_width - right]
    return finish_product(
        sums, x_scale, weight_scale, bias, None, y_scale, y_zero_point, 1.0, 0, minimum, maximum, to
    )  # fmt: skip


def _groups(count: int, channels: int, outputs: int) -> list[tuple[slice, slice]]:
    """Input and output channels of each group."""
    return [(slice(g * channels, (g + 1) * channels), slice(g * outputs, (g + 1) * outputs)) for g in range(count)]
