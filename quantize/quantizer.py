"""From a float model and samples to a quantized model and a report: the order of the steps."""

from __future__ import annotations

import functools
import json
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.pipeline import optimize
from edgec.converter.writer import to_bytes
from edgec.model import Model
from edgec.quantize.algorithms.cross_layer_equalization import Change, equalize
from edgec.quantize.algorithms.per_channel import channel_scales, round_nearest, with_room_for_bias
from edgec.quantize.api import Settings
from edgec.quantize.budget import bargains, ranking, search
from edgec.quantize.clone import clone
from edgec.quantize.data import spread
from edgec.quantize.insert import QuantizedWeight, channel_axis, insert
from edgec.quantize.layerwise import Fit, fit
from edgec.quantize.metrics import metric
from edgec.quantize.observers import OBSERVERS
from edgec.quantize.observers.auto import affordable, choose, harm
from edgec.quantize.parameters import Range, Scale
from edgec.quantize.placement import Placement, place
from edgec.quantize.probe import Probe
from edgec.quantize.report import document as make_document
from edgec.quantize.report import macs_by_node
from edgec.quantize.separate import DOT, expand_weights, separate
from edgec.quantize.statistics import TensorStatistics, collect
from edgec.session import Session

Array = np.ndarray[Any, Any]
Feeds = Mapping[str, Array]

# Samples for the measurement of ranges, and for the fit of rounding and biases, whose memory grows with them.
PROBE_SAMPLES, FIT_SAMPLES = 48, 48
# The fit keeps the live tensors of two networks for all its samples: about so many bytes.
FIT_BYTES = 768 << 20
# Samples on which outputs are compared, and rows of the report that the file itself keeps.
REPORT_SAMPLES, STORED_LAYERS = 64, 8


@dataclass
class Quantizer:
    """State that the steps share: the float graph, its statistics, and what was decided so far."""

    graph: Graph
    samples: Sequence[Feeds]
    options: Settings
    float_model: Model = field(init=False)
    statistics: dict[str, TensorStatistics] = field(default_factory=dict)
    before_equalization: dict[str, TensorStatistics] = field(default_factory=dict)
    changes: list[Change] = field(default_factory=list)
    placement: Placement = field(default_factory=Placement)
    ranges: dict[str, Range] = field(default_factory=dict)  # by tensor name
    methods: dict[str, str] = field(default_factory=dict)
    scales: dict[str, Scale] = field(default_factory=dict)
    weights: dict[str, QuantizedWeight] = field(default_factory=dict)  # by node name
    biases: dict[str, Array] = field(default_factory=dict)
    bargains: dict[str, str] = field(default_factory=dict)  # nodes in floating point by their own choice -> why
    saturated: list[str] = field(default_factory=list)  # nodes whose weight scale a large bias has widened
    fit: Fit = field(init=False)

    def tell(self, stage: str, done: int, total: int) -> None:
        """Passes progress on to whoever asked for it."""
        if self.options.progress is not None:
            self.options.progress(stage, done, total)

    def __post_init__(self) -> None:
        expand_weights(self.graph)
        separate(self.graph)
        unique_node_names(self.graph)

    def observe(self) -> None:
        """Statistics of every tensor of the float model; channels are equalised where that helps."""
        self.float_model = Model.from_bytes(to_bytes(self.graph))
        self._collect()
        if self.options.equalize:
            self.changes = equalize(self.graph, self.statistics)
            if self.changes:
                self.before_equalization = self.statistics
                self._collect()

    def _collect(self) -> None:
        model = Model.from_bytes(to_bytes(self.graph))
        self.statistics = collect(
            model, self.samples, self.options.threads, lambda i, n: self.tell("calibrate", i, n), len(self.samples)
        )

    def choose(self, also_float: Sequence[str] = ()) -> None:
        """Placement, ranges and scales, weights and biases; ranges that were measured once are kept."""
        first = not self.methods
        probe = self._choose_ranges([*also_float, *self.bargains])
        if first and probe is not None:
            self.bargains = bargains(self, probe, macs_by_node(self.float_model))
            if self.bargains:
                self._choose_ranges([*also_float, *self.bargains])
        for name, reason in self.bargains.items():
            if name in self.placement.reasons:
                self.placement.reasons[name] = reason
        self._choose_weights()

    def _choose_ranges(self, also_float: Sequence[str]) -> Probe | None:
        self.placement = place(self.graph, [*self.options.keep_float, *also_float])
        self.ranges, self.scales, self.weights, self.biases = {}, {}, {}, {}
        probe = None
        if self.options.method == "auto" and any(v.name not in self.methods for v in self.placement.leaders):
            probe = Probe(self.graph, self.placement, self.few(PROBE_SAMPLES), self.options.threads)
        leaders = self.placement.leaders
        measured = 0
        if probe is not None:
            samples, measured = affordable(self._work_per_run(), len(leaders), len(OBSERVERS))
            probe.keep(samples)
        proposals = {leader: self._proposals(leader) for leader in leaders}
        if probe is not None:  # the worst first: the work may not suffice for all
            leaders.sort(key=lambda v: -harm(probe, v.name, proposals[v]["minmax"]))
        for i, leader in enumerate(leaders):
            method = self.options.method
            if leader.name in self.methods:
                method = self.methods[leader.name]
            elif probe is not None:
                method = choose(probe, leader.name, proposals[leader]) if i < measured else "minmax"
            for v in self.placement.members(leader):
                self.ranges[v.name], self.methods[v.name] = proposals[leader][method], method
            self.tell("ranges", i + 1, len(leaders))
        self.scales = {name: Scale.of(r) for name, r in self.ranges.items()}
        return probe

    def _work_per_run(self) -> float:
        """Multiply-adds of the instrumented network; rounding an element costs about as much as 20."""
        elements = sum(s.elements / max(s.samples, 1) for s in self.statistics.values())
        return sum(macs_by_node(self.float_model).values()) + 20 * elements

    def _proposals(self, leader: Value) -> dict[str, Range]:
        """Observer -> range for all tensors that share the leader's scale."""
        members = self.placement.members(leader)
        return {name: _union(observe(self.statistics[v.name]) for v in members) for name, observe in OBSERVERS.items()}

    def _choose_weights(self) -> None:
        for node in self.dots():
            weight, bias = constants_of(node)
            axis = channel_axis(node)
            x = node.inputs[0]
            assert x is not None
            scales = channel_scales(weight, axis, self.options.per_tensor)
            wide = with_room_for_bias(scales, bias, float(self.scales[x.name].scale))
            if np.any(wide > scales):
                self.saturated.append(node.name)
            scales = wide
            self.weights[node.name] = round_nearest(weight, scales, axis)
            if bias is not None:
                self.biases[node.name] = bias

    def refine(self) -> None:
        """Rounding and biases that fit the inputs which each layer really gets; errors of all tensors."""
        self.fit = fit(
            self.graph,
            self.placement,
            self.scales,
            self.weights,
            self.biases,
            self.few(self._affordable_samples()),
            learn_rounding=self.options.adaround is not False,
            correct_bias=self.options.bias_correction,
            progress=lambda i, n: self.tell("fit", i, n),
        )
        self.weights, self.biases = self.fit.weights, self.fit.biases

    def _affordable_samples(self) -> int:
        live = 3 * Session(self.float_model).stats["arena_bytes"]
        return int(np.clip(FIT_BYTES // max(live, 1), 4, FIT_SAMPLES))

    def few(self, count: int) -> list[Feeds]:
        """At most `count` of the samples, spread evenly."""
        return [self.samples[i] for i in spread(len(self.samples), count)]

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


def unique_node_names(graph: Graph) -> None:
    """Decisions are kept by node name, which the IR does not promise to be unique."""
    seen: set[str] = set()
    for node in graph.nodes:
        base, i = node.name, 1
        while node.name in seen:
            node.name, i = f"{base}_{i}", i + 1
        seen.add(node.name)


def _union(ranges: Iterable[Range]) -> Range:
    return functools.reduce(Range.union, ranges)


def constants_of(node: Node) -> tuple[Array, Array | None]:
    """Weight and bias of a convolution or product."""
    weight, bias = node.inputs[1], node.input(2)
    assert weight is not None and weight.data is not None
    return weight.data, None if bias is None else bias.data


def reach(q: Quantizer, evaluation: Sequence[Feeds] | None, labels: Sequence[Any] | None) -> list[dict[str, Any]]:
    """Returns layers to floating point until the metric is within `max_drop`; the trials."""
    options = q.options
    assert options.max_drop is not None
    score = metric(options.metric)
    data = list(evaluation) if evaluation else q.few(REPORT_SAMPLES)
    exact = outputs(q.float_model, data)
    ranked = ranking(q, Probe(q.graph, q.placement, q.few(4), options.threads), macs_by_node(q.float_model))

    def evaluate(kept: Sequence[str]) -> float:
        q.choose(kept)
        q.refine()
        return score(exact, outputs(Model.from_bytes(to_bytes(q.finished()[0])), data), labels)

    kept, trials = search(
        ranked, evaluate, score(exact, exact, labels), options.max_drop, lambda i, n: q.tell("search", i, n)
    )
    q.choose(kept)
    q.refine()
    for name in kept:
        if name in q.placement.reasons:
            q.placement.reasons[name] = "kept in floating point to stay within --max-drop"
    return trials


def outputs(model: Model, samples: Sequence[Feeds]) -> list[list[Array]]:
    """All outputs of every sample."""
    session = Session(model)
    return [[np.array(o) for o in session.run(None, feeds)] for feeds in samples]


def quantize_graph(
    graph: Graph,
    samples: Sequence[Feeds],
    options: Settings,
    report: Mapping[str, Any] | None = None,
    evaluation: Sequence[Feeds] | None = None,
    labels: Sequence[Any] | None = None,
) -> Model:
    """A float graph (as the converter's passes leave it) -> a quantized model."""
    start = time.perf_counter()
    q = Quantizer(graph, samples, options)
    q.observe()
    q.choose()
    q.refine()
    trials = reach(q, evaluation, labels) if q.options.max_drop is not None else []
    final, passes = q.finished()
    quantized = Model.from_bytes(to_bytes(final))
    seen = list(evaluation) if evaluation else q.few(REPORT_SAMPLES)
    result = make_document(q, quantized, seen, "evaluation data" if evaluation else "calibration data")
    if trials:
        result["search"] = trials
    result["seconds"] = round(time.perf_counter() - start, 3)
    document: dict[str, Any] = {**(report or {}), "quantization": result}
    document["operators"] = {**document.get("operators", {}), "after": passes.operators_after}
    # The file keeps the figures of the whole and the worst layers; the whole report is in the model's `report`.
    worst = [{k: v for k, v in row.items() if k != "histogram"} for row in result["layers"][:STORED_LAYERS]]
    small = {**result, "layers": worst, "float": result["float"][:STORED_LAYERS], "equalized": len(result["equalized"])}
    final.metadata["report"] = json.dumps({"quantization": small}, separators=(",", ":"))
    return Model.from_bytes(to_bytes(final), report=document)


__all__ = ["Quantizer", "quantize_graph"]
