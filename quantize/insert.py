"""Writes a placement into the graph as QuantizeLinear and DequantizeLinear, the only form of a quantized model in the IR."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.quantize.parameters import BIAS_LIMIT, SMALLEST_SCALE, WEIGHT_LIMIT, Scale
from edgec.quantize.placement import Placement
from edgec.quantize.separate import DOT

Array = np.ndarray[Any, Any]

REAL = ":real"  # name of a tensor after its trip through 8 bits


@dataclass(frozen=True)
class QuantizedWeight:
    """i8 values and one scale per output channel; the channel's axis."""

    values: Array
    scales: Array
    axis: int

    @property
    def real(self) -> Array:
        """The weights that the integers stand for."""
        shape = [1] * self.values.ndim
        shape[self.axis] = -1
        return (self.values.astype(np.float32) * self.scales.reshape(shape)).astype(np.float32)


def channel_axis(node: Node) -> int:
    """Axis of the output channels in the weight of a convolution or product."""
    return 0 if node.op != "MatMul" or node.attr("transpose_b") else 1


def insert(
    graph: Graph,
    placement: Placement,
    scales: Mapping[str, Scale],
    weights: Mapping[str, QuantizedWeight],
    biases: Mapping[str, Array],
) -> None:
    """Edits the graph in place. scales: by tensor name; weights: by node name; biases (f32): by node name."""
    real: dict[Value, Value] = {}
    for v in placement.tensors:
        real[v] = _round_trip(graph, v, scales[v.name])
    for node in [n for n in graph.nodes if n in placement.nodes]:
        inputs = list(node.inputs)
        if node.op in DOT:
            x = inputs[0]
            assert x is not None
            _dot_constants(graph, node, inputs, weights[node.name], biases.get(node.name), scales[x.name])
        elif node.op in ("Add", "Sub", "Mul"):
            inputs = [_constant(graph, node, v) if v is not None and v.is_constant else v for v in inputs]
        graph.set_inputs(node, inputs)
    for v, rounded in real.items():
        only_integers = v.producer is not None and v.producer in placement.nodes
        for user in dict.fromkeys(v.consumers):
            if user.op == "QuantizeLinear" or not (only_integers or user in placement.nodes):
                continue
            graph.set_inputs(
                user, [rounded if i is v and _is_data(user, k, placement) else i for k, i in enumerate(user.inputs)]
            )
        if graph.is_output(v) and only_integers:
            graph.outputs = [rounded if o is v else o for o in graph.outputs]
            graph.take_name(rounded, v)


def _is_data(node: Node, index: int, placement: Placement) -> bool:
    """Shape inputs and the like are read as they are; they are never quantized tensors anyhow."""
    return node not in placement.nodes or node.op in ("Add", "Sub", "Mul", "Concat") or index in (0, 3)


def _round_trip(graph: Graph, v: Value, scale: Scale) -> Value:
    before = v.producer.next if v.producer is not None else (graph.nodes[0] if len(graph) else None)
    s = graph.constant(f"{v.name}:scale", np.float32(scale.scale))
    z = graph.constant(f"{v.name}:zero", np.int8(scale.zero_point))
    (q,) = graph.add("QuantizeLinear", [v, s, z], outputs=[f"{v.name}:i8"], name=f"{v.name}:quantize", before=before)
    (d,) = graph.add(
        "DequantizeLinear", [q, s, z], outputs=[f"{v.name}{REAL}"], name=f"{v.name}:dequantize", before=before
    )
    return d


def _dot_constants(
    graph: Graph, node: Node, inputs: list[Value | None], weight: QuantizedWeight, bias: Array | None, x: Scale
) -> None:
    stored = graph.constant(f"{node.name}:weight_i8", weight.values)
    scales = graph.constant(f"{node.name}:weight_scale", weight.scales)
    (inputs[1],) = graph.add(
        "DequantizeLinear", [stored, scales], {"axis": weight.axis}, name=f"{node.name}:weight", before=node
    )
    if bias is None:
        return
    real = (np.float64(x.scale) * weight.scales.astype(np.float64)).astype(np.float32)
    values = np.clip(np.rint(bias.astype(np.float64) / real), -BIAS_LIMIT, BIAS_LIMIT).astype(np.int32)
    held = graph.constant(f"{node.name}:bias_i32", values)
    scale = graph.constant(f"{node.name}:bias_scale", real)
    (made,) = graph.add("DequantizeLinear", [held, scale], {"axis": 0}, name=f"{node.name}:bias", before=node)
    while len(inputs) < 3:
        inputs.append(None)
    inputs[2] = made


def _constant(graph: Graph, node: Node, v: Value) -> Value:
    """An operand of Add, Sub or Mul that is a constant."""
    assert v.data is not None
    largest = float(np.abs(v.data).max(initial=0.0))
    scale = np.float32(max(largest / WEIGHT_LIMIT, SMALLEST_SCALE))
    values = np.clip(np.rint(v.data / scale), -WEIGHT_LIMIT, WEIGHT_LIMIT).astype(np.int8)
    stored, s = graph.constant(f"{v.name}:i8", values), graph.constant(f"{v.name}:scale", scale)
    (made,) = graph.add("DequantizeLinear", [stored, s], name=f"{v.name}:dequantize", before=node)
    return made
