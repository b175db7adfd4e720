"""From a float model and samples to a quantized model and a report: the order of the steps."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.pipeline import optimize
from edgec.converter.writer import to_bytes
from edgec.model import Model
from edgec.quantize.algorithms.per_channel import channel_scales, round_nearest, with_room_for_bias
from edgec.quantize.api import Settings
from edgec.quantize.insert import QuantizedWeight, channel_axis, insert
from edgec.quantize.observers import OBSERVERS
from edgec.quantize.parameters import Range, Scale
from edgec.quantize.placement import Placement, place
from edgec.quantize.separate import DOT, separate
from edgec.quantize.statistics import TensorStatistics, collect

Array = np.ndarray[Any, Any]
Feeds = Mapping[str, Array]


@dataclass
class Quantizer:
    """State that the steps share: the float graph, its statistics, and what was decided so far."""

    graph: Graph
    samples: Sequence[Feeds]
    options: Settings
    float_model: Model = field(init=False)
    statistics: dict[str, TensorStatistics] = field(default_factory=dict)
    placement: Placement = field(default_factory=Placement)
    ranges: dict[str, Range] = field(default_factory=dict)  # by tensor name
    scales: dict[str, Scale] = field(default_factory=dict)
    weights: dict[str, QuantizedWeight] = field(default_factory=dict)  # by node name
    biases: dict[str, Array] = field(default_factory=dict)

    def tell(self, stage: str, done: int, total: int) -> None:
        """Passes progress on to whoever asked for it."""
        if self.options.progress is not None:
            self.options.progress(stage, done, total)

    def __post_init__(self) -> None:
        separate(self.graph)
        unique_node_names(self.graph)
        self.float_model = Model.from_bytes(to_bytes(self.graph))

    def observe(self) -> None:
        """Statistics of every tensor of the float model."""
        self.statistics = collect(
            self.float_model,
            self.samples,
            self.options.threads,
            lambda i, n: self.tell("calibrate", i, n),
            len(self.samples),
        )

    def choose(self) -> None:
        """Placement, ranges and scales, weights and biases."""
        self.placement = place(self.graph, self.options.keep_float)
        observer = OBSERVERS["mse" if self.options.method == "auto" else self.options.method]
        for leader in self.placement.leaders:
            members = self.placement.members(leader)
            merged = observer(self.statistics[members[0].name])
            for v in members[1:]:
                merged = merged.union(observer(self.statistics[v.name]))
            for v in members:
                self.ranges[v.name] = merged
        self.scales = {name: Scale.of(r) for name, r in self.ranges.items()}
        for node in self.dots():
            weight, bias = constants_of(node)
            axis = channel_axis(node)
            x = node.inputs[0]
            assert x is not None
            scales = channel_scales(weight, axis, self.options.per_tensor)
            scales = with_room_for_bias(scales, bias, float(self.scales[x.name].scale))
            self.weights[node.name] = round_nearest(weight, scales, axis)
            if bias is not None:
                self.biases[node.name] = bias

    def dots(self) -> list[Node]:
        """Convolutions and products that compute in integers, in order."""
        return [n for n in self.graph.nodes if n in self.placement.nodes and n.op in DOT]

    def simulated(self) -> Graph:
        """A copy of the graph with Q/DQ, not yet optimised: every tensor keeps its name (`:real` behind its 8 bits)."""
        copy, twins = clone(self.graph)
        placement = Placement(
            {twins.nodes[n] for n in self.placement.nodes},
            [twins.values[v] for v in self.placement.tensors],
            {twins.values[v]: twins.values[g] for v, g in self.placement.groups.items()},
        )
        insert(copy, placement, self.scales, self.weights, self.biases)
        return copy

    def finished(self) -> tuple[Graph, Any]:
        """The graph that the file holds, and the report of the passes."""
        graph = self.simulated()
        report = optimize(graph)
        return graph, report


@dataclass
class Twins:
    """Original -> copy."""

    nodes: dict[Node, Node] = field(default_factory=dict)
    values: dict[Value, Value] = field(default_factory=dict)


def clone(graph: Graph) -> tuple[Graph, Twins]:
    """A graph that can be edited without the original; constants share their memory."""
    copy, twins = Graph(graph.name), Twins()
    copy.symbols, copy.probes = dict(graph.symbols), [dict(p) for p in graph.probes]
    copy.metadata = dict(graph.metadata)
    for v in graph.inputs:
        made = copy.add_input(v.name, v.declared_dtype or v.dtype, v.declared_shape)
        twins.values[v] = made
    for v in graph.constants():
        assert v.data is not None
        twins.values[v] = copy.constant(v.name, v.data)
    for n in graph.nodes:
        inputs = [None if v is None else twins.values[v] for v in n.inputs]
        made_outputs = copy.add(n.op, inputs, n.attrs, [v.name for v in n.outputs], n.name, n.source)
        twins.values.update(zip(n.outputs, made_outputs))
        producer = made_outputs[0].producer
        assert producer is not None
        twins.nodes[n] = producer
    copy.set_outputs(twins.values[v] for v in graph.outputs)
    return copy, twins


def unique_node_names(graph: Graph) -> None:
    """Decisions are kept by node name, which the IR does not promise to be unique."""
    seen: set[str] = set()
    for node in graph.nodes:
        base, i = node.name, 1
        while node.name in seen:
            node.name, i = f"{base}_{i}", i + 1
        seen.add(node.name)


def constants_of(node: Node) -> tuple[Array, Array | None]:
    """Weight and bias of a convolution or product."""
    weight, bias = node.inputs[1], node.input(2)
    assert weight is not None and weight.data is not None
    return weight.data, None if bias is None else bias.data


def quantize_graph(
    graph: Graph,
    samples: Sequence[Feeds],
    options: Settings,
    report: Mapping[str, Any] | None = None,
) -> Model:
    """A float graph (as the converter's passes leave it) -> a quantized model."""
    start = time.perf_counter()
    q = Quantizer(graph, samples, options)
    q.observe()
    q.choose()
    final, passes = q.finished()
    document: dict[str, Any] = {**(report or {}), "quantization": {"seconds": round(time.perf_counter() - start, 3)}}
    document["operators"] = {**document.get("operators", {}), "after": passes.operators_after}
    final.metadata["report"] = json.dumps(document)
    return Model.from_bytes(to_bytes(final), report=document)


__all__ = ["Quantizer", "quantize_graph"]
