"""Normalisation, softmax and reductions of ncnn."""

from __future__ import annotations

import numpy as np

from edgec.converter.frontends.layers.ops import centred, lrn_across, lrn_within, per_channel, reduce
from edgec.converter.frontends.ncnn.context import NcnnContext
from edgec.converter.frontends.ncnn.registry import NCNN
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value


@NCNN.layer("BatchNorm")
def batch_norm(c: NcnnContext) -> Value:
    x, channels = c.x(), c.p.integer(0, 0)
    gain, mean = c.raw([channels], "slope", 1.0).astype(np.float64), c.raw([channels], "mean", 0.0)
    variance, bias = c.raw([channels], "variance", 1.0), c.raw([channels], "bias", 0.0)
    if channels != c.channels(x):
        raise c.bad(f"its weights are for {channels} channels, its input has {c.channels(x)}")
    gain = gain / np.sqrt(variance + c.p.number(1, 0.0))
    return c.affine(x, per_channel(gain, x.rank), per_channel(bias - mean * gain, x.rank))


@NCNN.layer("LRN")
def lrn(c: NcnnContext) -> Value:
    x, size = c.ranked(c.x(), 4), c.p.integer(1, 5)
    if size < 1 or size % 2 == 0 or size >= 2**31:
        raise c.bad(f"its size {size} must be odd")
    function = lrn_within if c.p.integer(0, 0) == 1 else lrn_across
    return function(c, x, size, c.p.number(2, 1.0), c.p.number(3, 0.75), c.p.number(4, 1.0))


@NCNN.layer("MVN")
def mvn(c: NcnnContext) -> Value:
    x = c.ranked(c.x(), 3, 4)
    axes = list(range(1 if c.p.integer(1, 0) else 2, x.rank))
    y = centred(c, x, axes)
    if not c.p.integer(0, 0):
        return y
    deviation = c.emit("Sqrt", [reduce(c, "ReduceMean", c.emit("Mul", [y, y]), axes, True)])
    return c.emit("Div", [y, c.affine(deviation, 1.0, c.p.number(2, 1e-4))])


@NCNN.layer("Normalize")
def normalize(c: NcnnContext) -> Value:
    """L2 norm over space, channels or both, times a scale; three ways to keep away from 0."""
    x, count = c.ranked(c.x(), 3, 4), c.p.integer(3, 0)
    factor = c.raw([count], "scale", 1.0)
    spatial, channels = c.p.integer(0, 0), c.p.integer(4, 1)
    axes = [*([1] if channels else []), *(range(2, x.rank) if spatial else [])]
    if not axes:
        raise c.bad("normalises neither over space nor over channels")
    if count != (1 if c.p.integer(1, 0) else c.channels(x)):
        raise c.bad(f"{count} scales for {c.channels(x)} channels")
    eps, mode = c.p.number(2, 1e-4), c.p.integer(9, 0)
    total = reduce(c, "ReduceSumSquare", x, axes, True)
    if mode == 0:
        norm = c.emit("Sqrt", [c.affine(total, 1.0, eps)])
    elif mode == 1:
        norm = c.binary("Max", c.emit("Sqrt", [total]), eps)
    elif mode == 2:
        norm = c.emit("Sqrt", [c.binary("Max", total, eps)])
    else:
        raise c.bad(f"there is no eps_mode {mode}")
    return c.affine(c.emit("Div", [x, norm]), per_channel(factor, x.rank))


def _affine_size(c: NcnnContext, x: Value, size: int) -> int:
    """The first axis of those behind which `size` elements lie."""
    count = 1
    for axis in range(x.rank - 1, 0, -1):
        count *= x.shape[axis] or 0  # a symbolic size is none that the weights could fit
        if count == size:
            return axis
    raise c.bad(f"its weights are for {size} elements, its input is {list(x.shape)}")


@NCNN.layer("LayerNorm", "RMSNorm")
def layer_norm(c: NcnnContext) -> Value:
    x, size, with_bias = c.x(), c.p.integer(0, 0), c.op == "LayerNorm"
    scale = bias = None
    if c.p.integer(2, 1):
        scale = c.raw([size], "scale", 1.0)
        bias = c.raw([size], "bias", 0.0) if with_bias else None
    axis = _affine_size(c, x, size)
    shape = x.shape[axis:]
    inputs = [x, *(None if v is None else c.const(v.reshape(shape)) for v in ([scale, bias] if with_bias else [scale]))]
    return c.emit(c.op, inputs, {"axis": axis, "epsilon": c.p.number(1, 0.001)})


def _grouped(c: NcnnContext, groups: int, channels: int, affine: int, eps: float) -> Value:
    x = c.x()
    scale = c.raw([channels], "scale", 1.0) if affine else None
    bias = c.raw([channels], "bias", 0.0) if affine else None
    real = c.channels(x)
    if (affine and real != channels) or groups < 1 or real % groups:
        raise c.bad(f"{groups} groups and weights for {channels} channels, its input has {real}")
    inputs = [None if v is None else c.const(v) for v in (scale, bias)]
    attrs = {"groups": groups, "epsilon": eps}
    if x.rank == 2:
        y = c.emit("GroupNorm", [c.reshape(x, [c.dim(x, 0), 1, 1, real]), *inputs], attrs)
        return c.reshape(y, c.dims(x))
    if x.rank > 4:
        raise Unsupported("group normalisation of volumes")
    return c.from_nhwc(c.emit("GroupNorm", [c.to_nhwc(x), *inputs], attrs), x.rank)


@NCNN.layer("GroupNorm")
def group_norm(c: NcnnContext) -> Value:
    return _grouped(c, c.p.integer(0, 1), c.p.integer(1, 0), c.p.integer(3, 1), c.p.number(2, 0.001))


@NCNN.layer("InstanceNorm")
def instance_norm(c: NcnnContext) -> Value:
    channels = c.p.integer(0, 0) if c.p.integer(2, 1) else c.channels(c.x())
    return _grouped(c, channels, channels, c.p.integer(2, 1), c.p.number(1, 0.001))


@NCNN.layer("Softmax")
def softmax(c: NcnnContext) -> Value:
    x = c.x()
    return c.emit("Softmax", [x], {"axis": c.axis_of(x, c.p.integer(0, 0))})


_REDUCTIONS = (
    "ReduceSum", "ReduceL1", "ReduceSumSquare", "ReduceMean", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1",
    "ReduceL2", "ReduceLogSum", "ReduceLogSumExp",
)  # fmt: skip


@NCNN.layer("Reduction")
def reduction(c: NcnnContext) -> Value:
    x, kind, keep = c.x(), c.p.integer(0, 0), c.p.integer(4, 0)
    if not 0 <= kind < len(_REDUCTIONS):
        raise Unsupported(f"the reduction {kind}")
    given = c.p.integers(3)
    if given and not c.p.integer(5, 0):
        raise Unsupported("the axes of an old file, which count a batch", "make the .param anew with ncnn's tools")
    everything = c.p.integer(1, 1) or x.rank == 2
    axes = list(range(1, x.rank)) if everything else sorted({c.axis_of(x, a) for a in given})
    if not axes:
        return x
    y = reduce(c, _REDUCTIONS[kind], x, axes, bool(keep))
    if not keep and len(axes) == x.rank - 1:
        y = c.reshape(y, [c.dim(x, 0), 1])
    return c.affine(y, c.p.number(2, 1.0))


@NCNN.layer("ArgMax")
def arg_max(c: NcnnContext) -> Value:
    """[1, k] positions, or [2, k] values and positions, over all elements."""
    x, k = c.x(), c.p.integer(1, 1)
    flat = c.reshape(x, [c.dim(x, 0), 1, c.mul(1, *c.dims(x)[1:])])
    values, index = c.emit_many("TopK", [flat, c.i64([k])], {"axis": 2}, 2)
    positions = c.cast(index, "f32")
    return c.emit("Concat", [values, positions], {"axis": 1}) if c.p.integer(0, 0) else positions


@NCNN.layer("CumulativeSum")
def cumulative_sum(c: NcnnContext) -> Value:
    x = c.x()
    return c.emit("CumSum", [x], {"axis": c.axis_of(x, c.p.integer(0, 0))})
