"""DQ -> MatMul -> Q becomes QuantizedMatMul; without a Q it gives f32."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes import fold_quantized_convolution as convolution
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.fold_quantized_convolution import (
    bias_input,
    finish_f32,
    integer_bias,
    limits_with_activation,
    residual_of,
)
from edgec.converter.passes.match import only_use, producer
from edgec.converter.passes.quantized import Array, before_clip, dequantized, quantizer, stored_weight


class Parts:
    """What an integer product needs, collected from the float one; `why` says what was missing."""

    def __init__(self, node: Node) -> None:
        self.why = ""
        a, b = node.inputs[0], node.inputs[1]
        left = dequantized(a)
        if left is None:
            self.why = "the left operand is not quantized to 8 bits with one scale"
            return
        if a is None or b is None or a.rank < 2 or b.rank < 2:
            self.why = "operands with one dimension have no integer kernel"
            return
        self.transpose_b = int(node.attr("transpose_b"))
        self.transpose_a = int(node.attr("transpose_a"))
        self.right: Value
        self.scales: Array
        weight = stored_weight(b)
        columns = b.shape[-2 if self.transpose_b else -1]
        self.attrs: dict[str, Any] = {"transpose_b": self.transpose_b, **left.scaled.attrs("a")}
        if weight is not None:
            axis = b.rank - (2 if self.transpose_b else 1)
            same_zero = bool((weight.zero_point == weight.zero_point[0]).all())
            if not same_zero or (weight.scale.size > 1 and weight.axis != axis):
                self.why = "the weights have several zero points or scales along another axis"
                return
            self.right, self.scales = weight.value, weight.scale
            self.attrs["b_zero_point"] = int(weight.zero_point[0])
        else:
            right = dequantized(b)
            if right is None:
                self.why = "the right operand is not quantized to 8 bits with one scale"
                return
            self.right = right.value
            self.scales = np.array([right.scaled.scale], np.float32)
            self.attrs["b_zero_point"] = right.scaled.zero_point
        bias = np.zeros(0, np.int32)
        if node.input(2) is not None:
            found = None if columns is None else integer_bias(node.input(2), left.scaled.scale, self.scales, columns)
            if found is None:
                self.why = "the bias is not constant or beyond 32 bits in steps of the operands' scales"
                return
            bias = found
        self.left, self.bias = left, bias

    def inputs(self, patch: Patch, node: Node) -> list[Value | None]:
        """a, b, b_scale, bias."""
        a = self.left.value
        if self.transpose_a:
            perm = [*range(a.rank - 2), a.rank - 1, a.rank - 2]
            a = patch.add("Transpose", [a], {"perm": perm})
        scale = patch.constant(f"{node.name}:scale", np.ascontiguousarray(self.scales))
        return [a, self.right, scale, bias_input(patch, node, self.bias)]


@rewrite("fold-quantized-matmul", ops=("QuantizeLinear",), stages=("integers",))
def fold_quantized_matmul(graph: Graph, node: Node) -> Patch | None:
    """Q(relu or clip(MatMul(DQ(a), DQ(b), bias) + DQ(residual))) -> QuantizedMatMul."""
    y = quantizer(node)
    if y is None:
        return None
    value, limits, clips = before_clip(graph, node.inputs[0], y)
    dot = producer(value, "MatMul")
    if dot is None or value is None or not only_use(graph, value):
        return None
    made = limits_with_activation(dot, limits, y)
    fits, residual = residual_of(dot)
    parts = Parts(dot)
    if made is None or not fits or parts.why or dot.input(4) is not None:
        return None
    patch = Patch(graph, "MatMul in integers", node, [dot, *clips])
    inputs = parts.inputs(patch, dot)
    attrs = {**parts.attrs, **y.attrs("y"), **made.attrs()}
    if residual is not None:
        inputs.append(residual.value)
        attrs.update(residual.scaled.attrs("residual"))
    return patch.replace(node.outputs[0], patch.add("QuantizedMatMul", inputs, attrs, name=dot.name))


@rewrite("fold-quantized-matmul-f32", ops=("MatMul",), stages=("integers-to-f32",))
def fold_quantized_matmul_f32(graph: Graph, node: Node) -> Patch | None:
    """MatMul(DQ(a), DQ(b), bias) whose result stays f32 -> QuantizedMatMul to f32, then residual and activation."""
    parts = Parts(node)
    if parts.why:
        return None
    patch = Patch(graph, "MatMul in integers, result in f32", node)
    y = patch.add("QuantizedMatMul", parts.inputs(patch, node), {**parts.attrs, "to": "f32"}, name=node.name)
    return patch.replace(node.outputs[0], finish_f32(patch, node, y))


@rewrite("fold-quantized-product-i32", ops=("Cast",), stages=("integers",))
def fold_quantized_product_i32(graph: Graph, node: Node) -> Patch | None:
    """Cast to i32 of MatMul or Conv2d over integers less their zero points (all scales 1) -> the integer sums."""
    y = node.outputs[0]
    dot = producer(node.inputs[0], "MatMul", "Conv2d")
    if dot is None or y.dtype != "i32" or any(dot.input(i) is not None for i in (2, 3, 4)):
        return None
    if dot.attr("activation") != "none":
        return None
    parts = Parts(dot) if dot.op == "MatMul" else convolution.Parts(dot)
    if parts.why or parts.attrs["a_scale" if dot.op == "MatMul" else "x_scale"] != 1.0 or (parts.scales != 1).any():
        return None
    patch = Patch(graph, f"{dot.op} of integers", node, [dot])
    attrs = {**parts.attrs, "to": "i32"}
    return patch.replace(y, patch.add(f"Quantized{dot.op}", parts.inputs(patch, dot), attrs, name=dot.name))
