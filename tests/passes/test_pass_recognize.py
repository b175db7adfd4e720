"""Functions, normalisations and attention in the many ways that people and exporters write them."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.passes.builder import B, fired, only_node, ops, optimized

ROOT2, K = math.sqrt(2), math.sqrt(2 / math.pi)


def product(b: B, *factors: Any) -> Any:
    y = factors[0]
    for f in factors[1:]:
        y = b("Mul", y, f)
    return y


def erf_part(b: B, x: Any) -> Any:
    return b("Add", b("Erf", b("Div", x, b.scalar(ROOT2))), b.scalar(1))


def tanh_part(b: B, x: Any, power: bool) -> Any:
    cube = b("Pow", x, b.scalar(3)) if power else product(b, x, x, x)
    inner = b("Mul", b.scalar(K), b("Add", x, b("Mul", b.scalar(0.044715), cube)))
    return b("Add", b.scalar(1), b("Tanh", inner))


FUNCTIONS: dict[str, tuple[Callable[[B, Any], Any], str]] = {
    "gelu, half first": (lambda b, x: product(b, b("Mul", b.scalar(0.5), x), erf_part(b, x)), "Gelu"),
    "gelu, half last": (lambda b, x: product(b, x, erf_part(b, x), b.scalar(0.5)), "Gelu"),
    "gelu, half on the sum": (lambda b, x: b("Mul", x, b("Mul", b.scalar(0.5), erf_part(b, x))), "Gelu"),
    "gelu, product with 0.7071": (
        lambda b, x: b(
            "Mul", b("Mul", x, b.scalar(0.5)), b("Add", b("Erf", b("Mul", x, b.scalar(1 / ROOT2))), b.scalar(1))
        ),
        "Gelu",
    ),
    "gelu, divided by 2": (lambda b, x: b("Div", b("Mul", x, erf_part(b, x)), b.scalar(2)), "Gelu"),
    "gelu tanh, pow": (lambda b, x: product(b, b.scalar(0.5), x, tanh_part(b, x, True)), "Gelu"),
    "gelu tanh, products": (lambda b, x: b("Mul", tanh_part(b, x, False), b("Mul", x, b.scalar(0.5))), "Gelu"),
    "silu": (lambda b, x: b("Mul", b("Sigmoid", x), x), "Silu"),
    "silu by exp": (lambda b, x: b("Div", x, b("Add", b.scalar(1), b("Exp", b("Neg", x)))), "Silu"),
    "sigmoid by exp": (lambda b, x: b("Div", b.scalar(1), b("Add", b("Exp", b("Neg", x)), b.scalar(1))), "Sigmoid"),
    "hardswish by clip": (
        lambda b, x: b("Div", b("Mul", x, b("Clip", b("Add", x, b.scalar(3)), min=0.0, max=6.0)), b.scalar(6)),
        "HardSwish",
    ),
    "hardswish by hardsigmoid": (lambda b, x: b("Mul", x, b("HardSigmoid", x, alpha=1 / 6, beta=0.5)), "HardSwish"),
    "hardswish by min and max": (
        lambda b, x: b("Mul", b("Div", b("Min", b.scalar(6), b("Relu", b("Add", x, b.scalar(3)))), b.scalar(6)), x),
        "HardSwish",
    ),
    "hardsigmoid": (
        lambda b, x: b("Div", b("Clip", b("Add", x, b.scalar(3)), min=0.0, max=6.0), b.scalar(6)),
        "HardSigmoid",
    ),
    "hardsigmoid of keras": (
        lambda b, x: b("Clip", b("Add", b("Mul", x, b.scalar(0.2)), b.scalar(0.5)), min=0.0, max=1.0),
        "HardSigmoid",
    ),
    "mish": (lambda b, x: b("Mul", x, b("Tanh", b("Softplus", x))), "Mish"),
    "mish by exp": (lambda b, x: b("Mul", x, b("Tanh", b("Log", b("Add", b.scalar(1), b("Exp", x))))), "Mish"),
    "softplus": (lambda b, x: b("Log", b("Add", b("Exp", x), b.scalar(1))), "Softplus"),
    "leaky relu by max": (lambda b, x: b("Max", x, b("Mul", x, b.scalar(0.1))), "LeakyRelu"),
    "relu by abs": (lambda b, x: b("Mul", b("Add", x, b("Abs", x)), b.scalar(0.5)), "Relu"),
}


@pytest.mark.parametrize("name", FUNCTIONS)
@pytest.mark.parametrize("batch", [3, "n"])
def test_function_is_recognised(name: str, batch: int | str) -> None:
    make, wanted = FUNCTIONS[name]
    graph, _ = optimized(lambda b: make(b, b.input(batch, 50)), low=-8.0, high=8.0)
    assert ops(graph) == {wanted: 1}
    if "tanh" in name:
        assert graph.nodes[0].attrs["approximate"] == "tanh"


def test_parameters_are_the_round_numbers_that_were_meant() -> None:
    graph, _ = optimized(lambda b: FUNCTIONS["hardsigmoid"][0](b, b.input(9)))
    assert graph.nodes[0].attrs == {"alpha": 1 / 6, "beta": 0.5}
    graph, _ = optimized(lambda b: FUNCTIONS["leaky relu by max"][0](b, b.input(9)))
    assert graph.nodes[0].attrs == {"alpha": 0.1}


NO_FUNCTIONS: dict[str, Callable[[B, Any], Any]] = {
    "quick gelu": lambda b, x: b("Mul", x, b("Sigmoid", b("Mul", x, b.scalar(1.702)))),
    "gelu with a wrong constant": lambda b, x: b(
        "Mul", b("Mul", x, b.scalar(0.5)), b("Add", b("Erf", b("Mul", x, b.scalar(0.7))), b.scalar(1))
    ),
    "hardswish with another bend": lambda b, x: b(
        "Div", b("Mul", x, b("Clip", b("Add", x, b.scalar(3)), min=0.0, max=5.0)), b.scalar(6)
    ),
    "two variables": lambda b, x: b("Mul", x, b("Sigmoid", b.input(3, 50, name="y"))),
    "constant per channel": lambda b, x: b("Mul", x, b("Sigmoid", b("Mul", x, b.const(50)))),
}


@pytest.mark.parametrize("name", NO_FUNCTIONS)
def test_function_is_not_recognised(name: str) -> None:
    _, report = optimized(lambda b: NO_FUNCTIONS[name](b, b.input(3, 50)))
    assert fired(report, "recognize-functions") == 0


def test_intermediate_with_another_reader_is_kept() -> None:
    def build(b: B) -> Any:
        x = b.input(9)
        s = b("Sigmoid", x)
        return [b("Mul", x, s), b("Neg", s)]

    graph, _ = optimized(build)
    assert ops(graph) == {"Sigmoid": 1, "Mul": 1, "Neg": 1}


def test_functions_in_a_row() -> None:
    graph, _ = optimized(lambda b: FUNCTIONS["gelu, half last"][0](b, FUNCTIONS["mish"][0](b, b.input(99))))
    assert ops(graph) == {"Mish": 1, "Gelu": 1}


# -- normalisations -------------------------------------------------------------------------------------------


def layer_norm(b: B, x: Any, axes: list[int], form: str) -> Any:
    d = b("Sub", x, b("ReduceMean", x, axes=axes))
    square = b("Pow", d, b.scalar(2)) if "pow" in form else b("Mul", d, d)
    variance = b("Add", b("ReduceMean", square, axes=axes), b.scalar(1e-5))
    if "rsqrt" in form:
        return b("Mul", d, b("Rsqrt", variance))
    if "power" in form:
        return b("Mul", d, b("Pow", variance, b.scalar(-0.5)))
    return b("Div", d, b("Sqrt", variance))


@pytest.mark.parametrize("form", ["pow sqrt", "mul sqrt", "pow rsqrt", "mul power"])
@pytest.mark.parametrize("axes", [[-1], [1, 2]])
@pytest.mark.parametrize("batch", [2, "n"])
def test_layer_norm(form: str, axes: list[int], batch: int | str) -> None:
    def build(b: B) -> Any:
        y = layer_norm(b, b.input(batch, 5, 16), axes, form)
        shape = (16,) if axes == [-1] else (5, 16)
        return b("Add", b("Mul", y, b.const(*shape)), b.const(*shape))

    graph, _ = optimized(build)
    assert ops(graph) == {"LayerNorm": 1}
    assert only_node(graph, "LayerNorm").inputs[1].shape == ((16,) if axes == [-1] else (5, 16))


def test_channels_first_layer_norm_in_a_convolutional_network() -> None:
    """ConvNeXt: mean over axis 1 of NCHW becomes a norm over the last dimension of NHWC."""

    def build(b: B) -> Any:
        y = layer_norm(b, b.conv(b.input("n", 3, 8, 8), 16), [1], "pow sqrt")
        y = b("Add", b("Mul", y, b.const(16, 1, 1)), b.const(16, 1, 1))
        return b.conv(y, 4, kernel=1)

    graph, _ = optimized(build)
    assert ops(graph) == {"Transpose": 2, "Conv2d": 2, "LayerNorm": 1}


def test_layer_norm_between_transposes() -> None:
    def build(b: B) -> Any:
        y = b.nhwc(b.conv(b.input("n", 3, 8, 8), 16))
        y = b("LayerNorm", y, b.const(16), b.const(16))
        return b.conv(b.nchw(y), 4)

    graph, _ = optimized(build)
    assert ops(graph) == {"Transpose": 2, "Conv2d": 2, "LayerNorm": 1}


@pytest.mark.parametrize("form", ["div", "rsqrt"])
def test_rms_norm(form: str) -> None:
    def build(b: B) -> Any:
        x = b.input("n", 5, 16)
        mean = b("Add", b("ReduceMean", b("Pow", x, b.scalar(2)), axes=[-1]), b.scalar(1e-6))
        y = b("Div", x, b("Sqrt", mean)) if form == "div" else b("Mul", b("Rsqrt", mean), x)
        return b("Mul", b.const(16), y)

    graph, _ = optimized(build)
    assert ops(graph) == {"RMSNorm": 1}
    assert graph.nodes[0].attr("epsilon") == pytest.approx(1e-6)


@pytest.mark.parametrize("name", ["axis", "other mean", "other variance", "scale per row"])
def test_what_is_no_layer_norm(name: str) -> None:
    def build(b: B) -> Any:
        x = b.input(2, 5, 16)
        if name == "axis":
            return layer_norm(b, x, [1], "mul sqrt")
        if name == "scale per row":
            return b("Mul", layer_norm(b, x, [-1], "mul sqrt"), b.const(5, 1))
        d = b("Sub", x, b("ReduceMean", b("Sin", x) if name == "other mean" else x, axes=[-1]))
        e = b("Sub", x, b.scalar(0.1)) if name == "other variance" else d
        return b("Div", d, b("Sqrt", b("Add", b("ReduceMean", b("Mul", e, e), axes=[-1]), b.scalar(1e-5))))

    graph, _ = optimized(build)
    assert ops(graph).get("LayerNorm", 0) == int(name == "scale per row")
    if name == "scale per row":
        assert len(graph.nodes) == 2


@pytest.mark.parametrize("form", ["instance", "layer"])
@pytest.mark.parametrize("batch", [2, "n"])
def test_group_norm(form: str, batch: int | str) -> None:
    def build(b: B) -> Any:
        y = b.conv(b.input(batch, 3, 8, 6), 8)
        g = b.reshape(y, 0, 4, -1)
        if form == "instance":
            g = b.transpose(b("GroupNorm", b.transpose(g, 0, 2, 1), groups=4), 0, 2, 1)
        else:
            g = layer_norm(b, g, [2], "pow sqrt")
        y = b.reshape(g, 0, 8, 8, 6)
        y = b("Add", b("Mul", y, b.const(8, 1, 1)), b.const(8, 1, 1))
        return b.conv(y, 4)

    graph, _ = optimized(build)
    assert ops(graph) == {"Transpose": 2, "Conv2d": 2, "GroupNorm": 1}
    assert only_node(graph, "GroupNorm").attrs["groups"] == 4
    assert len(only_node(graph, "GroupNorm").inputs) == 3


# -- attention ------------------------------------------------------------------------------------------------

HEADS, TOKENS, DEPTH = 4, 6, 8


def heads(b: B, x: Any, count: int = HEADS) -> Any:
    """[N,T,H*D] -> [N,H,T,D]"""
    return b.transpose(b.reshape(x, -1, TOKENS, count, DEPTH), 0, 2, 1, 3)


def linear(b: B, x: Any, out: int) -> Any:
    k = x.shape[-1]
    return b("MatMul", x, b.const(k, out, low=-(k**-0.5), high=k**-0.5))


def attend(b: B, q: Any, k: Any, v: Any, scale: str = "div", mask: Any = None, k_transposed: Any = None) -> Any:
    rank = q.rank
    if scale == "on q":
        q = b("Mul", q, b.scalar(DEPTH**-0.5))
    if scale == "on both":
        q, k = b("Mul", q, b.scalar(DEPTH**-0.25)), b("Mul", k, b.scalar(DEPTH**-0.25))
    kt = b.transpose(k, *range(rank - 2), rank - 1, rank - 2) if k_transposed is None else k_transposed
    s = b("MatMul", q, kt)
    if scale == "div":
        s = b("Div", s, b.scalar(DEPTH**0.5))
    if scale == "mul":
        s = b("Mul", b.scalar(DEPTH**-0.5), s)
    if mask is not None:
        s = b("Add", s, mask)
    return b("MatMul", b("Softmax", s, axis=-1), v)


@pytest.mark.parametrize("scale", ["div", "mul", "on q", "on both", "none"])
@pytest.mark.parametrize("batch", [2, "n"])
def test_attention(scale: str, batch: int | str) -> None:
    def build(b: B) -> Any:
        x = b.input(batch, TOKENS, HEADS * DEPTH)
        q, k, v = (heads(b, linear(b, x, HEADS * DEPTH)) for _ in range(3))
        y = attend(b, q, k, v, scale)
        y = b.reshape(b.transpose(y, 0, 2, 1, 3), -1, TOKENS, HEADS * DEPTH)
        return b("Add", linear(b, y, HEADS * DEPTH), x)

    graph, _ = optimized(build)
    node = only_node(graph, "Attention")
    assert not {"Softmax", "Mul", "Div", "Add"} & set(ops(graph))
    assert node.attr("scale") == pytest.approx(1.0 if scale == "none" else DEPTH**-0.5)
    assert node.attr("causal") == 0


def test_keys_that_are_transposed_at_once() -> None:
    def build(b: B) -> Any:
        x = b.input("n", TOKENS, HEADS * DEPTH)
        q, v = heads(b, linear(b, x, HEADS * DEPTH)), heads(b, linear(b, x, HEADS * DEPTH))
        kt = b.transpose(b.reshape(linear(b, x, HEADS * DEPTH), -1, TOKENS, HEADS, DEPTH), 0, 2, 3, 1)
        return attend(b, q, None, v, k_transposed=kt)

    graph, _ = optimized(build)
    assert ops(graph)["Attention"] == 1
    assert ops(graph)["Transpose"] == 3


@pytest.mark.parametrize("kind", ["additive", "padding", "causal", "two", "causal and padding"])
def test_masks(kind: str) -> None:
    triangle = np.triu(np.full((TOKENS, TOKENS), -np.inf, np.float32), 1)

    def build(b: B) -> Any:
        q, k, v = (b.input("n", HEADS, TOKENS, DEPTH, name=n) for n in "qkv")
        masks = {
            "additive": [b.const(TOKENS, TOKENS)],
            "padding": [b("Mul", b.input("n", 1, 1, TOKENS, name="m"), b.scalar(-100))],
            "causal": [b.data(triangle)],
            "two": [b.const(1, 1, TOKENS, TOKENS), b.input("n", 1, TOKENS, TOKENS, name="m")],
            "causal and padding": [b.data(np.maximum(triangle, np.finfo(np.float32).min)), b.const(TOKENS)],
        }[kind]
        s = b("Mul", b("MatMul", q, b.transpose(k, 0, 1, 3, 2)), b.scalar(0.3))
        for m in masks:
            s = b("Add", s, m)
        return b("MatMul", b("Softmax", s, axis=3), v)

    graph, _ = optimized(build, disable=["merge-constant-operands"])
    node = only_node(graph, "Attention")
    assert node.attr("causal") == int("causal" in kind)
    assert (len(node.inputs) == 4) == (kind != "causal")
    assert "Softmax" not in ops(graph)


def test_mask_that_is_scaled_with_the_scores_is_left_alone() -> None:
    def build(b: B) -> Any:
        q, k, v = (b.input(2, HEADS, TOKENS, DEPTH, name=n) for n in "qkv")
        s = b("Add", b("MatMul", q, b.transpose(k, 0, 1, 3, 2)), b.input(TOKENS, TOKENS, name="m"))
        return b("MatMul", b("Softmax", b("Mul", s, b.scalar(0.3)), axis=-1), v)

    graph, _ = optimized(build)
    assert "Attention" not in ops(graph)


@pytest.mark.parametrize("place", ["after the transpose", "before the transpose"])
@pytest.mark.parametrize("op", ["Expand", "Tile"])
def test_grouped_queries(place: str, op: str) -> None:
    groups = 2

    def repeated(b: B, x: Any) -> Any:
        if place == "after the transpose":
            y = b("Unsqueeze", heads(b, x, HEADS // groups), axes=[2])
            shape, joined = (1, 1, groups, 1, 1), (-1, HEADS, TOKENS, DEPTH)
        else:
            y = b("Unsqueeze", b.reshape(x, -1, TOKENS, HEADS // groups, DEPTH), axes=[3])
            shape, joined = (1, 1, 1, groups, 1), (-1, TOKENS, HEADS, DEPTH)
        y = b.reshape(b(op, y, b.ints(*shape)), *joined)
        return y if place == "after the transpose" else b.transpose(y, 0, 2, 1, 3)

    def build(b: B) -> Any:
        x = b.input("n", TOKENS, HEADS * DEPTH)
        q = heads(b, linear(b, x, HEADS * DEPTH))
        k, v = (repeated(b, linear(b, x, HEADS * DEPTH // groups)) for _ in range(2))
        return attend(b, q, k, v)

    graph, _ = optimized(build)
    node = only_node(graph, "Attention")
    assert op not in ops(graph)
    assert node.inputs[1].shape[1] == node.inputs[2].shape[1] == HEADS // groups


def test_single_head_of_rank_3() -> None:
    graph, _ = optimized(lambda b: attend(b, *(b.input("n", TOKENS, DEPTH, name=n) for n in "qkv")))
    assert ops(graph) == {"Unsqueeze": 3, "Attention": 1, "Squeeze": 1}


def test_cross_attention_with_another_length() -> None:
    def build(b: B) -> Any:
        q = b.input("n", HEADS, 3, DEPTH, name="q")
        return attend(b, q, *(b.input("n", HEADS, TOKENS, DEPTH, name=n) for n in "kv"))

    graph, _ = optimized(build)
    assert ops(graph) == {"Attention": 1}


@pytest.mark.parametrize("name", ["axis", "probabilities are read", "broadcast heads"])
def test_what_is_no_attention(name: str) -> None:
    def build(b: B) -> Any:
        q, k, v = (b.input(2, HEADS, TOKENS, DEPTH, name=n) for n in "qkv")
        if name == "broadcast heads":
            return attend(b, q, b.input(1, 1, TOKENS, DEPTH, name="one"), v)
        p = b("Softmax", b("MatMul", q, b.transpose(k, 0, 1, 3, 2)), axis=2 if name == "axis" else 3)
        return [b("MatMul", p, v), *([p] if name == "probabilities are read" else [])]

    graph, _ = optimized(build)
    assert "Attention" not in ops(graph)


def test_heads_of_one_product_become_three_products() -> None:
    """qkv = Linear(x); reshape to [N,T,3,H,D]; permute; qkv[0], qkv[1], qkv[2] (timm)."""

    def build(b: B) -> Any:
        x = b.input("n", TOKENS, HEADS * DEPTH)
        qkv = b("Add", linear(b, x, 3 * HEADS * DEPTH), b.const(3 * HEADS * DEPTH))
        qkv = b.transpose(b.reshape(qkv, -1, TOKENS, 3, HEADS, DEPTH), 2, 0, 3, 1, 4)
        q, k, v = (b("Gather", qkv, b.data(i, np.int64), axis=0) for i in range(3))
        return attend(b, q, k, v)

    graph, _ = optimized(build)
    assert ops(graph) == {"MatMul": 3, "Reshape": 3, "Transpose": 3, "Attention": 1}


@pytest.mark.parametrize("masked", [False, True])
def test_softmax_that_is_guarded_against_fully_masked_rows(masked: bool) -> None:
    """torch's scaled_dot_product_attention as its exporter writes it; the mask hides every key of one query."""
    hidden = np.zeros((TOKENS, TOKENS), np.float32)
    hidden[2] = -np.inf

    def build(b: B) -> Any:
        q, k, v = (b.input("n", HEADS, TOKENS, DEPTH, name=n) for n in "qkv")
        kt = b.reshape(b.transpose(b.reshape(k, -1, TOKENS, DEPTH), 0, 2, 1), -1, HEADS, DEPTH, TOKENS)
        s = b("MatMul", b("Mul", q, b.scalar(0.6)), b("Mul", kt, b.scalar(0.6)))
        if masked:
            s = b("Add", s, b.data(hidden))
        p = b("Softmax", s, axis=-1)
        return b("MatMul", b("Where", b("IsNaN", p), b.scalar(0), p), v)

    graph, _ = optimized(build)
    assert ops(graph) == {"Attention": 1}
    assert graph.nodes[0].attr("zero_masked_rows") == int(masked)


# -- products, selections, views ------------------------------------------------------------------------------


def test_reshapes_around_a_linear_layer_vanish() -> None:
    def build(b: B) -> Any:
        x = b.input("n", 5, 8)
        y = b("Add", linear(b, b.reshape(x, -1, 8), 7), b.const(7))
        return b("Relu", b.reshape(y, -1, 5, 7))

    graph, _ = optimized(build)
    assert ops(graph) == {"MatMul": 1}


def test_reshape_that_regroups_stays() -> None:
    graph, _ = optimized(lambda b: b.reshape(linear(b, b.reshape(b.input(4, 6, 8), 6, 32), 8), 4, 6, 2))
    assert ops(graph) == {"Reshape": 2, "MatMul": 1}


@pytest.mark.parametrize("side", [0, 1])
def test_transpose_of_an_operand_is_a_flag(side: int) -> None:
    def build(b: B) -> Any:
        operands = [b.input(2, 5, 5, name="a"), b.input(2, 5, 5, name="b")]
        operands[side] = b.transpose(b("Sin", operands[side]), 0, 2, 1)
        return b("MatMul", *operands)

    graph, _ = optimized(build)
    assert ops(graph) == {"Sin": 1, "MatMul": 1}
    assert only_node(graph, "MatMul").attr(("transpose_a", "transpose_b")[side]) == 1


def test_other_transposes_stay_before_matmul() -> None:
    graph, _ = optimized(lambda b: b("MatMul", b.transpose(b.input(5, 5, 5), 2, 1, 0), b.const(5, 3)))
    assert ops(graph) == {"Transpose": 1, "MatMul": 1}


def test_constant_weight_is_stored_as_the_kernel_reads_it() -> None:
    graph, _ = optimized(lambda b: b("MatMul", b.input(3, 5), b.const(7, 5), transpose_b=1))
    assert only_node(graph, "MatMul").inputs[1].shape == (5, 7)
    assert only_node(graph, "MatMul").attr("transpose_b") == 0


def test_halves_of_shuffled_channels_are_strided_slices() -> None:
    """FastestDet: reshape to [N*C/2, 2, HW], permute, take [0] and [1]."""

    def build(b: B) -> Any:
        x = b.conv(b.input(1, 3, 4, 4), 8)
        y = b.reshape(b.transpose(b.reshape(x, 4, 2, 16), 1, 0, 2), 2, -1, 4, 4, 4)
        first, second = (b("Gather", y, b.data(i, np.int64), axis=0) for i in range(2))
        return b("Concat", first, b.conv(second, 4), axis=1)

    graph, _ = optimized(build)
    assert ops(graph) == {"Transpose": 2, "Conv2d": 2, "Slice": 2, "Concat": 1}


@pytest.mark.parametrize("name", ["overlap", "other axis", "whole result is read"])
def test_product_is_not_split_when_its_columns_are_read_otherwise(name: str) -> None:
    def build(b: B) -> Any:
        y = linear(b, b("Sin", b.input(4, 8)), 8)
        axis = 0 if name == "other axis" else 1
        ranges = ((0, 5), (3, 8)) if name == "overlap" else ((0, 2), (2, 4))
        cuts = [b("Neg", b("Slice", y, b.ints(s), b.ints(e), b.ints(axis))) for s, e in ranges]
        return [*cuts, *([b("Exp", y)] if name == "whole result is read" else [])]

    _, report = optimized(build)
    assert fired(report, "split-matmul") == 0


def test_product_that_is_split_becomes_products() -> None:
    def build(b: B) -> Any:
        y = b("Add", linear(b, b.input("n", 5, 8), 12), b.const(12))
        first, second, third = b("Split", y, outputs=3, axis=-1, sizes=[2, 4, 6])
        return [b("Neg", first), b("Exp", third), b("Sin", second)]

    graph, _ = optimized(build)
    assert ops(graph) == {"MatMul": 3, "Neg": 1, "Exp": 1, "Sin": 1}


@pytest.mark.parametrize(
    ("first", "perm", "second", "wanted"),
    [
        ((12, 4, 5), (0, 2, 1), (3, 4, 5, 4), (0, 1, 3, 2)),
        ((3, 20, 4), (1, 0, 2), (4, 5, 3, 4), None),
        ((12, 20), (1, 0), (4, 5, 3, 4), (2, 3, 0, 1)),
        ((3, 4, 4, 5), (0, 2, 1, 3), (3, 4, 20), None),
    ],
)
def test_transpose_between_views(
    first: tuple[int, ...], perm: tuple[int, ...], second: tuple[int, ...], wanted: tuple[int, ...] | None
) -> None:
    """x is [3, 4, 4, 5]; equal sizes on purpose, so that only the place of a dimension tells which it is."""

    def build(b: B) -> Any:
        x = b("Softmax", b.input(3, 4, 4, 5))
        return b("Softmax", b.reshape(b.transpose(b.reshape(x, *first), *perm), *second))

    graph, report = optimized(build, disable=["layout"])
    assert only_node(graph, "Transpose").attrs["perm"] == list(wanted or perm)
    assert fired(report, "transpose-between-views") == int(wanted is not None)


def test_transposes_around_a_view_merge() -> None:
    def build(b: B) -> Any:
        x = b("Softmax", b.input(5, 4, 3))
        y = b("Unsqueeze", b.transpose(x, 1, 2, 0), axes=[0])
        return b("Softmax", b.transpose(y, 0, 1, 3, 2))

    graph, report = optimized(build, disable=["layout"])
    assert fired(report, "transposes-around-view") == 1
    assert only_node(graph, "Transpose").attrs["perm"] == [1, 0, 2]

    def joins(b: B) -> Any:
        y = b.reshape(b.transpose(b("Softmax", b.input(5, 4, 3)), 1, 2, 0), 12, 5)
        return b("Softmax", b.transpose(y, 1, 0))

    graph, report = optimized(joins, disable=["layout"])
    assert fired(report, "transposes-around-view") == 0


def test_quick_gelu_folds_into_the_layers_around_it() -> None:
    def build(b: B) -> Any:
        y = b("Add", linear(b, b.input("n", 8), 12), b.const(12))
        y = b("Mul", y, b("Sigmoid", b("Mul", y, b.scalar(1.702))))
        return b("Add", linear(b, y, 8), b.const(8))

    graph, _ = optimized(build)
    assert ops(graph) == {"MatMul": 2}
    assert graph.nodes[0].attrs["activation"] == "silu"


def test_view_sinks_below_elementwise_operators_only_with_fitting_constants() -> None:
    def build(b: B) -> Any:
        x = b("Softmax", b.input("n", 1, 12, 4), axis=-1)
        y = b("Squeeze", x, axes=[1])
        y = b("Add", b("Mul", y, b.const(4)), b.const(1, 12, 4))
        return b("Softmax", b("Unsqueeze", y, axes=[1]), axis=-1)

    graph, _ = optimized(build)
    assert ops(graph) == {"Softmax": 2, "Mul": 1, "Add": 1}

    def mixes(b: B) -> Any:
        y = b("Flatten", b("Softmax", b.input("n", 3, 4), axis=-1), axis=1)
        return b.reshape(b("Mul", y, b.const(12)), -1, 4, 3)

    graph, _ = optimized(mixes)
    assert ops(graph)["Mul"] == 1
