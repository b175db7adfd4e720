"""Normalisation and reductions of Caffe."""

from __future__ import annotations

import numpy as np

from edgec.converter.frontends.caffe.context import CaffeContext
from edgec.converter.frontends.caffe.registry import CAFFE
from edgec.converter.frontends.layers.ops import centred, lrn_across, lrn_within, per_channel, reduce
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value


@CAFFE.layer("BatchNorm")
def batch_norm(c: CaffeContext) -> Value:
    """Blobs: mean, variance, the factor that both are divided by; in forks also scale and bias."""
    x, p = c.x(), c.param("batch_norm_param")
    channels = c.channels(x)
    mean = c.weight(0, [channels], "mean", 0.0).astype(np.float64)
    variance = c.weight(1, [channels], "variance", 1.0).astype(np.float64)
    count = c.blob_count
    if count is None or count > 2:
        factor = float(c.weight(2, [1], "scale factor", 1.0)[0])
        factor = 0.0 if factor == 0 else 1.0 / factor
        mean, variance = mean * factor, variance * factor
    multiplier = 1.0 / np.sqrt(variance + p.number("eps", 1e-5))
    shift = -mean * multiplier
    if p.flag("scale_bias", False):
        gain = c.weight(3, [channels], "scale", 1.0)
        multiplier, shift = multiplier * gain, shift * gain + c.weight(4, [channels], "bias", 0.0)
    return c.affine(x, per_channel(multiplier, x.rank), per_channel(shift, x.rank))


@CAFFE.layer("BN")
def bn(c: CaffeContext) -> Value:
    """The forks' form: scale, bias, mean, variance; or scale and bias with the statistics folded in (SegNet)."""
    x, p = c.x(), c.param("bn_param")
    channels = c.channels(x)
    gain = c.weight(0, [channels], "scale", 1.0).astype(np.float64)
    shift = c.weight(1, [channels], "bias", 0.0).astype(np.float64)
    count = c.blob_count
    if count is None or count >= 4:
        mean, variance = c.weight(2, [channels], "mean", 0.0), c.weight(3, [channels], "variance", 1.0)
        gain = gain / np.sqrt(variance + p.number("eps", 1e-5))
        shift = shift - mean * gain
    return c.affine(x, per_channel(gain, x.rank), per_channel(shift, x.rank))


@CAFFE.layer("LRN")
def lrn(c: CaffeContext) -> Value:
    x, p = c.ranked(c.x(), 4), c.param("lrn_param")
    size, alpha, beta = p.integer("local_size", 5), p.number("alpha", 1.0), p.number("beta", 0.75)
    if size < 1 or size % 2 == 0 or size >= 2**31:
        raise c.bad(f"local_size {size} must be odd")
    region = p.text("norm_region", "ACROSS_CHANNELS")
    if region in ("WITHIN_CHANNEL", "1"):
        return lrn_within(c, x, size, alpha, beta, 1.0)
    return lrn_across(c, x, size, alpha, beta, p.number("k", 1.0))


@CAFFE.layer("MVN")
def mvn(c: CaffeContext) -> Value:
    x, p = c.ranked(c.x(), 4), c.param("mvn_param")
    axes = [1, 2, 3] if p.flag("across_channels", False) else [2, 3]
    y = centred(c, x, axes)
    if not p.flag("normalize_variance", True):
        return y
    deviation = c.emit("Sqrt", [reduce(c, "ReduceMean", c.emit("Mul", [y, y]), axes, True)])
    return c.emit("Div", [y, c.affine(deviation, 1.0, p.number("eps", 1e-9))])


@CAFFE.layer("Normalize")
def normalize(c: CaffeContext) -> Value:
    """L2 norm over the channels (SSD), times a learned scale."""
    x, p = c.ranked(c.x(), 4), c.param("norm_param")
    axes = [1, 2, 3] if p.flag("across_spatial", True) else [1]
    total = reduce(c, "ReduceSumSquare", x, axes, True)
    y = c.emit("Div", [x, c.emit("Sqrt", [c.affine(total, 1.0, p.number("eps", 1e-10))])])
    if p.flag("channel_shared", True):
        return c.affine(y, c.weight(0, [1], "scale", 1.0).reshape(1, 1, 1, 1))
    return c.affine(y, per_channel(c.weight(0, [c.channels(x)], "scale", 1.0), 4))


@CAFFE.layer("Softmax")
def softmax(c: CaffeContext) -> Value:
    x = c.x()
    return c.emit("Softmax", [x], {"axis": c.normalize_axis(c.param("softmax_param").integer("axis", 1), x.rank)})


@CAFFE.layer("Reduction")
def reduction(c: CaffeContext) -> Value:
    x, p = c.x(), c.param("reduction_param")
    axis = c.normalize_axis(p.integer("axis", 0), x.rank)
    operations = {
        "SUM": "ReduceSum", "1": "ReduceSum", "ASUM": "ReduceL1", "2": "ReduceL1", "SUMSQ": "ReduceSumSquare",
        "3": "ReduceSumSquare", "MEAN": "ReduceMean", "4": "ReduceMean",
    }  # fmt: skip
    operation = p.text("operation", "SUM")
    if operation not in operations:
        raise c.bad(f"operation '{operation}', expected SUM, ASUM, SUMSQ or MEAN")
    y = reduce(c, operations[operation], x, range(axis, x.rank), False)
    return c.affine(y, p.number("coeff", 1.0))


@CAFFE.layer("ArgMax")
def arg_max(c: CaffeContext) -> Value:
    """Positions as floats: along an axis, or over everything behind the batch as [N, 1 or 2, k]."""
    x, p = c.x(), c.param("argmax_param")
    k, with_values = p.integer("top_k", 1), p.flag("out_max_val", False)
    if "axis" in p:
        axis = c.normalize_axis(p.integer("axis"), x.rank)
        values, index = c.emit_many("TopK", [x, c.i64([k])], {"axis": axis}, 2)
        return values if with_values else c.cast(index, "f32")
    if x.rank > 3 and with_values:
        raise Unsupported("ArgMax of values and positions without an axis over more than 3 dimensions")
    batch = c.dim(x, 0)
    flat = c.reshape(x, [batch, 1, -1])
    values, index = c.emit_many("TopK", [flat, c.i64([k])], {"axis": 2}, 2)
    result = c.cast(index, "f32")
    if with_values:
        return c.emit("Concat", [result, values], {"axis": 1})
    return c.reshape(result, [batch, 1, k, *[1] * (x.rank - 3)])
