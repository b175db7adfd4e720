"""Sub-graphs are optimized like the graph around them, and the nodes that hold them are left alone."""

from __future__ import annotations

import numpy as np
import pytest

from edgec import Session
from edgec.converter import writer
from edgec.converter.ir.check import check
from edgec.converter.ir.graph import Graph
from edgec.converter.passes.pipeline import operators, optimize, subgraphs


def branch(name: str, seed: int) -> Graph:
    """NCHW convolution, batch norm and activation, as a frontend writes them."""
    rng = np.random.default_rng(seed)
    graph = Graph(name)
    x = graph.add_input("x", "f32", (1, 3, 6, 6))
    (y,) = graph.add("Transpose", [x], {"perm": [0, 2, 3, 1]})
    weight = rng.uniform(-0.3, 0.3, (4, 3, 3, 3)).astype(np.float32)
    (y,) = graph.add("Conv2d", [y, graph.constant("w", weight)], {"pads": [1, 1, 1, 1]})
    (y,) = graph.add("Transpose", [y], {"perm": [0, 3, 1, 2]})
    scale = rng.uniform(0.5, 1.5, (4, 1, 1)).astype(np.float32)
    (y,) = graph.add("Mul", [y, graph.constant("scale", scale)])
    (y,) = graph.add("Relu", [y])
    graph.set_outputs([y])
    return graph


def model() -> Graph:
    graph = Graph("main")
    x = graph.add_input("x", "f32", (1, 3, 6, 6))
    flag = graph.add_input("flag", "bool", ())
    (a,) = graph.add("Add", [x, graph.constant("zero", np.float32(0).reshape(()))])
    attrs = {"then_branch": branch("then", 1), "else_branch": branch("else", 2)}
    (y,) = graph.add("If", [flag, a], attrs, outputs=["y"])
    (z,) = graph.add("Relu", [y])
    (z,) = graph.add("Relu", [z])
    graph.set_outputs([z])
    return graph


@pytest.mark.parametrize("flag", [False, True])
def test_branches_are_optimized(flag: bool) -> None:
    before, after = model(), model()
    report = optimize(after, check_all=True, strict=True)
    check(after)
    assert after.nodes[0].op == "If"
    assert len(subgraphs(after)) == 2
    for part in subgraphs(after):
        check(part)
        assert operators(part) == {"Transpose": 2, "Conv2d": 1}
    assert report.by_rewrite()["layout"] == 2
    feeds = {"x": np.random.default_rng(3).uniform(-1, 1, (1, 3, 6, 6)).astype(np.float32), "flag": np.array(flag)}
    expected, got = (np.asarray(Session(writer.to_bytes(g)).run(None, feeds)[0]) for g in (before, after))
    assert expected.any()
    terms, largest = 27, 0.3 * 1.5
    np.testing.assert_allclose(got, expected, rtol=0, atol=2 * (terms + 1) * 2.0**-23 * largest)


def test_stop_after_counts_patches_of_all_graphs() -> None:
    total = len(optimize(model()).patches)
    for n in range(total + 1):
        graph = model()
        assert len(optimize(graph, stop_after=n, check_all=True, strict=True).patches) == n
