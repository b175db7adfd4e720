"""What goes into convolutions and products: affine constants, padding, activations, residuals."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from tests.passes.builder import B, fired, only_node, ops, optimized


def nhwc(b: B, channels: int = 6, batch: int | str = 2) -> Any:
    return b.input(batch, 7, 5, channels)


def deconv(b: B, x: Any, out: int, group: int = 1, **attrs: Any) -> Any:
    weight = b.const(out, 3, 3, x.shape[3] // group, low=-0.3, high=0.3)
    return b("ConvTranspose2d", x, weight, strides=[2, 2], group=group, **attrs)


DOTS: dict[str, Callable[[B, Any], Any]] = {
    "conv": lambda b, x: b.conv(x, 8, nchw=False),
    "conv with bias": lambda b, x: b("Conv2d", x, b.const(8, 1, 1, 6), b.const(8)),
    "grouped conv": lambda b, x: b.conv(x, 8, group=2, nchw=False),
    "depthwise conv": lambda b, x: b.conv(x, 6, group=6, nchw=False),
    "depthwise conv with multiplier": lambda b, x: b.conv(x, 12, group=6, nchw=False),
    "transposed conv": lambda b, x: deconv(b, x, 8),
    "grouped transposed conv": lambda b, x: deconv(b, x, 8, group=2),
    "matmul": lambda b, x: b("MatMul", x, b.const(6, 8)),
    "matmul with bias": lambda b, x: b("MatMul", x, b.const(6, 8), b.const(8)),
    "matmul transposed": lambda b, x: b("MatMul", x, b.const(8, 6), transpose_b=1),
    "matmul with batches of weights": lambda b, x: b("MatMul", x, b.const(7, 6, 8)),
}
AFFINE: dict[str, Callable[[B, Any, int], Any]] = {
    "mul": lambda b, x, c: b("Mul", x, b.const(c)),
    "mul by a number": lambda b, x, c: b("Mul", b.scalar(1.5), x),
    "add": lambda b, x, c: b("Add", b.const(1, 1, c), x),
    "batch norm": lambda b, x, c: b("Add", b("Mul", x, b.const(c)), b.const(c)),
    "div and sub": lambda b, x, c: b("Sub", b("Div", x, b.const(c, low=0.5, high=2)), b.const(c)),
}


@pytest.mark.parametrize("dot", DOTS)
@pytest.mark.parametrize("affine", AFFINE)
def test_affine_after(dot: str, affine: str) -> None:
    def build(b: B) -> Any:
        y = DOTS[dot](b, nhwc(b))
        return AFFINE[affine](b, y, y.shape[-1])

    graph, _ = optimized(build)
    assert len(graph) == 1


@pytest.mark.parametrize("dot", [d for d in DOTS if "batches" not in d])
@pytest.mark.parametrize("affine", ["mul", "mul by a number"])
def test_mul_before(dot: str, affine: str) -> None:
    graph, _ = optimized(lambda b: DOTS[dot](b, AFFINE[affine](b, nhwc(b), 6)))
    assert len(graph) == 1


@pytest.mark.parametrize(("pad", "stays"), [(0, False), (1, True)])
@pytest.mark.parametrize("group", [1, 2, 6])
def test_add_before_a_convolution_only_without_padding(pad: int, stays: bool, group: int) -> None:
    graph, _ = optimized(lambda b: b.conv(b("Add", nhwc(b), b.const(6)), 12, group=group, nchw=False, pads=[pad] * 4))
    assert ops(graph) == {"Conv2d": 1, **({"Add": 1} if stays else {})}


def test_normalised_image_before_a_padded_convolution() -> None:
    """(x - mean) / std: the division moves into the weights, the subtraction must stay."""

    def build(b: B) -> Any:
        x = b("Sub", nhwc(b, 3), b.data([0.48, 0.45, 0.4]))
        return b.conv(b("Div", x, b.data([0.2, 0.22, 0.25])), 8, nchw=False)

    graph, _ = optimized(build)
    assert ops(graph) == {"Add": 1, "Conv2d": 1}


NOT_AFFINE: dict[str, Callable[[B, Any], Any]] = {
    "second reader": lambda b, y: [b("Mul", y, b.const(8)), b("Sin", y)],
    "output": lambda b, y: [b("Mul", y, b.const(8)), y],
    "per row": lambda b, y: b("Mul", y, b.const(7, 1, 1)),
    "broadcasting": lambda b, y: b("Mul", y, b.const(2, 1, 1, 1, 8)),
    "not constant": lambda b, y: b("Mul", y, b.input(8, name="factor")),
    "infinite": lambda b, y: b("Mul", y, b.data([np.inf] + [1.0] * 7)),
}


@pytest.mark.parametrize("name", NOT_AFFINE)
def test_what_must_not_fold_after(name: str) -> None:
    graph, report = optimized(lambda b: NOT_AFFINE[name](b, b.conv(nhwc(b), 8, nchw=False)))
    assert fired(report, "fold-affine-after") == 0
    assert ops(graph)["Mul"] == 1


def test_affine_after_an_activation_stays() -> None:
    graph, _ = optimized(lambda b: b("Mul", b("Relu", b.conv(nhwc(b), 8, nchw=False)), b.const(8)))
    assert ops(graph) == {"Conv2d": 1, "Mul": 1}


def test_shared_weight_is_scaled_for_one_reader_only() -> None:
    def build(b: B) -> Any:
        x, w = nhwc(b), b.const(6, 3, 3, 6, low=-0.2, high=0.2)
        y = b("Conv2d", x, w, pads=[1, 1, 1, 1])
        return b("Conv2d", b("Mul", y, b.const(6)), w)

    graph, _ = optimized(build)
    assert ops(graph) == {"Conv2d": 2}


ACTIVATIONS: dict[str, tuple[Callable[[B, Any], Any], str]] = {
    "relu": (lambda b, x: b("Relu", x), "relu"),
    "relu6": (lambda b, x: b("Clip", x, min=0.0, max=6.0), "clip"),
    "leaky": (lambda b, x: b("LeakyRelu", x, alpha=0.1), "leaky_relu"),
    "sigmoid": (lambda b, x: b("Sigmoid", x), "sigmoid"),
    "tanh": (lambda b, x: b("Tanh", x), "tanh"),
    "silu": (lambda b, x: b("Mul", x, b("Sigmoid", x)), "silu"),
    "hardswish": (lambda b, x: b("HardSwish", x), "hardswish"),
    "hardsigmoid": (lambda b, x: b("HardSigmoid", x, alpha=0.25, beta=0.4), "hardsigmoid"),
    "elu": (lambda b, x: b("Elu", x, alpha=0.7), "elu"),
    "softplus": (lambda b, x: b("Softplus", x), "softplus"),
    "mish": (lambda b, x: b("Mish", x), "mish"),
    "gelu": (lambda b, x: b("Gelu", x), "gelu"),
    "gelu tanh": (lambda b, x: b("Gelu", x, approximate="tanh"), "gelu_tanh"),
}


@pytest.mark.parametrize("dot", ["conv", "depthwise conv", "transposed conv", "matmul with bias"])
@pytest.mark.parametrize("name", ACTIVATIONS)
def test_activation(dot: str, name: str) -> None:
    make, wanted = ACTIVATIONS[name]
    graph, _ = optimized(lambda b: make(b, DOTS[dot](b, nhwc(b))))
    assert len(graph) == 1
    assert graph.nodes[0].attrs["activation"] == wanted


def test_activation_with_a_second_reader_stays() -> None:
    def build(b: B) -> Any:
        y = b.conv(nhwc(b), 8, nchw=False)
        return [b("Relu", y), b("Sin", y)]

    graph, _ = optimized(build)
    assert ops(graph) == {"Conv2d": 1, "Relu": 1, "Sin": 1}


def test_second_activation_stays() -> None:
    graph, _ = optimized(lambda b: b("Sigmoid", b("Tanh", b.conv(nhwc(b), 8, nchw=False))))
    assert ops(graph) == {"Conv2d": 1, "Sigmoid": 1}


@pytest.mark.parametrize("dot", ["conv", "conv with bias", "transposed conv"])
def test_prelu_per_channel(dot: str) -> None:
    graph, _ = optimized(lambda b: b("PRelu", DOTS[dot](b, nhwc(b)), b.const(1, 1, 8)))
    assert len(graph) == 1
    node = graph.nodes[0]
    assert node.attrs["activation"] == "prelu"
    assert node.inputs[-1].shape == (8,)


def test_prelu_after_matmul_stays() -> None:
    graph, _ = optimized(lambda b: b("PRelu", b("MatMul", nhwc(b), b.const(6, 8)), b.const(8)))
    assert ops(graph) == {"MatMul": 1, "PRelu": 1}


@pytest.mark.parametrize("batch", [2, "n"])
def test_residual_before_and_after_the_activation(batch: int | str) -> None:
    def before(b: B) -> Any:
        x = nhwc(b, batch=batch)
        return b("Relu", b("Add", b.conv(x, 6, nchw=False), x))

    graph, _ = optimized(before)
    node = only_node(graph, "Conv2d")
    assert len(graph) == 1
    assert (node.attr("residual_mode"), node.attr("activation")) == ("before", "relu")

    def after(b: B) -> Any:
        x = nhwc(b, batch=batch)
        return b("Add", x, b("Relu", b.conv(x, 6, nchw=False)))

    graph, _ = optimized(after)
    node = only_node(graph, "Conv2d")
    assert len(graph) == 1
    assert (node.attr("residual_mode"), node.attr("activation")) == ("after", "relu")


@pytest.mark.parametrize("dot", ["conv", "matmul"])
def test_residual_that_is_the_operand_itself(dot: str) -> None:
    """The planner may write the result over the residual, but not while it is still the operand."""

    def build(b: B) -> Any:
        x = b("Sin", nhwc(b))
        y = b.conv(x, 6, nchw=False) if dot == "conv" else b("MatMul", x, b.const(6, 6))
        return b("Sin", b("Add", x, y))

    graph, report = optimized(build)
    assert fired(report, "fuse-residual") == 1
    assert len(graph) == 3


def test_activation_after_residual_after_activation_stays() -> None:
    def build(b: B) -> Any:
        x = nhwc(b)
        return b("Tanh", b("Add", x, b("Relu", b.conv(x, 6, nchw=False))))

    graph, _ = optimized(build)
    assert ops(graph) == {"Conv2d": 1, "Tanh": 1}


def test_residual_goes_into_the_later_of_two_convolutions() -> None:
    def build(b: B) -> Any:
        x = nhwc(b)
        short = b.graph.add("Conv2d", [x, b.const(8, 1, 1, 6)], name="short")[0]
        long = b.graph.add("Conv2d", [b("Sin", x), b.const(8, 1, 1, 6)], name="long")[0]
        return b("Relu", b("Add", long, short))

    graph, _ = optimized(build)
    assert ops(graph) == {"Conv2d": 2, "Sin": 1}
    last = graph.nodes[-1]
    assert last.name == "long"
    assert last.inputs[3] is not None
    assert last.inputs[3].producer.name == "short"


@pytest.mark.parametrize("name", ["broadcast", "same value", "constant", "second reader", "transposed conv"])
def test_what_is_no_residual(name: str) -> None:
    def build(b: B) -> Any:
        x = nhwc(b)
        y = deconv(b, x, 6) if name == "transposed conv" else b.conv(x, 6, nchw=False)
        if name == "broadcast":
            return b("Add", y, b("ReduceMax", x, axes=[1, 2]))
        if name == "same value":
            return b("Add", y, y)
        if name == "constant":
            return b("Add", y, b.const(2, 7, 5, 6))
        if name == "second reader":
            return [b("Add", y, x), b("Sin", y)]
        return b("Add", y, b.input(2, 15, 11, 6, name="other"))

    graph, report = optimized(build)
    assert fired(report, "fuse-residual") == 0
    assert ops(graph)["Add"] == 1


def test_residual_does_not_hide_a_batch_norm() -> None:
    """conv -> Mul -> Add(constant) -> Add(x): the constants fold first whatever the order of the rules."""

    def build(b: B) -> Any:
        x = nhwc(b)
        y = b("Add", b("Mul", b.conv(x, 6, nchw=False), b.const(6)), b.const(6))
        return b("Relu", b("Add", x, y))

    graph, _ = optimized(build)
    assert ops(graph) == {"Conv2d": 1}


PADS = [(1, 2, 3, 0), (0, 1, 0, 1)]


@pytest.mark.parametrize("pads", PADS)
@pytest.mark.parametrize("with_axes", [False, True])
def test_zero_pad_into_convolution(pads: tuple[int, ...], with_axes: bool) -> None:
    def build(b: B) -> Any:
        top, left, bottom, right = pads
        if with_axes:
            x = b("Pad", nhwc(b), b.ints(top, left, bottom, right), None, b.ints(1, -2))
        else:
            x = b("Pad", nhwc(b), b.ints(0, top, left, 0, 0, bottom, right, 0))
        return b.conv(x, 8, nchw=False)

    graph, _ = optimized(build)
    assert len(graph) == 1
    assert only_node(graph, "Conv2d").attrs["pads"] == [1 + p for p in pads]


@pytest.mark.parametrize("name", ["value", "channels", "reflect", "negative"])
def test_other_pads_stay_before_convolution(name: str) -> None:
    def build(b: B) -> Any:
        x = nhwc(b)
        if name == "value":
            y = b("Pad", x, b.ints(0, 1, 1, 0, 0, 1, 1, 0), b.scalar(0.5))
        elif name == "channels":
            y = b("Pad", x, b.ints(0, 1, 1, 1, 0, 1, 1, 1))
        elif name == "reflect":
            y = b("Pad", x, b.ints(0, 1, 1, 0, 0, 1, 1, 0), mode="reflect")
        else:
            y = b("Pad", x, b.ints(0, -1, 1, 0, 0, 1, 1, 0))
        return b.conv(y, 8, nchw=False)

    graph, _ = optimized(build)
    assert ops(graph) == {"Pad": 1, "Conv2d": 1}


def padded_pool(op: str, value: float | None = None, source: str = "Sin", **attrs: Any) -> Callable[[B], Any]:
    def build(b: B) -> Any:
        x = b(source, nhwc(b))
        y = b("Pad", x, b.ints(0, 1, 1, 0, 0, 1, 0, 0), None if value is None else b.scalar(value))
        return b(op, y, kernel=[3, 3], strides=[2, 2], **attrs)

    return build


@pytest.mark.parametrize(
    ("build", "folds"),
    [
        (padded_pool("AvgPool2d"), True),
        (padded_pool("AvgPool2d", pads=[1, 1, 1, 1], count_include_pad=1), True),
        (padded_pool("AvgPool2d", pads=[1, 1, 1, 1]), False),
        (padded_pool("AvgPool2d", ceil_mode=1), False),
        (padded_pool("AvgPool2d", 1.0), False),
        (padded_pool("MaxPool2d", float("-inf")), True),
        (padded_pool("MaxPool2d", float(np.finfo(np.float32).min)), True),
        (padded_pool("MaxPool2d", 0.0), False),
        (padded_pool("MaxPool2d", 0.0, source="Relu"), True),
        (padded_pool("MaxPool2d", 0.0, source="Sigmoid"), True),
        (padded_pool("MaxPool2d", -1.0, source="Relu"), False),
    ],
)
def test_pad_into_pools(build: Callable[[B], Any], folds: bool) -> None:
    _, report = optimized(build)
    assert fired(report, "fuse-pad") == int(folds)


def test_quantized_tensors_are_left_alone() -> None:
    from edgec.converter.ir.graph import Quantization
    from edgec.converter.passes.pipeline import optimize
    from tests.passes.builder import build_graph

    def build(b: B) -> Any:
        x = nhwc(b)
        y = b.conv(x, 6, nchw=False)
        y.quantization = Quantization((0.1,), (0,))
        return b("Relu", b("Add", y, x))

    graph = build_graph(build, 0)
    optimize(graph, strict=True)
    assert ops(graph) == {"Conv2d": 1, "Add": 1, "Relu": 1}


@pytest.mark.parametrize("name", ["Relu", "PRelu", "Sigmoid", "Gelu"])
def test_normalisation_of_a_concatenation_is_one_depthwise_convolution(name: str) -> None:
    def build(b: B) -> Any:
        x = b("Concat", b.input(2, 5, 7, 8), b.input(2, 5, 7, 4, name="y"), axis=3)
        y = b("Add", b("Mul", x, b.const(12)), b.const(1, 1, 12))
        return b("PRelu", y, b.const(12)) if name == "PRelu" else b(name, y)

    graph, _ = optimized(build)
    assert ops(graph) == {"Concat": 1, "Conv2d": 1}
    assert only_node(graph, "Conv2d").attrs["group"] == 12


@pytest.mark.parametrize("name", ["no activation", "per row", "second reader", "few channels", "rank 3"])
def test_what_stays_elementwise(name: str) -> None:
    def build(b: B) -> Any:
        shape = {"few channels": (2, 5, 7, 4), "rank 3": (2, 5, 12)}.get(name, (2, 5, 7, 12))
        x = b("Sin", b.input(*shape))
        y = b("Add", b("Mul", x, b.const(*((7, 1) if name == "per row" else shape[-1:]))), b.const(shape[-1]))
        if name == "no activation":
            return b("Sin", y)
        return [b("Relu", y), *([b("Neg", y)] if name == "second reader" else [])]

    graph, _ = optimized(build)
    assert "Conv2d" not in ops(graph)


@pytest.mark.parametrize(
    ("stride", "start", "end", "folds"),
    [(1, 0, 10, 1), (1, 1, 12, 1), (1, 0, 7, 0), (1, 3, 12, 0), (2, 0, 5, 1), (2, 1, 6, 1), (2, 2, 6, 0)],
)
def test_slice_into_a_convolution(stride: int, start: int, end: int, folds: int) -> None:
    """Width 10, kernel 3 with dilation 2, padding 2 + 4: 12 outputs at stride 1 and 6 at stride 2."""

    def build(b: B) -> Any:
        w = b.const(4, 1, 3, 3, low=-0.5, high=0.5)
        y = b("Conv2d", b.input("n", 1, 10, 3), w, dilations=[1, 2], pads=[0, 2, 0, 4], strides=[1, stride])
        return b("Sin", b("Slice", y, b.ints(start), b.ints(end), b.ints(2)))

    graph, report = optimized(build)
    assert fired(report, "slice-into-convolution") == folds
    assert ops(graph).get("Slice", 0) == 1 - folds


def test_causal_convolution_of_a_one_dimensional_network() -> None:
    """Pad on [N,C,L], and a convolution that is padded on both sides and cut on one."""

    def build(b: B) -> Any:
        x = b("Pad", b.input("n", 4, 10), b.ints(0, 0, 2, 0, 0, 0))
        y = b("Relu", conv1d(b, x, 6, pad=0))
        y = b("Slice", conv1d(b, y, 4, pad=2), b.ints(0), b.ints(10), b.ints(2))
        return b("ReduceMax", y, axes=[2], keepdims=0)

    graph, _ = optimized(build)
    assert not {"Pad", "Slice", "Relu"} & set(ops(graph))
    assert [n.attr("pads") for n in graph.nodes if n.op == "Conv2d"] == [[0, 2, 0, 0], [0, 2, 0, 0]]


def conv1d(b: B, x: Any, out: int, pad: int) -> Any:
    y = b("Unsqueeze", b.transpose(x, 0, 2, 1), axes=[1])
    y = b("Conv2d", y, b.const(out, 1, 3, x.shape[1], low=-0.3, high=0.3), pads=[0, pad, 0, pad])
    return b.transpose(b("Squeeze", y, axes=[1]), 0, 2, 1)
