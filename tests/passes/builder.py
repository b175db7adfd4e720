"""Builds small graphs for tests of rewrites, and compares a graph before and after by running both."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from typing import Any

import numpy as np

from edgec import Session
from edgec.converter import writer
from edgec.converter.ir.check import check
from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.ir.run import run
from edgec.converter.passes.pipeline import optimize, operators, rewrites_of
from edgec.converter.passes.engine import REWRITES, Engine
from edgec.converter.report import Report

EPSILON = 2.0**-23


class B:
    """A graph under construction. `b.relu(x)` style calls: `b("Relu", x)`, attributes as keywords."""

    def __init__(self, seed: int = 0) -> None:
        self.graph = Graph("test")
        self.rng = np.random.default_rng(seed)

    def input(self, *shape: int | str, dtype: str = "f32", name: str = "x") -> Value:
        return self.graph.add_input(name, dtype, shape)

    def const(self, *shape: int, name: str = "c", low: float = -1.0, high: float = 1.0) -> Value:
        data = self.rng.uniform(low, high, shape).astype(np.float32)
        return self.graph.constant(name, data)

    def scalar(self, value: float) -> Value:
        return self.graph.constant("s", np.float32(value).reshape(()))

    def data(self, value: Any, dtype: Any = np.float32) -> Value:
        return self.graph.constant("d", np.asarray(value, dtype))

    def ints(self, *values: int) -> Value:
        return self.graph.constant("i", np.array(values, np.int64))

    def __call__(self, op: str, *inputs: Value | None, outputs: int = 1, **attrs: Any) -> Any:
        made = self.graph.add(op, list(inputs), attrs, outputs=outputs)
        return made[0] if outputs == 1 else made

    def reshape(self, x: Value, *shape: int) -> Value:
        return self("Reshape", x, self.ints(*shape))

    def transpose(self, x: Value, *perm: int) -> Value:
        return self("Transpose", x, perm=list(perm))

    def nhwc(self, x: Value) -> Value:
        return self.transpose(x, 0, 2, 3, 1)

    def nchw(self, x: Value) -> Value:
        return self.transpose(x, 0, 3, 1, 2)

    def conv(self, x: Value, out: int, kernel: int = 3, group: int = 1, nchw: bool = True, **attrs: Any) -> Value:
        """Convolution as frontends emit it: on NCHW tensors between transposes (or plain NHWC)."""
        channels = (x.shape[1] if nchw else x.shape[3]) or 0
        bound = (kernel * kernel * channels // group) ** -0.5
        weight = self.const(out, kernel, kernel, channels // group, name="w", low=-bound, high=bound)
        attrs = {"pads": [kernel // 2] * 4, "group": group, **attrs}
        y = self("Conv2d", self.nhwc(x) if nchw else x, weight, **attrs)
        return self.nchw(y) if nchw else y

    def done(self, *outputs: Value) -> Graph:
        self.graph.set_outputs(outputs)
        return self.graph


Build = Callable[[B], Sequence[Value] | Value]


def build_graph(build: Build, seed: int) -> Graph:
    b = B(seed)
    outputs = build(b)
    return b.done(*(outputs if isinstance(outputs, (list, tuple)) else [outputs]))


def feeds_for(graph: Graph, seed: int, probe: int = 0, low: float = -2.0, high: float = 2.0) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    feeds = {}
    for v in graph.inputs:
        shape = v.types[probe].shape
        if v.dtype == "f32":
            feeds[v.name] = rng.uniform(low, high, shape).astype(np.float32)
        elif v.dtype == "bool":
            feeds[v.name] = rng.integers(0, 2, shape).astype(bool)
        else:
            feeds[v.name] = rng.integers(-9, 9, shape).astype({"i64": np.int64, "i32": np.int32}[v.dtype])
    return feeds


def _terms(node: Node) -> int:
    """How many products or summands one output element of the node has."""
    if node.op in ("Conv2d", "ConvTranspose2d"):
        return int(np.prod(node.inputs[1].types[0].shape[1:]))
    if node.op == "MatMul":
        shape = node.inputs[0].types[0].shape
        return shape[-2] if node.attr("transpose_a") else shape[-1]
    if node.op == "Attention":
        return node.inputs[0].types[0].shape[-1] + node.inputs[1].types[0].shape[-2]
    if node.op.startswith(("Reduce", "Softmax", "LayerNorm", "RMSNorm", "GroupNorm", "AvgPool")):
        return int(np.prod(node.inputs[0].types[0].shape[1:]))
    return 1


def tolerance(graph: Graph, feeds: dict[str, np.ndarray]) -> float:
    """Bound on the rounding error of one evaluation: every node with k terms adds (k + 1) * epsilon * its magnitude.

    The magnitude of a product is max|a| * max|b|, of everything else max|y|; activations do not amplify.
    """
    values = run(graph, feeds, keep_all=True)
    values.update(feeds)
    total = 0.0

    def largest(v: Value | None) -> float:
        if v is None:
            return 0.0
        data = values[v.name] if v.data is None else v.data
        # Masks (-inf, finfo.min) take part in no arithmetic that rounds.
        finite = np.abs(data[np.abs(data) < 1e30]) if data.dtype == np.float32 else np.zeros(0)
        return float(finite.max()) if finite.size else 1.0

    for node in graph.nodes:
        if node.op in ("Conv2d", "ConvTranspose2d", "MatMul"):
            magnitude = largest(node.inputs[0]) * largest(node.inputs[1])
        elif node.op == "Mul":
            magnitude = largest(node.inputs[0]) * largest(node.inputs[1])
        else:
            magnitude = max(largest(node.outputs[0]), *(largest(v) for v in node.inputs[:2]))
        total += 2 * (_terms(node) + 1) * EPSILON * magnitude
    return total


def same_results(before: Graph, after: Graph, seed: int, **ranges: float) -> None:
    """Both graphs give the same outputs for every binding of the symbols; the file form of `after` does, too."""
    check(after)
    for probe in range(len(before.probes)):
        feeds = feeds_for(before, seed, probe, **ranges)
        expected, got = run(before, feeds), run(after, feeds)
        assert list(expected) == list(got)
        bound = tolerance(before, feeds) + tolerance(after, feeds)
        for name in expected:
            _close(name, got[name], expected[name], bound)
        session = Session(writer.to_bytes(after))
        outputs = session.run(None, feeds)
        for v, output in zip(after.outputs, outputs):
            _close(v.name, np.asarray(output), expected[v.name], bound)


def _close(name: str, got: np.ndarray, expected: np.ndarray, bound: float) -> None:
    assert got.dtype == expected.dtype and got.shape == expected.shape, name
    if expected.dtype != np.float32:
        np.testing.assert_array_equal(got, expected)
        return
    np.testing.assert_array_equal(np.isnan(got), np.isnan(expected))
    np.testing.assert_allclose(got, expected, rtol=0, atol=bound)
    assert bound < max(1.0, float(np.nanmax(np.abs(expected), initial=0.0))), "the bound would hide a wrong result"


def optimized(
    build: Build, seed: int = 1, only: Collection[str] | None = None, disable: Collection[str] = (), **ranges: float
) -> tuple[Graph, Report]:
    """Builds the graph twice, optimizes one, compares their results. `only`: these rewrites instead of the pipeline."""
    before, after = build_graph(build, seed), build_graph(build, seed)
    if only is None:
        report = optimize(after, disable=disable, check_all=True, strict=True)
    else:
        engine = Engine(after, check_all=True, strict=True)
        engine.run([REWRITES[name] for name in only])
        report = engine.report
    same_results(before, after, seed, **ranges)
    return after, report


def ops(graph: Graph) -> dict[str, int]:
    return operators(graph)


def only_node(graph: Graph, op: str) -> Node:
    found = [n for n in graph.nodes if n.op == op]
    assert len(found) == 1, f"{len(found)} nodes of {op}: {operators(graph)}"
    return found[0]


def fired(report: Report, name: str) -> int:
    assert name in REWRITES, name
    return report.by_rewrite().get(name, 0)


__all__ = ["B", "Build", "build_graph", "feeds_for", "fired", "only_node", "operators", "ops", "optimized", "rewrites_of", "same_results"]
