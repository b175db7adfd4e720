"""Integers: exact where TFLite's own arithmetic is a formula, within a step of its interpreter elsewhere."""

from __future__ import annotations

import io
import zipfile
from typing import Any

import numpy as np
import pytest

import edgec
from edgec.errors import BadFileError
from tests.frontends.tflite.build import Model
from tests.frontends.tflite.cases import conv
from tests.frontends.tflite.common import Feed, Fixed, litert, one_op, run

SX, SY = 0.05123, 0.31417
RNG = np.random.default_rng(12)


def stored(shape: Any, dtype: str) -> np.ndarray:
    info = np.iinfo(dtype)
    return RNG.integers(info.min, info.max + 1, shape).astype(dtype)


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("activation", [0, 1, 3])
def test_convolution_is_exact(stride: int, activation: int) -> None:
    x, w = stored((2, 9, 8, 6), "int8"), RNG.integers(-127, 128, (5, 3, 3, 6)).astype(np.int8)
    b, sw = RNG.integers(-3000, 3000, 5).astype(np.int32), (RNG.random(5) * 0.01 + 0.005).astype(np.float32)
    size = (-(-9 // stride), -(-8 // stride))
    model = one_op(
        "CONV_2D",
        [Feed(x, scale=SX, zero=3), Fixed(w, scale=sw, axis=0), Fixed(b, scale=np.float32(SX) * sw)],
        [((2, *size, 5), "int8", {"scale": SY, "zero": -4})],
        "Conv2DOptions", Padding=0, StrideH=stride, StrideW=stride, FusedActivationFunction=activation,
    )  # fmt: skip
    # Sums of integers are exact in f32 below 2^24.
    sums = conv(x.astype(np.float32) - 3, w.astype(np.float32), b, (stride, stride), (1, 1), True)
    v = np.rint(sums * (np.float32(SX) * sw / np.float32(SY))) - 4
    low, high = (-4 if activation else -128), (-4 + np.rint(6 / np.float32(SY)) if activation == 3 else 127)
    np.testing.assert_array_equal(run(model, x)[0], np.clip(v, low, min(high, 127)).astype(np.int8))


@pytest.mark.parametrize("zero", [-128, -5, 0, 9])
@pytest.mark.parametrize("size", [2, 3, 4])
def test_averages_round_halves_away_from_zero(zero: int, size: int) -> None:
    x = stored((1, size, size, 200), "int8")
    out = [((1, 1, 1, 200), "int8", {"scale": SX, "zero": zero})]
    window = {"FilterHeight": size, "FilterWidth": size, "StrideH": 1, "StrideW": 1, "Padding": 1}
    model = one_op("AVERAGE_POOL_2D", [Feed(x, scale=SX, zero=zero)], out, "Pool2DOptions", **window)
    total, count = x.astype(np.int64).sum((1, 2), keepdims=True), size * size
    expected = np.sign(total) * ((2 * np.abs(total) + count) // (2 * count))
    np.testing.assert_array_equal(run(model, x)[0], expected)


def cases() -> list[Any]:
    found = []
    for dtype, middle in (("int8", 0), ("uint8", 128)):
        x, y = stored((1, 9, 8, 6), dtype), stored((1, 9, 8, 6), dtype)

        def one(
            op: str, shape: Any, scale: float, zero: int, options: str = "", second: bool = False, extra: Any = (), *,
            x: np.ndarray = x, y: np.ndarray = y, dtype: str = dtype, middle: int = middle, **fields: Any,
        ) -> None:  # fmt: skip
            inputs: list[Any] = [Feed(x, scale=SX, zero=middle + 3)]
            feeds = [x]
            if second:
                inputs.append(Feed(y, scale=0.07317, zero=middle - 9))
                feeds.append(y)
            out = [(shape, dtype, {"scale": scale, "zero": middle + zero})]
            model = one_op(op, [*inputs, *extra], out, options, **fields)
            found.append(pytest.param(model, feeds, id=f"{dtype}-{op}-{len(found)}"))

        same = (1, 9, 8, 6)
        for activation in (0, 1, 3):
            one("ADD", same, 0.10713, 5, "AddOptions", True, FusedActivationFunction=activation)
            one("SUB", same, 0.10713, 5, "SubOptions", True, FusedActivationFunction=activation)
            one("MUL", same, 0.5371, 5, "MulOptions", True, FusedActivationFunction=activation)
        one("LOGISTIC", same, 1 / 256, -128)
        one("TANH", same, 1 / 128, 0)
        one("SOFTMAX", same, 1 / 256, -128, "SoftmaxOptions", Beta=1.0)
        one("L2_NORMALIZATION", same, 1 / 128, 0, "L2NormOptions")
        one("HARD_SWISH", same, 0.06191, -100)
        one("LEAKY_RELU", same, 0.06191, 5, "LeakyReluOptions", Alpha=0.2)
        one("QUANTIZE", same, 0.07, 5)
        one("MEAN", (1, 6), 0.0317, 3, "ReducerOptions", extra=[np.array([1, 2], np.int32)], KeepDims=False)
        one("RESIZE_BILINEAR", (1, 13, 16, 6), SX, 3, "ResizeBilinearOptions", extra=[np.array([13, 16], np.int32)])
        one(
            "MAX_POOL_2D", (1, 5, 4, 6), SX, 3, "Pool2DOptions", Padding=0, StrideW=2, StrideH=2, FilterWidth=3,
            FilterHeight=3, FusedActivationFunction=3,
        )  # fmt: skip
        one("PAD", (1, 11, 10, 6), SX, 3, extra=[np.array([[0, 0], [1, 1], [2, 0], [0, 0]], np.int32)])
    return found


@pytest.mark.parametrize(("model", "feeds"), cases())
def test_within_a_step_of_the_interpreter(model: Model, feeds: list[np.ndarray]) -> None:
    pytest.importorskip("ai_edge_litert")
    got, expected = run(model, *feeds)[0], litert(model.finish(), *feeds)[0]
    assert got.dtype == expected.dtype
    assert np.abs(got.astype(np.int64) - expected).max() <= 1


def test_hybrid_weights() -> None:
    """Integer weights beside floats: the activations are rounded to 255 steps per image."""
    x, w = RNG.standard_normal((2, 9, 8, 6)).astype(np.float32), RNG.integers(-127, 128, (5, 3, 3, 6)).astype(np.int8)
    sw = (RNG.random(5) * 0.01 + 0.005).astype(np.float32)
    model = one_op(
        "CONV_2D", [Feed(x), Fixed(w, scale=sw, axis=0), None], [((2, 9, 8, 5), "float32")], "Conv2DOptions",
        Padding=0, StrideH=1, StrideW=1,
    )  # fmt: skip
    rounded = np.empty_like(x)
    for n in range(2):
        low, high = np.minimum(x[n].min(), 0), np.maximum(x[n].max(), 0)
        size = (high - low) / np.float32(255)
        zero = np.rint(-128 - low * (np.float32(255) / (high - low)))
        rounded[n] = (np.clip(np.rint(x[n] * (np.float32(255) / (high - low))) + zero, -128, 127) - zero) * size
    expected = conv(rounded, w * sw.reshape(-1, 1, 1, 1), None, (1, 1), (1, 1), True)
    atol = 54 * np.finfo(np.float32).eps * np.abs(x).max() * 127 * sw.max() * 4
    np.testing.assert_allclose(run(model, x)[0], expected, rtol=0, atol=atol)


def test_labels_behind_the_model() -> None:
    content = one_op("RELU", [Feed(np.zeros((2, 3), np.float32))], [((2, 3), "float32")]).finish()
    tail = io.BytesIO()
    with zipfile.ZipFile(tail, "w") as archive:
        archive.writestr("labels.txt", "cat\ndog\n")
    made = edgec.convert(content + tail.getvalue(), check=False)
    assert made.metadata["labels"] == "cat\ndog"
    assert "labels" not in edgec.convert(content + tail.getvalue()[:-30], check=False).metadata


def test_per_channel_scales_need_their_channel() -> None:
    w = Fixed(np.zeros((5, 3, 3, 6), np.int8), scale=[0.1, 0.2], axis=0)
    model = one_op("CONV_2D", [Feed(np.zeros((1, 9, 9, 6), np.float32)), w], [((1, 7, 7, 5), "float32")])
    with pytest.raises(BadFileError, match="2 scales along dimension 0"):
        edgec.convert(model.finish(), check=False)
