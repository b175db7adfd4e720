"""Takes apart what one integer operator cannot do: activations that become tables, sums behind an activation.

An integer convolution ends in a clamp. Every other activation is a table of its 8-bit input, so that the tensor between
both needs statistics and a scale of its own. Layers that stay in floating point are fused again afterwards.
"""

from __future__ import annotations

from typing import Any

from edgec import _core
from edgec.converter.ir.graph import Graph, Node, Value

DOT = ("Conv2d", "ConvTranspose2d", "MatMul")
CLAMPS = ("none", "relu", "clip")

# Activation -> operator, and the attributes that take activation_alpha and activation_beta.
_OPERATORS: dict[str, tuple[str, tuple[str, ...], dict[str, Any]]] = {
    "relu": ("Relu", (), {}),
    "clip": ("Clip", ("min", "max"), {}),
    "leaky_relu": ("LeakyRelu", ("alpha",), {}),
    "elu": ("Elu", ("alpha",), {}),
    "hardsigmoid": ("HardSigmoid", ("alpha", "beta"), {}),
    "hardswish": ("HardSwish", (), {}),
    "silu": ("Silu", (), {}),
    "gelu": ("Gelu", (), {"approximate": "none"}),
    "gelu_tanh": ("Gelu", (), {"approximate": "tanh"}),
    "sigmoid": ("Sigmoid", (), {}),
    "tanh": ("Tanh", (), {}),
    "softplus": ("Softplus", (), {}),
    "mish": ("Mish", (), {}),
    "prelu": ("PRelu", (), {}),
}


def expand_weights(graph: Graph) -> None:
    """Weights that were stored in 8 bits, with activations in floating point, become f32 constants: they get new scales."""
    for node in graph.nodes:
        if node.op != "DequantizeLinear" or not all(v is None or v.is_constant for v in node.inputs):
            continue
        arrays = [None if v is None else v.data for v in node.inputs]
        (real,) = _core.evaluate(node.op, node.attrs, arrays, 1)
        graph.replace_uses(node.outputs[0], graph.constant(f"{node.outputs[0].name}:f32", real))
        graph.remove(node)


def separate(graph: Graph) -> None:
    """Splits in place; what the graph computes and the names of its tensors stay."""
    for node in graph.nodes:
        if node.op not in DOT:
            continue
        activation = str(node.attr("activation"))
        residual = None if node.op == "ConvTranspose2d" else node.input(3)
        behind = residual is not None and activation != "none" and node.attr("residual_mode") == "after"
        if activation in CLAMPS and not behind:
            continue
        _split(graph, node, activation, residual if behind else None)


def _split(graph: Graph, node: Node, activation: str, added: Value | None) -> None:
    attrs = {k: v for k, v in node.attrs.items() if not k.startswith("activation") and k != "residual_mode"}
    slope = None
    inputs = list(node.inputs)
    if activation == "prelu":
        position = 3 if node.op == "ConvTranspose2d" else 4
        slope, inputs = inputs[position], inputs[:position]
    if added is not None:
        inputs = inputs[:3]
    keep = activation in CLAMPS and added is not None
    if keep:
        attrs.update({k: v for k, v in node.attrs.items() if k.startswith("activation")})
    old = node.outputs[0]
    (value,) = graph.add(node.op, inputs, attrs, [f"{old.name}:linear"], node.name, node.source, before=node)
    if not keep:
        op, names, fixed = _OPERATORS[activation]
        given = dict(zip(names, (node.attr("activation_alpha"), node.attr("activation_beta"))))
        operands = [value] if slope is None else [value, slope]
        (value,) = graph.add(op, operands, {**fixed, **given}, name=f"{node.name}:{activation}", before=node)
    if added is not None:
        (value,) = graph.add("Add", [value, added], name=f"{node.name}:residual", before=node)
    graph.replace_uses(old, value)
    graph.remove(node)
    graph.take_name(value, old)
