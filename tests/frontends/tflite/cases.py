"""One case per operator and form: a model of one operator, its inputs, and the result in NumPy."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from tests.frontends.tflite.build import Model
from tests.frontends.tflite.common import Feed, one_op

f32, i32, i64 = np.float32, np.int32, np.int64


@dataclass
class Case:
    """`expected`: one array per output."""

    name: str
    model: Model
    feeds: list[np.ndarray]
    expected: list[np.ndarray]
    exact: bool = False
    terms: int = field(default=8)  # how many roundings an element may have behind it


CASES: list[Case] = []
RNG = np.random.default_rng(7)


def normal(*shape: int) -> np.ndarray:
    return RNG.standard_normal(shape).astype(f32)


def add(
    label: str,
    op: str,
    inputs: list[Any],
    expected: Any,
    options: str = "",
    exact: bool = False,
    terms: int = 8,
    **fields: Any,
) -> None:
    results = [np.asarray(e) for e in (expected if isinstance(expected, list) else [expected])]
    outs = [(r.shape, r.dtype.name) for r in results]
    model = one_op(op, inputs, outs, options, **fields)
    feeds = [i.array for i in inputs if isinstance(i, Feed)]
    CASES.append(Case(f"{op}-{label}", model, feeds, results, exact, terms))


# -- elementwise ----------------------------------------------------------------------------------
X = normal(2, 5, 3)
P = np.abs(X) + f32(0.25)
UNARY: dict[str, tuple[np.ndarray, Callable[[np.ndarray], np.ndarray]]] = {
    "ABS": (X, np.abs), "CEIL": (X, np.ceil), "COS": (X, np.cos), "EXP": (X, np.exp), "FLOOR": (X, np.floor),
    "LOG": (P, np.log), "NEG": (X, np.negative), "RSQRT": (P, lambda v: 1 / np.sqrt(v)), "SIN": (X, np.sin),
    "SQRT": (P, np.sqrt), "SQUARE": (X, np.square), "TANH": (X, np.tanh), "ROUND": (X * 4, np.round),
    "SIGN": (X, np.sign), "RELU": (X, lambda v: np.maximum(v, 0)), "RELU6": (X * 5, lambda v: np.clip(v, 0, 6)),
    "RELU_N1_TO_1": (X, lambda v: np.clip(v, -1, 1)), "RELU_0_TO_1": (X, lambda v: np.clip(v, 0, 1)),
    "LOGISTIC": (X, lambda v: 1 / (1 + np.exp(-v))), "HARD_SWISH": (X * 3, lambda v: v * np.clip(v / 6 + 0.5, 0, 1)),
    "ELU": (X, lambda v: np.where(v > 0, v, np.expm1(v))), "ZEROS_LIKE": (X, np.zeros_like),
}  # fmt: skip
for _op, (_x, _f) in UNARY.items():
    add("f32", _op, [Feed(_x)], _f(_x.astype(np.float64)).astype(f32))
add("f32", "LEAKY_RELU", [Feed(X)], np.where(X > 0, X, X * f32(0.2)), "LeakyReluOptions", Alpha=0.2)
_erf = np.vectorize(math.erf)
add("exact", "GELU", [Feed(X)], (X * (0.5 + 0.5 * _erf(X / np.sqrt(2)))).astype(f32), "GeluOptions", Approximate=False)
_t = np.tanh(np.sqrt(2 / np.pi) * (X + 0.044715 * X.astype(np.float64) ** 3))
add("tanh", "GELU", [Feed(X)], (0.5 * X * (1 + _t)).astype(f32), "GeluOptions", Approximate=True)
add("f32", "PRELU", [Feed(X), np.array([0.1, 0.2, 0.3], f32)], np.where(X > 0, X, X * np.array([0.1, 0.2, 0.3], f32)))
B = X > 0
add("bool", "LOGICAL_NOT", [Feed(B)], ~B, exact=True)

Y = normal(5, 3)
BINARY: dict[str, Callable[[np.ndarray, np.ndarray], np.ndarray]] = {
    "ADD": np.add, "SUB": np.subtract, "MUL": np.multiply, "DIV": np.divide, "MAXIMUM": np.maximum,
    "MINIMUM": np.minimum, "SQUARED_DIFFERENCE": lambda a, b: (a - b) ** 2, "LESS": np.less,
    "LESS_EQUAL": np.less_equal, "GREATER": np.greater, "GREATER_EQUAL": np.greater_equal, "EQUAL": np.equal,
    "NOT_EQUAL": np.not_equal,
}  # fmt: skip
for _op, _g in BINARY.items():
    add("broadcast", _op, [Feed(X), Feed(Y)], _g(X, Y))
    add("constant", _op, [Feed(X), Y], _g(X, Y))
add("f32", "POW", [Feed(P), Feed(Y)], np.power(P.astype(np.float64), Y).astype(f32))
for _name, _code, _clip in (("relu", 1, (0, np.inf)), ("relu1", 2, (-1, 1)), ("relu6", 3, (0, 6))):
    add(
        _name,
        "ADD",
        [Feed(X * 4), Feed(Y)],
        np.clip(X * 4 + Y, *_clip).astype(f32),
        "AddOptions",
        FusedActivationFunction=_code,
    )
add("tanh", "MUL", [Feed(X), Feed(Y)], np.tanh(X * Y), "MulOptions", FusedActivationFunction=4)
add("bool", "LOGICAL_AND", [Feed(B), Feed(Y > 0)], B & (Y > 0), exact=True)
add("bool", "LOGICAL_OR", [Feed(B), Feed(Y > 0)], B | (Y > 0), exact=True)
add("f32", "ADD_N", [Feed(X), Feed(X * 2), Feed(X * X)], X + X * 2 + X * X)
WHOLE, DIVISOR = np.array([7, -7, 7, -7, 6, -6, 0], i32), np.array([3, 3, -3, -3, 3, 3, 5], i32)
add("i32", "FLOOR_DIV", [Feed(WHOLE), Feed(DIVISOR)], WHOLE // DIVISOR, exact=True)
add("i32", "FLOOR_MOD", [Feed(WHOLE), Feed(DIVISOR)], WHOLE % DIVISOR, exact=True)
add(
    "f32", "FLOOR_DIV", [Feed(WHOLE.astype(f32)), Feed(DIVISOR.astype(f32))], (WHOLE // DIVISOR).astype(f32), exact=True
)
add(
    "f32",
    "FLOOR_MOD",
    [Feed(WHOLE.astype(f32) + f32(0.5)), Feed(DIVISOR.astype(f32))],
    np.mod(WHOLE.astype(f32) + f32(0.5), DIVISOR.astype(f32)),
)
add("i32", "DIV", [Feed(WHOLE), Feed(DIVISOR)], np.trunc(WHOLE / DIVISOR).astype(i32), exact=True)
add("i32", "ADD", [Feed(WHOLE), Feed(DIVISOR)], WHOLE + DIVISOR, exact=True)
add("i32", "BITWISE_XOR", [Feed(WHOLE), Feed(DIVISOR)], WHOLE ^ DIVISOR, exact=True)
add(
    "i32",
    "RIGHT_SHIFT",
    [Feed(WHOLE * 9), Feed(np.array([1, 2, 3, 1, 31, 40, 0], i32))],
    (WHOLE * 9) >> np.array([1, 2, 3, 1, 31, 31, 0], i32),
    exact=True,
)
_q = np.array([1, 1, -1, -1, 0, 0, 0.5, -2, 1e-3], f32), np.array([1, -1, 1, -1, 1, -1, 0, 0, -3], f32)
add("quadrants", "ATAN2", [Feed(_q[0]), Feed(_q[1])], np.arctan2(*_q))
add("f32", "SELECT", [Feed(B), Feed(X), Feed(X * 2)], np.where(B, X, X * 2), exact=True)
add("rows", "SELECT", [Feed(np.array([True, False])), Feed(X), Feed(X * 2)], np.stack([X[0], X[1] * 2]), exact=True)
add("broadcast", "SELECT_V2", [Feed(B), Feed(Y), Feed(f32(3).reshape(1))], np.where(B, Y, f32(3)), exact=True)
for _d in ("int32", "bool", "float16", "int64", "uint8", "int8"):
    add(_d, "CAST", [Feed(np.abs(X) * 3)], (np.abs(X) * 3).astype(_d), "CastOptions", exact=True, InDataType=0)
add("i32", "CAST", [Feed(WHOLE)], WHOLE.astype(f32), "CastOptions", exact=True, InDataType=2)
add("i32", "BITCAST", [Feed(X)], X.view(i32), exact=True)


# -- windows --------------------------------------------------------------------------------------
def pads(size: int, k: int, s: int, d: int, same: bool) -> tuple[int, int, int]:
    reach = d * (k - 1) + 1
    out = -(-size // s) if same else (size - reach) // s + 1
    total = max((out - 1) * s + reach - size, 0) if same else 0
    return out, total // 2, total - total // 2


def conv(
    x: np.ndarray, w: np.ndarray, b: Any, s: tuple[int, int], d: tuple[int, int], same: bool, group: int = 1
) -> np.ndarray:
    """w [O, kh, kw, WHOLE/group]"""
    n, h, wd, _ = x.shape
    o, kh, kw, per = w.shape
    oh, t, bo = pads(h, kh, s[0], d[0], same)
    ow, le, ri = pads(wd, kw, s[1], d[1], same)
    xp = np.pad(x.astype(np.float64), ((0, 0), (t, bo), (le, ri), (0, 0)))
    y = np.zeros((n, oh, ow, o))
    for g in range(group):
        rows = slice(g * o // group, (g + 1) * o // group)
        for i in range(kh):
            for j in range(kw):
                part = xp[
                    :,
                    i * d[0] : i * d[0] + (oh - 1) * s[0] + 1 : s[0],
                    j * d[1] : j * d[1] + (ow - 1) * s[1] + 1 : s[1],
                ]
                y[..., rows] += part[..., g * per : (g + 1) * per] @ w[rows, i, j].T.astype(np.float64)
    return (y + (0 if b is None else b)).astype(f32)


for _k, _s, _d, _same in (
    ((3, 3), (1, 1), (1, 1), True),
    ((3, 3), (2, 2), (1, 1), True),
    ((5, 2), (2, 3), (1, 1), True),
    ((3, 3), (1, 1), (2, 3), True),
    ((3, 2), (1, 2), (1, 1), False),
    ((1, 1), (1, 1), (1, 1), True),
    ((1, 1), (2, 2), (1, 1), False),
):
    _x, _b = normal(2, 9, 8, 6), normal(4)
    _w = normal(4, *_k, 6)
    _o = {
        "Padding": 0 if _same else 1,
        "StrideH": _s[0],
        "StrideW": _s[1],
        "DilationHFactor": _d[0],
        "DilationWFactor": _d[1],
    }
    _label = f"{_k}s{_s}d{_d}{'same' if _same else 'valid'}".replace(" ", "")
    _n = _k[0] * _k[1] * 6
    add(_label, "CONV_2D", [Feed(_x), _w, _b], conv(_x, _w, _b, _s, _d, _same), "Conv2DOptions", terms=_n, **_o)
    _w = normal(4, *_k, 3)
    add(
        _label + "groups",
        "CONV_2D",
        [Feed(_x), _w, _b],
        conv(_x, _w, _b, _s, _d, _same, 2),
        "Conv2DOptions",
        terms=_n,
        **_o,
    )
    for _m in (1, 2):
        _w, _b2 = normal(1, *_k, 6 * _m), normal(6 * _m)
        _e = conv(_x, _w.transpose(3, 1, 2, 0), _b2, _s, _d, _same, 6)
        add(
            f"{_label}x{_m}",
            "DEPTHWISE_CONV_2D",
            [Feed(_x), _w, _b2],
            _e,
            "DepthwiseConv2DOptions",
            terms=_n,
            DepthMultiplier=_m,
            **_o,
        )
_x, _w = normal(1, 5, 5, 3), normal(2, 3, 3, 3)
add(
    "nobias-relu",
    "CONV_2D",
    [Feed(_x), _w, None],
    np.maximum(conv(_x, _w, None, (1, 1), (1, 1), False), 0),
    "Conv2DOptions",
    terms=27,
    Padding=1,
    StrideH=1,
    StrideW=1,
    FusedActivationFunction=1,
)


def pool(x: np.ndarray, k: tuple[int, int], s: tuple[int, int], same: bool, kind: str) -> np.ndarray:
    n, h, w, c = x.shape
    oh, t, _ = pads(h, k[0], s[0], 1, same)
    ow, le, _ = pads(w, k[1], s[1], 1, same)
    y = np.zeros((n, oh, ow, c))
    for i in range(oh):
        for j in range(ow):
            a, b = i * s[0] - t, j * s[1] - le
            part = x[:, max(a, 0) : a + k[0], max(b, 0) : b + k[1]].astype(np.float64)
            y[:, i, j] = (
                part.max((1, 2))
                if kind == "max"
                else part.mean((1, 2))
                if kind == "avg"
                else np.sqrt((part**2).mean((1, 2)))
            )
    return y.astype(f32)


for _op, _kind in (("MAX_POOL_2D", "max"), ("AVERAGE_POOL_2D", "avg"), ("L2_POOL_2D", "l2")):
    for _k, _s, _same in (
        ((2, 2), (2, 2), False),
        ((3, 3), (2, 2), True),
        ((3, 2), (1, 2), True),
        ((9, 8), (1, 1), False),
    ):
        _x = normal(2, 9, 8, 5)
        _o = {
            "Padding": 0 if _same else 1,
            "StrideH": _s[0],
            "StrideW": _s[1],
            "FilterHeight": _k[0],
            "FilterWidth": _k[1],
        }
        add(
            f"{_k}s{_s}{_same}".replace(" ", ""),
            _op,
            [Feed(_x)],
            pool(_x, _k, _s, _same, _kind),
            "Pool2DOptions",
            terms=80,
            **_o,
        )


# -- products -------------------------------------------------------------------------------------
_x, _w, _b = normal(3, 4, 10), normal(7, 10), normal(7)
_y = _x.astype(np.float64) @ _w.T + _b
add("keep", "FULLY_CONNECTED", [Feed(_x), _w, _b], _y.astype(f32), "FullyConnectedOptions", terms=12, KeepNumDims=True)
add(
    "flat",
    "FULLY_CONNECTED",
    [Feed(_x), _w, _b],
    _y.reshape(12, 7).astype(f32),
    "FullyConnectedOptions",
    terms=12,
    KeepNumDims=False,
)
add(
    "relu",
    "FULLY_CONNECTED",
    [Feed(_x[0]), _w, None],
    np.maximum(_x[0] @ _w.T, 0),
    "FullyConnectedOptions",
    terms=12,
    FusedActivationFunction=1,
)
_a, _c = normal(2, 3, 4, 5), normal(2, 3, 5, 6)
add("plain", "BATCH_MATMUL", [Feed(_a), Feed(_c)], _a @ _c, "BatchMatMulOptions", terms=8, AdjX=False, AdjY=False)
add(
    "adjoint",
    "BATCH_MATMUL",
    [Feed(_a.swapaxes(-1, -2).copy()), Feed(_c.swapaxes(-1, -2).copy())],
    _a @ _c,
    "BatchMatMulOptions",
    terms=8,
    AdjX=True,
    AdjY=True,
)
add("broadcast", "BATCH_MATMUL", [Feed(_a), Feed(_c[:1])], _a @ _c[:1], "BatchMatMulOptions", terms=8)


# -- reductions -----------------------------------------------------------------------------------
_x = normal(2, 3, 4, 5)
for _op, _f in {
    "MEAN": np.mean,
    "SUM": np.sum,
    "REDUCE_MAX": np.max,
    "REDUCE_MIN": np.min,
    "REDUCE_PROD": np.prod,
}.items():
    for _axes, _keep in (([1, 2], False), ([-1], True), ([0, 1, 2, 3], False), ([2], False)):
        _e = _f(_x.astype(np.float64), axis=tuple(_axes), keepdims=_keep).astype(f32)
        add(f"{_axes}{_keep}", _op, [Feed(_x), np.array(_axes, i32)], _e, "ReducerOptions", terms=130, KeepDims=_keep)
_bx = normal(3, 4) > 0.5
add("bool", "REDUCE_ANY", [Feed(_bx), np.array([1], i32)], _bx.any(1), "ReducerOptions", exact=True)
add("bool", "REDUCE_ALL", [Feed(_bx), np.array([0], i32)], _bx.all(0), "ReducerOptions", exact=True)
add("i32", "ARG_MAX", [Feed(_x), np.array(2, i32)], _x.argmax(2).astype(i32), "ArgMaxOptions", exact=True, OutputType=2)
add(
    "i64",
    "ARG_MIN",
    [Feed(_x), np.array([-1], i32)],
    _x.argmin(-1).astype(i64),
    "ArgMinOptions",
    exact=True,
    OutputType=4,
)
_o = np.argsort(-_x, axis=-1, kind="stable")[..., :3]
add("k3", "TOPK_V2", [Feed(_x), np.array(3, i32)], [np.take_along_axis(_x, _o, -1), _o.astype(i32)], exact=True)
for _ex, _re in ((False, False), (True, False), (False, True), (True, True)):
    _e = _x[:, ::-1] if _re else _x
    _e = np.cumsum(_e, axis=1, dtype=np.float64)
    _e = np.concatenate([np.zeros_like(_e[:, :1]), _e[:, :-1]], 1) if _ex else _e
    _e = (_e[:, ::-1] if _re else _e).astype(f32)
    add(f"{_ex}{_re}", "CUMSUM", [Feed(_x), np.array(1, i32)], _e, "CumsumOptions", Exclusive=_ex, Reverse=_re)


def softmax(v: np.ndarray) -> np.ndarray:
    e = np.exp(v.astype(np.float64) - v.max(-1, keepdims=True))
    return (e / e.sum(-1, keepdims=True)).astype(f32)


add("beta1", "SOFTMAX", [Feed(_x)], softmax(_x), "SoftmaxOptions", Beta=1.0)
add("beta2", "SOFTMAX", [Feed(_x)], softmax(_x * 2), "SoftmaxOptions", Beta=2.0)
add("f32", "LOG_SOFTMAX", [Feed(_x)], np.log(softmax(_x).astype(np.float64)).astype(f32))
add("f32", "L2_NORMALIZATION", [Feed(_x)], _x / np.linalg.norm(_x, axis=-1, keepdims=True), "L2NormOptions")
_s = np.stack([(_x[..., max(i - 2, 0) : i + 3].astype(np.float64) ** 2).sum(-1) for i in range(5)], -1)
add(
    "radius2",
    "LOCAL_RESPONSE_NORMALIZATION",
    [Feed(_x)],
    (_x / (1.5 + 0.3 * _s) ** 0.75).astype(f32),
    "LocalResponseNormalizationOptions",
    terms=16,
    Radius=2,
    Bias=1.5,
    Alpha=0.3,
    Beta=0.75,
)

# -- layout ---------------------------------------------------------------------------------------
add("input", "RESHAPE", [Feed(_x), np.array([2, -1], i32)], _x.reshape(2, -1), exact=True)
add("options", "RESHAPE", [Feed(_x)], _x.reshape(6, 20), "ReshapeOptions", exact=True, NewShape=[6, 20])
_z = normal(1, 3, 1, 4)
add("all", "SQUEEZE", [Feed(_z)], _z.squeeze(), "SqueezeOptions", exact=True, SqueezeDims=[])
add("one", "SQUEEZE", [Feed(_z)], _z.squeeze(2), "SqueezeOptions", exact=True, SqueezeDims=[-2])
add("last", "EXPAND_DIMS", [Feed(_x), np.array([-1], i32)], _x[..., None], exact=True)
add("4d", "TRANSPOSE", [Feed(_x), np.array([2, 0, 3, 1], i32)], _x.transpose(2, 0, 3, 1), exact=True)
add(
    "axis-1",
    "CONCATENATION",
    [Feed(_x), _x[..., :2].copy(), Feed(_x * 2)],
    np.concatenate([_x, _x[..., :2], _x * 2], -1),
    "ConcatenationOptions",
    exact=True,
    Axis=-1,
)
add("axis1", "PACK", [Feed(X), Feed(X * 2)], np.stack([X, X * 2], 1), "PackOptions", exact=True, Axis=1, ValuesCount=2)
add("axis1", "UNPACK", [Feed(_x)], [_x[:, i] for i in range(3)], "UnpackOptions", exact=True, Axis=1, Num=3)
_v = normal(2, 6, 3)
add("two", "SPLIT", [np.array(1, i32), Feed(_v)], [_v[:, :3], _v[:, 3:]], "SplitOptions", exact=True, NumSplits=2)
add(
    "rest",
    "SPLIT_V",
    [Feed(_v), np.array([1, -1, 2], i32), np.array(1, i32)],
    [_v[:, :1], _v[:, 1:4], _v[:, 4:]],
    "SplitVOptions",
    exact=True,
    NumSplits=3,
)
add("rest", "SLICE", [Feed(_v), np.array([0, 2, 1], i32), np.array([-1, 3, 2], i32)], _v[:, 2:5, 1:3], exact=True)


def strided(label: str, e: np.ndarray, begin: Any, end: Any, strides: Any, **masks: int) -> None:
    for kind, wrap in (("const", lambda v: np.array(v, i32)), ("fed", lambda v: Feed(np.array(v, i32)))):
        add(
            f"{label}-{kind}",
            "STRIDED_SLICE",
            [Feed(_x), wrap(begin), wrap(end), np.array(strides, i32)],
            e,
            "StridedSliceOptions",
            exact=True,
            **masks,
        )


strided("plain", _x[0:2, 1:3, 0:4:2, 1:5], [0, 1, 0, 1], [2, 3, 4, 5], [1, 1, 2, 1])
strided("masks", _x[:, 1:, :3, :], [9, 1, 9, 0], [1, 9, 3, 0], [1, 1, 1, 1], BeginMask=0b1101, EndMask=0b1011)
strided("shrink", _x[1, :, -1], [1, 0, -1], [0, 3, 0], [1, 1, 1], ShrinkAxisMask=0b101)
strided("ellipsis", _x[..., 1:4], [0, 1], [0, 4], [1, 1], EllipsisMask=1)
strided("newaxis", _x[:, None, 1:3], [0, 0, 1], [2, 0, 3], [1, 1, 1], NewAxisMask=2)
strided(
    "both",
    _x[0, None, ..., -2],
    [0, 0, 0, -2],
    [1, 0, 0, 0],
    [1, 1, 1, 1],
    ShrinkAxisMask=0b1001,
    NewAxisMask=2,
    EllipsisMask=4,
)
add(
    "backwards",
    "STRIDED_SLICE",
    [Feed(_v), np.array([1, 5, -1], i32), np.array([0, 0, -4], i32), np.array([-1, -2, -1], i32)],
    _v[1:0:-1, 5:0:-2, ::-1],
    "StridedSliceOptions",
    exact=True,
)
add(
    "backwards-mask",
    "STRIDED_SLICE",
    [Feed(_v), np.array([0, 5, 2], i32), np.array([0, 0, -3], i32), np.array([1, -1, -1], i32)],
    _v[:, ::-1, 2:0:-1],
    "StridedSliceOptions",
    exact=True,
    BeginMask=3,
    EndMask=3,
)
_i = np.array([[2, 0], [1, 1]], i32)
add("axis1", "GATHER", [Feed(_x), Feed(_i)], np.take(_x, _i, 1), "GatherOptions", exact=True, Axis=1)
add("table", "GATHER", [Y, Feed(_i)], Y[_i], "GatherOptions", exact=True, Axis=0)
add(
    "batch1",
    "GATHER",
    [Feed(_x), Feed(_i)],
    np.stack([_x[b][_i[b]] for b in range(2)]),
    "GatherOptions",
    exact=True,
    Axis=1,
    BatchDims=1,
)
add(
    "batch1axis2",
    "GATHER",
    [Feed(_x), Feed(_i)],
    np.stack([_x[b][:, _i[b]] for b in range(2)]),
    "GatherOptions",
    exact=True,
    Axis=2,
    BatchDims=1,
)
_n = np.array([[1, 0], [0, 2]], i32)
add("2of4", "GATHER_ND", [Feed(_x), Feed(_n)], np.stack([_x[1, 0], _x[0, 2]]), exact=True)
add("rows", "EMBEDDING_LOOKUP", [Feed(np.array([3, 0, 4], i32)), Y], Y[[3, 0, 4]], exact=True)
add(
    "last",
    "ONE_HOT",
    [Feed(_i), np.array(4, i32), np.array(2.5, f32), np.array(-1, f32)],
    np.where(np.eye(4)[_i] > 0, f32(2.5), f32(-1)),
    "OneHotOptions",
    exact=True,
    Axis=-1,
)
add(
    "axis0",
    "ONE_HOT",
    [Feed(_i), np.array(3, i32), np.array(1, i32), np.array(0, i32)],
    np.eye(3, dtype=i32)[_i].transpose(2, 0, 1),
    "OneHotOptions",
    exact=True,
    Axis=0,
)
add("two", "REVERSE_V2", [Feed(_x), np.array([1, 2], i32)], _x[:, ::-1, ::-1], exact=True)
_len = np.array([2, 3], i32)
_e = _x.copy()
for _b0 in range(2):
    _e[_b0, : _len[_b0]] = _e[_b0, : _len[_b0]][::-1]
add(
    "batch0", "REVERSE_SEQUENCE", [Feed(_x), Feed(_len)], _e, "ReverseSequenceOptions", exact=True, SeqDim=1, BatchDim=0
)
_pad = np.array([[0, 0], [1, 2], [0, 1], [0, 0]], i32)
add("zeros", "PAD", [Feed(_x), _pad], np.pad(_x, _pad), exact=True)
add("value", "PADV2", [Feed(_x), _pad, np.array(1.5, f32)], np.pad(_x, _pad, constant_values=1.5), exact=True)
add("reflect", "MIRROR_PAD", [Feed(_x), _pad], np.pad(_x, _pad, "reflect"), "MirrorPadOptions", exact=True, Mode=0)
add("symmetric", "MIRROR_PAD", [Feed(_x), _pad], np.pad(_x, _pad, "symmetric"), "MirrorPadOptions", exact=True, Mode=1)
add("4d", "TILE", [Feed(_x), np.array([1, 2, 1, 3], i32)], np.tile(_x, [1, 2, 1, 3]), exact=True)
add("rank", "BROADCAST_TO", [Feed(Y), np.array([2, 5, 3], i32)], np.broadcast_to(Y, (2, 5, 3)), exact=True)
add(
    "vector",
    "BROADCAST_ARGS",
    [Feed(np.array([3, 1, 5], i32)), Feed(np.array([4, 5], i32))],
    np.array([3, 4, 5], i32),
    exact=True,
)
add("f32", "FILL", [np.array([2, 3], i32), Feed(np.array(2.5, f32))], np.full((2, 3), 2.5, f32), exact=True)
add(
    "i32",
    "RANGE",
    [np.array(2, i32), np.array(11, i32), np.array(3, i32)],
    np.arange(2, 11, 3, dtype=i32),
    "RangeOptions",
    exact=True,
)
add("i32", "SHAPE", [Feed(_x)], np.array(_x.shape, i32), "ShapeOptions", exact=True, OutType=2)
add("4d", "RANK", [Feed(_x)], np.array(4, i32), exact=True)
_v = normal(2, 4, 6, 8)
_e = _v.reshape(2, 2, 2, 3, 2, 8).transpose(0, 1, 3, 2, 4, 5).reshape(2, 2, 3, 32)
add("block2", "SPACE_TO_DEPTH", [Feed(_v)], _e, "SpaceToDepthOptions", exact=True, BlockSize=2)
add("block2", "DEPTH_TO_SPACE", [Feed(_e)], _v, "DepthToSpaceOptions", exact=True, BlockSize=2)
_p = np.array([[1, 1], [0, 0]], i32)
_w = np.pad(_v, ((0, 0), (1, 1), (0, 0), (0, 0)))
_e = _w.reshape(2, 3, 2, 2, 3, 8).transpose(2, 4, 0, 1, 3, 5).reshape(12, 3, 2, 8)
add("pads", "SPACE_TO_BATCH_ND", [Feed(_v), np.array([2, 3], i32), _p], _e, exact=True)
add("crops", "BATCH_TO_SPACE_ND", [Feed(_e), np.array([2, 3], i32), _p], _v, exact=True)
# -- resizing -------------------------------------------------------------------------------------
_v = normal(1, 4, 5, 3)


def resize(x: np.ndarray, size: tuple[int, int], corners: bool, half: bool, linear: bool) -> np.ndarray:
    def axis(n: int, m: int) -> np.ndarray:
        scale = f32((n - 1) / (m - 1)) if corners and m > 1 else f32(n / m)
        i = np.arange(m, dtype=f32)
        return (i + f32(0.5)) * scale - f32(0.5) if half and linear else (i + f32(0.5 if half else 0)) * scale

    ys, xs = axis(x.shape[1], size[0]), axis(x.shape[2], size[1])
    if not linear:
        pick = [np.floor(v + 0.5) if corners else np.floor(v) for v in (ys, xs)]
        a, b = (np.clip(p.astype(int), 0, n - 1) for p, n in zip(pick, x.shape[1:3]))
        return x[:, a][:, :, b]
    ys, xs = np.clip(ys, 0, None), np.clip(xs, 0, None)

    def mix(v: np.ndarray, at: np.ndarray, dim: int) -> np.ndarray:
        low = np.minimum(np.floor(at).astype(int), v.shape[dim] - 1)
        high = np.minimum(low + 1, v.shape[dim] - 1)
        part = (at - np.floor(at)).reshape([-1 if d == dim else 1 for d in range(4)])
        return np.take(v, low, dim) * (1 - part) + np.take(v, high, dim) * part

    return mix(mix(x.astype(np.float64), ys, 1), xs, 2).astype(f32)


for _size in ((8, 10), (3, 2), (7, 9)):
    for _corners, _half in ((False, False), (True, False), (False, True)):
        for _op, _linear in (("RESIZE_BILINEAR", True), ("RESIZE_NEAREST_NEIGHBOR", False)):
            _options = "ResizeBilinearOptions" if _linear else "ResizeNearestNeighborOptions"
            add(
                f"{_size}{_corners}{_half}".replace(" ", ""),
                _op,
                [Feed(_v), np.array(_size, i32)],
                resize(_v, _size, _corners, _half, _linear),
                _options,
                AlignCorners=_corners,
                HalfPixelCenters=_half,
            )

# -- transposed convolutions ----------------------------------------------------------------------


def conv_transpose(x: np.ndarray, w: np.ndarray, out: tuple[int, int], s: tuple[int, int], same: bool) -> np.ndarray:
    n, h, wd, _ = x.shape
    o, kh, kw, _ = w.shape
    y = np.zeros((n, (h - 1) * s[0] + kh + 8, (wd - 1) * s[1] + kw + 8, o))
    for i in range(h):
        for j in range(wd):
            y[:, i * s[0] : i * s[0] + kh, j * s[1] : j * s[1] + kw] += np.einsum(
                "nc,oklc->nklo", x[:, i, j].astype(np.float64), w
            )
    t, le = (pads(out[0], kh, s[0], 1, True)[1], pads(out[1], kw, s[1], 1, True)[1]) if same else (0, 0)
    return y[:, t : t + out[0], le : le + out[1]].astype(f32)


for _k, _s, _same, _out in (
    ((3, 3), (2, 2), True, (8, 10)),
    ((2, 2), (2, 2), False, (8, 10)),
    ((4, 4), (2, 2), True, (8, 10)),
    ((3, 3), (2, 2), False, (9, 11)),
    ((3, 3), (1, 1), True, (4, 5)),
    ((3, 3), (2, 2), True, (7, 9)),
):
    _x, _w, _b = normal(2, 4, 5, 3), normal(6, *_k, 3), normal(6)
    _sz = np.array([2, *_out, 6], i32)
    _o = {"Padding": 0 if _same else 1, "StrideH": _s[0], "StrideW": _s[1]}
    _e = conv_transpose(_x, _w, _out, _s, _same)
    _label = f"{_k}s{_s}{_same}{_out}".replace(" ", "")
    add(_label, "TRANSPOSE_CONV", [_sz, _w, Feed(_x)], _e, "TransposeConvOptions", terms=60, **_o)
    add(_label + "bias", "TRANSPOSE_CONV", [_sz, _w, Feed(_x), _b], _e + _b, "TransposeConvOptions", terms=60, **_o)


def conv3d(x: np.ndarray, w: np.ndarray, s: int, same: bool) -> np.ndarray:
    """w DHWIO"""
    k = w.shape[:3]
    sizes = [pads(x.shape[1 + i], k[i], s, 1, same) for i in range(3)]
    xp = np.pad(x.astype(np.float64), ((0, 0), *((a, b) for _, a, b in sizes), (0, 0)))
    y = np.zeros((x.shape[0], *(o for o, _, _ in sizes), w.shape[4]))
    for d in np.ndindex(*k):
        part = xp[(slice(None), *(slice(a, a + (o - 1) * s + 1, s) for a, (o, _, _) in zip(d, sizes)))]
        y += part @ w[d].astype(np.float64)
    return y.astype(f32)


for _s3, _same in ((1, True), (2, True), (1, False)):
    _x, _w = normal(1, 4, 5, 6, 2), normal(2, 3, 3, 2, 4)
    add(
        f"s{_s3}{_same}",
        "CONV_3D",
        [Feed(_x), _w],
        conv3d(_x, _w, _s3, _same),
        "Conv3DOptions",
        terms=40,
        Padding=0 if _same else 1,
        StrideD=_s3,
        StrideH=_s3,
        StrideW=_s3,
    )

# -- indexing -------------------------------------------------------------------------------------
_v = np.array([[0, 1, 2], [3, 0, 5]], f32)
add("f32", "WHERE", [Feed(_v)], np.argwhere(_v).astype(i64), exact=True)
_si, _su = np.array([[3], [1], [3]], i32), normal(3, 4)
_e = np.zeros((5, 4), f32)
np.add.at(_e, _si[:, 0], _su)
add("adds", "SCATTER_ND", [Feed(_si), Feed(_su), np.array([5, 4], i32)], _e)
_e = np.full((3, 4), -1, f32)
_e[[0, 2], [1, 3]] = [5, 6]
add(
    "2d",
    "SPARSE_TO_DENSE",
    [Feed(np.array([[0, 1], [2, 3]], i32)), np.array([3, 4], i32), Feed(np.array([5, 6], f32)), np.array(-1, f32)],
    _e,
    "SparseToDenseOptions",
    exact=True,
)
_e = X.copy()
_e[0:1, 2:4, 1:3] = 9
add(
    "moved",
    "DYNAMIC_UPDATE_SLICE",
    [Feed(X), Feed(np.full((1, 2, 2), 9, f32)), Feed(np.array([0, 2, 5], i32))],
    _e,
    exact=True,
)
_v = normal(2, 3)
add("2d", "MATRIX_DIAG", [Feed(_v)], np.stack([np.diag(r) for r in _v]), exact=True)
for _r, _c2 in ((3, 3), (3, 5), (5, 3)):
    _m2 = normal(2, _r, _c2)
    _e = _m2.copy()
    for _b0 in range(2):
        np.fill_diagonal(_e[_b0], _v[_b0])
    add(f"{_r}x{_c2}", "MATRIX_SET_DIAG", [Feed(_m2), Feed(_v)], _e, exact=True)
_x, _ids = normal(5, 3), np.array([0, 0, 1, 2, 2], i32)
_e = np.zeros((3, 3), f32)
np.add.at(_e, _ids, _x)
add("rows", "SEGMENT_SUM", [Feed(_x), _ids], _e)
_ids = np.array([2, 0, 2, -1, 0], i32)
for _op, _f, _z0 in (
    ("SUM", np.add, 0),
    ("PROD", np.multiply, 1),
    ("MAX", np.maximum, np.finfo(f32).min),
    ("MIN", np.minimum, np.finfo(f32).max),
):
    _e = np.full((3, 3), _z0, f32)
    for _row, _id in zip(_x, _ids):
        if _id >= 0:
            _e[_id] = _f(_e[_id], _row)
    add("ids", f"UNSORTED_SEGMENT_{_op}", [Feed(_x), Feed(_ids), np.array(3, i32)], _e)
_v = np.array([3, 1, 3, 2, 1, 9], i32)
add(
    "i32",
    "UNIQUE",
    [Feed(_v)],
    [np.array([3, 1, 2, 9], i32), np.array([0, 1, 0, 2, 1, 3], i32)],
    "UniqueOptions",
    exact=True,
    IdxOutType=2,
)
_boxes = np.array([[0, 0, 1, 1], [0, 0.1, 1, 1.1], [0, 0, 2, 2], [3, 3, 4, 4], [0, 0.02, 1, 1.02]], f32)
_scores = np.array([0.9, 0.8, 0.3, 0.7, 0.95], f32)
_nms = [Feed(_boxes), Feed(_scores), np.array(4, i32), np.array(0.5, f32), np.array(0.4, f32)]
add("v4", "NON_MAX_SUPPRESSION_V4", _nms, [np.array([4, 3, 0, 0], i32), np.array(2, i32)], exact=True)
add(
    "v5",
    "NON_MAX_SUPPRESSION_V5",
    [*_nms, np.array(0, f32)],
    [np.array([4, 3, 0, 0], i32), np.array([0.95, 0.7, 0, 0], f32), np.array(2, i32)],
    exact=True,
)
