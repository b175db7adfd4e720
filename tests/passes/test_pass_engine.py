"""The engine: patches are atomic, checked, counted, stopped, switched off, and never endless."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from edgec.converter.ir.check import check
from edgec.converter.ir.graph import Graph, GraphError, Node
from edgec.converter.ir.run import run
from edgec.converter.ir.text import dump
from edgec.converter.passes.engine import REWRITES, Engine, Patch, Rewrite
from edgec.converter.passes.pipeline import optimize
from tests.passes.builder import B, build_graph, feeds_for, ops, tolerance

Rule = Callable[[Graph, Node], Patch | None]


@pytest.fixture
def rule() -> Iterator[Callable[[str, str, Rule], Rewrite]]:
    """Registers a rewrite for the length of a test."""
    added: list[str] = []

    def register(name: str, op: str, function: Rule) -> Rewrite:
        REWRITES[name] = Rewrite(name, (op,), ("test",), function, "")
        added.append(name)
        return REWRITES[name]

    yield register
    for name in added:
        del REWRITES[name]


def small() -> Graph:
    return build_graph(lambda b: b("Neg", b("Relu", b.input(2, 3))), seed=0)


def test_type_change_is_refused_and_leaves_the_graph_alone(rule: Callable[[str, str, Rule], Rewrite]) -> None:
    def wrong(graph: Graph, node: Node) -> Patch | None:
        patch = Patch(graph, "wrong", node)
        return patch.replace(node.outputs[0], patch.add("Transpose", [node.inputs[0]], {"perm": [1, 0]}))

    broken = rule("test-wrong", "Relu", wrong)
    graph = small()
    text = dump(graph)
    with pytest.raises(GraphError, match="test-wrong"):
        Engine(graph, strict=True).run([broken])
    assert dump(graph) == text
    engine = Engine(graph)
    assert engine.run([broken]) == 0
    assert dump(graph) == text
    assert len(engine.report.refused) == 1
    assert "test-wrong" in engine.report.refused[0]


def test_node_that_the_registry_refuses_does_not_stop_the_conversion(rule: Callable[[str, str, Rule], Rewrite]) -> None:
    def wrong(graph: Graph, node: Node) -> Patch | None:
        patch = Patch(graph, "wrong", node)
        return patch.replace(node.outputs[0], patch.add("Concat", [node.inputs[0]], {"axis": 7}))

    engine = Engine(small())
    engine.run([rule("test-refused", "Relu", wrong)])
    assert "axis" in engine.report.refused[0]


def test_patch_that_reads_what_it_replaces_is_refused(rule: Callable[[str, str, Rule], Rewrite]) -> None:
    def wrong(graph: Graph, node: Node) -> Patch | None:
        patch = Patch(graph, "wrong", node)
        return patch.replace(node.outputs[0], patch.add("Abs", [node.outputs[0]]))

    with pytest.raises(GraphError, match="reads"):
        Engine(small(), strict=True).run([rule("test-cycle", "Relu", wrong)])


def test_new_node_waits_for_an_input_that_comes_later(rule: Callable[[str, str, Rule], Rewrite]) -> None:
    """Relu is replaced by Add(x, late) where `late` is computed after Relu: possible only behind `late`."""

    def build(b: B) -> object:
        x = b.input(4)
        y = b("Relu", x)
        late = b("Exp", x)
        return b("Neg", y), late

    def use_later(graph: Graph, node: Node) -> Patch | None:
        patch = Patch(graph, "later", node)
        late = next(n for n in graph.nodes if n.op == "Exp")
        return patch.replace(node.outputs[0], patch.add("Add", [node.inputs[0], late.outputs[0]]))

    graph = build_graph(build, seed=0)
    Engine(graph, strict=True, check_all=True).run([rule("test-late", "Relu", use_later)])
    assert [n.op for n in graph.nodes] == ["Exp", "Add", "Neg"]


def test_patch_without_a_possible_place_is_refused(rule: Callable[[str, str, Rule], Rewrite]) -> None:
    def build(b: B) -> object:
        y = b("Relu", b.input(4))
        return b("Exp", b("Neg", y))

    def impossible(graph: Graph, node: Node) -> Patch | None:
        patch = Patch(graph, "impossible", node)
        late = next(n for n in graph.nodes if n.op == "Exp")
        return patch.replace(node.outputs[0], patch.add("Abs", [late.outputs[0]]))

    graph = build_graph(build, seed=0)
    text = dump(graph)
    engine = Engine(graph)
    engine.run([rule("test-impossible", "Relu", impossible)])
    assert dump(graph) == text
    assert "come after" in engine.report.refused[0]


def test_rewrites_that_undo_each_other_are_found(rule: Callable[[str, str, Rule], Rewrite]) -> None:
    def swap(to: str) -> Rule:
        def function(graph: Graph, node: Node) -> Patch | None:
            patch = Patch(graph, to, node)
            return patch.replace(node.outputs[0], patch.add(to, node.inputs))

        return function

    pair = [rule("test-there", "Relu", swap("Abs")), rule("test-back", "Abs", swap("Relu"))]
    with pytest.raises(GraphError, match=r"test-back.*test-there"):
        Engine(small(), strict=True).run(pair)
    graph = small()
    engine = Engine(graph)
    engine.run(pair)
    check(graph)
    assert sorted(engine.report.repeating) == ["test-back", "test-there"]


def test_report_names_the_nodes(rule: Callable[[str, str, Rule], Rewrite]) -> None:
    def build(b: B) -> object:
        y = b.graph.add("Relu", [b.input(3)], name="block.relu")[0]
        return b.graph.add("Relu", [y], name="block.again")[0]

    graph = build_graph(build, seed=0)
    report = optimize(graph, strict=True)
    assert report.nodes_of("Relu of Relu made Relu") == [("block.again", "block.relu")]
    assert report.counts == {"Relu of Relu made Relu": 1}
    assert report.to_dict()["operators"] == {"before": {"Relu": 2}, "after": {"Relu": 1}}


def test_unknown_name_to_disable_is_an_error() -> None:
    with pytest.raises(GraphError, match="no-such-rewrite"):
        optimize(small(), disable=["no-such-rewrite"])


@pytest.mark.parametrize("name", sorted(REWRITES))
def test_every_rewrite_can_be_switched_off_and_says_what_it_does(name: str) -> None:
    assert REWRITES[name].doc, f"{name} has no docstring"
    graph = build_graph(network, seed=3)
    report = optimize(graph, disable=[name], check_all=True, strict=True)
    assert name not in report.by_rewrite()
    compare(graph, seed=3)


def network(b: B) -> object:
    """A bit of everything: normalised input, residual block, attention-free head, squeeze and excite."""
    x = b("Mul", b("Sub", b.input("n", 3, 8, 8), b.data([[[0.4]], [[0.5]], [[0.6]]])), b.scalar(4))
    y = b("Relu", b("Add", b("Mul", b.conv(x, 8), b.const(8, 1, 1)), b.const(8, 1, 1)))
    z = b.conv(b("Mul", y, b("Sigmoid", y)), 8)
    y = b("Relu", b("Add", z, y))
    gate = b("HardSigmoid", b.conv(b("ReduceMean", y, axes=[2, 3]), 8, kernel=1))
    y = b("Mul", y, gate)
    y = b("Concat", *b("Split", y, outputs=2, axis=1), y, axis=1)
    y = b("ReduceMean", y, axes=[2, 3], keepdims=0)
    y = b("Add", b("MatMul", y, b.const(16, 6, low=-0.3, high=0.3)), b.const(6))
    return b("Softmax", b("Div", y, b.scalar(2)), axis=1)


def compare(after: Graph, seed: int) -> None:
    before = build_graph(network, seed)
    feeds = feeds_for(before, seed)
    expected, got = run(before, feeds), run(after, feeds)
    bound = tolerance(before, feeds) + tolerance(after, feeds)
    for name, value in expected.items():
        np.testing.assert_allclose(got[name], value, rtol=0, atol=bound)


def test_the_graph_runs_after_every_number_of_patches() -> None:
    total = len(optimize(build_graph(network, 5), strict=True).patches)
    assert total > 10
    for n in range(total + 1):
        graph = build_graph(network, 5)
        report = optimize(graph, stop_after=n, check_all=True, strict=True)
        assert len(report.patches) == n
        assert report.stopped_after == n
        compare(graph, 5)


def test_the_same_graph_gives_the_same_patches() -> None:
    reports = [optimize(build_graph(network, 7)) for _ in range(2)]
    assert reports[0].patches == reports[1].patches


def test_progress_is_reported() -> None:
    seen: list[tuple[str, float]] = []
    optimize(build_graph(network, 1), progress=lambda label, part: seen.append((label, part)))
    assert seen[-1] == ("done", 1.0)
    fractions = [part for _, part in seen]
    assert fractions == sorted(fractions)
    assert 0 <= fractions[0] < 1


def test_large_graph_costs_few_calls() -> None:
    """1,000 nodes: the number of rule calls per node stays small, so that the time is linear."""

    def build(b: B) -> object:
        y = b.input(1, 4, 6, 6)
        for _ in range(100):
            y = b("Relu", b("Add", b("Mul", b.conv(y, 4), b.const(4, 1, 1)), b.const(4, 1, 1)))
        return y

    graph = build_graph(build, 0)
    assert len(graph) == 600
    report = optimize(graph)
    assert ops(graph) == {"Transpose": 2, "Conv2d": 100}
    assert len(report.patches) < 6 * 100
