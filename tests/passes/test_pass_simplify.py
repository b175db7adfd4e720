"""Rewrites that need no knowledge of layouts: identities, views, transposes, arithmetic, clips, folding, duplicates."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from edgec.converter.ir.run import run
from edgec.converter.passes import fold_constants
from edgec.converter.passes.pipeline import optimize
from tests.passes.builder import B, build_graph, fired, only_node, ops, optimized

IDENTITIES: dict[str, Callable[[B, object], object]] = {
    "identity": lambda b, x: b("Identity", x),
    "cast": lambda b, x: b("Cast", x, to="f32"),
    "reshape": lambda b, x: b.reshape(x, -1, 3, 4),
    "transpose": lambda b, x: b.transpose(x, 0, 1, 2),
    "concat of one": lambda b, x: b("Concat", x, axis=1),
    "add 0": lambda b, x: b("Add", x, b.scalar(0)),
    "0 + x": lambda b, x: b("Add", b.data(np.zeros((3, 1))), x),
    "sub 0": lambda b, x: b("Sub", x, b.scalar(0)),
    "mul 1": lambda b, x: b("Mul", x, b.data(np.ones(4))),
    "div 1": lambda b, x: b("Div", x, b.scalar(1)),
    "pow 1": lambda b, x: b("Pow", x, b.scalar(1)),
    "pad 0": lambda b, x: b("Pad", x, b.ints(0, 0, 0, 0, 0, 0)),
    "slice all": lambda b, x: b("Slice", x, b.ints(0), b.ints(99), b.ints(1)),
    "tile once": lambda b, x: b("Tile", x, b.ints(1, 1, 1)),
    "gather all": lambda b, x: b("Gather", x, b.ints(0, 1, 2), axis=1),
    "expand": lambda b, x: b("Expand", x, b.ints(1, 3, 4)),
    "clip nothing": lambda b, x: b("Clip", x),
    "mean of 1": lambda b, x: b("ReduceMean", b("Unsqueeze", x, axes=[1]), axes=[1], keepdims=0),
    "transposes": lambda b, x: b.transpose(b.transpose(x, 2, 0, 1), 1, 2, 0),
    "views": lambda b, x: b("Squeeze", b("Unsqueeze", x, axes=[2]), axes=[2]),
    "split and concat": lambda b, x: b("Concat", *b("Split", x, outputs=3, axis=1), axis=1),
    "slices and concat": lambda b, x: b(
        "Concat",
        b("Slice", x, b.ints(0), b.ints(1), b.ints(2)),
        b("Slice", x, b.ints(1), b.ints(4), b.ints(2)),
        axis=-1,
    ),
}


@pytest.mark.parametrize("name", IDENTITIES)
@pytest.mark.parametrize("batch", [2, "n"])
def test_without_effect_is_removed(name: str, batch: int | str) -> None:
    graph, _ = optimized(lambda b: b("Neg", IDENTITIES[name](b, b("Relu", b.input(batch, 3, 4)))))
    assert ops(graph) == {"Relu": 1, "Neg": 1}


NOT_IDENTITIES: dict[str, Callable[[B, object], object]] = {
    "add broadcasts": lambda b, x: b("Add", x, b.data(np.zeros((2, 3, 4)))),
    "0 - x": lambda b, x: b("Sub", b.scalar(0), x),
    "1 / x": lambda b, x: b("Div", b.scalar(1), x),
    "reversed slice": lambda b, x: b("Slice", x, b.ints(-1), b.ints(-99), b.ints(1), b.ints(-1)),
    "permuted gather": lambda b, x: b("Gather", x, b.ints(0, 2, 1), axis=1),
    "cast": lambda b, x: b("Cast", x, to="i32"),
    "reshape": lambda b, x: b.reshape(x, 1, 4, 3),
    "parts in other order": lambda b, x: b("Concat", *reversed(b("Split", x, outputs=3, axis=1)), axis=1),
}


@pytest.mark.parametrize("name", NOT_IDENTITIES)
def test_with_effect_stays(name: str) -> None:
    graph, report = optimized(lambda b: NOT_IDENTITIES[name](b, b("Exp", b.input(1, 3, 4))))
    assert fired(report, "remove-identities") == 0
    assert len(graph) >= 2


def test_output_name_and_order_survive_the_removal_of_everything() -> None:
    def build(b: B) -> list[object]:
        x = b.input(2, 3)
        y = b("Relu", x)
        return [b("Identity", x), b("Add", y, b.scalar(0)), b("Identity", y), y]

    graph, _ = optimized(build)
    assert [v.name for v in graph.outputs] == ["Identity", "Add", "Identity_1", "Relu"]
    assert len({id(v) for v in graph.outputs}) == 4


def test_chain_of_views_is_one_reshape() -> None:
    def build(b: B) -> object:
        x = b("Relu", b.input("n", 3, 4))
        y = b("Flatten", b("Unsqueeze", x, axes=[1]), axis=2)
        return b("Neg", b.reshape(y, -1, 6, 2))

    graph, _ = optimized(build)
    assert ops(graph) == {"Relu": 1, "Reshape": 1, "Neg": 1}
    assert only_node(graph, "Reshape").inputs[1].data.tolist() == [-1, 6, 2]


def test_computed_shape_becomes_constant() -> None:
    def build(b: B) -> object:
        x = b.input("n", 3, 4)
        n = b("Slice", b("Shape", x), b.ints(0), b.ints(1))
        return b("Reshape", x, b("Concat", n, b.ints(12), axis=0))

    graph, _ = optimized(build)
    assert ops(graph) == {"Reshape": 1}


def test_two_symbols_keep_the_one_that_stays_in_place() -> None:
    def build(b: B) -> object:
        b.graph.add_symbol("n", example=2)
        b.graph.add_symbol("t", example=5)
        x = b.input("n", "t", 6)
        parts = [b("Slice", b("Shape", x), b.ints(i), b.ints(i + 1)) for i in (0, 1)]
        return b("Reshape", x, b("Concat", *parts, b.ints(2, 3), axis=0))

    graph, _ = optimized(build)
    assert only_node(graph, "Reshape").inputs[1].data.tolist() == [0, -1, 2, 3]


def test_transposes_merge() -> None:
    graph, _ = optimized(lambda b: b.transpose(b.transpose(b.input(2, 3, 4), 1, 0, 2), 0, 2, 1))
    assert only_node(graph, "Transpose").attrs["perm"] == [1, 2, 0]


def test_transpose_of_ones_is_a_view() -> None:
    graph, _ = optimized(lambda b: b.transpose(b.input("n", 1, 4, 1), 0, 2, 1, 3))
    assert ops(graph) == {"Reshape": 1}


@pytest.mark.parametrize(
    ("op", "operand", "wanted"),
    [
        ("Div", 4.0, "Mul"),
        ("Sub", 3.0, "Add"),
        ("Pow", 2.0, "Mul"),
        ("Pow", 0.5, "Sqrt"),
        ("Pow", -0.5, "Rsqrt"),
        ("Pow", -1.0, "Reciprocal"),
        ("PRelu", 0.25, "LeakyRelu"),
        ("PRelu", 0.0, "Relu"),
    ],
)
def test_arithmetic_has_one_form(op: str, operand: float, wanted: str) -> None:
    graph, _ = optimized(lambda b: b(op, b.input(3, 5), b.scalar(operand)), low=0.5, high=2.0)
    assert ops(graph) == {wanted: 1}


def test_reciprocal_of_root_and_division() -> None:
    graph, _ = optimized(lambda b: b("Div", b.scalar(1), b("Sqrt", b.input(4))), low=0.5, high=2.0)
    assert ops(graph) == {"Rsqrt": 1}
    graph, _ = optimized(
        lambda b: b("Mul", b("Sin", b.input(4)), b("Div", b.scalar(1), b("Exp", b.input(4, name="y")))),
        low=0.5,
        high=2.0,
    )
    assert ops(graph) == {"Sin": 1, "Exp": 1, "Div": 1}


def test_integer_division_is_left_alone() -> None:
    graph, _ = optimized(lambda b: b("Div", b.input(5, dtype="i64"), b.ints(2)))
    assert ops(graph) == {"Div": 1}


def test_division_by_something_without_inverse_is_left_alone() -> None:
    for number in (1e-39, 3e38):  # 1/c is infinite or has lost bits
        graph = build_graph(lambda b, c=number: b("Div", b.input(5), b.scalar(c)), seed=0)
        optimize(graph)
        assert ops(graph) == {"Div": 1}


def test_division_that_is_rounded_afterwards_stays_a_division() -> None:
    """floor(49 / 49) is 1, floor(49 * (1 / 49)) is 0 in f32."""
    x = np.arange(1, 200, dtype=np.float32)
    for divisor, wanted in ((49.0, "Div"), (8.0, "Mul")):

        def build(b: B, c: float = divisor) -> object:
            return b("Floor", b("Sin", b("Neg", b("Div", b.input(199), b.scalar(c)))))

        graph = build_graph(build, 0)
        optimize(graph, strict=True)
        assert wanted in ops(graph)
    exact = build_graph(lambda b: b("Floor", b("Div", b.input(199), b.scalar(49))), 0)
    optimize(exact, strict=True)
    np.testing.assert_array_equal(run(exact, {"x": x})["Floor"], np.floor(x / np.float32(49)))


def test_constants_of_equal_operators_merge() -> None:
    def build(b: B) -> object:
        y = b("Mul", b("Mul", b("Relu", b.input(2, 3)), b.const(3)), b.const(1, 3))
        return b("Add", b("Add", y, b.scalar(2)), b.const(3))

    graph, _ = optimized(build)
    assert ops(graph) == {"Relu": 1, "Mul": 1, "Add": 1}


def test_constants_do_not_merge_into_a_larger_one_or_across_a_second_use() -> None:
    graph, _ = optimized(lambda b: b("Add", b("Add", b.input(4, 3), b.const(4, 1)), b.const(3)))
    assert ops(graph) == {"Add": 2}

    def shared(b: B) -> list[object]:
        y = b("Add", b.input(3), b.const(3))
        return [b("Add", y, b.const(3)), b("Neg", y)]

    graph, _ = optimized(shared)
    assert ops(graph)["Add"] == 2


@pytest.mark.parametrize(
    ("chain", "wanted"),
    [
        ((("Relu", None), ("Min", 6.0)), {"Clip": 1}),
        ((("Max", 0.0),), {"Relu": 1}),
        ((("Relu", None), ("Relu", None)), {"Relu": 1}),
        ((("Min", 1.0), ("Max", -1.0)), {"Clip": 1}),
        ((("Min", -1.5), ("Max", 1.0)), {"Clip": 1}),
        ((("Max", -0.5), ("Max", 0.0)), {"Relu": 1}),
    ],
)
def test_clips_merge(chain: tuple[tuple[str, float | None], ...], wanted: dict[str, int]) -> None:
    def build(b: B) -> object:
        y = b.input(64)
        for op, bound in chain:
            y = b(op, y) if bound is None else b(op, b.scalar(bound), y)
        return y

    graph, _ = optimized(build)
    assert ops(graph) == wanted


def test_clip_with_a_second_reader_stays() -> None:
    def build(b: B) -> list[object]:
        y = b("Relu", b.input(9))
        return [b("Min", y, b.scalar(1)), b("Neg", y)]

    graph, _ = optimized(build)
    assert ops(graph) == {"Relu": 1, "Clip": 1, "Neg": 1}


def test_constants_fold_and_shapes_fold() -> None:
    def build(b: B) -> object:
        x = b.input(2, 3)
        c = b("Transpose", b("Mul", b.const(3, 2), b.scalar(2)), perm=[1, 0])
        return b("Add", b("Add", x, c), b("Cast", b("Size", x), to="f32"))

    graph, _ = optimized(build)
    assert ops(graph) == {"Add": 1}


def test_folding_does_not_grow_the_file(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(fold_constants, "MAX_GROWTH_BYTES", 1000)

    def build(b: B) -> object:
        big = b("Expand", b.const(1, 64), b.ints(128, 64))
        return b("Add", b.input(128, 64), b("Neg", big))

    _, report = optimized(build, only=["fold-constants"])
    assert fired(report, "fold-constants") == 0
    monkeypatch.setattr(fold_constants, "MAX_GROWTH_BYTES", 1 << 20)
    graph, _ = optimized(build, only=["fold-constants"])
    assert ops(graph) == {"Add": 1}


@pytest.mark.parametrize("size", [16, 128])
def test_weights_stored_in_eight_bits_stay_so(size: int) -> None:
    def build(b: B) -> object:
        stored = b.data(b.rng.integers(-127, 128, (size, size)), np.int8)
        weight = b("DequantizeLinear", stored, b.scalar(1 / 512))
        return b("MatMul", b.input(3, size), weight)

    graph, _ = optimized(build)
    assert ops(graph) == {"DequantizeLinear": 1, "MatMul": 1}


@pytest.mark.parametrize("per_channel", [False, True])
def test_stored_weight_is_transposed_where_it_is_stored(per_channel: bool) -> None:
    """OIHW in 8 bits, as a QDQ model has it, becomes OHWI in 8 bits."""

    def build(b: B) -> object:
        stored = b.data(b.rng.integers(-127, 128, (8, 3, 3, 3)), np.int8)
        scale = b.const(8, low=0.001, high=0.01) if per_channel else b.scalar(0.004)
        weight = b.transpose(b("DequantizeLinear", stored, scale, axis=0), 0, 2, 3, 1)
        return b("Conv2d", b.input(1, 5, 5, 3), weight)

    graph, _ = optimized(build)
    assert ops(graph) == {"DequantizeLinear": 1, "Conv2d": 1}


def test_a_constant_output_keeps_its_node() -> None:
    graph, _ = optimized(lambda b: [b("Relu", b.input(3)), b("Neg", b.const(2))])
    assert [v.name for v in graph.outputs] == ["Relu", "Neg"]


def test_equal_nodes_are_computed_once() -> None:
    def build(b: B) -> object:
        x = b.input(2, 8)
        a = b("Softmax", b("Add", x, b.data([1.0])), axis=-1)
        c = b("Softmax", b("Add", x, b.data([1.0])), axis=-1)
        return b("Sub", a, b("Exp", c))

    graph, _ = optimized(build)
    assert ops(graph) == {"Add": 1, "Softmax": 1, "Exp": 1, "Sub": 1}


@pytest.mark.parametrize("difference", ["attribute", "constant", "order"])
def test_different_nodes_are_not_merged(difference: str) -> None:
    def build(b: B) -> list[object]:
        x, y = b.input(4, 4), b.input(4, 4, name="y")
        if difference == "attribute":
            return [b("Softmax", x, axis=0), b("Softmax", x, axis=1)]
        if difference == "constant":
            return [b("Add", x, b.data([1.0])), b("Add", x, b.data([2.0]))]
        return [b("Sub", x, y), b("Sub", y, x)]

    graph, _ = optimized(build)
    assert len(graph) == 2


def test_default_attribute_equals_absent_one() -> None:
    graph, _ = optimized(
        lambda b: b("Concat", b("Softmax", x := b.input(4, 4)), b("Exp", b("Softmax", x, axis=-1)), axis=0)
    )
    assert ops(graph)["Softmax"] == 1


def test_dead_code_goes_with_what_feeds_it() -> None:
    def build(b: B) -> object:
        x = b.input(3)
        b("Exp", b("Neg", x))
        return b("Relu", x)

    graph, report = optimized(build)
    assert ops(graph) == {"Relu": 1}
    assert fired(report, "dead-code") == 1


def test_slices_merge_and_read_through_concat() -> None:
    def build(b: B) -> list[object]:
        x, y = b("Exp", b.input(2, 8)), b("Neg", b.input(2, 6, name="y"))
        joined = b("Concat", x, y, axis=1)
        inner = b("Slice", joined, b.ints(1), b.ints(12), b.ints(1), b.ints(2))
        return [
            b("Relu", b("Slice", inner, b.ints(1), b.ints(3), b.ints(1))),
            b("Abs", b("Slice", joined, b.ints(8), b.ints(14), b.ints(1))),
            b("Abs", b("Slice", joined, b.ints(6), b.ints(10), b.ints(1))),
        ]

    graph, report = optimized(build)
    assert fired(report, "slice-of-slice") == 1
    assert fired(report, "slice-of-concat") == 2
    assert ops(graph)["Slice"] == 2


def test_consecutive_slices_become_a_split() -> None:
    def build(b: B) -> list[object]:
        x = b("Exp", b.input("n", 8))
        cuts = [b("Slice", x, b.ints(s), b.ints(e), b.ints(-1)) for s, e in ((0, 2), (2, 5), (5, 8))]
        return [b("Relu", cuts[0]), b("Neg", cuts[1]), b("Abs", cuts[2])]

    graph, _ = optimized(build)
    assert only_node(graph, "Split").attrs["sizes"] == [2, 3, 3]


def test_slices_with_a_gap_stay_slices() -> None:
    def build(b: B) -> list[object]:
        x = b("Exp", b.input(2, 8))
        return [b("Slice", x, b.ints(s), b.ints(e), b.ints(1)) for s, e in ((0, 2), (3, 8))]

    graph, _ = optimized(build)
    assert ops(graph) == {"Exp": 1, "Slice": 2}


def test_concat_of_concat() -> None:
    def build(b: B) -> object:
        x, y, z = (b("Exp", b.input(2, k, name=f"x{k}")) for k in (1, 2, 3))
        return b("Concat", b("Concat", x, y, axis=1), z, axis=-1)

    graph, _ = optimized(build)
    assert len(only_node(graph, "Concat").inputs) == 3


def test_expand_before_broadcasting_is_dropped() -> None:
    graph, _ = optimized(lambda b: b("Add", b.input(4, 3), b("Expand", b.input(1, 3, name="y"), b.ints(4, 3))))
    assert ops(graph) == {"Add": 1}
    graph, _ = optimized(lambda b: b("Add", b.input(1, 3), b("Expand", b.input(1, 3, name="y"), b.ints(4, 3))))
    assert ops(graph) == {"Expand": 1, "Add": 1}


@pytest.mark.parametrize(("inner", "wanted"), [("i64", {}), ("f32", {"Cast": 2}), ("i8", {"Cast": 2})])
def test_casts_merge_only_when_nothing_is_lost(inner: str, wanted: dict[str, int]) -> None:
    graph, _ = optimized(
        lambda b: b("Neg", b("Cast", b("Cast", b("Abs", b.input(5, dtype="i32")), to=inner), to="i32"))
    )
    assert ops(graph) == {"Abs": 1, "Neg": 1, **wanted}


def test_global_pools_are_reductions() -> None:
    def build(b: B) -> list[object]:
        x = b.input(2, 5, 7, 3)
        return [b(op, x, kernel=[5, 7]) for op in ("AvgPool2d", "MaxPool2d")]

    graph, _ = optimized(build)
    assert ops(graph) == {"ReduceMean": 1, "ReduceMax": 1}
    graph, _ = optimized(lambda b: b("AvgPool2d", b.input(2, 5, 7, 3), kernel=[5, 6]))
    assert ops(graph) == {"AvgPool2d": 1}


def test_integers_times_zero_are_zeros() -> None:
    def build(b: B) -> object:
        zero = b("Cast", b("Mul", b.input(dtype="i64", name="rate"), b.data(0, np.int64)), to="f32")
        return b("Add", b("Exp", b.input(2, 3)), zero)

    graph, _ = optimized(build)
    assert ops(graph) == {"Exp": 1}
    assert [v.name for v in graph.inputs] == ["rate", "x"]
    graph, _ = optimized(lambda b: b("Neg", b("Mul", b.input(2, 3), b.scalar(0))))
    assert ops(graph) == {"Mul": 1, "Neg": 1}
