"""An activation that alone reads a convolution or product becomes its epilogue."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph, Node
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.fuse_affine import DOT, output_channels
from edgec.converter.passes.match import close, is_f32, only_use, per_last_dim, producer

# Operators without attributes -> name of the activation.
_PLAIN = {
    "Relu": "relu",
    "HardSwish": "hardswish",
    "Silu": "silu",
    "Sigmoid": "sigmoid",
    "Tanh": "tanh",
    "Softplus": "softplus",
    "Mish": "mish",
}


def activation_of(node: Node) -> dict[str, Any] | None:
    """Attributes that make an epilogue of the node, or None when it is no activation."""
    if node.op in _PLAIN:
        return {"activation": _PLAIN[node.op]}
    if node.op == "Gelu":
        return {"activation": "gelu_tanh" if node.attr("approximate") == "tanh" else "gelu"}
    if node.op == "Clip":
        return {"activation": "clip", "activation_alpha": node.attr("min"), "activation_beta": node.attr("max")}
    if node.op in ("LeakyRelu", "Elu"):
        name = "leaky_relu" if node.op == "LeakyRelu" else "elu"
        return {"activation": name, "activation_alpha": node.attr("alpha")}
    if node.op == "HardSigmoid":
        return {
            "activation": "hardsigmoid",
            "activation_alpha": node.attr("alpha"),
            "activation_beta": node.attr("beta"),
        }
    return None


@rewrite("fuse-activation", ops=(*_PLAIN, "Gelu", "Clip", "LeakyRelu", "Elu", "HardSigmoid"), stages=("fuse",))
def fuse_activation(graph: Graph, node: Node) -> Patch | None:
    """Conv2d, ConvTranspose2d or MatMul, then an activation -> one node."""
    x = node.inputs[0]
    dot = producer(x, *DOT)
    if dot is None or x is None or not only_use(graph, x) or not is_f32(*dot.inputs, *node.inputs, *node.outputs):
        return None
    if dot.attr("activation") != "none":
        return None
    attrs = activation_of(node)
    if attrs is None:
        return None
    patch = Patch(graph, f"{dot.op} + {node.op}", node, [dot])
    # Without an activation both residual modes mean the same; what follows the sum comes after the residual.
    mode = {"residual_mode": "before"} if dot.op != "ConvTranspose2d" and dot.input(3) is not None else {}
    new = patch.add(dot.op, dot.inputs, {**dot.attrs, **mode, **attrs}, name=dot.name)
    return patch.replace(node.outputs[0], new)


@rewrite("fuse-prelu", ops=("PRelu",), stages=("fuse",))
def fuse_prelu(graph: Graph, node: Node) -> Patch | None:
    """Convolution, then PRelu with a slope per channel -> one node. (MatMul has no slope input.)"""
    x, slope = node.inputs
    conv = producer(x, "Conv2d", "ConvTranspose2d")
    if conv is None or x is None or not only_use(graph, x) or not is_f32(*conv.inputs, *node.inputs):
        return None
    channels = output_channels(conv)
    values = per_last_dim(slope, channels)
    if values is None or slope is None or conv.attr("activation") != "none" or x.types != node.outputs[0].types:
        return None
    patch = Patch(graph, f"{conv.op} + PRelu", node, [conv])
    if close(float(values.min()), float(values.max())):
        attrs = {"activation": "leaky_relu", "activation_alpha": float(values[0])}
        return patch.replace(node.outputs[0], patch.add(conv.op, conv.inputs, {**conv.attrs, **attrs}, name=conv.name))
    position = 4 if conv.op == "Conv2d" else 3
    inputs = [*conv.inputs, *[None] * (position - len(conv.inputs))][:position]
    inputs.append(patch.constant(slope.name, np.ascontiguousarray(values)))
    attrs = {**conv.attrs, "activation": "prelu"}
    if conv.op == "Conv2d" and conv.input(3) is not None:
        attrs["residual_mode"] = "before"
    return patch.replace(node.outputs[0], patch.add(conv.op, inputs, attrs, name=conv.name))
