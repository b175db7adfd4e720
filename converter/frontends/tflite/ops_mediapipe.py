"""Custom operators of MediaPipe's models."""

from __future__ import annotations

import struct

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.frontends.tflite.context import TfliteContext
from edgec.converter.frontends.tflite.ops_conv import same_padding
from edgec.converter.frontends.tflite.registry import custom_op
from edgec.converter.ir.graph import Value

_SAME, _VALID = 1, 2  # TfLitePadding


@custom_op("Convolution2DTransposeBias")
def convolution_2d_transpose_bias(c: TfliteContext) -> Value:
    """x, weights [O, kh, kw, I], bias; the options are a C structure: padding, stride width, stride height."""
    raw = c.operator.custom_options
    if len(raw) < 12:
        raise BadFileError(f"{c.op} ({c.source}) has {len(raw)} bytes of options, expected 12")
    padding, stride_w, stride_h = struct.unpack_from("<iii", raw)
    x, weight = c.ranked(c.need(0), 4), c.weight(1, [0, 1, 2, 3])
    if padding not in (_SAME, _VALID) or min(stride_w, stride_h) < 1:
        raise BadFileError(f"{c.op} ({c.source}): padding {padding}, strides {[stride_h, stride_w]}")
    kernel = weight.shape[1:3]
    begin, end, extra = [0, 0], [0, 0], [0, 0]
    for i, (k, stride) in enumerate(zip(kernel, (stride_h, stride_w))):
        if k is None:
            raise Unsupported("weights that are computed while the model runs")
        if padding == _SAME:  # the output is stride times as large
            total = max(k - stride, 0)
            begin[i] = same_padding(stride * 8, k, stride, 1)[0]
            end[i], extra[i] = total - begin[i], max(stride - k, 0)
    attrs = {"strides": [stride_h, stride_w], "pads": [*begin, *end], "output_padding": extra}
    return c.emit("ConvTranspose2d", [x, weight, c.bias(2, 0, 1)], attrs)
