"""Normalisations. Batch normalisation becomes a multiplication and an addition with constants."""

from __future__ import annotations

import numpy as np

from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.registry import MICROSOFT, Unsupported, onnx_op
from edgec.converter.ir.graph import Value


def per_channel(c: Context, vector: Value, rank: int) -> Value:
    """[C] -> [C,1,...,1], to broadcast over the dimensions behind the channels."""
    return c.reshape(vector, [c.dim(vector, 0), *[1] * max(rank - 2, 0)])


@onnx_op("BatchNormalization", "SpatialBatchNormalization")
def batch_normalization(c: Context) -> list[Value]:
    x, gamma, beta, mean, variance = (c.need(i) for i in range(5))
    epsilon = float(c.attr("epsilon", 1e-5))
    training = bool(c.attr("training_mode", 0)) if c.opset >= 14 else False
    if c.opset < 9 and not c.attr("spatial", 1):
        raise Unsupported("BatchNormalization with spatial=0")
    extra: list[Value] = []
    if training:
        axes = [i for i in range(x.rank) if i != 1]
        batch_mean = c.emit("ReduceMean", [x], {"axes": axes, "keepdims": 0})
        centred = c.emit("Sub", [x, per_channel(c, batch_mean, x.rank)])
        batch_variance = c.emit("ReduceMean", [c.emit("Mul", [centred, centred])], {"axes": axes, "keepdims": 0})
        momentum = float(c.attr("momentum", 0.9))
        for old, new in ((mean, batch_mean), (variance, batch_variance)):
            kept = c.emit("Mul", [old, c.like(momentum, old)])
            extra.append(c.emit("Add", [kept, c.emit("Mul", [new, c.like(1 - momentum, new)])]))
        mean, variance = batch_mean, batch_variance
    data = [c.static(v) for v in (gamma, beta, mean, variance)]
    if all(d is not None for d in data):
        # In double precision: the two roundings of f32 would otherwise show up in every channel.
        g, b, m, v = (np.asarray(d, np.float64) for d in data)
        factor = g / np.sqrt(v + epsilon)
        shape = [-1, *[1] * max(x.rank - 2, 0)]
        scale = c.like(factor.reshape(shape), x)
        shift = c.like((b - m * factor).reshape(shape), x)
        return [c.emit("Add", [c.emit("Mul", [x, scale]), shift]), *extra]
    variance = c.emit("Add", [variance, c.like(epsilon, variance)])
    factor_value = c.emit("Div", [gamma, c.emit("Sqrt", [variance])])
    offset = c.emit("Sub", [beta, c.emit("Mul", [mean, factor_value])])
    y = c.emit("Mul", [x, c.cast(per_channel(c, factor_value, x.rank), x.dtype)])
    return [c.emit("Add", [y, c.cast(per_channel(c, offset, x.rank), x.dtype)]), *extra]


def group_norm(c: Context, x: Value, groups: int, scale: Value | None, bias: Value | None, epsilon: float) -> Value:
    """GroupNorm of a channels-first tensor of any rank."""
    if x.rank == 2:
        x3 = c.unsqueeze(x, [2])
        return c.squeeze(group_norm(c, x3, groups, scale, bias, epsilon), [2])
    last = c.transpose(x, [0, *range(2, x.rank), 1])
    y = c.emit("GroupNorm", [last, scale, bias], {"groups": groups, "epsilon": epsilon})
    return c.transpose(y, [0, x.rank - 1, *range(1, x.rank - 1)])


@onnx_op("InstanceNormalization")
def instance_normalization(c: Context) -> Value:
    x = c.need(0)
    channels = x.shape[1]
    if channels is None:
        raise Unsupported("InstanceNormalization over a symbolic number of channels")
    return group_norm(c, x, channels, c.need(1), c.need(2), float(c.attr("epsilon", 1e-5)))


@onnx_op("GroupNormalization")
def group_normalization(c: Context) -> Value:
    x, scale, bias = c.need(0), c.need(1), c.need(2)
    groups, channels = int(c.need_attr("num_groups")), x.shape[1]
    if channels is None or groups < 1 or channels % groups:
        raise Unsupported(f"GroupNormalization of {channels} channels in {groups} groups")
    if c.opset < 21 and scale.shape[0] == groups and groups != channels:  # one factor per group in opset 18
        repeat = channels // groups

        def spread(v: Value) -> Value:
            wide = c.emit("Expand", [c.reshape(v, [groups, 1]), c.i64([groups, repeat])])
            return c.reshape(wide, [channels])

        scale, bias = spread(scale), spread(bias)
    return group_norm(c, x, groups, scale, bias, float(c.attr("epsilon", 1e-5)))


def layer_norm(c: Context, x: Value, scale: Value | None, bias: Value | None, axis: int, epsilon: float) -> Value:
    normalized = x.shape[axis:]
    fits = all(v is None or tuple(v.shape) == tuple(normalized) for v in (scale, bias))
    attrs = {"axis": axis - x.rank, "epsilon": epsilon}
    if fits:
        return c.emit("LayerNorm", [x, scale, bias], attrs)
    y = c.emit("LayerNorm", [x], attrs)
    y = y if scale is None else c.emit("Mul", [y, scale])
    return y if bias is None else c.emit("Add", [y, bias])


@onnx_op("LayerNormalization")
def layer_normalization(c: Context) -> list[Value]:
    x, epsilon = c.need(0), float(c.attr("epsilon", 1e-5))
    axis = c.axis(int(c.attr("axis", -1)), x)
    results = [layer_norm(c, x, c.input(1), c.input(2), axis, epsilon)]
    if c.wants(1) or c.wants(2):
        axes = list(range(axis, x.rank))
        mean = c.emit("ReduceMean", [x], {"axes": axes, "keepdims": 1})
        centred = c.emit("Sub", [x, mean])
        variance = c.emit("ReduceMean", [c.emit("Mul", [centred, centred])], {"axes": axes, "keepdims": 1})
        results += [mean, c.emit("Rsqrt", [c.emit("Add", [variance, c.like(epsilon, variance)])])]
    return results


def rms_norm(c: Context, x: Value, scale: Value | None, axis: int, epsilon: float) -> Value:
    fits = scale is None or tuple(scale.shape) == tuple(x.shape[axis:])
    y = c.emit("RMSNorm", [x, scale if fits else None], {"axis": axis - x.rank, "epsilon": epsilon})
    return y if fits or scale is None else c.emit("Mul", [y, scale])


@onnx_op("RMSNormalization")
def rms_normalization(c: Context) -> Value:
    x = c.need(0)
    axis = c.axis(int(c.attr("axis", -1)), x)
    return rms_norm(c, x, c.input(1), axis, float(c.attr("epsilon", 1e-5)))


@onnx_op("SimplifiedLayerNormalization")
@onnx_op("SimplifiedLayerNormalization", domain=MICROSOFT)
def simplified_layer_normalization(c: Context) -> list[Value]:
    x, epsilon = c.need(0), float(c.attr("epsilon", 1e-5))
    axis = c.axis(int(c.attr("axis", -1)), x)
    return [rms_norm(c, x, c.input(1), axis, epsilon)]


@onnx_op("SkipLayerNormalization", domain=MICROSOFT)
def skip_layer_normalization(c: Context) -> list[Value | None]:
    total = c.emit("Add", [c.need(0), c.need(1)])
    if c.input(4) is not None:
        total = c.emit("Add", [total, c.need(4)])
    y = layer_norm(c, total, c.input(2), c.input(3), total.rank - 1, float(c.attr("epsilon", 1e-12)))
    return [y, None, None, total]


@onnx_op("SkipSimplifiedLayerNormalization", domain=MICROSOFT)
def skip_simplified_layer_normalization(c: Context) -> list[Value | None]:
    total = c.emit("Add", [c.need(0), c.need(1)])
    if c.input(3) is not None:
        total = c.emit("Add", [total, c.need(3)])
    y = rms_norm(c, total, c.input(2), total.rank - 1, float(c.attr("epsilon", 1e-5)))
    return [y, None, None, total]


@onnx_op("GroupNorm", domain=MICROSOFT)
def microsoft_group_norm(c: Context) -> Value:
    x = c.need(0)
    if int(c.attr("channels_last", 1)):
        y = c.emit(
            "GroupNorm",
            [x, c.need(1), c.need(2)],
            {"groups": int(c.need_attr("groups")), "epsilon": float(c.attr("epsilon", 1e-5))},
        )
    else:
        y = group_norm(c, x, int(c.need_attr("groups")), c.need(1), c.need(2), float(c.attr("epsilon", 1e-5)))
    return c.emit("Silu", [y]) if c.attr("activation", 0) else y


@onnx_op("LRN")
def local_response_normalization(c: Context) -> Value:
    x = c.need(0)
    attrs = {
        "size": int(c.need_attr("size")),
        "alpha": float(c.attr("alpha", 1e-4)),
        "beta": float(c.attr("beta", 0.75)),
        "bias": float(c.attr("bias", 1.0)),
    }
    last = c.transpose(x, [0, *range(2, x.rank), 1])
    y = c.emit("LocalResponseNorm", [last], {**attrs, "axis": -1})
    return c.transpose(y, [0, x.rank - 1, *range(1, x.rank - 1)])


@onnx_op("LpNormalization")
def lp_normalization(c: Context) -> Value:
    x = c.need(0)
    axis = c.axis(int(c.attr("axis", -1)), x)
    norm = c.emit("ReduceL1" if c.attr("p", 2) == 1 else "ReduceL2", [x], {"axes": [axis], "keepdims": 1})
    # 0 / 0 is defined as 0 here.
    safe = c.emit("Where", [c.emit("Equal", [norm, c.like(0, norm)]), c.like(1, norm), norm])
    return c.emit("Div", [x, safe])


@onnx_op("MeanVarianceNormalization")
def mean_variance_normalization(c: Context) -> Value:
    x = c.need(0)
    axes = sorted(c.axis(a, x) for a in c.attr("axes", [0, 2, 3]))
    attrs = {"axes": axes, "keepdims": 1}
    centred = c.emit("Sub", [x, c.emit("ReduceMean", [x], attrs)])
    deviation = c.emit("Sqrt", [c.emit("ReduceMean", [c.emit("Mul", [centred, centred])], attrs)])
    return c.emit("Div", [centred, c.emit("Add", [deviation, c.like(1e-9, deviation)])])
