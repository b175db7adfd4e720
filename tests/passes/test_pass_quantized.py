"""Q/DQ islands become integer operators: same numbers up to one unit where f32 rounds otherwise, no float operator left."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from edgec import Session
from edgec.converter import writer
from edgec.converter.ir.check import check
from edgec.converter.ir.graph import Graph, Value
from edgec.converter.ir.run import run
from edgec.converter.passes.fold_quantized_report import float_fallbacks
from edgec.converter.passes.pipeline import optimize
from edgec.cost import integer_share
from edgec.model import Model
from tests.passes.builder import B, ops

Array = np.ndarray[Any, Any]
Build = Callable[["Q"], Sequence[Value] | Value]


class Q(B):
    """Builds Q/DQ graphs. u8=True: as onnxruntime writes them."""

    def __init__(self, seed: int = 0, *, u8: bool = False) -> None:
        super().__init__(seed)
        self.u8 = u8

    def zero(self, zero: int) -> Value:
        return self.graph.constant("zero", np.uint8(zero + 128) if self.u8 else np.int8(zero))

    def q(self, x: Value, scale: float, zero: int = 0) -> Value:
        return self("QuantizeLinear", x, self.scalar(scale), self.zero(zero), axis=0)

    def dq(self, x: Value, scale: float, zero: int = 0) -> Value:
        return self("DequantizeLinear", x, self.scalar(scale), self.zero(zero), axis=0)

    def qdq(self, x: Value, scale: float, zero: int = 0) -> Value:
        return self.dq(self.q(x, scale, zero), scale, zero)

    def real(self, *shape: int, scale: float = 0.02, zero: int = 3, name: str = "x") -> Value:
        """An f32 input behind Q and DQ."""
        return self.qdq(self.input(*shape, name=name), scale, zero)

    def weight(self, *shape: int, axis: int | None = 0, zero: int = 0, dtype: Any = np.int8) -> Value:
        info = np.iinfo(dtype)
        data = self.rng.integers(info.min, info.max + 1, shape).astype(dtype)
        n = 1 if axis is None else shape[axis]
        scales = self.data(self.rng.uniform(0.005, 0.02, n if axis is not None else ()).astype(np.float32))
        zeros = self.graph.constant("z", np.full(() if axis is None else n, zero, dtype))
        return self("DequantizeLinear", self.graph.constant("w", data), scales, zeros, axis=axis or 0)

    def bias(self, x_scale: float, weight: Value) -> Value:
        scales = np.atleast_1d(weight.producer.inputs[1].data) * np.float32(x_scale)  # type: ignore[union-attr]
        n = weight.shape[0]
        data = self.graph.constant("b", self.rng.integers(-3000, 3000, n).astype(np.int32))
        return self("DequantizeLinear", data, self.data(np.broadcast_to(scales, (n,))), axis=0)


def graph_of(build: Build, *, u8: bool = False) -> Graph:
    b = Q(1, u8=u8)
    outputs = build(b)
    return b.done(*(outputs if isinstance(outputs, (list, tuple)) else [outputs]))


def feeds_of(graph: Graph) -> dict[str, Array]:
    rng = np.random.default_rng(2)
    kinds = {"i8": (-128, 128, np.int8), "u8": (0, 256, np.uint8)}
    return {
        v.name: rng.uniform(-3, 3, v.types[0].shape).astype(np.float32)
        if v.dtype == "f32"
        else rng.integers(kinds[v.dtype][0], kinds[v.dtype][1], v.types[0].shape).astype(kinds[v.dtype][2])
        for v in graph.inputs
    }


def folded(build: Build, *, unit: float = 1.0, u8: bool = False, disable: Sequence[str] = ()) -> Graph:
    """The optimized graph; every output differs by at most `unit` from what the float operators give."""
    before, after = graph_of(build, u8=u8), graph_of(build, u8=u8)
    report = optimize(after, disable=disable, check_all=True, strict=True)
    check(after)
    assert not report.refused
    feeds = feeds_of(before)
    expected, got = run(before, feeds), run(after, feeds)
    for name, value in expected.items():
        assert got[name].dtype == value.dtype
        difference = np.abs(got[name].astype(np.float64) - value)
        assert difference.max() <= unit * 1.0001, f"{name}: {difference.max()} with unit {unit}"
        if value.dtype.kind in "iu":
            assert np.ptp(value.astype(int)) > 20, "the network's result hardly varies"
            assert np.mean(difference > 0) < 0.1, "more than ties differ"
    return after


INTEGER = ("QuantizeLinear", "DequantizeLinear", "Transpose", "Reshape")


def only(graph: Graph, *names: str) -> dict[str, int]:
    """Operators other than Q, DQ and movement; `names` are all of them."""
    found = {k: v for k, v in ops(graph).items() if k not in INTEGER}
    assert set(found) == set(names), found
    return found


@pytest.mark.parametrize("u8", [False, True])
@pytest.mark.parametrize("activation", ["none", "Relu", "Clip"])
@pytest.mark.parametrize("axis", [0, None])
def test_convolution(u8: bool, activation: str, axis: int | None) -> None:
    def build(b: Q) -> Value:
        w = b.weight(12, 3, 3, 8, axis=axis)
        y = b("Conv2d", b.real(1, 9, 8, 8), w, b.bias(0.02, w), pads=[1, 0, 1, 2], strides=[2, 1])
        if activation != "none":
            y = b(activation, y, **({"min": -2.0, "max": 3.0} if activation == "Clip" else {}))
        return b.q(y, 0.15, -20)

    graph = folded(build, u8=u8)
    names = ["QuantizedConv2d", "Requantize"] if u8 else ["QuantizedConv2d"]
    assert only(graph, *names)["QuantizedConv2d"] == 1
    node = next(n for n in graph.nodes if n.op == "QuantizedConv2d")
    assert node.inputs[3].data is not None and node.inputs[3].dtype == "i32"
    if activation == "Relu":
        assert node.attr("minimum") == -20


def test_stored_bias_keeps_its_integers() -> None:
    def build(b: Q) -> Value:
        w = b.weight(4, 1, 1, 3)
        return b.q(b("Conv2d", b.real(1, 5, 5, 3), w, b.bias(0.02, w)), 0.2)

    source = next(v for n in graph_of(build).nodes for v in n.inputs if v is not None and v.dtype == "i32")
    node = next(n for n in folded(build).nodes if n.op == "QuantizedConv2d")
    np.testing.assert_array_equal(node.inputs[3].data, source.data)


def test_float_bias_is_rounded_to_steps() -> None:
    def build(b: Q) -> Value:
        return b.q(b("Conv2d", b.real(1, 5, 5, 3), b.weight(4, 1, 1, 3), b.const(4, low=-3, high=3)), 0.2)

    only(folded(build), "QuantizedConv2d")


def test_weights_behind_fake_quantization() -> None:
    """Quantization-aware training leaves f32 weights behind Q and DQ."""

    def build(b: Q) -> Value:
        scales, zeros = b.data(b.rng.uniform(0.005, 0.02, 6)), b.graph.constant("z", np.zeros(6, np.int8))
        stored = b("QuantizeLinear", b.const(6, 4, 3, 3), scales, zeros, axis=0)
        weight = b.transpose(b("DequantizeLinear", stored, scales, zeros, axis=0), 0, 2, 3, 1)
        return b.q(b("Conv2d", b.real(1, 6, 6, 4), weight, b.const(6)), 0.15)

    only(folded(build), "QuantizedConv2d")


def test_symbolic_batch() -> None:
    def build(b: Q) -> Value:
        x = b.real("batch", 5, 5, 4)
        y = b.qdq(b("Conv2d", x, b.weight(6, 1, 1, 4)), 0.06, 4)
        y = b("Mul", y, b.qdq(b("Sigmoid", y), 1 / 256, -128))
        return b.q(b.reshape(b("Concat", y, y, axis=3), 0, 300), 0.06, 9)

    only(folded(build, unit=2), "QuantizedConv2d", "Lookup", "Concat")


def test_channels_first_network() -> None:
    """Transposes go through Q and DQ: only those at the ends stay."""

    def build(b: Q) -> Value:
        x = b.real(1, 8, 10, 10)
        for i in range(3):
            y = b.nchw(b("Conv2d", b.nhwc(x), b.weight(8, 3, 3, 8), pads=[1, 1, 1, 1]))
            x = b.qdq(b("Relu", y), 0.3 * 3**i, -128)
        return x

    graph = folded(build, unit=0.3 * 9 * 2)
    assert ops(graph)["Transpose"] == 2 and only(graph, "QuantizedConv2d") == {"QuantizedConv2d": 3}


def test_depthwise_residual_and_add() -> None:
    def build(b: Q) -> Value:
        x = b.real(1, 6, 7, 16)
        y = b.qdq(b("Conv2d", x, b.weight(16, 3, 3, 1), group=16, pads=[1, 1, 1, 1]), 0.1, 5)
        return b.q(b("Relu", b("Add", x, y)), 0.08, -100)

    only(folded(build, unit=2), "QuantizedConv2d", "QuantizedAdd")


def test_residual_that_nobody_rounds_between() -> None:
    def build(b: Q) -> Value:
        x, r = b.real(1, 6, 7, 16), b.real(1, 6, 7, 8, name="r")
        return b.q(b("Relu", b("Add", b("Conv2d", x, b.weight(8, 1, 1, 16)), r)), 0.2, -100)

    graph = folded(build)
    only(graph, "QuantizedConv2d")
    assert next(n for n in graph.nodes if n.op == "QuantizedConv2d").input(4) is not None


def test_transposed_convolution() -> None:
    def build(b: Q) -> Value:
        w = b.weight(6, 2, 2, 4)
        return b.q(b("ConvTranspose2d", b.real(1, 5, 5, 4), w, b.bias(0.02, w), strides=[2, 2]), 0.2)

    only(folded(build), "QuantizedConvTranspose2d")


@pytest.mark.parametrize("transpose_b", [0, 1])
def test_product_with_weights(transpose_b: int) -> None:
    def build(b: Q) -> Value:
        w = b.weight(*((7, 24) if transpose_b else (24, 7)), axis=0 if transpose_b else 1)
        return b.q(b("MatMul", b.real(2, 5, 24), w, b.const(7), transpose_b=transpose_b), 0.4, 9)

    only(folded(build), "QuantizedMatMul")


def test_product_of_activations() -> None:
    def build(b: Q) -> Value:
        return b.q(b("MatMul", b.real(2, 5, 8), b.real(2, 8, 6, zero=-7, name="r")), 0.2)

    only(folded(build), "QuantizedMatMul")


def test_result_in_floats() -> None:
    def build(b: Q) -> Value:
        return b("Silu", b("MatMul", b.real(5, 24), b.weight(24, 7, axis=1), b.const(7)))

    only(folded(build, unit=1e-2), "QuantizedMatMul", "Silu")


def test_slope_per_channel_stays_behind_the_integers() -> None:
    def build(b: Q) -> Value:
        y = b("Conv2d", b.real(1, 5, 5, 4), b.weight(6, 1, 1, 4))
        return b("PRelu", y, b.const(6))

    only(folded(build, unit=1e-4), "QuantizedConv2d", "PRelu")


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul"])
def test_arithmetic(op: str) -> None:
    def build(b: Q) -> Value:
        return b.q(b(op, b.real(2, 5, 8), b.real(1, 8, scale=0.03, zero=-9, name="r")), 0.1, 7)

    only(folded(build), f"Quantized{op}")


def test_averages() -> None:
    def build(b: Q) -> list[Value]:
        x = b.real(1, 8, 8, 8)
        pooled = b("AvgPool2d", x, kernel=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2])
        mean = b("ReduceMean", x, axes=[1, 2], keepdims=0)
        return [b.q(pooled, 0.01, 3), b.q(mean, 0.001, 3)]

    only(folded(build), "QuantizedAvgPool2d", "QuantizedReduceMean")


def test_softmax_and_layer_norm() -> None:
    def build(b: Q) -> list[Value]:
        x = b.real(3, 32)
        norm = b("LayerNorm", x, b.const(32), b.const(32))
        return [b.q(b("Softmax", x), 0.002, -128), b.q(norm, 0.02, 4)]

    only(folded(build), "QuantizedSoftmax", "QuantizedLayerNorm")


def test_interpolation() -> None:
    def build(b: Q) -> Value:
        y = b("Resize", b.real(1, 5, 6, 8), mode="linear", sizes=[1, 10, 13, 8], coordinate="half_pixel")
        return b.q(y, 0.02, 3)

    only(folded(build), "QuantizedResize")


def test_movement_is_done_on_bytes() -> None:
    def build(b: Q) -> list[Value]:
        x = b.real(1, 6, 8, 4)
        y = b("MaxPool2d", x, kernel=[2, 2], strides=[2, 2])
        y = b.transpose(b("Pad", y, b.ints(0, 1, 0, 0, 0, 0, 1, 0)), 0, 3, 1, 2)
        first, second = b("Split", b.reshape(y, 4, 20), axis=1, sizes=[8, 12], outputs=2)
        second = b("Slice", second, b.ints(2), b.ints(10), b.ints(1))
        return [b.q(b("Concat", second, first, axis=1), 0.02, 3)]

    graph = folded(build, unit=0)
    assert ops(graph)["QuantizeLinear"] == 1 and "DequantizeLinear" not in ops(graph)
    assert "Requantize" not in ops(graph)


@pytest.mark.parametrize("value", [0.0, 0.511, -9.0, np.inf])
def test_padding_with_any_number(value: float) -> None:
    """Quantized like everything else, also where no integer means it."""

    def build(b: Q) -> Value:
        return b.q(b("Pad", b.real(4, 30), b.ints(1, 2, 0, 3), b.scalar(value)), 0.02, 3)

    only(folded(build, unit=0), "Pad")


def test_number_without_an_integer_is_padded_in_floats() -> None:
    def build(b: Q) -> Value:
        return b("Pad", b.real(4, 30), b.ints(1, 2, 0, 3), b.scalar(0.511))

    graph = folded(build, unit=0)
    assert next(n for n in graph.nodes if n.op == "Pad").inputs[0].dtype == "f32"


def test_mirrored_padding() -> None:
    def build(b: Q) -> Value:
        return b.q(b("Pad", b.real(4, 30), b.ints(1, 2, 0, 3), mode="reflect"), 0.02, 3)

    only(folded(build, unit=0), "Pad")


def test_concat_of_other_scales() -> None:
    def build(b: Q) -> Value:
        a, c = b.real(2, 5, 8), b.real(2, 5, 4, scale=0.05, zero=-30, name="r")
        return b.q(b("Concat", a, c, axis=2), 0.05, -30)

    assert only(folded(build), "Requantize", "Concat")["Requantize"] == 1


def test_nearest_resize_copies_bytes() -> None:
    def build(b: Q) -> Value:
        return b.q(b("Resize", b.real(1, 3, 4, 8), mode="nearest", sizes=[1, 6, 8, 8]), 0.02, 3)

    only(folded(build, unit=0), "Resize")


@pytest.mark.parametrize("function", ["Sigmoid", "HardSwish", "Tanh", "Gelu", "Exp", "LeakyRelu"])
def test_function_is_a_table(function: str) -> None:
    only(folded(lambda b: b.q(b(function, b.real(4, 64)), 0.02, -10)), "Lookup")


def test_chain_of_functions_is_one_table() -> None:
    def build(b: Q) -> Value:
        x = b.real(4, 64)
        y = b("Mul", b("Sigmoid", b("Add", x, b.scalar(0.5))), b.scalar(3.0))
        return b.q(b("Mul", y, x), 0.05, -10)

    assert only(folded(build), "Lookup") == {"Lookup": 1}


def test_slope_per_channel_is_a_table_per_channel() -> None:
    graph = folded(lambda b: b.q(b("PRelu", b.real(2, 5, 6), b.const(6)), 0.02, -10))
    only(graph, "Lookup")
    assert next(n for n in graph.nodes if n.op == "Lookup").inputs[1].shape == (6, 256)


def test_swish_in_integers_is_one_table_to_the_bit() -> None:
    def build(b: Q) -> Value:
        x = b.real(4, 64)
        return b.q(b("Mul", x, b.qdq(b("Sigmoid", x), 1 / 256, -128)), 0.02, -100)

    merged = folded(build, disable=["recognize-functions"])
    apart = graph_of(build)
    optimize(apart, disable=["merge-integer-functions", "recognize-functions"], strict=True)
    assert only(merged, "Lookup") == {"Lookup": 1}
    assert set(only(apart, "Lookup", "QuantizedMul")) == {"Lookup", "QuantizedMul"}
    feeds = feeds_of(apart)
    for name, value in run(apart, feeds).items():
        np.testing.assert_array_equal(run(merged, feeds)[name], value)


@pytest.mark.parametrize("scale", [0.1, 0.05])
def test_relu_of_one_scale_is_a_limit(scale: float) -> None:
    """With another scale it is a table of its own: two roundings stay two."""

    def build(b: Q) -> Value:
        y = b.qdq(b("Conv2d", b.real(1, 6, 6, 4), b.weight(6, 1, 1, 4)), 0.1, -30)
        return b.q(b("Relu", y), scale, -30)

    graph = folded(build, unit=0.1 / scale)
    only(graph, "QuantizedConv2d", *([] if scale == 0.1 else ["Lookup"]))
    assert next(n for n in graph.nodes if n.op == "QuantizedConv2d").attr("minimum") == (-30 if scale == 0.1 else -128)


def test_arithmetic_with_a_constant_per_channel_stays() -> None:
    def build(b: Q) -> Value:
        y = b.real(4, 64)
        for op in ("Mul", "Add"):
            y = b.qdq(b(op, y, b.dq(b.graph.constant("c", b.rng.integers(-99, 99, 64).astype(np.int8)), 0.02)), 0.06, 9)
        return y

    only(folded(build, unit=0.13), "QuantizedMul", "QuantizedAdd")


def test_u8_inputs_and_outputs_keep_their_type() -> None:
    def build(b: Q) -> Value:
        x = b.dq(b.input(1, 6, 6, 4, dtype="u8"), 0.02, 3)
        return b.q(b("Conv2d", x, b.weight(6, 1, 1, 4)), 0.06, 9)

    graph = folded(build, u8=True)
    assert only(graph, "Requantize", "QuantizedConv2d") == {"Requantize": 2, "QuantizedConv2d": 1}
    assert graph.inputs[0].dtype == graph.outputs[0].dtype == "u8"


def test_pad_with_the_zero_point_joins_the_convolution() -> None:
    def build(b: Q) -> Value:
        x = b.real(1, 6, 6, 4)
        padded = b.qdq(b("Pad", x, b.ints(0, 0, 1, 0, 0, 1, 1, 0)), 0.02, 3)
        return b.q(b("Conv2d", padded, b.weight(6, 3, 3, 4), strides=[2, 2]), 0.2, 9)

    graph = folded(build)
    only(graph, "QuantizedConv2d")
    assert next(n for n in graph.nodes if n.op == "QuantizedConv2d").attr("pads") == [0, 1, 1, 1]


def test_double_rounding_of_one_kind_is_one() -> None:
    graph = folded(lambda b: b.qdq(b.qdq(b.real(3, 50), 0.02, 3), 0.02, 3), unit=0)
    assert ops(graph) == {"QuantizeLinear": 1, "DequantizeLinear": 1}


@pytest.mark.parametrize(
    ("weight", "reason"),
    [
        ({"zero": 5}, "zero points other than 0"),
        ({"axis": 3}, "along another axis"),
    ],
)
def test_other_weights_stay_in_floats_and_say_so(weight: dict[str, int], reason: str) -> None:
    graph = folded(lambda b: b.q(b("Conv2d", b.real(1, 5, 5, 3), b.weight(4, 1, 1, 3, **weight)), 0.2))
    (found,) = float_fallbacks(graph)
    assert found["op"] == "Conv2d" and reason in found["reason"]


def test_sixteen_bits_stay_in_floats_and_say_so() -> None:
    def build(b: Q) -> Value:
        scale, zero = b.scalar(1e-4), b.graph.constant("z", np.int16(0))
        x = b("QuantizeLinear", b.input(1, 5, 5, 3), scale, zero, axis=0)
        y = b("Conv2d", b("DequantizeLinear", x, scale, zero, axis=0), b.weight(4, 1, 1, 3))
        return b("QuantizeLinear", y, scale, zero, axis=0)

    graph = folded(build)
    assert "not quantized to 8 bits" in float_fallbacks(graph)[0]["reason"]


def test_float_models_have_no_fallbacks() -> None:
    graph = graph_of(lambda b: b("Conv2d", b.input(1, 5, 5, 3), b.const(4, 1, 1, 3)))
    assert optimize(graph).float_fallbacks == []


def test_value_that_floats_need_too_is_computed_in_floats() -> None:
    def build(b: Q) -> list[Value]:
        y = b("Conv2d", b.real(1, 5, 5, 3), b.weight(4, 1, 1, 3))
        return [b.q(y, 0.2), y]

    graph = folded(build, unit=1)
    assert ops(graph)["QuantizedConv2d"] == 1 and ops(graph)["QuantizeLinear"] == 2


def test_share_of_multiply_adds_on_integers() -> None:
    def build(b: Q) -> list[Value]:
        x = b.real(1, 4, 4, 8)
        return [
            b.q(b("Conv2d", x, b.weight(6, 1, 1, 8)), 0.2),
            b("Conv2d", b.input(1, 4, 4, 8, name="y"), b.const(2, 1, 1, 8)),
        ]

    steps = Session(Model.from_bytes(writer.to_bytes(folded(build)))).steps
    assert integer_share(steps) == 6 / 8
    assert integer_share([]) is None
