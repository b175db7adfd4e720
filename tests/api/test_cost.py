"""Multiply-adds and parameters against counts done by hand."""

from __future__ import annotations

import numpy as np
import pytest

import edgec
from edgec.converter.ir.graph import Graph
from edgec.converter.writer import to_bytes
from edgec.cost import macs, parameters, step_macs
from tests.api.networks import convolution


def counted(build) -> tuple[int, int]:
    graph = Graph("cost")
    graph.set_outputs(build(graph))
    model = edgec.Model.from_bytes(to_bytes(graph))
    return macs(edgec.Session(model).steps), parameters(model)


def constant(graph, *shape):
    return graph.constant("w", np.random.default_rng(0).standard_normal(shape).astype(np.float32))


def test_convolution_network():
    model = edgec.Model.from_bytes(convolution().data)
    assert macs(edgec.Session(model).steps) == 16 * 16 * 8 * 3 * 3 * 3 + 512 * 10
    assert parameters(model) == 8 * 3 * 3 * 3 + 8 + 512 * 10


def test_strided_grouped_and_depthwise_convolutions():
    def grouped(g):
        x = g.add_input("x", "f32", (2, 9, 9, 8))
        return g.add("Conv2d", [x, constant(g, 6, 3, 3, 4)], {"group": 2, "strides": [2, 2], "pads": [1, 1, 1, 1]})

    def depthwise(g):
        x = g.add_input("x", "f32", (1, 10, 10, 8))
        return g.add("Conv2d", [x, constant(g, 8, 3, 3, 1)], {"group": 8})

    assert counted(grouped) == (2 * 5 * 5 * 6 * 3 * 3 * 4, 6 * 3 * 3 * 4)
    assert counted(depthwise) == (8 * 8 * 8 * 3 * 3, 8 * 3 * 3)


@pytest.mark.parametrize(
    "a, b, want",
    [
        ((5, 7), (7, 3), 5 * 7 * 3),
        ((7,), (7, 3), 7 * 3),
        ((5, 7), (7,), 5 * 7),
        ((7,), (7,), 7),
        ((2, 1, 5, 7), (4, 7, 3), 2 * 4 * 5 * 7 * 3),
    ],
)
def test_products(a, b, want):
    def build(g):
        return g.add("MatMul", [g.add_input("a", "f32", a), g.add_input("b", "f32", b)])

    assert counted(build) == (want, 0)


def test_transposed_products():
    def build(g):
        x, y = g.add_input("a", "f32", (7, 5)), g.add_input("b", "f32", (3, 7))
        return g.add("MatMul", [x, y], {"transpose_a": 1, "transpose_b": 1})

    assert counted(build)[0] == 5 * 7 * 3


def test_constants_that_share_bytes_count_once():
    def build(g):
        x = g.add_input("x", "f32", (4, 4))
        data = np.random.default_rng(0).standard_normal((4, 4)).astype(np.float32)
        (y,) = g.add("MatMul", [x, g.constant("one", data)])
        return g.add("MatMul", [y, g.constant("two", data.copy())])

    assert counted(build) == (2 * 4 * 4 * 4, 16)


def test_rules_that_no_session_is_needed_for():
    def step(op, inputs, outputs):
        return {"op": op, "inputs": [("f32", s) for s in inputs], "outputs": [("f32", s) for s in outputs]}

    # every input element meets kernel taps x outputs per group
    assert step_macs(step("ConvTranspose2d", [(1, 4, 4, 6), (8, 2, 2, 6)], [(1, 8, 8, 8)])) == 4 * 4 * 6 * 2 * 2 * 8
    assert step_macs(step("ConvTranspose2d", [(1, 4, 4, 6), (8, 2, 2, 3)], [(1, 8, 8, 8)])) == 4 * 4 * 6 * 2 * 2 * 4
    assert step_macs(step("Attention", [(1, 2, 5, 8), (1, 2, 7, 8), (1, 2, 7, 9)], [(1, 2, 5, 9)])) == 2 * 5 * 7 * 17
    assert step_macs(step("LSTM", [(3, 2, 4), (1, 20, 4), (1, 20, 5)], [])) == 3 * 2 * (20 * 4 + 20 * 5)
    assert step_macs(step("Relu", [(3,)], [(3,)])) == 0
