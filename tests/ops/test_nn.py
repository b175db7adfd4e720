"""Pools, resize, softmax, normalisations and reductions against NumPy in double precision and ONNX's reference."""

from __future__ import annotations

import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from edgec import _core

EPS = float(np.finfo(np.float32).eps)


def evaluate(op: str, *inputs: object, outputs: int = 1, **attrs: object) -> list[np.ndarray]:
    return _core.evaluate(op, attrs, [None if x is None else np.asarray(x, order="C") for x in inputs], outputs)


def one(op: str, *inputs: object, **attrs: object) -> np.ndarray:
    return evaluate(op, *inputs, **attrs)[0]


def normal(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


def close(got: np.ndarray, expected: np.ndarray, tolerance: float | np.ndarray) -> None:
    """|got - expected| <= tolerance, a formula of the caller; NaN and infinities in the same places."""
    assert got.shape == expected.shape
    expected = expected.astype(np.float64)
    with np.errstate(invalid="ignore"):
        bad = ~((np.abs(got - expected) <= tolerance) | (got == expected) | (np.isnan(got) & np.isnan(expected)))
    assert not bad.any(), (
        f"{got[bad][:3]} != {expected[bad][:3]}, allowed {np.broadcast_to(tolerance, bad.shape)[bad][:3]}"
    )


def magnitude(x: np.ndarray) -> float:
    return float(np.max(np.abs(x), initial=1e-30))


@pytest.mark.skipif("EDGEC_ISA" in os.environ, reason="already inside one forced ISA")
@pytest.mark.parametrize("isa", [i for i in ("scalar", "avx2") if i in str(_core.cpu_info())])
def test_other_instruction_sets(isa: str) -> None:
    """Everything in this file again with the kernels of an older CPU."""
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", str(Path(__file__))],
        env={**os.environ, "EDGEC_ISA": isa},
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout[-3000:]


# -- pools ---------------------------------------------------------------------------------------------------------


def pool_size(size: int, pads: tuple[int, int], kernel: int, stride: int, dilation: int, ceil: bool) -> int:
    span = size + sum(pads) - (kernel - 1) * dilation - 1
    out = (-(-span // stride) if ceil else span // stride) + 1
    return out - 1 if ceil and (out - 1) * stride >= size + pads[0] else out


def pool_oracle(
    x: np.ndarray, mode: str, k: list[int], s: list[int], p: list[int], d: list[int], ceil: bool, include: bool
) -> np.ndarray:
    n, h, w, c = x.shape
    oh = pool_size(h, (p[0], p[2]), k[0], s[0], d[0], ceil)
    ow = pool_size(w, (p[1], p[3]), k[1], s[1], d[1], ceil)
    y = np.zeros((n, oh, ow, c), x.dtype if mode == "max" else np.float64)
    for i, j in itertools.product(range(oh), range(ow)):
        rows = [i * s[0] - p[0] + t * d[0] for t in range(k[0])]
        columns = [j * s[1] - p[1] + t * d[1] for t in range(k[1])]
        inside = [x[:, r, q].astype(y.dtype) for r in rows for q in columns if 0 <= r < h and 0 <= q < w]
        counted = sum(r < h + p[2] for r in rows) * sum(q < w + p[3] for q in columns) if include else len(inside)
        y[:, i, j] = np.max(inside, axis=0) if mode == "max" else np.sum(inside, axis=0) / counted
    return y


@pytest.mark.parametrize("mode", ["max", "average"])
@pytest.mark.parametrize("channels", [1, 3, 16, 17, 67, 131])
def test_pools(rng: np.random.Generator, mode: str, channels: int) -> None:
    done = 0
    while done < 12:
        k, s, d = (rng.integers(1, 4, 2).tolist() for _ in range(3))
        p = [int(rng.integers(0, k[i % 2])) for i in range(4)]
        h, w = rng.integers(1, 14, 2).tolist()
        ceil, include = bool(rng.integers(2)), bool(rng.integers(2)) and mode == "average"
        if h + p[0] + p[2] < (k[0] - 1) * d[0] + 1 or w + p[1] + p[3] < (k[1] - 1) * d[1] + 1:
            continue
        x = normal(rng, 2, h, w, channels)
        if d != [1, 1]:
            # ONNX leaves windows that see only padding undefined, and dilation can make them.
            p = [0, 0, 0, 0]
            if h < (k[0] - 1) * d[0] + 1 or w < (k[1] - 1) * d[1] + 1:
                continue
        attrs = {"kernel": k, "strides": s, "pads": p, "dilations": d, "ceil_mode": int(ceil)}
        if mode == "average":
            attrs["count_include_pad"] = int(include)
        expected = pool_oracle(x, mode, k, s, p, d, ceil, include)
        got = one("MaxPool2d" if mode == "max" else "AvgPool2d", x, **attrs)
        close(got, expected, 0 if mode == "max" else (k[0] * k[1] + 2) * EPS * magnitude(x))
        done += 1


@pytest.mark.parametrize("dtype", [np.int8, np.uint8])
@pytest.mark.parametrize("channels", [5, 64, 129, 300])
def test_max_pool_of_integers(rng: np.random.Generator, dtype: type, channels: int) -> None:
    info = np.iinfo(dtype)
    x = rng.integers(info.min, info.max + 1, (1, 7, 6, channels)).astype(dtype)
    got = one("MaxPool2d", x, kernel=[3, 2], strides=[2, 1], pads=[1, 0, 1, 1])
    expected = pool_oracle(x, "max", [3, 2], [2, 1], [1, 0, 1, 1], [1, 1], False, False)
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, expected)


def test_max_pool_keeps_nan() -> None:
    x = np.zeros((1, 4, 4, 20), np.float32)
    x[0, 1, 1, 3] = np.nan
    x[0, 0, 0, 5] = -np.inf
    got = one("MaxPool2d", x, kernel=[2, 2], strides=[2, 2])
    assert np.isnan(got[0, 0, 0, 3])
    assert np.isnan(got).sum() == 1


@pytest.mark.parametrize("size", range(5, 13))
def test_pool_sizes_agree_with_onnxruntime(size: int) -> None:
    onnxruntime = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    for kernel, stride, pad, ceil in itertools.product((2, 3), (1, 2, 3), (0, 1), (0, 1)):
        x = np.arange(size * size, dtype=np.float32).reshape(1, 1, size, size)
        node = helper.make_node(
            "AveragePool", ["x"], ["y"], kernel_shape=[kernel] * 2, strides=[stride] * 2, pads=[pad] * 4, ceil_mode=ceil
        )
        graph = helper.make_graph(
            [node],
            "g",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, x.shape)],
            [helper.make_tensor_value_info("y", TensorProto.FLOAT, None)],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)], ir_version=9)
        expected = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(
            None, {"x": x}
        )[0]
        got = one(
            "AvgPool2d",
            x.transpose(0, 2, 3, 1),
            kernel=[kernel] * 2,
            strides=[stride] * 2,
            pads=[pad] * 4,
            ceil_mode=ceil,
        )
        close(got.transpose(0, 3, 1, 2), expected, (kernel * kernel + 2) * EPS * size * size)


@pytest.mark.parametrize(
    "attrs",
    [
        {"kernel": [0, 1]},
        {"kernel": [2]},
        {"kernel": [9, 1]},
        {"kernel": [2, 2], "strides": [0, 1]},
        {"kernel": [2, 2], "pads": [-1, 0, 0, 0]},
        {"kernel": [2, 2], "dilations": [1 << 40, 1]},
    ],
)
def test_pools_refuse(attrs: dict) -> None:
    for op in ("MaxPool2d", "AvgPool2d"):
        with pytest.raises(_core.Error, match=op):
            one(op, np.zeros((1, 4, 4, 3), np.float32), **attrs)


# -- resize --------------------------------------------------------------------------------------------------------

COORDINATES = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel", "half_pixel_symmetric"]


def onnx_resize(
    x: np.ndarray, sizes: list[int] | None, scales: list[float] | None, roi: list[float] | None = None, **attrs: object
) -> np.ndarray:
    pytest.importorskip("onnx")
    from onnx import TensorProto, helper
    from onnx.reference import ReferenceEvaluator

    feeds = {"x": x.astype(np.float64)}
    names = ["x", "", "", ""]
    for i, (name, value, dtype) in enumerate(
        (("roi", roi, np.float64), ("scales", scales, np.float32), ("sizes", sizes, np.int64))
    ):
        if value is not None:
            feeds[name] = np.array(value, dtype)
            names[i + 1] = name
    node = helper.make_node("Resize", names, ["y"], **attrs)
    types = {
        "x": TensorProto.DOUBLE,
        "roi": TensorProto.DOUBLE,
        "scales": TensorProto.FLOAT,
        "sizes": TensorProto.INT64,
    }
    graph = helper.make_graph(
        [node],
        "g",
        [helper.make_tensor_value_info(n, types[n], None) for n in feeds],
        [helper.make_tensor_value_info("y", TensorProto.DOUBLE, None)],
    )
    return ReferenceEvaluator(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 19)])).run(None, feeds)[0]


@pytest.mark.parametrize("coordinate", COORDINATES)
@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
@pytest.mark.parametrize("channels", [1, 3, 16, 35])
def test_resize_to_sizes(rng: np.random.Generator, mode: str, coordinate: str, channels: int) -> None:
    variants = [{"nearest_mode": m} for m in ("round_prefer_floor", "round_prefer_ceil", "floor", "ceil")]
    if mode != "nearest":
        variants = [{}, {"antialias": 1}, {"antialias": 1, "exclude_outside": 1}]
    if mode == "cubic":
        variants += [{"exclude_outside": 1}, {"cubic_coeff": -0.5}]
    for variant in variants:
        x = normal(rng, 2, *rng.integers(1, 9, 2).tolist(), channels)
        sizes = [2, *rng.integers(1, 14, 2).tolist(), channels]
        got = one("Resize", x, mode=mode, coordinate=coordinate, sizes=sizes, **variant)
        theirs = {("cubic_coeff_a" if k == "cubic_coeff" else k): v for k, v in variant.items()}
        expected = onnx_resize(x, sizes, None, mode=mode, coordinate_transformation_mode=coordinate, **theirs)
        # Cubic weights sum up to less than 3 in absolute value per axis; taps grow with antialiasing.
        taps = 1 if mode == "nearest" else 4 * 8
        close(got, expected, 0 if mode == "nearest" else 9 * 2 * taps * EPS * magnitude(x))


@pytest.mark.parametrize("coordinate", ["half_pixel", "asymmetric", "pytorch_half_pixel", "half_pixel_symmetric"])
@pytest.mark.parametrize("mode", ["linear", "cubic"])
def test_resize_by_scales(rng: np.random.Generator, mode: str, coordinate: str) -> None:
    # (0.8 x 7 would put positions within rounding of a pixel, where the reference picks inconsistent taps.)
    for scale in (0.6, 0.7, 1.3, 2.0, 2.5):
        x = normal(rng, 1, 7, 5, 4)
        scales = [1.0, scale, 1.7, 1.0]
        got = one("Resize", x, None, np.array(scales, np.float32), mode=mode, coordinate=coordinate)
        expected = onnx_resize(x, None, scales, mode=mode, coordinate_transformation_mode=coordinate)
        # The position is an f32 quotient: its error times the slope of the cubic (less than 3 per axis) joins in.
        close(got, expected, (9 * 32 + 2 * 3 * 20) * EPS * magnitude(x))


def test_resize_any_axes(rng: np.random.Generator) -> None:
    for shape, sizes in (
        ((5,), [8]),
        ((3, 4), [7, 2]),
        ((2, 3, 4, 5), [3, 3, 6, 7]),
        ((2, 3, 2, 3, 2), [4, 3, 3, 2, 5]),
    ):
        x = normal(rng, *shape)
        for mode in ("nearest", "linear", "cubic"):
            got = one("Resize", x, np.array(sizes, np.int64), mode=mode)
            close(
                got,
                onnx_resize(x, sizes, None, mode=mode),
                0 if mode == "nearest" else 3 ** len(shape) * 9 * EPS * magnitude(x),
            )


@pytest.mark.parametrize("mode", ["nearest", "linear", "cubic"])
def test_resize_crop(rng: np.random.Generator, mode: str) -> None:
    x = normal(rng, 1, 5, 6, 3)
    roi = [0.0, -0.3, 0.2, 0.0, 1.0, 0.7, 1.4, 1.0]
    sizes = [1, 7, 9, 3]
    got = one("Resize", x, mode=mode, coordinate="tf_crop_and_resize", sizes=sizes, roi=roi, extrapolation=7.5)
    expected = onnx_resize(
        x, sizes, None, roi, mode=mode, coordinate_transformation_mode="tf_crop_and_resize", extrapolation_value=7.5
    )
    assert (got == 7.5).any()
    close(got, expected, 9 * 8 * EPS * 7.5)


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
@pytest.mark.parametrize("axes", [[1, 2], [2, 1], [-2], None])
def test_resize_of_some_axes_with_aspect(rng: np.random.Generator, policy: str, axes: list[int] | None) -> None:
    x = normal(rng, 2, 6, 9, 3)
    sizes = [7, 12][: len(axes)] if axes else [2, 8, 7, 3]
    if policy != "stretch" and not axes:
        axes, sizes = [1, 2], [8, 7]
    theirs = {"mode": "linear", "keep_aspect_ratio_policy": policy}
    ours = {"mode": "linear", "keep_aspect": policy}
    if axes:
        positive = [a % 4 for a in axes]  # the reference does not take negative ones
        theirs["axes"], ours["axes"] = positive, axes
    got = one("Resize", x, np.array(sizes, np.int64), **ours)
    close(got, onnx_resize(x, sizes, None, **theirs), (9 * 2 + 20) * EPS * magnitude(x))
    if axes:
        scales = [1.5] * len(axes)
        got = one("Resize", x, None, np.array(scales, np.float32), mode="linear", axes=axes)
        expected = onnx_resize(x, None, scales, mode="linear", axes=positive)
        close(got, expected, (9 * 2 + 20) * EPS * magnitude(x))


@pytest.mark.parametrize("dtype", [np.uint8, np.int8, np.float16, np.int32, np.int64, np.float64, np.bool_])
def test_resize_nearest_of_any_type(rng: np.random.Generator, dtype: type) -> None:
    x = rng.integers(0, 2 if dtype == np.bool_ else 100, (2, 4, 5, 3)).astype(dtype)
    got = one("Resize", x, coordinate="asymmetric", nearest_mode="floor", scales=[1.0, 2.0, 3.0, 1.0])
    assert got.dtype == dtype
    np.testing.assert_array_equal(got, x.repeat(2, axis=1).repeat(3, axis=2))


def test_resize_divides_as_the_frameworks_do() -> None:
    """1 / f32(1/3) is 3 although f32(1/3) > 1/3, and 10 * f32(0.7) is 7."""
    x = np.arange(10, dtype=np.float32)
    third = float(np.float32(1 / 3))
    np.testing.assert_array_equal(
        one("Resize", x, coordinate="asymmetric", nearest_mode="floor", scales=[third]), [0, 3, 6]
    )
    assert one("Resize", x, scales=[0.7]).shape == (7,)


@pytest.mark.parametrize(
    ("attrs", "text"),
    [
        ({}, "neither"),
        ({"sizes": [1, 2]}, "2 sizes"),
        ({"sizes": [1, 2, 3, 4], "axes": [4]}, "axis 4"),
        ({"sizes": [1, 2, 3, 4], "roi": [float("nan")] * 8}, "roi holds"),
        ({"scales": [1.0, -2.0, 1.0, 1.0]}, "not positive"),
        ({"scales": [1.0, float("nan"), 1.0, 1.0]}, "not positive"),
        ({"sizes": [1, -4, 2, 3]}, "would be -4"),
        ({"sizes": [1, 4, 4, 3], "scales": [1.0, 9.0, 1.0, 1.0]}, "contradict"),
        ({"scales": [1e30, 1.0, 1.0, 1.0]}, "would be"),
    ],
)
def test_resize_refuses(attrs: dict, text: str) -> None:
    with pytest.raises(_core.Error, match=text):
        one("Resize", np.zeros((1, 4, 4, 3), np.float32), **attrs)


# -- softmax and normalisations ------------------------------------------------------------------------------------


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x - x.max(axis=axis, keepdims=True))
    return e / e.sum(axis=axis, keepdims=True)


@pytest.mark.parametrize(
    "shape",
    [(1,), (7,), (15,), (16,), (17,), (33,), (3, 1000), (2, 21, 5), (2, 3, 67, 131), (4, 1, 9, 1), (0, 3), (2, 0)],
)
def test_softmax(rng: np.random.Generator, shape: tuple[int, ...]) -> None:
    x = normal(rng, *shape) * 10
    for axis in range(-len(shape), len(shape)):
        n = shape[axis]
        expected = softmax(x.astype(np.float64), axis) if x.size else x
        # e^d of a rounded difference d: |d| eps; the sum: n eps; exp, division: a few eps.
        span = 2 * magnitude(x)
        close(one("Softmax", x, axis=axis), expected, (n + span + 8) * EPS * expected)
        with np.errstate(divide="ignore"):
            logarithm = np.log(expected) if x.size else x
        close(one("LogSoftmax", x, axis=axis), logarithm, (n + 2 * span + 8) * EPS)


def test_softmax_of_extremes() -> None:
    x = np.array([[1e30, -1e30, 0], [-np.inf, 0, 0], [np.nan, 1, 2], [-3e38, -3e38, -3e38], [88, 89, 90]], np.float32)
    expected = softmax(x.astype(np.float64), -1)
    close(one("Softmax", x), expected, 16 * EPS)
    close(one("Softmax", np.ascontiguousarray(x.T), axis=0), expected.T, 16 * EPS)


def moments(x: np.ndarray, axes: tuple[int, ...], epsilon: float) -> np.ndarray:
    x = x.astype(np.float64)
    mean = x.mean(axis=axes, keepdims=True)
    return (x - mean) / np.sqrt(x.var(axis=axes, keepdims=True) + epsilon)


@pytest.mark.parametrize("n", [1, 2, 15, 16, 17, 63, 64, 65, 192, 2048, 5003])
@pytest.mark.parametrize("offset", [0.0, 100.0])
def test_layer_norm(rng: np.random.Generator, n: int, offset: float) -> None:
    x = normal(rng, 3, 2, n) + np.float32(offset)
    scale, bias = normal(rng, n), normal(rng, n)
    # The subtraction of a rounded mean costs eps |mean|, seen through 1/deviation; below it eps of the result.
    deviation = np.sqrt(x.astype(np.float64).var(axis=-1, keepdims=True) + 1e-5)
    tolerance = (
        2 * EPS * magnitude(x) / deviation + 8 * EPS * (magnitude(x - np.float32(offset)) / deviation + 1)
    ) * magnitude(scale) + 4 * EPS * magnitude(bias)
    expected = moments(x, (-1,), 1e-5)
    close(one("LayerNorm", x, scale, bias), expected * scale + bias, tolerance)
    close(one("LayerNorm", x), expected, tolerance / magnitude(scale))
    close(one("LayerNorm", x, None, bias), expected + bias, tolerance / magnitude(scale) + 4 * EPS * magnitude(bias))
    wide = moments(x, (1, 2), 1e-3).reshape(3, 2, n)
    close(one("LayerNorm", x, axis=1, epsilon=1e-3), wide, np.max(tolerance) / magnitude(scale))
    rms = x / np.sqrt(np.mean(x.astype(np.float64) ** 2, axis=-1, keepdims=True) + 1e-6) * scale
    close(one("RMSNorm", x, scale, epsilon=1e-6), rms, (n / 64 + 8) * EPS * np.abs(rms))


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (6, 3), (32, 8), (32, 32), (67, 1), (130, 2), (130, 130)])
@pytest.mark.parametrize("pixels", [(1,), (5, 3), (127,), (128,), (129,), (17, 31)])
def test_group_norm(rng: np.random.Generator, channels: int, groups: int, pixels: tuple[int, ...]) -> None:
    x = normal(rng, 2, *pixels, channels) + 3
    scale, bias = normal(rng, channels), normal(rng, channels)
    grouped = x.reshape(2, -1, groups, channels // groups)
    deviation = np.sqrt(grouped.astype(np.float64).var(axis=(1, 3)) + 1e-5).min()
    expected = moments(grouped, (1, 3), 1e-5).reshape(x.shape)
    tolerance = 8 * EPS * (magnitude(x) / deviation + 1)
    close(one("GroupNorm", x, None, None, groups=groups), expected, tolerance)
    close(
        one("GroupNorm", x, scale, bias, groups=groups),
        expected * scale + bias,
        tolerance * (magnitude(scale) + magnitude(bias)),
    )


def test_normalisations_refuse() -> None:
    x = np.zeros((2, 3, 6), np.float32)
    with pytest.raises(_core.Error, match="expected 6 elements"):
        one("LayerNorm", x, np.ones(5, np.float32))
    with pytest.raises(_core.Error, match="4 groups do not divide"):
        one("GroupNorm", x, None, None, groups=4)
    with pytest.raises(_core.Error, match="groups"):
        one("GroupNorm", x, None, None, groups=0)
    with pytest.raises(_core.Error, match="size"):
        one("LocalResponseNorm", x, size=0)


@pytest.mark.parametrize("channels", [1, 2, 5, 16, 19, 96])
@pytest.mark.parametrize("size", [1, 2, 3, 5, 8])
def test_local_response_norm(rng: np.random.Generator, channels: int, size: int) -> None:
    x = normal(rng, 2, 3, 4, channels) * 5
    square = x.astype(np.float64) ** 2
    total = np.zeros_like(square)
    for c in range(channels):
        total[..., c] = square[..., max(0, c - (size - 1) // 2) : c + size // 2 + 1].sum(axis=-1)
    expected = x / (2 + 0.3 / size * total) ** 0.75
    # base^-beta through exp(-beta log base): the logarithm's error times its size, plus the window's sum.
    tolerance = (size + 0.75 * np.log(2 + 0.3 * magnitude(x) ** 2) + 8) * EPS * np.abs(expected)
    attrs = {"size": size, "alpha": 0.3, "beta": 0.75, "bias": 2.0}
    close(one("LocalResponseNorm", x, **attrs), expected, tolerance)
    moved = np.ascontiguousarray(np.moveaxis(x, -1, 1))
    close(one("LocalResponseNorm", moved, axis=1, **attrs), np.moveaxis(expected, -1, 1), np.moveaxis(tolerance, -1, 1))


# -- reductions ----------------------------------------------------------------------------------------------------


def log_sum_exp(x: np.ndarray, axis: tuple[int, ...], keepdims: bool) -> np.ndarray:
    top = x.max(axis=axis, keepdims=True)
    y = np.log(np.exp(x - top).sum(axis=axis, keepdims=True)) + top
    return y if keepdims else y.squeeze(axis)


REDUCTIONS: dict[str, Callable[..., np.ndarray]] = {
    "ReduceSum": np.sum,
    "ReduceMean": np.mean,
    "ReduceMax": np.max,
    "ReduceMin": np.min,
    "ReduceProd": np.prod,
    "ReduceL1": lambda x, axis, keepdims: np.abs(x).sum(axis=axis, keepdims=keepdims),
    "ReduceL2": lambda x, axis, keepdims: np.sqrt((x * x).sum(axis=axis, keepdims=keepdims)),
    "ReduceLogSum": lambda x, axis, keepdims: np.log(x.sum(axis=axis, keepdims=keepdims)),
    "ReduceLogSumExp": log_sum_exp,
    "ReduceSumSquare": lambda x, axis, keepdims: (x * x).sum(axis=axis, keepdims=keepdims),
}


@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions_over_any_axes(rng: np.random.Generator, op: str) -> None:
    for shape in [
        (),
        (1,),
        (13,),
        (300,),
        (4, 67),
        (67, 4),
        (3, 5, 17),
        (2, 7, 3, 16),
        (1, 3, 1, 130),
        (2, 3, 2, 3, 5),
        (140, 1, 3),
    ]:
        x = np.abs(normal(rng, *shape)) + np.float32(0.5) if op == "ReduceLogSum" else normal(rng, *shape)
        if op == "ReduceProd":
            x = (1 + x / 16).astype(np.float32)  # 300 factors stay in range
        for count in range(len(shape) + 1):
            for axes in itertools.combinations(range(len(shape)), count):
                keepdims = int(rng.integers(2))
                over = axes or tuple(range(len(shape)))
                k = int(np.prod([shape[a] for a in over]))
                expected = np.asarray(REDUCTIONS[op](x.astype(np.float64), axis=over, keepdims=bool(keepdims)))
                signed = [a - len(shape) if rng.integers(2) else a for a in axes]
                got = one(op, x, axes=signed, keepdims=keepdims)
                scale = np.abs(expected) if op == "ReduceProd" else k * max(1.0, magnitude(x)) ** 2
                if op == "ReduceMean":
                    scale = magnitude(x)
                if op in ("ReduceMax", "ReduceMin"):
                    scale = 0
                if op in ("ReduceLogSum", "ReduceLogSumExp"):
                    scale = np.abs(expected) + 1
                close(got, expected, (k + 16) * EPS * scale)


@pytest.mark.parametrize("dtype", [np.float64, np.int32, np.int64, np.uint32, np.uint64])
@pytest.mark.parametrize("op", REDUCTIONS)
def test_reductions_of_other_types(rng: np.random.Generator, op: str, dtype: type) -> None:
    x = rng.integers(1 if np.issubdtype(dtype, np.unsignedinteger) else -9, 10, (3, 4, 5)).astype(dtype)
    if op in ("ReduceLogSum", "ReduceLogSumExp"):
        x = np.abs(x)
    for axes in ([], [0], [1], [2], [0, 2]):
        got = one(op, x, axes=axes, keepdims=0)
        over = tuple(axes) or (0, 1, 2)
        if op in ("ReduceSum", "ReduceMax", "ReduceMin", "ReduceProd", "ReduceL1", "ReduceSumSquare"):
            expected = np.asarray(REDUCTIONS[op](x, axis=over, keepdims=False)).astype(dtype)
        else:
            with np.errstate(invalid="ignore"):
                expected = np.asarray(REDUCTIONS[op](x.astype(np.float64), axis=over, keepdims=False)).astype(dtype)
        assert got.dtype == dtype
        if np.issubdtype(dtype, np.floating):
            np.testing.assert_allclose(got, expected, rtol=100 * np.finfo(np.float64).eps)
        else:
            np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [np.int8, np.uint8, np.bool_])
def test_extrema_of_small_types(rng: np.random.Generator, dtype: type) -> None:
    x = rng.integers(0, 2, (6, 7)).astype(dtype) if dtype == np.bool_ else rng.integers(0, 100, (6, 7)).astype(dtype)
    for axis in (0, 1):
        np.testing.assert_array_equal(one("ReduceMax", x, axes=[axis], keepdims=0), x.max(axis=axis))
        np.testing.assert_array_equal(one("ReduceMin", x, axes=[axis], keepdims=0), x.min(axis=axis))
    with pytest.raises(_core.Error, match="ReduceSum"):
        one("ReduceSum", x)


def test_integer_sums_wrap_as_in_numpy() -> None:
    x = np.full(5, 2**31 - 1, np.int32)
    with np.errstate(over="ignore"):
        assert one("ReduceSum", x, keepdims=0) == x.sum(dtype=np.int32)


@pytest.mark.parametrize(
    ("op", "value"),
    [
        ("ReduceSum", 0),
        ("ReduceProd", 1),
        ("ReduceMax", -np.inf),
        ("ReduceMin", np.inf),
        ("ReduceMean", np.nan),
        ("ReduceLogSum", -np.inf),
        ("ReduceLogSumExp", -np.inf),
        ("ReduceL2", 0),
    ],
)
def test_reductions_of_nothing(op: str, value: float) -> None:
    for shape, axes in (((0,), [0]), ((2, 0, 3), [1]), ((2, 0), [1]), ((0, 3), [0])):
        got = one(op, np.zeros(shape, np.float32), axes=axes, keepdims=0)
        np.testing.assert_array_equal(got, np.full(got.shape, value, np.float32))
        assert got.size > 0
    assert one(op, np.zeros((0, 3), np.float32), axes=[1]).shape == (0, 1)


def test_extrema_keep_nan(rng: np.random.Generator) -> None:
    x = normal(rng, 40, 40)
    x[3, 7] = np.nan
    for axis in (0, 1):
        for op, f in (("ReduceMax", np.max), ("ReduceMin", np.min)):
            np.testing.assert_array_equal(one(op, x, axes=[axis], keepdims=0), f(x, axis=axis))


def test_log_sum_exp_of_infinities() -> None:
    x = np.array([[-np.inf, -np.inf], [np.inf, 0], [1000, 1000], [-np.inf, 3]], np.float32)
    expected = np.array([-np.inf, np.inf, 1000 + np.log(2), 3], np.float32)
    close(one("ReduceLogSumExp", x, axes=[1], keepdims=0), expected, 2 * EPS * 1000)


def test_long_sums_stay_accurate(rng: np.random.Generator) -> None:
    """A plain f32 loop is off by a thousand of these tolerances."""
    x = rng.uniform(0, 1, (1_000_003, 3)).astype(np.float32)
    exact = x.astype(np.float64).sum(axis=0)
    close(one("ReduceSum", x, axes=[0], keepdims=0), exact, 4 * EPS * exact)
    total = np.asarray(exact.sum())
    close(one("ReduceSum", x, keepdims=0), total, 4 * EPS * total)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.int8, np.uint8])
def test_arg_reductions(rng: np.random.Generator, dtype: type) -> None:
    for shape in ((1,), (5,), (33,), (4, 100), (100, 4), (3, 7, 37), (2, 64, 65)):
        x = rng.integers(0, 9, shape).astype(dtype)  # many ties
        for axis in range(-len(shape), len(shape)):
            for op, f in (("ArgMax", np.argmax), ("ArgMin", np.argmin)):
                got = one(op, x, axis=axis, keepdims=0)
                assert got.dtype == np.int64
                np.testing.assert_array_equal(got, f(x, axis=axis))
                last = shape[axis] - 1 - f(np.flip(x, axis), axis=axis)
                np.testing.assert_array_equal(one(op, x, axis=axis, select_last_index=1), np.expand_dims(last, axis))


def test_arg_reductions_find_nan(rng: np.random.Generator) -> None:
    x = normal(rng, 40, 50)
    x[3, 7] = x[3, 9] = x[20, 7] = np.nan
    for axis in (0, 1):
        np.testing.assert_array_equal(one("ArgMax", x, axis=axis, keepdims=0), np.argmax(x, axis))
        np.testing.assert_array_equal(one("ArgMin", x, axis=axis, keepdims=0), np.argmin(x, axis))


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64])
def test_cumsum(rng: np.random.Generator, dtype: type) -> None:
    for shape in ((1,), (9,), (4, 70), (70, 4), (2, 5, 67)):
        x = (rng.standard_normal(shape) * 10).astype(dtype)
        for axis, exclusive, reverse in itertools.product(range(-len(shape), len(shape)), (0, 1), (0, 1)):
            y = np.flip(x, axis) if reverse else x
            expected = np.cumsum(y, axis, dtype=np.float64 if np.issubdtype(dtype, np.floating) else dtype)
            if exclusive:
                expected = expected - y
            expected = np.flip(expected, axis) if reverse else expected
            got = one("CumSum", x, np.array(axis, np.int64), exclusive=exclusive, reverse=reverse)
            assert got.dtype == dtype
            if dtype == np.float32:
                close(got, expected, 2 * EPS * magnitude(expected))
            elif dtype == np.float64:
                np.testing.assert_allclose(got, expected, atol=shape[axis] * np.finfo(np.float64).eps * 100)
            else:
                np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.int64, np.uint32, np.uint64, np.int8, np.uint8])
def test_top_k(rng: np.random.Generator, dtype: type) -> None:
    for shape in ((1,), (20,), (3, 50), (50, 3), (2, 9, 5)):
        x = rng.integers(0, 12, shape).astype(dtype)
        for axis in range(-len(shape), len(shape)):
            n = shape[axis]
            for k, largest in itertools.product({0, 1, n // 2, n}, (0, 1)):
                key = -x.astype(np.float64) if largest else x
                order = np.argsort(key, axis=axis, kind="stable").take(range(k), axis=axis)
                values, indices = evaluate("TopK", x, np.array([k], np.int64), axis=axis, largest=largest, outputs=2)
                np.testing.assert_array_equal(indices, order)
                np.testing.assert_array_equal(values, np.take_along_axis(x, order, axis))


def test_top_k_orders_nan() -> None:
    x = np.array([1, np.nan, np.inf, -np.inf, np.nan, 2], np.float32)
    assert evaluate("TopK", x, np.array([6]), outputs=2)[1].tolist() == [1, 4, 2, 5, 0, 3]
    assert evaluate("TopK", x, np.array([6]), largest=0, outputs=2)[1].tolist() == [3, 0, 5, 2, 1, 4]
    with pytest.raises(_core.Error, match="k is 7"):
        evaluate("TopK", x, np.array([7]), outputs=2)
