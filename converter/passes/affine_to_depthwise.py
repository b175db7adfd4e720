"""Mul, Add and an activation that nothing could take in are one pass over the tensor: a depthwise 1x1 convolution.

Preactivation networks (DenseNet, ESPNet) normalise what they concatenated, so no convolution precedes the BatchNorm.
On [1, 128, 256, 64] with PRelu the three elementwise steps took 0.98 ms and the convolution 0.45 ms (one thread of an
AVX-512 server); Mul and Add without an activation took 0.38 ms and stay.
"""

from __future__ import annotations

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.fuse_activation import activation_of
from edgec.converter.passes.match import is_f32, only_use, per_last_dim, producer

_ACTIVATIONS = ("Relu", "Clip", "LeakyRelu", "HardSwish", "Silu", "Sigmoid", "Tanh", "Elu", "Gelu", "Mish", "PRelu")
_LEAST_CHANNELS = 8


def _constant_operand(node: Node, channels: int) -> tuple[Value, np.ndarray] | None:
    """(x, constant per channel) of a Mul or Add."""
    for x, c in (node.inputs, node.inputs[::-1]):
        data = per_last_dim(c, channels)
        if data is not None and x is not None and not x.is_constant and x.types == node.outputs[0].types:
            return x, data
    return None


@rewrite("affine-to-depthwise", ops=_ACTIVATIONS, stages=("finish",))
def affine_to_depthwise(graph: Graph, node: Node) -> Patch | None:
    """activation(x * a + b) with a and b per channel of an NHWC tensor -> depthwise 1x1 Conv2d."""
    y, shifted = node.outputs[0], node.inputs[0]
    channels = y.shape[-1] if y.rank == 4 else None
    add = producer(shifted, "Add")
    if channels is None or channels < _LEAST_CHANNELS or add is None or shifted is None:
        return None
    shift = _constant_operand(add, channels)
    mul = None if shift is None else producer(shift[0], "Mul")
    scale = None if mul is None else _constant_operand(mul, channels)
    if shift is None or mul is None or scale is None or not is_f32(*node.inputs, *add.inputs, *mul.inputs):
        return None
    if not only_use(graph, shifted) or not only_use(graph, shift[0]):
        return None
    attrs = activation_of(node)
    slope: Value | None = None
    patch = Patch(graph, f"Mul + Add + {node.op} made a depthwise convolution", node, [add, mul])
    if node.op == "PRelu":
        values = per_last_dim(node.inputs[1], channels)
        if values is None:
            return None
        attrs, slope = {"activation": "prelu"}, patch.constant(f"{node.name}:slope", np.ascontiguousarray(values))
    if attrs is None:
        return None
    weight = patch.constant(f"{mul.name}:weight", scale[1].reshape(channels, 1, 1, 1))
    bias = patch.constant(f"{add.name}:bias", np.ascontiguousarray(shift[1]))
    new = patch.add("Conv2d", [scale[0], weight, bias, None, slope], {**attrs, "group": channels})
    return patch.replace(y, new)
