"""Float network and quantized network side by side, node by node: every layer is fitted to the inputs it will really get.

One pass in topological order. Where a convolution or product comes, its inputs in both networks are known; its rounding
and its bias are chosen then, and everything behind it sees the result. The pass also yields the error of every tensor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgec import _core
from edgec.converter.ir.graph import Graph, Node, Value
from edgec.quantize.algorithms.adaround import round_rows, second_moments
from edgec.quantize.algorithms.bias_correction import corrected
from edgec.quantize.insert import QuantizedWeight, channel_axis
from edgec.quantize.parameters import Scale
from edgec.quantize.patches import positions, rows
from edgec.quantize.placement import Placement, shares_scale
from edgec.quantize.separate import DOT

Array = np.ndarray[Any, Any]
Feeds = Mapping[str, Array]

# Rows that a layer is fitted to; more change the rounding of few weights.
ROWS = 16384
# Numbers that the rows of one layer may have.
ROW_ELEMENTS = 1 << 24
# Products whose matrix of second moments would be larger than this stay with the nearest step.
MAX_INPUTS = 6144


@dataclass
class Fit:
    """What the pass decides, and what it measures: tensor name -> squared error and power per element."""

    weights: dict[str, QuantizedWeight]
    biases: dict[str, Array]
    errors: dict[str, float] = field(default_factory=dict)
    powers: dict[str, float] = field(default_factory=dict)

    def sqnr(self, name: str) -> float:
        """Signal to error ratio of one tensor in dB."""
        error, power = self.errors[name], self.powers[name]
        return float("inf") if error <= 0 else float(10 * np.log10(max(power, 1e-60) / error))


@dataclass
class _Lane:
    """One sample's live tensors in one of the two networks."""

    values: dict[Value, Array]

    def inputs(self, node: Node) -> list[Array | None]:
        return [None if v is None else v.data if v.data is not None else self.values[v] for v in node.inputs]


def fit(
    graph: Graph,
    placement: Placement,
    scales: Mapping[str, Scale],
    weights: Mapping[str, QuantizedWeight],
    biases: Mapping[str, Array],
    samples: Sequence[Feeds],
    *,
    learn_rounding: bool,
    correct_bias: bool,
    seed: int = 0,
    progress: Callable[[int, int], None] | None = None,
) -> Fit:
    """Runs both networks; returns new weights and biases (the given ones where nothing is to be learnt)."""
    result = Fit(dict(weights), dict(biases))
    generator = np.random.default_rng(seed)
    exact = [_Lane({v: feeds[v.name] for v in graph.inputs}) for feeds in samples]
    rounded = [_Lane(dict(lane.values)) for lane in exact]
    chosen = set(placement.tensors)
    nodes = graph.nodes
    last = {v: i for i, n in enumerate(nodes) for v in n.inputs if v is not None}
    # What floating-point operators read unrounded although integer operators read it rounded.
    raw: list[dict[Value, Array]] = [{} for _ in samples]

    def round_off(v: Value) -> None:
        producer = v.producer
        if v not in chosen or (producer in placement.nodes and producer is not None and shares_scale(producer)):
            return
        for lane, kept in zip(rounded, raw, strict=True):
            if producer is None or producer not in placement.nodes:
                kept[v] = lane.values[v]
            lane.values[v] = scales[v.name].round_trip(lane.values[v])

    for v in graph.inputs:
        if v in chosen:
            round_off(v)
    for i, node in enumerate(nodes):
        integer = node in placement.nodes
        replaced: dict[int, Array] = {}
        if integer and node.op in DOT:
            if (learn_rounding or correct_bias) and node.op != "ConvTranspose2d":
                _fit_layer(node, exact, rounded, result, generator, learn_rounding, correct_bias)
            replaced[1] = result.weights[node.name].real
            if node.name in result.biases:
                replaced[2] = result.biases[node.name]
        for number, (a, b) in enumerate(zip(exact, rounded, strict=True)):
            for lane in (a, b):
                inputs = lane.inputs(node)
                if lane is b:
                    while len(inputs) <= max(replaced, default=-1):
                        inputs.append(None)
                    for k, array in replaced.items():
                        inputs[k] = array
                    if not integer:
                        inputs = [x if v is None else raw[number].get(v, x) for v, x in zip(node.inputs, inputs)]
                made = _core.evaluate(node.op, node.attrs, inputs, len(node.outputs))
                lane.values.update(zip(node.outputs, made))
        for v in node.outputs:
            round_off(v)
            _measure(v, exact, rounded, result)
        for v in {v for v in node.inputs if v is not None and last[v] == i and not graph.is_output(v)}:
            for number, (a, b) in enumerate(zip(exact, rounded, strict=True)):
                a.values.pop(v, None)
                b.values.pop(v, None)
                raw[number].pop(v, None)
        if progress is not None:
            progress(i + 1, len(nodes))
    return result


def _measure(v: Value, exact: Sequence[_Lane], rounded: Sequence[_Lane], result: Fit) -> None:
    error = power = count = 0.0
    for a, b in zip(exact, rounded, strict=True):
        x, y = a.values[v], b.values[v]
        if x.dtype.kind != "f" or x.shape != y.shape:
            return
        d = (x - y).reshape(-1)
        error += float(np.dot(d, d))
        power += float(np.dot(x.reshape(-1), x.reshape(-1)))
        count += x.size
    result.errors[v.name] = error / max(count, 1)
    result.powers[v.name] = power / max(count, 1)


def _fit_layer(
    node: Node,
    exact: Sequence[_Lane],
    rounded: Sequence[_Lane],
    result: Fit,
    generator: np.random.Generator,
    learn_rounding: bool,
    correct_bias: bool,
) -> None:
    x = node.inputs[0]
    weight, bias = node.inputs[1], node.input(2)
    assert x is not None and weight is not None and weight.data is not None
    longest = max(1, weight.data.size // weight.data.shape[channel_axis(node)])
    inputs = longest * (int(node.attr("group")) if node.op == "Conv2d" else 1)
    each = max(1, min(ROWS, ROW_ELEMENTS // inputs) // len(exact))
    wanted, given = [], []
    for a, b in zip(exact, rounded, strict=True):
        at = positions(node, a.values[x].shape, each, generator)
        wanted.append(rows(node, a.values[x], at))
        given.append(rows(node, b.values[x], at))
    before, after = np.concatenate(wanted), np.concatenate(given)  # [P, taps, C]
    if not len(before):
        return
    current = result.weights[node.name]
    axis = channel_axis(node)
    matrix = np.moveaxis(weight.data, axis, 0).reshape(weight.data.shape[axis], -1)
    steps = np.moveaxis(current.values, axis, 0).reshape(matrix.shape).copy()
    group = int(node.attr("group")) if node.op == "Conv2d" else 1
    per_group = len(matrix) // group
    width = before.shape[2] // group
    values = np.zeros((len(matrix),), np.float32)
    for g in range(group) if group < before.shape[2] else ():
        out = slice(g * per_group, (g + 1) * per_group)
        channels = slice(g * width, (g + 1) * width)
        plain, quantized = (r[:, :, channels].reshape(len(r), -1) for r in (before, after))
        if learn_rounding and plain.shape[1] <= MAX_INPUTS:
            steps[out] = round_rows(matrix[out], current.scales[out], second_moments(quantized))
        if correct_bias:
            real = steps[out].astype(np.float32) * current.scales[out, None]
            old = None if bias is None or bias.data is None else bias.data[out]
            values[out] = corrected(old, matrix[out], plain.mean(axis=0), real, quantized.mean(axis=0))
    if group == before.shape[2]:
        # Depthwise: every output channel has its own few inputs.
        owner = np.arange(len(matrix)) // per_group
        if learn_rounding:
            centered = after - after.mean(axis=0)
            moments = np.einsum("ptc,psc->cts", centered, centered) / np.float32(len(after))
            diagonal = np.trace(moments, axis1=1, axis2=2)[:, None] * np.float32(0.02 / moments.shape[1])
            moments[:, range(moments.shape[1]), range(moments.shape[1])] += diagonal + np.float32(1e-20)
            steps = round_rows(matrix, current.scales, moments[owner])
        if correct_bias:
            real = steps.astype(np.float32) * current.scales[:, None]
            old = None if bias is None else bias.data
            values = corrected(old, matrix, before.mean(axis=0).T[owner], real, after.mean(axis=0).T[owner])
    shape = np.moveaxis(weight.data, axis, 0).shape
    result.weights[node.name] = QuantizedWeight(
        np.ascontiguousarray(np.moveaxis(steps.reshape(shape), 0, axis)), current.scales, axis
    )
    if correct_bias:
        result.biases[node.name] = values
