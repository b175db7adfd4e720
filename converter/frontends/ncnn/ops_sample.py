"""Layers of ncnn that read a tensor at other places, and a few that stand for themselves."""

from __future__ import annotations

from edgec.converter.frontends.einsum import lower_einsum
from edgec.converter.frontends.layers.ops import positive, reduce
from edgec.converter.frontends.ncnn.context import NcnnContext
from edgec.converter.frontends.ncnn.ops_conv import window
from edgec.converter.frontends.ncnn.registry import NCNN
from edgec.converter.frontends.onnx.ops_vision import deform_conv
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value


@NCNN.layer("GridSample")
def grid_sample(c: NcnnContext) -> Value:
    x, grid = c.many(2)[:2]
    modes, paddings = {1: "linear", 2: "nearest", 3: "cubic"}, {1: "zeros", 2: "border", 3: "reflection"}
    mode, padding = modes.get(c.p.integer(0, 1)), paddings.get(c.p.integer(1, 1))
    if mode is None or padding is None:
        raise c.bad(f"there is no sample type {c.p.integer(0, 1)} with padding mode {c.p.integer(1, 1)}")
    if c.p.integer(3, 0):  # coordinates as channels
        grid = c.transpose(grid, [0, *range(2, grid.rank), 1])
    attrs = {"mode": mode, "padding_mode": padding, "align_corners": int(bool(c.p.integer(2, 0)))}
    return c.emit("GridSample", [x, grid], attrs)


@NCNN.layer("Unfold")
def unfold(c: NcnnContext) -> Value:
    """[C * taps, positions]: one row per channel and tap of the kernel."""
    w, x = window(c, False), c.ranked(c.x(), 4)
    if c.p.number(18, 0.0):
        raise Unsupported("a padding value other than 0")
    top, left, bottom, right = w.explicit(c, x)
    batch, channels = c.dim(x, 0), c.channels(x)
    sizes = [n + a + b for n, a, b in zip(c.fixed(x, 2), (top, left), (bottom, right))]
    outs = [(n - d * (k - 1) - 1) // s + 1 for n, d, k, s in zip(sizes, w.dilations, w.kernel, w.strides)]
    positive(c, "its output size", outs)
    if w.kernel[0] * w.kernel[1] > 1024:
        raise Unsupported(f"unfolding with a kernel of {w.kernel}")
    if any((top, left, bottom, right)):
        x = c.emit("Pad", [x, c.i64([0, 0, top, left, 0, 0, bottom, right])])
    taps = []
    for i in range(w.kernel[0]):
        for j in range(w.kernel[1]):
            first = [i * w.dilations[0], j * w.dilations[1]]
            last = [f + (n - 1) * s + 1 for f, n, s in zip(first, outs, w.strides)]
            part = c.slice(x, first, last, [2, 3], w.strides)
            taps.append(c.reshape(part, [batch, channels, 1, outs[0] * outs[1]]))
    y = c.emit("Concat", taps, {"axis": 2}) if len(taps) > 1 else taps[0]
    return c.reshape(y, [batch, channels * len(taps), outs[0] * outs[1]])


@NCNN.layer("DeformableConv2D")
def deformable(c: NcnnContext) -> Value:
    w = window(c, False)
    outputs, size = c.p.integer(0, 0), c.p.integer(6, 0)
    positive(c, "its number of outputs", [outputs])
    taps = w.kernel[0] * w.kernel[1]
    if size < 1 or size % (outputs * taps):
        raise c.bad(f"{size} weights for {outputs} outputs and a kernel of {w.kernel}")
    weight = c.const(c.floats([outputs, size // (outputs * taps), *w.kernel], "weight"))
    bias = c.const(c.raw([outputs], "bias")) if c.p.integer(5, 0) else None
    inputs = c.many(2)
    c.attributes = {"strides": w.strides, "dilations": w.dilations, "pads": w.explicit(c, inputs[0])}
    c.inputs = [inputs[0], weight, inputs[1], bias, inputs[2] if len(inputs) > 2 else None]
    return c.activate(deform_conv(c))


@NCNN.layer("Einsum")
def einsum(c: NcnnContext) -> Value:
    """The equation, as character codes, knows no batch."""
    codes = c.p.integers(0)
    if not all(32 <= code < 127 for code in codes):
        raise c.bad("its equation is no text")
    inputs = c.many()
    if any(v.shape[0] != 1 for v in inputs):
        raise Unsupported("an Einsum over several images")
    equation = "".join(map(chr, codes))
    y = lower_einsum(c, equation, [c.squeeze(v, [0]) for v in inputs])
    return c.unsqueeze(y, [0] if y.rank else [0, 1])


@NCNN.layer("StatisticsPooling")
def statistics_pooling(c: NcnnContext) -> Value:
    x = c.ranked(c.x(), 4)
    mean = reduce(c, "ReduceMean", x, [2, 3], True)
    if not c.p.integer(0, 0):
        return c.squeeze(mean, [2, 3])
    away = c.emit("Sub", [x, mean])
    deviation = c.emit("Sqrt", [reduce(c, "ReduceMean", c.emit("Mul", [away, away]), [2, 3], True)])
    return c.squeeze(c.emit("Concat", [mean, deviation], {"axis": 1}), [2, 3])


@NCNN.layer("YoloV5Focus")
def focus(c: NcnnContext) -> Value:
    """A custom layer that YOLOv5's and YOLOX's examples register: every second pixel, columns slowest."""
    x = c.ranked(c.x(), 4)
    limit = 2**31 - 1
    parts = [c.slice(x, [row, column], [limit, limit], [2, 3], [2, 2]) for column in (0, 1) for row in (0, 1)]
    return c.emit("Concat", parts, {"axis": 1})
