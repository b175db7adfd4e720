"""DQ -> Conv2d or ConvTranspose2d -> Q becomes the integer operator; without a Q it gives f32."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.fuse_pad import spatial_pads
from edgec.converter.passes.match import array, only_use, producer
from edgec.converter.passes.quantized import (
    Array,
    Limits,
    Scaled,
    Stored,
    StoredWeight,
    before_clip,
    clip_range,
    dequantized,
    quantizer,
    real_constant,
    stored_weight,
)

CONVOLUTIONS = ("Conv2d", "ConvTranspose2d")
_WINDOW = ("strides", "dilations", "pads", "group", "output_padding")


def weight_scales(weight: StoredWeight, channel_axis: int) -> Array | None:
    """The scales [n] or [1] of a symmetric weight whose channels lie along `channel_axis`."""
    if weight.zero_point.any() or (weight.scale.size > 1 and weight.axis != channel_axis):
        return None
    return weight.scale


def integer_bias(value: Value | None, x_scale: float, scales: Array, channels: int) -> Array | None:
    """The bias in units of x_scale * scales; i32 that somebody stored so stays as it is. None: it does not fit.

    A missing bias is zeros [0 elements].
    """
    if value is None:
        return np.zeros(0, np.int32)
    unit = np.float64(np.float32(x_scale)) * scales.astype(np.float64)
    node = producer(value, "DequantizeLinear")
    stored = None if node is None or node.inputs[0] is None else node.inputs[0].data
    if node is not None and stored is not None and stored.dtype == np.int32 and stored.size == channels:
        given, zero = real_constant(node.inputs[1]), real_constant(node.input(2))
        if given is not None and (zero is None or not zero.any()) and not node.attr("block_size"):
            given = given.reshape(-1)
            if given.size in (1, channels) and np.allclose(given, unit, rtol=1e-5, atol=0):
                return stored.reshape(channels)
    real = real_constant(value)
    if real is None or real.size != channels:
        return None
    steps = np.rint(real.reshape(channels) / unit)
    return steps.astype(np.int32) if (np.abs(steps) < 2**31 - 1).all() else None


def bias_input(patch: Patch, node: Node, bias: Array) -> Value | None:
    """The constant for a bias that is not all zeros."""
    old = node.input(2)
    name = old.name if old is not None else f"{node.name}:bias"
    return patch.constant(name, bias) if bias.any() else None


def residual_of(node: Node) -> tuple[bool, Stored | None]:
    """(can be done in integers, the stored residual): only what is added before the activation can."""
    value = node.input(3) if node.op != "ConvTranspose2d" else None
    if value is None:
        return True, None
    stored = dequantized(value)
    fits = stored is not None and (node.attr("residual_mode") == "before" or node.attr("activation") == "none")
    return fits, stored if fits else None


class Parts:
    """What an integer convolution needs, collected from the float one; `why` says what was missing."""

    def __init__(self, node: Node) -> None:
        self.why = ""
        self.attrs: dict[str, Any] = {n: node.attrs[n] for n in _WINDOW if n in node.attrs}
        x, weight = dequantized(node.inputs[0]), stored_weight(node.inputs[1])
        if x is None:
            self.why = "the input is not quantized to 8 bits with one scale"
            return
        if weight is None:
            self.why = "the weights are not constant 8-bit integers"
            return
        scales = weight_scales(weight, 0)
        if scales is None:
            self.why = "the weights have zero points other than 0 or scales along another axis"
            return
        bias = integer_bias(node.input(2), x.scaled.scale, scales, weight.data.shape[0])
        if bias is None:
            self.why = "the bias is not constant or beyond 32 bits in steps of the input's and weights' scales"
            return
        self.x, self.weight, self.scales, self.bias = x, weight, scales, bias
        self.attrs.update(x.scaled.attrs("x"))

    def inputs(self, patch: Patch, node: Node) -> list[Value | None]:
        """x, weight, weight_scale, bias."""
        scale = patch.constant(f"{node.name}:scale", np.ascontiguousarray(self.scales))
        return [self.x.value, self.weight.value, scale, bias_input(patch, node, self.bias)]


@rewrite("fold-quantized-convolution", ops=("QuantizeLinear",), stages=("integers",))
def fold_quantized_convolution(graph: Graph, node: Node) -> Patch | None:
    """Q(relu or clip(Conv2d(DQ(x), DQ(weight), bias) + DQ(residual))) -> QuantizedConv2d; ConvTranspose2d alike."""
    y = quantizer(node)
    if y is None:
        return None
    value, limits, clips = before_clip(graph, node.inputs[0], y)
    conv = producer(value, *CONVOLUTIONS)
    if conv is None or value is None or not only_use(graph, value):
        return None
    made = limits_with_activation(conv, limits, y)
    fits, residual = residual_of(conv)
    parts = Parts(conv)
    if made is None or not fits or parts.why or conv.input(4 if conv.op == "Conv2d" else 3) is not None:
        return None
    patch = Patch(graph, f"{conv.op} in integers", node, [conv, *clips])
    attrs = {**parts.attrs, **y.attrs("y"), **made.attrs()}
    inputs = parts.inputs(patch, conv)
    if residual is not None:
        inputs.append(residual.value)
        attrs.update(residual.scaled.attrs("residual"))
    return patch.replace(node.outputs[0], patch.add(f"Quantized{conv.op}", inputs, attrs, name=conv.name))


def limits_with_activation(dot: Node, limits: Limits, y: Scaled) -> Limits | None:
    """Limits after the node's own activation, or None when that is no clip."""
    cut = clip_range(dot.attr("activation"), dot.attrs)
    return None if cut is None else limits.clipped(*cut, y)


@rewrite("fold-quantized-convolution-f32", ops=CONVOLUTIONS, stages=("integers-to-f32",))
def fold_quantized_convolution_f32(graph: Graph, node: Node) -> Patch | None:
    """Conv2d(DQ(x), DQ(weight), bias) whose result stays f32 -> QuantizedConv2d to f32, then residual and activation."""
    parts = Parts(node)
    if parts.why:
        return None
    patch = Patch(graph, f"{node.op} in integers, result in f32", node)
    y = patch.add(f"Quantized{node.op}", parts.inputs(patch, node), {**parts.attrs, "to": "f32"}, name=node.name)
    return patch.replace(node.outputs[0], finish_f32(patch, node, y))


@rewrite("fuse-quantized-pad", ops=("QuantizedConv2d",), stages=("finish",))
def fuse_quantized_pad(graph: Graph, node: Node) -> Patch | None:
    """QuantizedConv2d(Pad(x, zero point)) -> its own pads."""
    pad = producer(node.inputs[0], "Pad")
    pads = None if pad is None or pad.attr("mode") != "constant" else spatial_pads(pad)
    if pad is None or pads is None:
        return None
    value = np.zeros(1) if pad.input(2) is None else array(pad.input(2))
    if value is None or int(value.reshape(-1)[0]) != node.attr("x_zero_point"):
        return None
    patch = Patch(graph, "Pad into QuantizedConv2d", node, [pad])
    attrs = {**node.attrs, "pads": [p + q for p, q in zip(node.attr("pads"), pads)]}
    return patch.replace(node.outputs[0], patch.add(node.op, [pad.inputs[0], *node.inputs[1:]], attrs, name=node.name))


_ACTIVATIONS = {
    "relu": "Relu", "clip": "Clip", "leaky_relu": "LeakyRelu", "hardswish": "HardSwish", "hardsigmoid": "HardSigmoid",
    "silu": "Silu", "gelu": "Gelu", "gelu_tanh": "Gelu", "sigmoid": "Sigmoid", "tanh": "Tanh", "elu": "Elu",
    "softplus": "Softplus", "mish": "Mish",
}  # fmt: skip


def finish_f32(patch: Patch, node: Node, y: Value) -> Value:
    """Residual and activation of a convolution or product as nodes of their own."""
    residual = node.input(3) if node.op != "ConvTranspose2d" else None
    before = node.op == "ConvTranspose2d" or node.attr("residual_mode") == "before"
    if residual is not None and before:
        y = patch.add("Add", [y, residual])
    name = node.attr("activation")
    if name == "prelu":
        y = patch.add("PRelu", [y, node.inputs[3 if node.op == "ConvTranspose2d" else 4]])
    elif name != "none":
        alpha, beta = node.attr("activation_alpha"), node.attr("activation_beta")
        attrs: dict[str, Any] = {}
        if name == "clip":
            attrs = {"min": alpha, "max": beta}
        elif name in ("leaky_relu", "elu"):
            attrs = {"alpha": alpha}
        elif name == "hardsigmoid":
            attrs = {"alpha": alpha, "beta": beta}
        elif name == "gelu_tanh":
            attrs = {"approximate": "tanh"}
        y = patch.add(_ACTIVATIONS[name], [y], attrs)
    if residual is not None and not before:
        y = patch.add("Add", [y, residual])
    return y
