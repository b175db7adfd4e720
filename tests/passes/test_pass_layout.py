"""NCHW -> NHWC: transposes vanish through every operator that can follow, and their number never rises."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from edgec.converter.passes.layout_views import arrange, cut, permuted
from edgec.converter.passes.min_cut import MinCut
from edgec.converter.passes.pipeline import optimize
from tests.passes.builder import B, build_graph, only_node, ops, optimized, same_results

BATCHES = [2, "n"]


def sandwich(middle: Callable[[B, Any], Any], batch: int | str) -> Callable[[B], Any]:
    """conv -> middle -> conv, all NCHW as frontends emit it."""

    def build(b: B) -> Any:
        y = middle(b, b.conv(b.input(batch, 3, 8, 6), 8, kernel=3))
        return b.conv(y, 4, kernel=1)

    return build


# What stands between two convolutions and must not keep any transpose there.
TRANSPARENT: dict[str, Callable[[B, Any], Any]] = {
    "unary": lambda b, x: b("Sin", x),
    "scalar": lambda b, x: b("Sub", b.scalar(1), x),
    "constant of lower rank": lambda b, x: b("Max", x, b.const(8, 1, 1)),
    "constant of rank 1": lambda b, x: b("Max", x, b.const(6)),
    "constant of rank 4": lambda b, x: b("Max", x, b.const(1, 8, 8, 1)),
    "constant of full shape": lambda b, x: b("Max", x, b.const(8, 8, 6)),
    "where": lambda b, x: b("Where", b("Greater", x, b.scalar(0)), x, b.const(8, 1, 1)),
    "cast": lambda b, x: b("Cast", b("Cast", x, to="i32"), to="f32"),
    "two branches": lambda b, x: b("Min", b("Sin", x), b("Cos", x)),
    "softmax": lambda b, x: b("Softmax", x, axis=1),
    "log softmax": lambda b, x: b("LogSoftmax", x, axis=-3),
    "concat": lambda b, x: b("Concat", b("Sin", x), x, axis=1),
    "concat of rows": lambda b, x: b("Concat", b("Sin", x), x, axis=-2),
    "split": lambda b, x: b("Concat", *reversed(b("Split", x, outputs=2, axis=1)), axis=1),
    "slice": lambda b, x: b("Slice", x, b.ints(1, 0), b.ints(6, -1), b.ints(1, 3)),
    "slice without axes": lambda b, x: b("Slice", x, b.ints(0, 2), b.ints(1 << 60, 6)),
    "strided slice": lambda b, x: b("Slice", x, b.ints(0, 0), b.ints(99, 99), b.ints(2, 3), b.ints(2, 2)),
    "pad": lambda b, x: b("Pad", x, b.ints(0, 1, 0, 2, 0, 3, 1, 0), mode="edge"),
    "pad with axes": lambda b, x: b("Pad", x, b.ints(1, 2, 0, 1), b.scalar(0.5), b.ints(1, -1)),
    "max over channels": lambda b, x: b("Concat", x, b("ReduceMax", x, axes=[1]), axis=1),
    "mean over the image": lambda b, x: b("Mul", x, b("ReduceMean", x, axes=[2, 3])),
    "mean over all": lambda b, x: b("Mul", x, b("ReduceMean", x)),
    "cumulative sum": lambda b, x: b("CumSum", x, b.ints(2)),
    "resize by scales": lambda b, x: b("Resize", x, scales=[1.0, 1.0, 2.0, 2.0], mode="linear"),
    "resize to sizes": lambda b, x: b("Resize", b("Sin", x), None, b.data([1, 1, 2, 3])),
    "gather": lambda b, x: b("Gather", x, b.ints(3, 1, 0), axis=1),
    "tile": lambda b, x: b("Tile", x, b.ints(1, 1, 2, 1)),
    "local response norm": lambda b, x: b("LocalResponseNorm", x, size=3, axis=1),
    "prelu": lambda b, x: b("PRelu", b("Sin", x), b.const(8, 1, 1)),
    "channel shuffle": lambda b, x: b.reshape(b.transpose(b.reshape(x, -1, 2, 4, 8, 6), 0, 2, 1, 3, 4), -1, 8, 8, 6),
    "pixel shuffle": lambda b, x: b.reshape(
        b.transpose(b.reshape(x, -1, 2, 2, 2, 8, 6), 0, 1, 4, 2, 5, 3), -1, 2, 16, 12
    ),
    "pixel unshuffle": lambda b, x: b.reshape(
        b.transpose(b.reshape(x, -1, 8, 4, 2, 3, 2), 0, 1, 3, 5, 2, 4), -1, 32, 4, 3
    ),
    "argmax": lambda b, x: b("Mul", x, b("Cast", b("ArgMax", x, axis=1), to="f32")),
    "squeeze and excite": lambda b, x: b(
        "Mul", x, b("Sigmoid", b.conv(b("Relu", b.conv(b("ReduceMean", x, axes=[2, 3]), 4, kernel=1)), 8, kernel=1))
    ),
    "pool": lambda b, x: b.nchw(b("MaxPool2d", b.nhwc(x), kernel=[2, 2], strides=[2, 2])),
}
# Real work that stays one transpose in any layout.
SHUFFLES = {"channel shuffle", "pixel shuffle", "pixel unshuffle"}


@pytest.mark.parametrize("name", TRANSPARENT)
@pytest.mark.parametrize("batch", BATCHES)
def test_no_transpose_stays_between_convolutions(name: str, batch: int | str) -> None:
    graph, report = optimized(sandwich(TRANSPARENT[name], batch))
    # One where the NCHW input comes in and one where the NCHW output goes out.
    assert ops(graph).get("Transpose", 0) == 2 + (name in SHUFFLES), name
    assert report.transposes_after <= report.transposes_before


OPAQUE: dict[str, Callable[[B, Any], Any]] = {
    "reshape that mixes": lambda b, x: b.reshape(x, -1, 8, 6, 8),
    "trilu": lambda b, x: b("Trilu", x),
    "gather of a matrix": lambda b, x: b.reshape(
        b("Gather", x, b.data([[0, 1], [2, 3]], np.int64), axis=1), -1, 4, 8, 6
    ),
}


@pytest.mark.parametrize("name", OPAQUE)
def test_what_cannot_follow_stays_in_its_layout(name: str) -> None:
    graph, report = optimized(sandwich(OPAQUE[name], 2))
    assert ops(graph)["Transpose"] == 4 == report.transposes_before


def test_inputs_and_outputs_keep_layout_name_and_order() -> None:
    def build(b: B) -> list[Any]:
        x = b.input("n", 3, 8, 8, name="image")
        y = b.conv(x, 4)
        return [y, b("Relu", y), b("Identity", x)]

    graph, _ = optimized(build)
    assert [v.name for v in graph.outputs] == ["Transpose_1", "Relu", "Identity"]
    assert [v.shape for v in graph.outputs] == [(None, 4, 8, 8), (None, 4, 8, 8), (None, 3, 8, 8)]
    assert graph.inputs[0].declared_shape == ("n", 3, 8, 8)


def test_source_names_are_kept_with_a_suffix() -> None:
    def build(b: B) -> Any:
        y = b.conv(b.input(1, 3, 8, 8), 4)
        return b.conv(b.graph.add("Sin", [y], name="act1")[0], 4)

    graph, _ = optimized(build)
    assert only_node(graph, "Sin").outputs[0].name == "act1:nhwc"


def test_classifier_head_needs_no_transpose() -> None:
    def build(b: B) -> Any:
        y = b("Relu", b.conv(b.input("n", 3, 8, 8), 16))
        y = b("ReduceMean", y, axes=[2, 3])
        y = b("Flatten", y, axis=1)
        return b("Add", b("MatMul", y, b.const(16, 10, low=-0.2, high=0.2)), b.const(10))

    graph, _ = optimized(build)
    assert ops(graph).keys() <= {"Transpose", "Conv2d", "ReduceMean", "MatMul", "Reshape"}
    assert ops(graph)["Transpose"] == 1


def test_flatten_of_an_image_keeps_its_order() -> None:
    def build(b: B) -> Any:
        y = b("Flatten", b.conv(b.input("n", 3, 4, 4), 5), axis=1)
        return b("MatMul", y, b.const(80, 3, low=-0.1, high=0.1))

    graph, _ = optimized(build)
    assert ops(graph)["Transpose"] == 2


def test_tokens_of_a_vision_transformer() -> None:
    """[N,C,H,W] -> [N,C,HW] -> [N,HW,C] is what the convolution wrote anyhow."""

    def build(b: B) -> Any:
        y = b.conv(b.input("n", 3, 8, 8), 16, kernel=2, strides=[2, 2], pads=[0, 0, 0, 0])
        y = b.transpose(b.reshape(y, -1, 16, y.types[0].shape[2] * y.types[0].shape[3]), 0, 2, 1)
        return b("LayerNorm", y, axis=-1)

    graph, _ = optimized(build)
    assert ops(graph)["Transpose"] == 1


def conv1d(b: B, x: Any, out: int, kernel: int = 3) -> Any:
    """[N,C,L] as frontends emit it: NLC, then H = 1."""
    channels = x.shape[1]
    y = b("Unsqueeze", b.transpose(x, 0, 2, 1), axes=[1])
    weight = b.const(out, 1, kernel, channels, low=-0.3, high=0.3)
    y = b("Conv2d", y, weight, pads=[0, kernel // 2, 0, kernel // 2])
    return b.transpose(b("Squeeze", y, axes=[1]), 0, 2, 1)


@pytest.mark.parametrize("length", [16, "t"])
def test_one_dimensional_network(length: int | str) -> None:
    def build(b: B) -> Any:
        y = b.input("n", 4, length)
        for _ in range(2):
            y = b("Relu", b("Add", b("Mul", conv1d(b, y, 6), b.const(6, 1)), b.const(6, 1)))
        y = b("Add", y, conv1d(b, y, 6))
        return b("ReduceMax", y, axes=[2], keepdims=0)

    graph, _ = optimized(build)
    assert ops(graph)["Conv2d"] == 3
    assert ops(graph)["Transpose"] == 1
    assert not {"Mul", "Add", "Relu"} & set(ops(graph))


def test_three_dimensional_layout() -> None:
    def build(b: B) -> Any:
        x = b.input("n", 3, 4, 5, 6)
        y = b("Sin", b.transpose(x, 0, 2, 3, 4, 1))
        y = b("Add", b.transpose(y, 0, 4, 1, 2, 3), b.const(3, 1, 1, 1))
        return b("Softmax", b.transpose(y, 0, 2, 3, 4, 1), axis=-1)

    graph, _ = optimized(build)
    assert ops(graph)["Transpose"] == 1


def test_operand_that_is_computed_with_fewer_dimensions() -> None:
    def build(b: B) -> Any:
        grid = b("Sin", b.input(8, 6, name="grid"))
        y = b("Add", b.conv(b.input(2, 3, 8, 6), 8), grid)
        return b.conv(y, 4, kernel=1)

    graph, _ = optimized(build)
    assert ops(graph)["Transpose"] == 2  # [8, 6] moves for free as [1, 8, 6, 1]


def test_nothing_moves_when_nothing_is_won() -> None:
    """A single convolution in an otherwise channels-first graph: two transposes stay two."""

    def build(b: B) -> Any:
        x = b("Trilu", b.input(2, 3, 8, 8))
        return b("Trilu", b.conv(x, 4))

    graph, report = optimized(build)
    assert report.transposes_before == report.transposes_after == 2
    assert ops(graph)["Transpose"] == 2


@pytest.mark.parametrize("seed", range(25))
def test_random_graphs_never_get_more_transposes(seed: int) -> None:
    def build(b: B) -> Any:
        values = [b.input(2, 4, 4, 4)]
        for _ in range(14):
            x = values[int(b.rng.integers(max(0, len(values) - 4), len(values)))]
            kind = int(b.rng.integers(8))
            if kind == 0:
                y = b.conv(x, 4, kernel=1)
            elif kind == 1:
                y = b("Max", x, values[int(b.rng.integers(len(values)))])
            elif kind == 2:
                y = b("Softmax", x, axis=int(b.rng.integers(4)))
            elif kind == 3:
                y = b("Trilu", x)
            elif kind == 4:
                y = b("Sin", x)
            elif kind == 5:
                y = b.transpose(x, *(int(i) for i in b.rng.permutation(4))) if x.shape == (4, 4, 4, 4) else b("Cos", x)
            elif kind == 6:
                y = b("Slice", b("Concat", x, values[-1], axis=1), b.ints(2), b.ints(6), b.ints(1))
            else:
                y = b.nchw(b("Sin", b.nhwc(x)))
            values.append(y)
        return [values[-1], values[-2]]

    graph, report = optimized(build, seed=seed + 100)
    moved = sum(n.op == "Transpose" for n in graph.nodes)
    assert moved <= report.transposes_before


def test_disabled_layout_keeps_every_transpose() -> None:
    before = build_graph(sandwich(TRANSPARENT["unary"], 2), 1)
    after = build_graph(sandwich(TRANSPARENT["unary"], 2), 1)
    report = optimize(after, disable=["layout"], strict=True)
    assert report.transposes_after == report.transposes_before == 4
    same_results(before, after, 1)


@pytest.mark.parametrize("seed", range(40))
def test_min_cut_against_every_assignment(seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = 6
    graph = MinCut()
    variables = [graph.variable() for _ in range(n)]
    unary = rng.integers(0, 9, (n, 2))
    edges = [
        (int(i), int(j), int(c)) for i, j, c in zip(rng.integers(0, n, 9), rng.integers(0, n, 9), rng.integers(1, 9, 9))
    ]
    for v, (a, b) in zip(variables, unary):
        graph.cost_a(v, int(a))
        graph.cost_b(v, int(b))
    for i, j, c in edges:
        graph.edge(variables[i], variables[j], c)

    def cost(labels: list[bool]) -> int:
        return sum(int(unary[i, int(labels[i])]) for i in range(n)) + sum(
            c for i, j, c in edges if not labels[i] and labels[j]
        )

    solved = graph.solve()
    found = cost([solved[v] for v in variables])
    assert found == min(cost([bool(k >> i & 1) for i in range(n)]) for k in range(1 << n))


@pytest.mark.parametrize(
    ("source", "target", "wanted"),
    [
        ((2, 8, 5, 7), (2, 2, 4, 5, 7), ([[0], [1, 2], [3], [4]], [[0], [1], [2], [3], [4]])),
        ((2, 8, 35), (2, 8, 5, 7), ([[0], [1], [2, 3]], [[0], [1], [2], [3]])),
        ((3, 1, 4), (3, 4, 1), ([[0], [], [1]], [[0], [1], []])),
        ((4, 6), (6, 4), None),
        ((0, 3), (3, 0), None),
    ],
)
def test_atoms_of_a_reshape(source: tuple[int, ...], target: tuple[int, ...], wanted: Any) -> None:
    assert cut(source, target) == wanted


@pytest.mark.parametrize("seed", range(30))
def test_atoms_predict_where_bytes_go(seed: int) -> None:
    """Reshape of permuted storage equals permuted storage of the reshape, checked on numbers."""
    rng = np.random.default_rng(seed)
    factors = [int(f) for f in rng.choice([1, 2, 3, 4], 5)]

    def grouped() -> tuple[int, ...]:
        cuts = sorted(rng.choice(np.arange(1, 5), 2, replace=False))
        return tuple(int(np.prod(part)) for part in np.split(factors, cuts))

    source, target = grouped(), grouped()
    both = cut(source, target)
    assert both is not None
    perm = tuple(int(i) for i in rng.permutation(3))
    fit = arrange(permuted(both[0], perm), both[1])
    x = np.arange(int(np.prod(source))).reshape(source)
    y = x.reshape(target)
    if fit is not None:
        np.testing.assert_array_equal(x.transpose(perm).reshape(-1), y.transpose(fit).reshape(-1))
    else:
        flat = x.transpose(perm).reshape(-1)
        import itertools

        assert not any((y.transpose(p).reshape(-1) == flat).all() for p in itertools.permutations(range(3)))
