"""Elementwise and layout operators against NumPy and ONNX's reference implementation."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import pytest

from edgec import _core

FLOATS = (np.float32, np.float64, np.float16)
SIGNED = (np.int8, np.int16, np.int32, np.int64)
UNSIGNED = (np.uint8, np.uint16, np.uint32, np.uint64)
EVERY = (*FLOATS, *SIGNED, *UNSIGNED, np.bool_)

SHAPES = [(), (1,), (7,), (3, 5), (2, 3, 16), (2, 1, 4, 17), (0, 4), (5, 1, 1, 33), (1, 2, 3, 2, 3)]


def evaluate(op: str, *inputs: object, outputs: int = 1, **attrs: object) -> list[np.ndarray]:
    return _core.evaluate(op, attrs, [None if x is None else np.asarray(x, order="C") for x in inputs], outputs)


def one(op: str, *inputs: object, **attrs: object) -> np.ndarray:
    return evaluate(op, *inputs, **attrs)[0]


def i64(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


def sample(
    rng: np.random.Generator, dtype: type, shape: tuple[int, ...], low: float = -4, high: float = 4
) -> np.ndarray:
    if dtype == np.bool_:
        return rng.random(shape) < 0.5
    if np.issubdtype(dtype, np.integer):
        return rng.integers(
            max(int(low), 0) if np.issubdtype(dtype, np.unsignedinteger) else int(low), int(high) + 1, shape
        ).astype(dtype)
    return np.asarray(rng.uniform(low, high, shape)).astype(dtype)


def same(got: np.ndarray, expected: np.ndarray) -> None:
    assert got.dtype == expected.dtype
    assert got.shape == expected.shape
    np.testing.assert_array_equal(got, expected)


# -- unary ---------------------------------------------------------------------------------------------------------

_erf = np.vectorize(math.erf, otypes=[np.float64])


def _sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


def _softplus(x: np.ndarray) -> np.ndarray:
    return np.logaddexp(x, 0)


# ONNX writes these defaults as the f32 numbers that they are.
SELU = (1.67326319217681884765625, 1.05070102214813232421875)

# op: (attributes, NumPy in float64, domain, error in units of eps of max(|y|, |x|, 1): 1/2 for the result's own
# rounding plus what the documented error of the elementary functions amounts to)
UNARY: dict[str, tuple[dict[str, object], Callable[[np.ndarray], np.ndarray], tuple[float, float], float]] = {
    "Abs": ({}, np.abs, (-4, 4), 0),
    "Neg": ({}, np.negative, (-4, 4), 0),
    "Relu": ({}, lambda x: np.maximum(x, 0), (-4, 4), 0),
    "Sigmoid": ({}, _sigmoid, (-20, 20), 3),
    "Tanh": ({}, np.tanh, (-10, 10), 2),
    "Exp": ({}, np.exp, (-20, 5), 2),
    "Log": ({}, np.log, (1e-6, 50), 2),
    "Sqrt": ({}, np.sqrt, (0, 50), 1),
    "Rsqrt": ({}, lambda x: 1 / np.sqrt(x), (0.01, 50), 2),
    "Reciprocal": ({}, lambda x: 1 / x, (0.01, 50), 1),
    "Erf": ({}, _erf, (-5, 5), 2),
    "Gelu": ({}, lambda x: 0.5 * x * (1 + _erf(x / math.sqrt(2))), (-6, 6), 6),
    "Silu": ({}, lambda x: x * _sigmoid(x), (-10, 10), 4),
    "HardSwish": ({}, lambda x: x * np.clip(x / 6 + 0.5, 0, 1), (-5, 5), 3),
    "HardSigmoid": ({"alpha": 0.3, "beta": 0.4}, lambda x: np.clip(0.3 * x + 0.4, 0, 1), (-5, 5), 3),
    "LeakyRelu": ({"alpha": 0.125}, lambda x: np.where(x < 0, 0.125 * x, x), (-5, 5), 1),
    "Elu": ({"alpha": 1.5}, lambda x: np.where(x < 0, 1.5 * np.expm1(x), x), (-5, 5), 3),
    "Selu": ({}, lambda x: SELU[1] * np.where(x < 0, SELU[0] * np.expm1(x), x), (-5, 5), 6),
    "Celu": ({"alpha": 0.5}, lambda x: np.maximum(x, 0) + np.minimum(0, 0.5 * np.expm1(x / 0.5)), (-5, 5), 3),
    "Softplus": ({}, _softplus, (-20, 20), 4),
    "Softsign": ({}, lambda x: x / (1 + np.abs(x)), (-5, 5), 2),
    "Mish": ({}, lambda x: x * np.tanh(_softplus(x)), (-10, 10), 8),
    "Clip": ({"min": -1.0, "max": 2.0}, lambda x: np.clip(x, -1, 2), (-4, 4), 0),
    "ThresholdedRelu": ({"alpha": 0.5}, lambda x: np.where(x > 0.5, x, 0), (-4, 4), 0),
    "Shrink": (
        {"lambd": 1.0, "bias": 0.5},
        lambda x: np.where(x < -1, x + 0.5, np.where(x > 1, x - 0.5, 0)),
        (-4, 4),
        1,
    ),
    "Floor": ({}, np.floor, (-4, 4), 0),
    "Ceil": ({}, np.ceil, (-4, 4), 0),
    "Round": ({}, np.rint, (-4, 4), 0),
    "Sign": ({}, np.sign, (-4, 4), 0),
    "Sin": ({}, np.sin, (-10, 10), 1),
    "Cos": ({}, np.cos, (-10, 10), 1),
    "Tan": ({}, np.tan, (-1, 1), 2),
    "Asin": ({}, np.arcsin, (-1, 1), 2),
    "Acos": ({}, np.arccos, (-1, 1), 2),
    "Atan": ({}, np.arctan, (-10, 10), 2),
    "Sinh": ({}, np.sinh, (-5, 5), 2),
    "Cosh": ({}, np.cosh, (-5, 5), 2),
    "Asinh": ({}, np.arcsinh, (-5, 5), 2),
    "Acosh": ({}, np.arccosh, (1.5, 5), 2),
    "Atanh": ({}, np.arctanh, (-0.9, 0.9), 2),
}
INTEGER_UNARY = {"Abs", "Neg", "Relu", "Sign", "Clip"}


@pytest.mark.parametrize("dtype", FLOATS)
@pytest.mark.parametrize("op", UNARY)
def test_unary_float(op: str, dtype: type, rng: np.random.Generator) -> None:
    attrs, oracle, (low, high), units = UNARY[op]
    for shape in SHAPES:
        x = sample(rng, dtype, shape, low, high)
        y = one(op, x, **attrs)
        assert y.dtype == x.dtype and y.shape == x.shape
        wide = x.astype(np.float64)
        expected = oracle(wide)
        # f16 computes in f32 and rounds once; f64 in the C library.
        eps = np.finfo(dtype).eps
        scale = np.maximum(np.maximum(np.abs(expected), np.abs(wide)), 1 if units else 0)
        error = np.abs(y.astype(np.float64) - expected)
        assert (error <= (units + (0 if dtype == np.float32 else 1)) * eps * scale).all()


@pytest.mark.parametrize("op", sorted(INTEGER_UNARY))
def test_unary_integer(op: str, rng: np.random.Generator) -> None:
    attrs, oracle, _, _ = UNARY[op]
    for dtype in SIGNED if op == "Neg" else (*SIGNED, *UNSIGNED):
        low_attrs = {k: max(v, 0.0) for k, v in attrs.items()} if np.issubdtype(dtype, np.unsignedinteger) else attrs
        x = sample(rng, dtype, (3, 300))
        same(one(op, x, **low_attrs), np.asarray(oracle(x.astype(np.float64))).astype(dtype))


def test_clip_without_limits_keeps_the_extremes() -> None:
    for dtype in (*SIGNED, *UNSIGNED):
        info = np.iinfo(dtype)
        x = np.array([info.min, 0, info.max], dtype)
        same(one("Clip", x), x)


def test_nan_and_infinity_pass_as_numpy_has_them() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 0.0, -0.0], np.float32)
    for op in ("Relu", "Clip", "Sigmoid", "Tanh", "Exp", "Abs", "Floor", "Sign", "LeakyRelu", "Elu", "Softplus", "Erf"):
        attrs, oracle, _, _ = UNARY[op]
        with np.errstate(all="ignore"):
            expected = oracle(x.astype(np.float64))
        if op == "Clip":
            expected = np.clip(x.astype(np.float64), -1, 2)
        np.testing.assert_allclose(one(op, x, **attrs), expected, rtol=4e-7, atol=1e-7, err_msg=op)
    same(one("IsNaN", x), np.isnan(x))
    same(one("IsInf", x), np.isinf(x))
    same(one("IsInf", x, detect_negative=0), np.isposinf(x))
    same(one("IsInf", x, detect_positive=0), np.isneginf(x))


def test_round_takes_ties_to_even() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, 2.4999, 1e10], np.float32)
    same(one("Round", x), np.rint(x))


def test_gelu_tanh(rng: np.random.Generator) -> None:
    x = rng.uniform(-6, 6, 1000).astype(np.float32)
    wide = x.astype(np.float64)
    expected = 0.5 * wide * (1 + np.tanh(math.sqrt(2 / math.pi) * (wide + 0.044715 * wide**3)))
    error = np.abs(one("Gelu", x, approximate="tanh") - expected)
    # The argument of tanh carries about 4 roundings; tanh' <= 1 hands them on, times |x| / 2 times the argument.
    assert (error <= 8 * np.finfo(np.float32).eps * np.maximum(1, np.abs(wide))).all()


def test_logical(rng: np.random.Generator) -> None:
    a, b = rng.random((4, 37)) < 0.5, rng.random((1, 37)) < 0.5
    same(one("Not", a), ~a)
    same(one("And", a, b), a & b)
    same(one("Or", a, b), a | b)
    same(one("Xor", a, b), a ^ b)


def test_bitwise(rng: np.random.Generator) -> None:
    for dtype in (*SIGNED, *UNSIGNED):
        info = np.iinfo(dtype)
        a = rng.integers(info.min, info.max, (5, 13), dtype, endpoint=True)
        b = rng.integers(info.min, info.max, (13,), dtype, endpoint=True)
        same(one("BitwiseNot", a), ~a)
        same(one("BitwiseAnd", a, b), a & b)
        same(one("BitwiseOr", a, b), a | b)
        same(one("BitwiseXor", a, b), a ^ b)
        if dtype in UNSIGNED:
            n = rng.integers(0, info.bits, (5, 13)).astype(dtype)
            same(one("BitShift", a, n, direction="LEFT"), a << n)
            same(one("BitShift", a, n, direction="RIGHT"), a >> n)


# -- binary --------------------------------------------------------------------------------------------------------

BROADCASTS = [
    ((), ()),
    ((5,), ()),
    ((3, 4), (4,)),
    ((2, 9, 3), (3,)),
    ((2, 9, 16), (16,)),
    ((2, 40, 1), (2, 40, 64)),
    ((2, 3, 4), (2, 1, 4)),
    ((2, 3, 4, 5), (3, 1, 1)),
    ((1, 1, 7), (4, 5, 1)),
    ((4, 1, 3, 1, 2), (1, 5, 1, 6, 1)),
    ((0, 3), (1, 3)),
    ((6000,), (6000,)),
]


def _divide(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    if np.issubdtype(a.dtype, np.floating):
        return a / b
    return np.trunc(a.astype(np.longdouble) / b.astype(np.longdouble)).astype(a.dtype)


BINARY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "Add": np.add,
    "Sub": np.subtract,
    "Mul": np.multiply,
    "Div": _divide,
    "Min": np.minimum,
    "Max": np.maximum,
    "Equal": np.equal,
    "Less": np.less,
    "LessEqual": np.less_equal,
    "Greater": np.greater,
    "GreaterEqual": np.greater_equal,
    "PRelu": lambda a, b: np.where(a < 0, a * b, a),
}


@pytest.mark.parametrize("op", BINARY)
@pytest.mark.parametrize("dtype", [*FLOATS, *SIGNED, *UNSIGNED])
def test_binary(op: str, dtype: type, rng: np.random.Generator) -> None:
    for first, second in BROADCASTS:
        for a_shape, b_shape in ((first, second), (second, first)):
            a, b = sample(rng, dtype, a_shape), sample(rng, dtype, b_shape)
            if op == "Div":
                b = np.where(b == 0, np.ones_like(b), b)
            # One operation, rounded once: NumPy's bits, also for f16, which both compute in f32.
            with np.errstate(over="ignore"):
                same(one(op, a, b), np.asarray(BINARY[op](a, b)))


def test_integer_extremes() -> None:
    for dtype in SIGNED:
        info = np.iinfo(dtype)
        low, one_, minus = np.array([info.min], dtype), np.array([1], dtype), np.array([-1], dtype)
        same(one("Div", low, minus), low)  # wraps, does not trap
        same(one("Mod", low, minus), np.zeros(1, dtype))
        same(one("Sub", low, one_), np.array([info.max], dtype))
        same(one("Neg", low), low)
        same(one("Abs", low), low)
    for dtype in (*SIGNED, *UNSIGNED):
        zero, seven = np.zeros(1, dtype), np.full(1, 7, dtype)
        same(one("Div", seven, zero), zero)
        same(one("Mod", seven, zero), zero)
        same(one("Mod", seven, zero, fmod=1), zero)


def test_min_max_propagate_nan() -> None:
    a = np.array([np.nan, 1, 2, np.nan], np.float32)
    b = np.array([1, np.nan, 3, np.nan], np.float32)
    for x, y in ((a, b), (b, a)):
        same(one("Max", x, y), np.maximum(x, y))
        same(one("Min", x, y), np.minimum(x, y))


@pytest.mark.parametrize("dtype", [*FLOATS, *SIGNED, *UNSIGNED])
def test_mod(dtype: type, rng: np.random.Generator) -> None:
    a, b = sample(rng, dtype, (4, 40), -9, 9), sample(rng, dtype, (40,), -5, 5)
    b = np.where(b == 0, np.ones_like(b), b)
    same(one("Mod", a, b, fmod=1), np.fmod(a, b))
    if np.issubdtype(dtype, np.integer):
        same(one("Mod", a, b), np.mod(a, b))
    else:
        # r + b is one more rounding than in NumPy's division-free remainder.
        wide = np.mod(a.astype(np.float64), b.astype(np.float64))
        assert (np.abs(one("Mod", a, b) - wide) <= np.finfo(dtype).eps * np.abs(b)).all()


@pytest.mark.parametrize("exponent", [0.0, 1.0, 2.0, 3.0, 0.5, -1.0, 1.7])
def test_pow_float(exponent: float, rng: np.random.Generator) -> None:
    for dtype in FLOATS:
        a = sample(rng, dtype, (5, 21), 0.1, 3)
        expected = a.astype(np.float64) ** float(dtype(exponent))
        for b in (np.array(exponent, dtype), np.full((21,), exponent, dtype), np.array(exponent, np.float32)):
            got = one("Pow", a, b)
            assert got.dtype == dtype
            tolerance = 2 * np.finfo(dtype).eps * np.abs(expected)
            if b.dtype == dtype:
                assert (np.abs(got - expected) <= tolerance).all()
    # The C library's rules for special operands; NumPy takes sqrt for 0.5, which differs at -infinity.
    special = np.array([0.0, np.inf, np.nan, 4, *([-0.0, -np.inf] if exponent >= 0 else [])], np.float32)
    expected = np.array([math.inf if v == 0 and exponent < 0 else math.pow(v, exponent) for v in special])
    np.testing.assert_allclose(one("Pow", special, np.float32(exponent)), expected, rtol=2 * np.finfo(np.float32).eps)


def test_pow_mixed_types(rng: np.random.Generator) -> None:
    base = sample(rng, np.int32, (50,), -5, 5)
    same(one("Pow", base, np.int64(3)), base**3)
    same(one("Pow", base, np.float32(2)), base**2)
    same(one("Pow", np.array([4, 9, 2], np.int64), np.array([0.5], np.float32)), np.array([2, 3, 1], np.int64))
    same(one("Pow", np.array([1.5, -2.0], np.float32), i64(2, 3)), np.array([2.25, -8], np.float32))
    same(one("Pow", np.array([2, -1, 1, 0], np.int64), i64(-1, -3, -2, 2)), i64(0, -1, 1, 0))


def test_where(rng: np.random.Generator) -> None:
    for dtype in EVERY:
        for shapes in (((3, 4), (3, 4), (3, 4)), ((3, 1), (4,), ()), ((2, 1, 5), (), (2, 3, 5)), ((), (3,), (2, 1))):
            condition = rng.random(shapes[0]) < 0.5
            x, y = sample(rng, dtype, shapes[1]), sample(rng, dtype, shapes[2])
            same(one("Where", condition, x, y), np.where(condition, x, y))


@pytest.mark.parametrize("to", EVERY)
@pytest.mark.parametrize("source", EVERY)
def test_cast(source: type, to: type, rng: np.random.Generator) -> None:
    x = sample(rng, source, (3, 701), 0, 100)
    same(one("Cast", x, to=_core.dtype_name(np.dtype(to))), x.astype(to))


def test_cast_edges() -> None:
    x = np.array([np.nan, np.inf, -np.inf, 1e30, -1e30, -1.9, 1.9, 300, -300], np.float32)
    i32, u8 = np.iinfo(np.int32), 255
    same(one("Cast", x, to="i32"), np.array([0, i32.max, i32.min, i32.max, i32.min, -1, 1, 300, -300], np.int32))
    same(one("Cast", x, to="u8"), np.array([0, u8, 0, u8, 0, 0, 1, u8, 0], np.uint8))
    big = i64(300, -1, 2**40 + 5)
    same(one("Cast", big, to="u8"), big.astype(np.uint8))
    # Every f16 value there and back, and every f32 halfway case between two of them.
    half = np.arange(65536, dtype=np.uint16).view(np.float16)
    single = one("Cast", half, to="f32")
    same(single, half.astype(np.float32))
    same(one("Cast", single, to="f16"), half)
    finite = half[np.isfinite(half) & (half > 0)][:-1]
    middle = (finite.astype(np.float64) + np.nextafter(finite, np.float16(np.inf)).astype(np.float64)) / 2
    for nudge in (0, 1e-9, -1e-9):
        values = middle * (1 + nudge)
        for exact in (values, values.astype(np.float32), -values.astype(np.float32)):
            same(one("Cast", exact, to="f16"), exact.astype(np.float16))
    edge = np.array([65519, 65520, 65536, 2.0**-25, 2.0**-25 * 1.001, 0, -0.0, np.inf, -np.inf, np.nan], np.float32)
    with np.errstate(over="ignore"):
        same(one("Cast", edge, to="f16"), edge.astype(np.float16))


def test_cast_bf16_rounds_to_nearest_even(rng: np.random.Generator) -> None:
    ml_dtypes = pytest.importorskip("ml_dtypes")
    x = (rng.standard_normal(5000) * 10.0 ** rng.integers(-38, 38, 5000)).astype(np.float32)
    same(one("Cast", x, to="bf16").view(np.uint16), x.astype(ml_dtypes.bfloat16).view(np.uint16))
    every = np.arange(65536, dtype=np.uint16).view(ml_dtypes.bfloat16)
    same(one("Cast", every, to="f32"), every.astype(np.float32))


# -- layout --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [np.float32, np.uint8, np.int16, np.int64])
def test_transpose(dtype: type, rng: np.random.Generator) -> None:
    cases = [
        ((), ()),
        ((5,), (0,)),
        ((3, 17), (1, 0)),
        ((67, 130), (1, 0)),
        ((1, 3, 19, 23), (0, 2, 3, 1)),
        ((2, 19, 23, 3), (0, 3, 1, 2)),
        ((2, 33, 9, 65), (0, 2, 3, 1)),
        ((2, 3, 4, 5, 6), (4, 2, 0, 3, 1)),
        ((4, 8, 3, 16), (0, 2, 1, 3)),
        ((2, 3, 4, 4, 5, 5), (0, 1, 4, 2, 5, 3)),
        ((1, 4, 1, 6), (2, 3, 0, 1)),
        ((0, 3), (1, 0)),
        ((130, 2), (1, 0)),
        ((2, 130), (1, 0)),
    ]
    for shape, perm in cases:
        x = sample(rng, dtype, shape, -100, 100)
        same(one("Transpose", x, perm=list(perm)), x.transpose(perm))


def test_transpose_random(rng: np.random.Generator) -> None:
    for _ in range(200):
        rank = int(rng.integers(1, 7))
        shape = tuple(int(v) for v in rng.choice([1, 2, 3, 4, 7, 16, 17], rank))
        perm = [int(v) for v in rng.permutation(rank)]
        x = sample(rng, rng.choice([np.float32, np.int8, np.float16, np.float64]), shape, -100, 100)
        same(one("Transpose", x, perm=perm), x.transpose(perm))


def test_views(rng: np.random.Generator) -> None:
    for dtype in EVERY:
        x = sample(rng, dtype, (2, 3, 4))
        same(one("Reshape", x, i64(4, -1)), x.reshape(4, 6))
        same(one("Reshape", x, i64(0, 12)), x.reshape(2, 12))
        same(one("Flatten", x, axis=2), x.reshape(6, 4))
        same(one("Flatten", x, axis=0), x.reshape(1, 24))
        same(one("Flatten", x, axis=3), x.reshape(24, 1))
        same(one("Unsqueeze", x, axes=[0, -1]), x.reshape(1, 2, 3, 4, 1))
        same(one("Squeeze", x[:, :1, :1]), x[:, 0, 0])
        same(one("Squeeze", x[:, :1, :1], axes=[-2]), x[:, 0, :1])
        same(one("Identity", x), x)
    same(one("Reshape", np.zeros((0, 4), np.float32), i64(3, 0), allowzero=1), np.zeros((3, 0), np.float32))
    same(one("Shape", np.zeros((2, 0, 5))), i64(2, 0, 5))
    same(one("Shape", np.zeros((2, 3, 5)), start=-2), i64(3, 5))
    same(one("Shape", np.zeros((2, 3, 5)), start=2, end=1), i64())
    same(one("Size", np.zeros((2, 3, 5))), np.array(30))


def test_concat_and_split(rng: np.random.Generator) -> None:
    for dtype in EVERY:
        for axis in (0, 1, -1):
            sizes = [1, 4, 0, 7, 2]
            x = sample(rng, dtype, tuple(14 if i == axis % 3 else 3 for i in range(3)))
            cuts = np.split(x, np.cumsum(sizes)[:-1], axis)
            for got, expected in zip(evaluate("Split", x, outputs=5, axis=axis, sizes=sizes), cuts, strict=True):
                same(got, np.ascontiguousarray(expected))
            same(one("Concat", *cuts, axis=axis), x)
    parts = evaluate("Split", np.arange(7, dtype=np.float32), outputs=3)
    assert [len(p) for p in parts] == [3, 3, 1]


def test_slice(rng: np.random.Generator) -> None:
    x = sample(rng, np.float32, (9, 5, 11))
    same(one("Slice", x, i64(1, 2), i64(8, 4)), x[1:8, 2:4])
    same(one("Slice", x, i64(-1), i64(-1000), i64(2), i64(-2)), x[:, :, ::-2])
    same(one("Slice", x, i64(100), i64(-(2**63)), i64(0), i64(-1)), x[::-1])
    same(one("Slice", x, i64(5), i64(2), i64(1)), x[:, 5:2])
    same(one("Slice", x, i64(0), i64(2**63 - 1), i64(-1), i64(2**62)), x[:, :, :1])
    for _ in range(300):
        rank = int(rng.integers(1, 4))
        shape = tuple(int(v) for v in rng.integers(0, 8, rank))
        x = sample(rng, np.int16, shape, -99, 99)
        axes = [int(a) for a in rng.permutation(rank)[: int(rng.integers(1, rank + 1))]]
        starts, ends = (rng.integers(-12, 12, len(axes)) for _ in range(2))
        steps = rng.choice([-3, -2, -1, 1, 2, 3], len(axes))
        index = [slice(None)] * rank
        for a, s, e, p in zip(axes, starts, ends, steps, strict=True):
            # NumPy has no way to say "before the first" but None.
            stop = None if p < 0 and e < -shape[a] else int(e)
            index[a] = slice(int(s), stop, int(p))
        same(one("Slice", x, starts, ends, i64(*axes), steps), np.ascontiguousarray(x[tuple(index)]))


def test_gather(rng: np.random.Generator) -> None:
    for dtype in EVERY:
        for shape, axis, count in (((5,), 0, ()), ((4, 6), 1, (2, 3)), ((4, 6), 0, (7,)), ((2, 5, 3), -2, (4,))):
            x = sample(rng, dtype, shape)
            for kind in (np.int32, np.int64):
                indices = rng.integers(-shape[axis], shape[axis], count).astype(kind)
                same(one("Gather", x, indices, axis=axis), np.take(x, indices, axis))
    same(one("Gather", np.zeros((3, 4), np.float32), np.zeros((0,), np.int64)), np.zeros((0, 4), np.float32))


def test_gather_elements_and_nd(rng: np.random.Generator) -> None:
    x = sample(rng, np.float32, (3, 4, 5))
    for axis in (0, 1, -1):
        shape = [2, 3, 4]
        shape[axis] = 9
        indices = rng.integers(-x.shape[axis], x.shape[axis], shape)
        wide = x[tuple(slice(0, n if i != axis % 3 else None) for i, n in enumerate(shape))]
        same(one("GatherElements", x, indices, axis=axis), np.take_along_axis(wide, indices, axis))
    for depth in (1, 2, 3):
        indices = np.stack([rng.integers(-n, n, (2, 6)) for n in x.shape[:depth]], -1)
        same(one("GatherND", x, indices), x[tuple(np.moveaxis(indices, -1, 0))])
    indices = rng.integers(-4, 4, (3, 2, 1))
    same(one("GatherND", x, indices, batch_dims=1), np.stack([x[b][indices[b, :, 0]] for b in range(3)]))


@pytest.mark.parametrize("reduction", ["none", "add", "mul", "min", "max"])
@pytest.mark.parametrize("dtype", [np.float32, np.float16, np.int64, np.uint8])
def test_scatter(reduction: str, dtype: type, rng: np.random.Generator) -> None:
    combine = {"none": lambda a, b: b, "add": np.add, "mul": np.multiply, "min": np.minimum, "max": np.maximum}
    x = sample(rng, dtype, (4, 5, 6), 0, 3)
    for axis in (0, 1, 2):
        shape = (3, 4, 5)
        indices = rng.integers(-x.shape[axis], x.shape[axis], shape)
        updates = sample(rng, dtype, shape, 0, 3)
        expected = x.copy()
        for at in np.ndindex(shape):
            to = list(at)
            to[axis] = indices[at]
            expected[tuple(to)] = combine[reduction](expected[tuple(to)], updates[at])
        same(one("ScatterElements", x, indices, updates, axis=axis, reduction=reduction), expected)
    indices = np.stack([rng.integers(-n, n, (2, 7)) for n in x.shape[:2]], -1)
    updates = sample(rng, dtype, (2, 7, 6), 0, 3)
    expected = x.copy()
    for at in np.ndindex(2, 7):
        to = tuple(indices[at])
        expected[to] = combine[reduction](expected[to], updates[at])
    same(one("ScatterND", x, indices, updates, reduction=reduction), expected)


@pytest.mark.parametrize("mode", ["constant", "reflect", "edge", "wrap"])
def test_pad(mode: str, rng: np.random.Generator) -> None:
    for dtype in EVERY:
        for shape in ((5,), (3, 4), (1, 5, 6, 3), (2, 3, 1, 4)):
            for trial in range(4):
                pads = rng.integers(0, 3 if trial else 1, (len(shape), 2))
                if trial == 2:
                    pads[-1] = 0
                x = sample(rng, dtype, shape)
                flat = i64(*pads[:, 0], *pads[:, 1])
                if mode == "constant":
                    value = sample(rng, dtype, ())
                    same(one("Pad", x, flat, value), np.pad(x, pads, mode, constant_values=value))
                    same(one("Pad", x, flat), np.pad(x, pads, mode))
                else:
                    same(one("Pad", x, flat, mode=mode), np.pad(x, pads, mode))


def test_pad_crops_and_takes_axes(rng: np.random.Generator) -> None:
    x = sample(rng, np.float32, (4, 5, 6))
    same(one("Pad", x, i64(-1, 0, 2, 0, -2, -3)), np.pad(x[1:, :3, :3], ((0, 0), (0, 0), (2, 0))))
    same(one("Pad", x, i64(1, -2, 0, 1), None, i64(-1, 0)), np.pad(x[2:], ((0, 1), (0, 0), (1, 0))))
    same(one("Pad", x, i64(9, 11), None, i64(1), mode="reflect"), np.pad(x, ((0, 0), (9, 11), (0, 0)), "reflect"))
    same(one("Pad", x, i64(-4, 0), None, i64(0)), x[4:])


def test_expand_and_tile(rng: np.random.Generator) -> None:
    for dtype in EVERY:
        for shape, to in (((3, 1), (2, 1, 6)), ((1,), (4,)), ((), (2, 3)), ((3, 1, 5), (3, 4, 1)), ((2, 3), (1,))):
            x = sample(rng, dtype, shape)
            same(one("Expand", x, i64(*to)), np.broadcast_to(x, np.broadcast_shapes(shape, to)))
        for shape, repeats in (
            ((3,), (2,)),
            ((2, 3), (3, 2)),
            ((2, 1, 4), (1, 3, 2)),
            ((2, 2), (0, 1)),
            ((1, 4), (5, 1)),
        ):
            x = sample(rng, dtype, shape)
            same(one("Tile", x, i64(*repeats)), np.tile(x, repeats))


def test_generators() -> None:
    same(one("ConstantOfShape", i64(2, 3), value=7.0, dtype="i32"), np.full((2, 3), 7, np.int32))
    same(one("ConstantOfShape", i64(), value=0.5), np.array(0.5, np.float32))
    same(one("ConstantOfShape", i64(0, 2), value=1.0, dtype="bool"), np.ones((0, 2), np.bool_))
    same(one("Range", np.int64(3), np.int64(10), np.int64(2)), np.arange(3, 10, 2))
    same(one("Range", np.int32(5), np.int32(-3), np.int32(-3)), np.arange(5, -3, -3, np.int32))
    same(one("Range", np.int64(5), np.int64(5), np.int64(1)), i64())
    same(one("Range", np.float32(0), np.float32(1), np.float32(0.25)), np.arange(0, 1, 0.25, np.float32))
    low, high = np.int64(-(2**63)), np.int64(2**63 - 1)
    same(one("Range", high - 2, high, np.int64(1)), np.array([high - 2, high - 1]))
    same(one("Range", low, np.int64(0), np.int64(2**62)), np.array([low, -(2**62)]))
    same(one("EyeLike", np.zeros((3, 5), np.float32), k=1), np.eye(3, 5, 1, np.float32))
    same(one("EyeLike", np.zeros((3, 2), np.float32), k=-2, dtype="i64"), np.eye(3, 2, -2, np.int64))
    same(one("EyeLike", np.zeros((3, 2), np.float32), k=2**62), np.zeros((3, 2), np.float32))


def test_one_hot() -> None:
    values = np.array([2, 5], np.float32)
    indices = np.array([[1, -1], [0, 7]], np.int64)
    expected = np.full((2, 2, 3), 2, np.float32)
    expected[0, 0, 1] = expected[0, 1, 2] = expected[1, 0, 0] = 5
    same(one("OneHot", indices, np.int64(3), values), expected)
    same(one("OneHot", indices, np.array([3], np.int32), values, axis=0), np.moveaxis(expected, -1, 0))
    same(one("OneHot", indices.astype(np.float32), np.float32(3), values, axis=1), np.moveaxis(expected, -1, 1))


def test_trilu(rng: np.random.Generator) -> None:
    for dtype in EVERY:
        x = sample(rng, dtype, (2, 4, 6))
        for k in (None, 0, 1, -2, 10, -10, 2**62, -(2**62)):
            offset = 0 if k is None else max(-50, min(50, k))
            argument = None if k is None else np.int64(k)
            same(one("Trilu", x, argument), np.triu(x, offset))
            same(one("Trilu", x, argument, upper=0), np.tril(x, offset))


def test_non_zero(rng: np.random.Generator) -> None:
    for dtype in EVERY:
        x = sample(rng, dtype, (3, 4, 5), -1, 1)
        same(one("NonZero", x), np.stack(np.nonzero(x)).astype(np.int64))
    same(one("NonZero", np.zeros((2, 3), np.float32)), np.zeros((2, 0), np.int64))


# -- errors --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("op", "inputs", "attrs", "words"),
    [
        ("Gather", (np.zeros((3, 2), np.float32), i64(0, 5)), {}, ["indices[1]", "5", "3"]),
        ("GatherElements", (np.zeros((3, 2), np.float32), np.array([[0, -4]])), {}, ["-4"]),
        ("GatherND", (np.zeros((3, 2), np.float32), np.array([[0, 2]])), {}, ["2", "dimension 1"]),
        ("ScatterND", (np.zeros((3,), np.float32), np.array([[9]]), np.zeros((1,), np.float32)), {}, ["9"]),
        ("ScatterElements", (np.zeros((3,), np.float32), i64(3), np.zeros((1,), np.float32)), {}, ["3"]),
        ("Reshape", (np.zeros((3, 2), np.float32), i64(4, 2)), {}, ["[3,2]", "6", "8"]),
        ("Reshape", (np.zeros((3, 2), np.float32), i64(-1, -1)), {}, ["-1"]),
        ("Reshape", (np.zeros((3, 2), np.float32), i64(2**62, 2**62)), {}, ["2^63"]),
        ("Concat", (np.zeros((3, 2), np.float32), np.zeros((3, 3), np.float32)), {"axis": 0}, ["[3,3]", "[3,2]"]),
        ("Split", (np.zeros((3, 2), np.float32),), {"axis": 0, "sizes": [2]}, ["[2]", "[3,2]"]),
        ("Tile", (np.zeros((3, 2), np.float32), i64(2**40, 2**40)), {}, ["bytes"]),
        ("Tile", (np.zeros((3, 2), np.float32), i64(1)), {}, ["1", "[3,2]"]),
        ("Expand", (np.zeros((3, 2), np.float32), i64(4, 2)), {}, ["[3,2]", "[4,2]"]),
        ("Expand", (np.zeros((1,), np.float32), i64(2**61)), {}, ["bytes"]),
        ("ConstantOfShape", (i64(2**31, 2**31, 4),), {}, ["bytes"]),
        ("ConstantOfShape", (i64(-1),), {}, ["negative"]),
        ("Range", (np.int64(0), np.int64(2**62), np.int64(1)), {}, ["bytes"]),
        ("Range", (np.int64(0), np.int64(5), np.int64(0)), {}, ["delta"]),
        ("Pad", (np.zeros((3,), np.float32), i64(-2, -2)), {}, ["-2"]),
        ("Pad", (np.zeros((3,), np.float32), i64(2**62, 2**62)), {}, ["pads"]),
        ("Transpose", (np.zeros((3, 2), np.float32),), {"perm": [0, 0]}, ["perm"]),
        ("Add", (np.zeros((3, 2), np.float32), np.zeros((4,), np.float32)), {}, ["[3,2]", "[4]"]),
        ("Add", (np.zeros(3, np.float32), np.zeros(3, np.int32)), {}, ["f32", "i32"]),
        ("Sigmoid", (np.zeros(3, np.int32),), {}, ["i32"]),
        ("Slice", (np.zeros(3, np.float32), i64(0), i64(1), i64(0), i64(0)), {}, ["steps"]),
        ("Squeeze", (np.zeros((3, 1), np.float32),), {"axes": [0]}, ["3"]),
    ],
)
def test_errors_name_what_was_wrong(op: str, inputs: tuple[np.ndarray, ...], attrs: dict, words: list[str]) -> None:
    with pytest.raises(_core.Error) as failure:
        one(op, *inputs, **attrs)
    for word in (op, *words):
        assert word in str(failure.value)
