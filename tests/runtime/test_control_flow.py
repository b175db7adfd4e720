"""If, Loop, Scan and shapes that depend on data: built in the IR, written, loaded, run."""

from __future__ import annotations

import numpy as np
import pytest

from edgec import _core
from edgec.converter.ir.graph import Graph
from edgec.converter.writer import to_bytes


def _session(graph: Graph, threads: int = 1) -> _core.Session:
    return _core.Session(_core.Model.from_bytes(to_bytes(graph)), threads=threads)


def _branch(name: str, op: str) -> Graph:
    g = Graph(name)
    a, b = g.add_input("a", "f32", (2, 3)), g.add_input("b", "f32", (2, 3))
    g.set_outputs(g.add(op, [a, b]))
    return g


@pytest.mark.parametrize("condition", [True, False])
def test_if_runs_the_branch_that_the_condition_names(condition: bool, rng: np.random.Generator) -> None:
    g = Graph()
    c = g.add_input("c", "bool", ())
    a, b = g.add_input("a", "f32", (2, 3)), g.add_input("b", "f32", (2, 3))
    (y,) = g.add("If", [c, a, b], {"then_branch": _branch("then", "Add"), "else_branch": _branch("else", "Sub")})
    g.set_outputs(g.add("Neg", [y]))  # behind the open type
    x1, x2 = (rng.standard_normal((2, 3)).astype(np.float32) for _ in range(2))
    session = _session(g)
    for _ in range(2):
        (got,) = session.run_tuple(np.array(condition), x1, x2)
        np.testing.assert_array_equal(got, -(x1 + x2) if condition else -(x1 - x2))


@pytest.mark.parametrize("trips", [0, 1, 5])
def test_loop_carries_and_stacks(trips: int) -> None:
    body = Graph("body")
    iteration, condition = body.add_input("i", "i64", ()), body.add_input("c", "bool", ())
    total, step = body.add_input("total", "f32", (2,)), body.add_input("step", "f32", (2,))
    (following,) = body.add("Add", [total, step])
    (copy,) = body.add("Cast", [iteration], {"to": "f32"})
    body.set_outputs([condition, following, copy])
    g = Graph()
    n = g.add_input("n", "i64", ())
    start, step_in = g.add_input("start", "f32", (2,)), g.add_input("step", "f32", (2,))
    g.set_outputs(g.add("Loop", [n, None, start, step_in], {"body": body, "carried": 1}, 2))
    got_total, got_stack = _session(g).run_tuple(
        np.array(trips, np.int64), np.array([1, 2], np.float32), np.array([0.5, -1], np.float32)
    )
    np.testing.assert_array_equal(got_total, np.array([1, 2], np.float32) + trips * np.array([0.5, -1], np.float32))
    np.testing.assert_array_equal(got_stack, np.arange(trips, dtype=np.float32))


def test_scan_cumulates() -> None:
    body = Graph("body")
    state, x = body.add_input("state", "f32", (3,)), body.add_input("x", "f32", (3,))
    (following,) = body.add("Add", [state, x])
    body.set_outputs([following, following])
    g = Graph()
    start, xs = g.add_input("start", "f32", (3,)), g.add_input("xs", "f32", (4, 3))
    g.set_outputs(g.add("Scan", [start, xs], {"body": body, "carried": 1, "scan_inputs": 1}, 2))
    data = np.arange(12, dtype=np.float32).reshape(4, 3)
    final, all_states = _session(g).run_tuple(np.ones(3, np.float32), data)
    np.testing.assert_array_equal(all_states, 1 + np.cumsum(data, 0))
    np.testing.assert_array_equal(final, all_states[-1])


@pytest.mark.parametrize("shape", [(6, 4), (3, 8), (24,), (2, 3, 4)])
def test_a_shape_that_arrives_with_the_data(shape: tuple[int, ...]) -> None:
    g = Graph()
    x, s = g.add_input("x", "f32", (4, 6)), g.add_input("s", "i64", (len(shape),))
    (y,) = g.add("Reshape", [x, s])
    g.set_outputs(g.add("Relu", [y]))
    data = np.linspace(-1, 1, 24, dtype=np.float32).reshape(4, 6)
    (got,) = _session(g).run_tuple(data, np.array(shape, np.int64))
    np.testing.assert_array_equal(got, np.maximum(data, 0).reshape(shape))
