"""Single integer operators at the sizes where their kernels change: long rows, full tables, ties, extreme sums."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec import Session, _core
from edgec.converter import writer
from edgec.converter.ir.graph import Graph, GraphError
from edgec.errors import Error
from edgec.model import Model
from edgec.quantize.reference.elementwise import dequantize_linear, quantize_linear, quantized_mul, requantize
from edgec.quantize.reference.lookup import function_table, lookup, softmax_table
from edgec.quantize.reference.norm import quantized_layer_norm
from edgec.quantize.reference.pool import quantized_reduce_mean
from edgec.quantize.reference.softmax import quantized_softmax

Array = np.ndarray[Any, Any]
ISAS = [name for name, supported in _core.cpu_info()["isas"] if supported]


def on_every_isa(op: str, attrs: dict[str, Any], x: Array, *constants: Array | None) -> list[Array]:
    """op(x, constants) with two threads; inside the graph, so that the ISA chooses how x and y are stored."""
    graph = Graph("one")
    kinds = {"int8": "i8", "uint8": "u8", "float32": "f32", "int16": "i16", "int32": "i32"}
    value = graph.add_input("x", kinds[x.dtype.name], x.shape)
    inner = graph.add("Requantize", [value])[0] if x.dtype == np.int8 else value
    y = graph.add(op, [inner, *(None if c is None else graph.constant("c", c) for c in constants)], attrs)[0]
    graph.set_outputs([graph.add("Requantize", [y])[0] if y.dtype == "i8" else y])
    model = Model.from_bytes(writer.to_bytes(graph))
    return [Session(model, threads=2, isa=isa).run(None, {"x": x})[0] for isa in ISAS]


def same(results: list[Array], expected: Array) -> None:
    for isa, result in zip(ISAS, results):
        np.testing.assert_array_equal(result, expected, err_msg=isa)


@pytest.mark.parametrize("n", [1, 63, 64, 65, 1023, 1024, 1025, 1088, 3001])
def test_softmax_of_long_rows(n: int) -> None:
    x = np.random.default_rng(n).integers(-128, 128, (3, n)).astype(np.int8)
    table, attrs = softmax_table(0.02), {"y_scale": 4.0 / n, "y_zero_point": -128}
    same(on_every_isa("QuantizedSoftmax", attrs, x, table), quantized_softmax(x, table, **attrs))


@pytest.mark.parametrize("n", [1, 65_535, 65_536, 65_537, 140_003])
def test_layer_norm_of_long_rows(n: int) -> None:
    rng = np.random.default_rng(n)
    x = rng.integers(-128, 128, (2, n)).astype(np.int8)
    x[1] = -128
    scale, bias = (rng.normal(size=n).astype(np.float32) for _ in range(2))
    attrs = {"x_scale": 0.25, "y_scale": 0.015625, "y_zero_point": 3}
    same(on_every_isa("QuantizedLayerNorm", attrs, x, scale, bias), quantized_layer_norm(x, scale, bias, **attrs))


def test_layer_norm_without_deviation_and_epsilon() -> None:
    x = np.full((2, 5), 7, np.int8)
    attrs = {"epsilon": 0.0, "x_scale": 0.5, "y_scale": 0.5, "y_zero_point": 9}
    same(on_every_isa("QuantizedLayerNorm", attrs, x), quantized_layer_norm(x, **attrs))


@pytest.mark.parametrize("axes", [[0], [1], [0, 1]])
def test_mean_of_many(axes: list[int]) -> None:
    x = np.full((301, 1009), -128, np.int8)
    attrs = {"axes": axes, "keepdims": 1, "x_scale": 0.125, "x_zero_point": 127, "y_scale": 0.25, "y_zero_point": -5}
    same(on_every_isa("QuantizedReduceMean", attrs, x), quantized_reduce_mean(x, **attrs))


@pytest.mark.parametrize("n", [1, 7, 8, 31, 32, 33, 4097])
def test_lookup_of_every_number(n: int) -> None:
    rng = np.random.default_rng(n)
    x = np.resize(rng.permutation(np.arange(-128, 128)), n).astype(np.int8)
    table = rng.integers(-128, 128, 256).astype(np.int8)
    same(on_every_isa("Lookup", {}, x, table), lookup(x, table))


def test_ties_go_to_the_even_integer() -> None:
    x = np.arange(-128, 128, dtype=np.int8)
    attrs = {"x_scale": 0.5, "y_scale": 1.0}
    expected = requantize(x, **attrs)
    assert expected[128 + 1] == 0 and expected[128 + 3] == 2 and expected[128 - 3] == -2
    same(on_every_isa("Requantize", attrs, x), expected)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.int16, np.int32])
@pytest.mark.parametrize("to", ["i8", "u8"])
def test_requantize_of_every_type(dtype: Any, to: str) -> None:
    info = np.iinfo(dtype)
    values = np.random.default_rng(1).integers(info.min, info.max, 1000, endpoint=True).astype(dtype)
    x = np.concatenate([values, np.array([info.min, info.max], dtype)])
    low = info.min if info.bits == 8 else 0
    attrs = {
        "x_scale": 300.0 / (info.max - info.min),
        "x_zero_point": low + 7,
        "y_scale": 0.9,
        "y_zero_point": 11,
        "to": to,
    }
    same(on_every_isa("Requantize", attrs, x), requantize(x, **attrs))


@pytest.mark.parametrize("zero", [-128, -3, 127])
def test_quantize_of_odd_numbers(zero: int) -> None:
    x = np.array([0.0, -0.0, np.nan, np.inf, -np.inf, 3e38, -3e38, 1e-45, 0.5, 1.5, 2.5, -0.5, 63.75], np.float32)
    results = on_every_isa("QuantizeLinear", {"axis": 0}, x, np.float32(0.5), np.int8(zero))
    expected = quantize_linear(x, 0.5, zero)
    assert expected[2] == zero
    same(results, expected)
    same(
        on_every_isa("DequantizeLinear", {"axis": 0}, expected, np.float32(0.3), np.int8(zero)),
        dequantize_linear(expected, 0.3, zero),
    )


def test_function_table_is_the_function() -> None:
    table = function_table(lambda v: v * v, 0.125, -4, 0.5, 3)
    x = np.arange(-128, 128, dtype=np.int8)
    real = (x.astype(np.float64) + 4) * 0.125
    np.testing.assert_array_equal(lookup(x, table), np.clip(np.rint(real * real / 0.5) + 3, -128, 127).astype(np.int8))


def test_multiplication_of_extremes() -> None:
    x = np.array([-128, -1, 0, 1, 127], np.int8)
    attrs = {"a_zero_point": 127, "b_zero_point": 127, "y_scale": 600.0, "a_scale": 1.0, "b_scale": 1.0}
    same(
        on_every_isa("QuantizedMul", attrs, x, np.int8(-128).reshape(1)),
        quantized_mul(x, np.int8(-128).reshape(1), **attrs),
    )


@pytest.mark.parametrize(
    ("op", "attrs"),
    [
        ("Requantize", {"y_scale": 0.0}),
        ("Requantize", {"x_scale": float("nan")}),
        ("Requantize", {"x_zero_point": 128}),
        ("Requantize", {"x_scale": 1e30, "y_scale": 1e-30}),
        ("QuantizedReduceMean", {"axes": [4]}),
        ("QuantizedAvgPool2d", {"kernel": [9, 9]}),
        ("QuantizedResize", {"sizes": [1, 2, 3]}),
    ],
)
def test_what_makes_no_sense_is_refused(op: str, attrs: dict[str, Any]) -> None:
    with pytest.raises((Error, GraphError), match=op):
        on_every_isa(op, attrs, np.zeros((1, 4, 4, 2), np.int8))
