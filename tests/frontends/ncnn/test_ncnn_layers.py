"""Every ncnn layer against NumPy. Shapes of the table have no batch, arrays in the oracles have one of 1."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from math import erf
from pathlib import Path

import numpy as np
import pytest

from tests.frontends import layer_oracles as oracle
from tests.frontends.ncnn.writer import outputs, param, raw, tagged

Array = np.ndarray
T, R = "tagged", "raw"


@dataclass(frozen=True)
class Case:
    """`layer`: type and parameters; weights: (T or R, shape) in the order of the file; oracle(inputs..., weights...)."""

    layer: str
    inputs: Sequence[Sequence[int]]
    oracle: Callable[..., Array]
    weights: Sequence[tuple[str, Sequence[int]]] = ()
    terms: int = 16
    positive: bool = False
    name: str = ""


def spatial(c: Array) -> Array:
    return c.reshape(1, -1, 1, 1)


def _gelu(x: Array) -> Array:
    return x * 0.5 * (1 + np.vectorize(erf)(x / np.sqrt(2)))


def _tanh_gelu(x: Array) -> Array:
    return 0.5 * x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)))


def _rounded(x: Array) -> Array:
    """Half away from zero, limited as int8 is."""
    return np.clip(np.trunc(x + np.copysign(0.5, x)), -127, 127)


def _full(x: Array, average: bool, k: int, s: int, p: int, include: bool) -> Array:
    """Pad mode 0: the last window is filled up with padding; with `include` all of it counts."""
    outs = [-(-(n + 2 * p - k) // s) + 1 for n in x.shape[2:]]
    return oracle.pool2d(x, average, [k, k], [s, s], outs, [p, p], [10**6] * 2 if include else None)


def _adaptive(x: Array, outs: Sequence[int], average: bool) -> Array:
    y = np.zeros((*x.shape[:2], *outs))
    for i in range(outs[0]):
        for j in range(outs[1]):
            rows = slice(x.shape[2] * i // outs[0], -(-x.shape[2] * (i + 1) // outs[0]))
            columns = slice(x.shape[3] * j // outs[1], -(-x.shape[3] * (j + 1) // outs[1]))
            window = x[:, :, rows, columns]
            y[:, :, i, j] = window.mean((2, 3)) if average else window.max((2, 3))
    return y


def _within(x: Array) -> Array:
    mean = oracle.pool2d(x**2, True, [3, 3], [1, 1], x.shape[2:], [1, 1], [10**6] * 2)
    return x * (2 + 0.5 * mean) ** -0.75


def _norm(x: Array, axes: int | tuple[int, ...], eps: float) -> Array:
    return (x - x.mean(axes, keepdims=True)) / np.sqrt(x.var(axes, keepdims=True) + eps)


def _group_norm(x: Array, groups: int, g: Array, b: Array) -> Array:
    y = _norm(x.reshape(1, groups, -1), 2, 0.001).reshape(x.shape)
    return y * spatial(g) + spatial(b)


def _deconv(x: Array, w: Array, b: Array, group: int, **kw: object) -> Array:
    """ncnn's weight [O, I/g, kh, kw] as [I, O/g, kh, kw]"""
    o, i, kh, kw_ = w.shape
    w = w.reshape(group, o // group, i, kh, kw_).swapaxes(1, 2).reshape(i * group, o // group, kh, kw_)
    return oracle.deconv2d(x, w, b, group=group, **kw)  # type: ignore[arg-type]


def _attention(q: Array, k: Array, v: Array, scale: float, mask: Array | None = None) -> Array:
    scores = q @ k.swapaxes(-1, -2) * scale
    return oracle.softmax(scores if mask is None else scores + mask, -1) @ v


def _heads(x: Array, n: int) -> Array:
    return x.reshape(1, x.shape[1], n, -1).swapaxes(1, 2)


def _multi_head(x: Array, *w: Array) -> Array:
    q, k, v = (_heads(x @ w[i].T + w[i + 1], 2) for i in (0, 2, 4))
    y = _attention(q, k, v, 1 / np.sqrt(3)).swapaxes(1, 2).reshape(1, x.shape[1], 6)
    return y @ w[6].T + w[7]


def _cross(q: Array, kv: Array, mask: Array, *w: Array) -> Array:
    y = _attention(
        _heads(q @ w[0].T + w[1], 2), _heads(kv @ w[2].T + w[3], 2), _heads(kv @ w[4].T + w[5], 2), 0.5, mask[:, None]
    )
    return y.swapaxes(1, 2).reshape(1, q.shape[1], 6) @ w[6].T + w[7]


def _rotary(x: Array, cos: Array, sin: Array, neighbours: bool) -> Array:
    half = x.shape[-1] // 2
    a, b = (x[..., 0::2], x[..., 1::2]) if neighbours else (x[..., :half], x[..., half:])
    even, odd = a * cos[:, None] - b * sin[:, None], a * sin[:, None] + b * cos[:, None]
    return np.stack([even, odd], -1).reshape(x.shape) if neighbours else np.concatenate([even, odd], -1)


def _lstm(x: Array, w: Array, b: Array, r: Array) -> Array:
    """Both directions; gates in rows i, f, o, g."""
    forward = oracle.lstm(x[0][:, None], w[0], r[0], b[0].reshape(-1))
    back = oracle.lstm(x[0][::-1][:, None], w[1], r[1], b[1].reshape(-1))[::-1]
    return np.concatenate([forward, back], 2)[:, 0][None]


def _gru(x: Array, w: Array, b: Array, r: Array) -> Array:
    w, b, r = w[0], b[0], r[0]
    hidden = r.shape[1]
    h = np.zeros(hidden)
    rows = []
    for step in x[0][::-1]:
        reset = oracle.sigmoid(w[:hidden] @ step + r[:hidden] @ h + b[0])
        update = oracle.sigmoid(w[hidden : 2 * hidden] @ step + r[hidden : 2 * hidden] @ h + b[1])
        new = np.tanh(w[2 * hidden :] @ step + b[2] + reset * (r[2 * hidden :] @ h + b[3]))
        h = (1 - update) * new + update * h
        rows.append(h)
    return np.stack(rows[::-1])[None]


def _rnn(x: Array, w: Array, b: Array, r: Array) -> Array:
    h = np.zeros(r.shape[1])
    rows = []
    for step in x[0]:
        h = np.tanh(w[0] @ step + r[0] @ h + b[0, 0])
        rows.append(h)
    return np.stack(rows)[None]


def _reorg(x: Array, channels_first: bool) -> Array:
    _, c, h, w = x.shape
    y = x.reshape(1, c, h // 2, 2, w // 2, 2)
    order = (0, 1, 3, 5, 2, 4) if channels_first else (0, 3, 5, 1, 2, 4)
    return y.transpose(order).reshape(1, c * 4, h // 2, w // 2)


def _nearest(x: Array, h: int, w: int) -> Array:
    rows = np.minimum(np.arange(h) * x.shape[2] // h, x.shape[2] - 1)
    columns = np.minimum(np.arange(w) * x.shape[3] // w, x.shape[3] - 1)
    return x[:, :, rows][:, :, :, columns]


def _linear(x: Array, h: int, w: int) -> Array:
    """Half-pixel centres, clamped at the border."""

    def weights(size: int, out: int) -> Array:
        m = np.zeros((out, size))
        for i in range(out):
            at = min(max((i + 0.5) * size / out - 0.5, 0.0), size - 1)
            low = min(int(at), size - 2)
            m[i, low] += 1 - (at - low)
            m[i, low + 1] += at - low
        return m

    return np.einsum("oh,nchw,pw->ncop", weights(x.shape[2], h), x, weights(x.shape[3], w))


def _conv3d(x: Array, w: Array, b: Array, stride: int, pad: int) -> Array:
    x = np.pad(x, ((0, 0), (0, 0), *[(pad, pad)] * 3))
    k = w.shape[2]
    outs = [(n - k) // stride + 1 for n in x.shape[2:]]
    y = np.zeros((1, len(w), *outs))
    for d, h, v in np.ndindex(*outs):
        part = x[0, :, d * stride : d * stride + k, h * stride : h * stride + k, v * stride : v * stride + k]
        y[0, :, d, h, v] = np.tensordot(w, part, 4) + b
    return y


def _deconv3d(x: Array, w: Array, stride: int) -> Array:
    """w [O, I, k, k, k]"""
    k = w.shape[2]
    y = np.zeros((1, len(w), *[(n - 1) * stride + k for n in x.shape[2:]]))
    for d, h, v in np.ndindex(*x.shape[2:]):
        place = tuple(slice(i * stride, i * stride + k) for i in (d, h, v))
        y[(0, slice(None), *place)] += np.tensordot(w, x[0, :, d, h, v], (1, 0))
    return y


def _pool3d(x: Array, k: int) -> Array:
    n, c, *sizes = x.shape
    y = x.reshape(n, c, sizes[0] // k, k, sizes[1] // k, k, sizes[2] // k, k)
    return y.max((3, 5, 7))


def _unfold(x: Array, k: int, s: int, p: int) -> Array:
    x = oracle.pad2d(x, [p] * 4)
    rows = (x.shape[2] - k) // s + 1
    columns = (x.shape[3] - k) // s + 1
    y = np.zeros((1, x.shape[1], k * k, rows, columns))
    for i in range(k):
        for j in range(k):
            y[:, :, i * k + j] = x[:, :, i : i + s * rows : s, j : j + s * columns : s][:, :, :rows, :columns]
    return y.reshape(1, -1, rows * columns)


def _statistics(x: Array) -> Array:
    return np.concatenate([x.mean((2, 3)), x.std((2, 3))], 1)


def _bilinear(x: Array, row: float, column: float) -> Array:
    """[C] of an image [C, H, W]; outside it is 0."""
    total = np.zeros(len(x))
    for r in (int(np.floor(row)), int(np.floor(row)) + 1):
        for q in (int(np.floor(column)), int(np.floor(column)) + 1):
            if 0 <= r < x.shape[1] and 0 <= q < x.shape[2]:
                total += (1 - abs(row - r)) * (1 - abs(column - q)) * x[:, r, q]
    return total


def _grid_sample(x: Array, grid: Array) -> Array:
    """grid [1, H, W, 2]: (x, y) in -1..1, corners aligned"""
    y = np.zeros((1, x.shape[1], *grid.shape[1:3]))
    for i, j in np.ndindex(*grid.shape[1:3]):
        at = (grid[0, i, j] + 1) / 2 * (np.array(x.shape[3:1:-1]) - 1)
        y[0, :, i, j] = _bilinear(x[0], at[1], at[0])
    return y


def _deformable(x: Array, offset: Array, mask: Array, w: Array, b: Array) -> Array:
    """3 x 3, padding 1"""
    y = np.zeros((1, len(w), *x.shape[2:]))
    for r, q in np.ndindex(*x.shape[2:]):
        for tap in range(9):
            shift = offset[0, 2 * tap : 2 * tap + 2, r, q]
            value = _bilinear(x[0], r - 1 + tap // 3 + shift[0], q - 1 + tap % 3 + shift[1])
            y[0, :, r, q] += w[:, :, tap // 3, tap % 3] @ value * mask[0, tap, r, q]
    return y + spatial(b)


IMAGE = (3, 6, 7)
VOLUME = (2, 4, 5, 6)
EQUATION = ",".join(str(ord(c)) for c in "ij,jk->ki")
CASES = [
    # -- convolutions
    Case(
        "Convolution 0=4 1=3 11=2 3=2 13=1 4=1 14=0 5=1 6=72",
        [IMAGE],
        lambda x, w, b: oracle.conv2d(x, w, b, (1, 2), (0, 1, 0, 1)),
        [(T, (4, 3, 2, 3)), (R, (4,))],
        terms=19,
        name="conv_sides",
    ),
    Case(
        "Convolution 0=2 1=3 2=2 4=2 15=1 16=0 6=54 18=1.5",
        [IMAGE],
        lambda x, w: oracle.conv2d(x, w, None, (1, 1), (2, 2, 0, 1), (2, 2), pad_value=1.5),
        [(T, (2, 3, 3, 3))],
        terms=27,
        name="conv_pad_value",
    ),
    Case(
        "Convolution 0=2 1=3 3=2 4=-233 6=54",
        [IMAGE],
        lambda x, w: oracle.conv2d(x, w, None, (2, 2), (0, 1, 1, 1)),
        [(T, (2, 3, 3, 3))],
        terms=27,
        name="conv_same_upper",
    ),
    Case(
        "Convolution 0=2 1=3 3=2 4=-234 6=54",
        [IMAGE],
        lambda x, w: oracle.conv2d(x, w, None, (2, 2), (1, 1, 0, 1)),
        [(T, (2, 3, 3, 3))],
        terms=27,
        name="conv_same_lower",
    ),
    *(
        Case(
            f"Convolution 0=2 1=1 6=6 {activation}",
            [IMAGE],
            lambda x, w, f=function: f(oracle.conv2d(x, w)),
            [(T, (2, 3, 1, 1))],
            name=f"conv_activation_{i}",
        )
        for i, (activation, function) in enumerate(
            [
                ("9=1", lambda y: np.maximum(y, 0)),
                ("9=2 -23310=1,1.000000e-01", lambda y: np.where(y > 0, y, 0.1 * y)),
                ("9=3 -23310=2,-5.000000e-01,6.000000e+00", lambda y: np.clip(y, -0.5, 6)),
                ("9=4", oracle.sigmoid),
                ("9=5", lambda y: y * np.tanh(np.log1p(np.exp(y)))),
                ("9=6 10=0.25,0.5", lambda y: y * np.clip(0.25 * y + 0.5, 0, 1)),
            ]
        )
    ),
    Case(
        "Convolution1D 0=4 1=3 3=2 4=1 15=0 5=1 6=36",
        [(3, 8)],
        lambda x, w, b: oracle.conv2d(x[:, :, None], w[:, :, None], b, (1, 2), (0, 1, 0, 0))[:, :, 0],
        [(T, (4, 3, 3)), (R, (4,))],
    ),
    Case(
        "ConvolutionDepthWise 0=6 1=3 4=1 5=1 6=54 7=3",
        [IMAGE],
        lambda x, w, b: oracle.conv2d(x, w, b, (1, 1), (1, 1, 1, 1), (1, 1), 3),
        [(T, (6, 1, 3, 3)), (R, (6,))],
    ),
    Case(
        "Deconvolution 0=2 1=4 3=2 4=1 5=1 6=96",
        [IMAGE],
        lambda x, w, b: _deconv(x, w, b, 1, strides=(2, 2), pads=(1, 1, 1, 1)),
        [(T, (2, 3, 4, 4)), (R, (2,))],
        terms=48,
    ),
    Case(
        "DeconvolutionDepthWise 0=6 1=3 3=2 5=1 6=54 7=3 18=1",
        [IMAGE],
        lambda x, w, b: _deconv(x, w, b, 3, strides=(2, 2), extra=(1, 1)),
        [(T, (6, 1, 3, 3)), (R, (6,))],
    ),
    Case(
        "Deconvolution 0=2 1=3 3=2 4=-233 6=54 20=14 21=12",
        [IMAGE],
        lambda x, w: _deconv(x, w, None, 1, strides=(2, 2), pads=(0, 0, 1, 1)),  # type: ignore[arg-type]
        [(T, (2, 3, 3, 3))],
        terms=27,
        name="deconv_size",
    ),
    Case(
        "InnerProduct 0=5 1=1 2=210 9=1",
        [(2, 3, 7)],
        lambda x, w, b: np.maximum(x.reshape(1, 42) @ w.T + b, 0),
        [(T, (5, 42)), (R, (5,))],
        terms=43,
    ),
    Case("InnerProduct 0=5 2=35", [(4, 7)], lambda x, w: x @ w.T, [(T, (5, 7))], name="inner_product_rows"),
    # -- pooling
    Case("Pooling 0=0 1=3 2=2", [IMAGE], lambda x: _full(x, False, 3, 2, 0, False)),
    Case("Pooling 0=1 1=3 2=2 3=1", [IMAGE], lambda x: _full(x, True, 3, 2, 1, False), name="pool_exclude"),
    Case("Pooling 0=1 1=3 2=2 3=1 6=1", [IMAGE], lambda x: _full(x, True, 3, 2, 1, True), name="pool_include"),
    Case(
        "Pooling 0=1 1=3 2=2 3=1 5=1",
        [(2, 8, 8)],
        lambda x: oracle.pool2d(x, True, [3, 3], [2, 2], [4, 4], [1, 1]),
        name="pool_valid",
    ),
    Case(
        "Pooling 0=0 1=3 2=2 5=2",
        [(2, 6, 6)],
        lambda x: oracle.pool2d(x, False, [3, 3], [2, 2], [3, 3], [0, 0]),
        name="pool_same_upper",
    ),
    Case(
        "Pooling 0=1 1=3 2=2 5=3",
        [(2, 6, 6)],
        lambda x: oracle.pool2d(x, True, [3, 3], [2, 2], [3, 3], [1, 1], [10**6] * 2),
        name="pool_same_lower",
    ),
    Case("Pooling 0=1 4=1", [IMAGE], lambda x: x.mean((2, 3)), terms=42, name="pool_global"),
    Case("Pooling 0=1 7=1 8=3 18=2", [IMAGE], lambda x: _adaptive(x, (2, 3), True), name="pool_adaptive"),
    Case("Pooling 0=0 7=1 8=-233 18=3", [IMAGE], lambda x: _adaptive(x, (3, 7), False), name="pool_adaptive_same"),
    Case(
        "Pooling1D 0=1 1=2 2=2",
        [(3, 8)],
        lambda x: x.reshape(1, 3, 4, 2).mean(3),
    ),
    # -- elementwise
    Case("ReLU 0=0.1", [IMAGE], lambda x: np.where(x > 0, x, 0.1 * x)),
    Case("PReLU 0=3", [IMAGE], lambda x, s: np.where(x > 0, x, spatial(s) * x), [(R, (3,))]),
    Case("Clip 0=-0.5 1=0.25", [(9,)], lambda x: np.clip(x, -0.5, 0.25)),
    Case("ELU 0=0.3", [(9,)], lambda x: np.where(x > 0, x, 0.3 * (np.exp(x) - 1))),
    Case("SELU", [(9,)], lambda x: 1.050700987 * np.where(x > 0, x, 1.67326324 * (np.exp(x) - 1))),
    Case("CELU 0=2.0", [(9,)], lambda x: np.where(x > 0, x, 2 * (np.exp(x / 2) - 1))),
    Case("GELU", [(99,)], _gelu, name="gelu"),
    Case("GELU 0=1", [(99,)], _tanh_gelu, name="gelu_fast"),
    Case("HardSigmoid 0=0.3 1=0.4", [(99,)], lambda x: np.clip(0.3 * x + 0.4, 0, 1)),
    Case("HardSwish 0=0.3 1=0.4", [(99,)], lambda x: x * np.clip(0.3 * x + 0.4, 0, 1)),
    Case("HardSwish 0=1.666667e-01", [(99,)], lambda x: x * np.clip(x / 6 + 0.5, 0, 1), name="hardswish_sixth"),
    Case("Swish", [(9,)], lambda x: x * oracle.sigmoid(x)),
    Case("Mish", [(9,)], lambda x: x * np.tanh(np.log1p(np.exp(x)))),
    Case("Sigmoid", [(9,)], oracle.sigmoid),
    Case("TanH", [(9,)], np.tanh),
    Case("AbsVal", [(9,)], np.abs),
    Case("BNLL", [(9,)], lambda x: np.log1p(np.exp(x))),
    Case("Softplus", [(9,)], lambda x: np.log1p(np.exp(x))),
    Case("Erf", [(9,)], np.vectorize(erf)),
    Case("Shrink 0=0.1 1=0.3", [(99,)], lambda x: np.where(x > 0.3, x - 0.1, np.where(x < -0.3, x + 0.1, 0))),
    Case("GLU 0=0", [(4, 5)], lambda x: x[:, :2] * oracle.sigmoid(x[:, 2:])),
    Case("Exp 0=2.0 1=3.0 2=1.0", [(9,)], lambda x: 2.0 ** (1 + 3 * x)),
    Case("Log 0=10.0 1=3.0 2=1.0", [(9,)], lambda x: np.log10(1 + 3 * x), positive=True),
    Case("Power 0=3.0 1=2.0 2=1.0", [(9,)], lambda x: (1 + 2 * x) ** 3, positive=True),
    Case("Threshold 0=0.1", [(99,)], lambda x: (x > 0.1).astype(float)),
    Case("Dropout 0=0.5", [(9,)], lambda x: 0.5 * x),
    *(
        Case(f"UnaryOp 0={kind}", [(99,)], function, positive=positive, name=f"unary_{kind}")
        for kind, function, positive in [
            (0, np.abs, False),
            (1, np.negative, False),
            (2, np.floor, False),
            (3, np.ceil, False),
            (4, np.square, False),
            (5, np.sqrt, True),
            (6, lambda x: 1 / np.sqrt(x), True),
            (7, np.exp, False),
            (8, np.log, True),
            (9, np.sin, False),
            (10, np.cos, False),
            (14, np.arctan, False),
            (15, np.reciprocal, True),
            (16, np.tanh, False),
            (17, np.log10, True),
            (18, np.round, False),
            (19, np.trunc, False),
            (20, np.sign, False),
            (21, np.expm1, False),
            (27, np.log1p, True),
        ]
    ),
    *(
        Case(f"BinaryOp 0={kind}", [IMAGE, IMAGE], function, positive=True, name=f"binary_{kind}")
        for kind, function in [
            (0, np.add),
            (1, np.subtract),
            (2, np.multiply),
            (3, np.divide),
            (4, np.maximum),
            (5, np.minimum),
            (6, np.power),
            (7, lambda a, b: b - a),
            (8, lambda a, b: b / a),
            (9, lambda a, b: b**a),
            (12, np.fmod),
            (14, np.logaddexp),
            (15, lambda a, b: np.floor(a / b)),
        ]
    ),
    Case("BinaryOp 0=8 1=1 2=2.5", [IMAGE], lambda a: 2.5 / a, positive=True, name="binary_scalar"),
    # ncnn adds dimensions of 1 at the inner end; a vector goes along the width only when it does not fit the channels.
    Case("BinaryOp 0=0", [IMAGE, (3,)], lambda a, b: a + spatial(b), name="broadcast_channels"),
    Case("BinaryOp 0=1", [(3,), IMAGE], lambda a, b: spatial(a) - b, name="broadcast_first"),
    Case("BinaryOp 0=0", [IMAGE, (7,)], lambda a, b: a + b.reshape(1, 1, 1, 7), name="broadcast_width"),
    Case("BinaryOp 0=0", [(5, 5), (5,)], lambda a, b: a + b[:, :, None], name="broadcast_prefers_rows"),
    Case("BinaryOp 0=0", [IMAGE, (3, 6)], lambda a, b: a + b[:, :, :, None], name="broadcast_rows"),
    Case("BinaryOp 0=0", [IMAGE, (1,)], lambda a, b: a + b.reshape(1, 1, 1, 1), name="broadcast_one"),
    Case("BinaryOp 0=0", [IMAGE, (1, 6, 1)], lambda a, b: a + b, name="broadcast_explicit"),
    Case("Eltwise 0=0", [IMAGE] * 3, lambda a, b, c: a * b * c, name="product"),
    Case("Eltwise 0=1 -23301=2,1.0,-0.5", [IMAGE] * 2, lambda a, b: a - 0.5 * b, name="sum"),
    Case("Eltwise 0=2", [IMAGE] * 2, np.maximum, name="maximum"),
    Case("Scale 0=3 1=1", [IMAGE], lambda x, s, b: x * spatial(s) + spatial(b), [(R, (3,)), (R, (3,))]),
    Case("Scale 0=-233", [IMAGE, (3,)], lambda x, s: x * spatial(s), name="scale_two"),
    Case("Bias 0=3", [IMAGE], lambda x, b: x + spatial(b), [(R, (3,))]),
    # -- normalisation
    Case(
        "BatchNorm 0=3 1=0.001",
        [IMAGE],
        lambda x, s, m, v, b: (x - spatial(m)) / np.sqrt(spatial(v) + 1e-3) * spatial(s) + spatial(b),
        [(R, (3,))] * 4,
        positive=True,
    ),
    Case("LRN 0=0 1=3 2=0.5 3=0.75 4=2.0", [(7, 3, 4)], lambda x: oracle.lrn_across(x, 3, 0.5, 0.75, 2.0)),
    Case("LRN 0=1 1=3 2=0.5 3=0.75 4=2.0", [IMAGE], _within, name="lrn_within"),
    Case(
        "MVN 0=1 1=0 2=0.1",
        [IMAGE],
        lambda x: (x - x.mean((2, 3), keepdims=True)) / (np.sqrt(x.var((2, 3), keepdims=True)) + 0.1),
        terms=84,
    ),
    Case(
        "Normalize 0=0 1=0 2=0.1 3=3",
        [IMAGE],
        lambda x, s: x / np.sqrt((x**2).sum(1, keepdims=True) + 0.1) * spatial(s),
        [(R, (3,))],
    ),
    Case(
        "Normalize 0=1 1=1 2=0.1 3=1 4=1 9=1",
        [IMAGE],
        lambda x, s: x / np.maximum(np.sqrt((x**2).sum()), 0.1) * s,
        [(R, (1,))],
        terms=126,
        name="normalize_all",
    ),
    Case(
        "LayerNorm 0=7 1=0.001",
        [(4, 7)],
        lambda x, g, b: _norm(x, 2, 0.001) * g + b,
        [(R, (7,)), (R, (7,))],
        terms=64,
    ),
    Case("LayerNorm 0=42 1=0.001 2=0", [IMAGE], lambda x: _norm(x, (2, 3), 0.001), terms=99, name="layer_norm_planes"),
    Case(
        "RMSNorm 0=7 1=0.001",
        [(4, 7)],
        lambda x, g: x / np.sqrt((x**2).mean(2, keepdims=True) + 0.001) * g,
        [(R, (7,))],
    ),
    Case("GroupNorm 0=2 1=4", [(4, 3, 5)], lambda x, g, b: _group_norm(x, 2, g, b), [(R, (4,)), (R, (4,))], terms=64),
    Case(
        "InstanceNorm 0=3 1=0.001",
        [IMAGE],
        lambda x, g, b: _norm(x, (2, 3), 0.001) * spatial(g) + spatial(b),
        [(R, (3,)), (R, (3,))],
        terms=99,
    ),
    Case("Softmax 0=0 1=1", [IMAGE], lambda x: oracle.softmax(x, 1)),
    Case("Softmax 0=-1 1=1", [IMAGE], lambda x: oracle.softmax(x, 3), name="softmax_last"),
    *(
        Case(
            f"Reduction 0={kind} 1=0 -23303=2,1,-1 5=1",
            [IMAGE],
            function,
            terms=42,
            positive=True,
            name=f"reduction_{kind}",
        )
        for kind, function in [
            (0, lambda x: x.sum((2, 3))),
            (1, lambda x: np.abs(x).sum((2, 3))),
            (2, lambda x: (x**2).sum((2, 3))),
            (3, lambda x: x.mean((2, 3))),
            (4, lambda x: x.max((2, 3))),
            (5, lambda x: x.min((2, 3))),
            (7, lambda x: np.abs(x).sum((2, 3))),
            (8, lambda x: np.sqrt((x**2).sum((2, 3)))),
            (9, lambda x: np.log(x.sum((2, 3)))),
            (10, lambda x: np.log(np.exp(x).sum((2, 3)))),
        ]
    ),
    Case("Reduction 0=0 1=1 2=0.5", [IMAGE], lambda x: 0.5 * x.sum().reshape(1, 1), terms=126, name="reduction_all"),
    Case("Reduction 0=3 1=0 3=0 4=1 5=1", [IMAGE], lambda x: x.mean(1, keepdims=True), name="reduction_keep"),
    Case("ArgMax 1=2", [(9,)], lambda x: np.argsort(-x, 1)[:, None, :2].astype(float)),
    Case("CumulativeSum 0=1", [(3, 5)], lambda x: x.cumsum(2)),
    # -- layout
    Case("Concat 0=0", [(3, 4), (2, 4)], lambda a, b: np.concatenate([a, b], 1)),
    Case("Concat 0=-1", [IMAGE, (3, 6, 2)], lambda a, b: np.concatenate([a, b], 3), name="concat_last"),
    Case("Flatten", [IMAGE], lambda x: x.reshape(1, -1)),
    Case("Reshape 0=14 1=-1", [IMAGE], lambda x: x.reshape(1, 9, 14)),
    Case("Reshape 0=2 1=0 2=-1", [(4, 6, 7)], lambda x: x.reshape(1, 14, 6, 2), name="reshape_zero"),
    Case("Reshape 6=-1,/(0h,2),*(0c,2)", [IMAGE], lambda x: x.reshape(1, 6, 3, 7), name="reshape_text"),
    *(
        Case(f"Permute 0={kind}", [IMAGE], lambda x, o=order: x.transpose(o), name=f"permute_{kind}")
        for kind, order in enumerate(
            [(0, 1, 2, 3), (0, 1, 3, 2), (0, 2, 1, 3), (0, 2, 3, 1), (0, 3, 1, 2), (0, 3, 2, 1)]
        )
    ),
    Case("Permute 0=1", [(3, 5)], lambda x: x.transpose(0, 2, 1), name="permute_matrix"),
    Case("Crop 0=1 1=2 2=1 3=3 4=-233 5=2", [IMAGE], lambda x: x[:, 1:3, 2:, 1:4]),
    Case("Crop 0=1 1=2", [(5, 6, 7), (5, 4, 5)], lambda x, r: x[:, :, 2:6, 1:6], name="crop_like"),
    Case("Crop -23309=2,1,-3 -23310=2,-1,-233 -23311=2,1,2", [IMAGE], lambda x: x[:, :, 1:-1, -3:], name="crop_slice"),
    Case(
        "Padding 0=1 1=2 2=3 3=0 4=0 5=1.5 7=1 8=0",
        [IMAGE],
        lambda x: np.pad(x, ((0, 0), (1, 0), (1, 2), (3, 0)), constant_values=1.5),
    ),
    Case(
        "Padding 0=1 1=2 2=3 3=1 4=1",
        [IMAGE],
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (3, 1)), "edge"),
        name="pad_edge",
    ),
    Case(
        "Padding 0=1 1=2 2=3 3=1 4=2",
        [IMAGE],
        lambda x: np.pad(x, ((0, 0), (0, 0), (1, 2), (3, 1)), "reflect"),
        name="pad_reflect",
    ),
    Case("Squeeze 0=1 1=1", [(3, 1, 1)], lambda x: x.reshape(1, 3)),
    Case("Squeeze -23303=1,-1", [(3, 4, 1)], lambda x: x[..., 0], name="squeeze_axes"),
    Case("ExpandDims -23303=2,0,-1", [(5,)], lambda x: x[:, None, :, None]),
    Case("Tile 0=1 1=3", [IMAGE], lambda x: np.tile(x, (1, 1, 3, 1))),
    Case("Tile 2=2,1,3", [(6, 7)], lambda x: np.tile(x[:, None], (1, 2, 1, 3)), name="tile_repeats"),
    Case(
        "PixelShuffle 0=2",
        [(8, 3, 4)],
        lambda x: x.reshape(1, 2, 2, 2, 3, 4).transpose(0, 1, 4, 2, 5, 3).reshape(1, 2, 6, 8),
    ),
    Case(
        "PixelShuffle 0=2 1=1",
        [(8, 3, 4)],
        lambda x: x.reshape(1, 2, 2, 2, 3, 4).transpose(0, 3, 4, 1, 5, 2).reshape(1, 2, 6, 8),
        name="pixel_shuffle_blocks",
    ),
    Case("Reorg 0=2", [(3, 4, 6)], lambda x: _reorg(x, True)),
    Case("Reorg 0=2 1=1", [(3, 4, 6)], lambda x: _reorg(x, False), name="reorg_blocks"),
    Case("ShuffleChannel 0=2", [(6, 3, 4)], lambda x: x.reshape(1, 2, 3, 3, 4).swapaxes(1, 2).reshape(1, 6, 3, 4)),
    Case(
        "ShuffleChannel 0=2 1=1",
        [(6, 3, 4)],
        lambda x: x.reshape(1, 3, 2, 3, 4).swapaxes(1, 2).reshape(1, 6, 3, 4),
        name="shuffle_reverse",
    ),
    Case("Flip -23300=2,0,-1", [IMAGE], lambda x: x[:, ::-1, :, ::-1]),
    Case("Interp 0=1 1=2.0 2=2.0", [IMAGE], lambda x: _nearest(x, 12, 14), name="interp_nearest"),
    Case("Interp 0=1 3=4 4=5", [IMAGE], lambda x: _nearest(x, 4, 5), name="interp_nearest_size"),
    Case("Interp 0=2 1=2.0 2=2.0", [IMAGE], lambda x: _linear(x, 12, 14), name="interp_linear"),
    Case("Interp 0=2 3=9 4=4 6=1", [IMAGE], lambda x: oracle.resize_corners(x, 9, 4), name="interp_corners"),
    Case(
        "Interp 0=2 3=3 4=2", [(5,)], lambda x: np.broadcast_to(x[:, :, None, None], (1, 5, 3, 2)), name="interp_vector"
    ),
    Case("DeepCopy", [(5,)], lambda x: x),
    Case("Cast 0=1 1=2", [(5,)], lambda x: x),
    # -- matrices and attention
    Case("MatMul", [(2, 3, 4), (2, 4, 5)], lambda a, b: a @ b, name="matmul"),
    Case("MatMul 0=1", [(2, 3, 4), (5, 4)], lambda a, b: a @ b[:, None].swapaxes(-1, -2), name="matmul_transposed"),
    Case("MatMul", [(4,), (4, 5)], lambda a, b: (a[:, None] @ b)[:, 0], name="matmul_vector"),
    Case("MatMul", [(3, 4), (4,)], lambda a, b: (a @ b[:, :, None])[:, :, 0], name="matmul_matrix_vector"),
    Case("Gemm 0=0.5 1=2.0 3=1", [(3, 4), (5, 4), (5,)], lambda a, b, c: 0.5 * (a @ b.swapaxes(1, 2) + 2 * c[:, None])),
    Case(
        "Gemm 3=1 5=1 6=1 8=5 9=4 10=4",
        [(3, 4)],
        lambda a, b, c: a @ b.T + c,
        [(T, (5, 4)), (T, (1, 5))],
        name="gemm_constants",
    ),
    Case(
        "Gemm 2=1 4=1 6=1 7=3 9=4 10=1 14=1",
        [(4, 5)],
        lambda b, a, c: (a.T @ b + c[:, None]).swapaxes(1, 2),
        [(T, (4, 3)), (T, (3,))],
        name="gemm_constant_first",
    ),
    Case(
        "MultiHeadAttention 0=6 1=2 2=36",
        [(5, 6)],
        _multi_head,
        [(T, (6, 6)), (R, (6,))] * 4,
        terms=200,
    ),
    Case(
        "MultiHeadAttention 0=6 1=2 2=48 3=4 4=4 5=1 6=0.5",
        [(5, 8), (3, 4), (5, 3)],
        _cross,
        [(T, (6, 8)), (R, (6,)), (T, (6, 4)), (R, (6,)), (T, (6, 4)), (R, (6,)), (T, (8, 6)), (R, (8,))],
        terms=200,
        name="attention_cross",
    ),
    Case(
        "SDPA 5=1",
        [(4, 5, 6), (2, 3, 6), (2, 3, 6), (5, 3)],
        lambda q, k, v, m: _attention(q, k.repeat(2, 1), v.repeat(2, 1), 1 / np.sqrt(6), m[:, None]),
        terms=64,
    ),
    Case("RotaryEmbed", [(2, 5, 6), (5, 3), (5, 3)], lambda x, c, s: _rotary(x, c, s, False)),
    Case(
        "RotaryEmbed 0=1", [(2, 5, 6), (5, 3), (5, 3)], lambda x, c, s: _rotary(x, c, s, True), name="rotary_neighbours"
    ),
    # -- volumes
    Case(
        "Convolution3D 0=3 1=3 3=2 4=1 5=1 6=162",
        [VOLUME],
        lambda x, w, b: _conv3d(x, w, b, 2, 1),
        [(T, (3, 2, 3, 3, 3)), (R, (3,))],
        terms=55,
    ),
    Case(
        "ConvolutionDepthWise3D 0=2 1=2 5=1 6=16 7=2",
        [VOLUME],
        lambda x, w, b: np.concatenate([_conv3d(x[:, i : i + 1], w[i : i + 1], b[i : i + 1], 1, 0) for i in (0, 1)], 1),
        [(T, (2, 1, 2, 2, 2)), (R, (2,))],
    ),
    Case(
        "Deconvolution3D 0=3 1=3 3=2 6=162",
        [VOLUME],
        lambda x, w: _deconv3d(x, w, 2),
        [(T, (3, 2, 3, 3, 3))],
        terms=54,
    ),
    Case("Pooling3D 0=0 1=2 2=2", [(2, 4, 6, 8)], lambda x: _pool3d(x, 2)),
    Case("Pooling3D 0=1 4=1", [VOLUME], lambda x: x.mean((2, 3, 4)), terms=120, name="pool3d_global"),
    # -- reading at other places
    Case("GridSample 2=1", [IMAGE, (4, 5, 2)], _grid_sample),
    Case(
        "GridSample 2=1 3=1",
        [IMAGE, (2, 4, 5)],
        lambda x, g: _grid_sample(x, g.transpose(0, 2, 3, 1)),
        name="grid_sample_channels",
    ),
    Case("Unfold 1=3 3=2 4=1", [IMAGE], lambda x: _unfold(x, 3, 2, 1)),
    Case(
        "DeformableConv2D 0=2 1=3 4=1 5=1 6=54",
        [(3, 4, 5), (18, 4, 5), (9, 4, 5)],
        _deformable,
        [(T, (2, 3, 3, 3)), (R, (2,))],
        terms=64,
    ),
    Case(f"Einsum -23300=9,{EQUATION}", [(3, 4), (4, 5)], lambda a, b: (a @ b).swapaxes(1, 2)),
    Case("StatisticsPooling 0=1", [IMAGE], _statistics, terms=84),
    Case(
        "YoloV5Focus",
        [(3, 4, 6)],
        lambda x: np.concatenate([x[:, :, i::2, j::2] for j in (0, 1) for i in (0, 1)], 1),
    ),
    # -- recurrent
    Case("LSTM 0=4 1=96 2=2", [(5, 3)], _lstm, [(T, (2, 16, 3)), (T, (2, 4, 4)), (T, (2, 16, 4))], terms=64),
    Case("GRU 0=4 1=36 2=1", [(5, 3)], _gru, [(T, (1, 12, 3)), (T, (1, 4, 4)), (T, (1, 12, 4))], terms=64),
    Case("RNN 0=4 1=12", [(5, 3)], _rnn, [(T, (1, 4, 3)), (T, (1, 1, 4)), (T, (1, 4, 4))], terms=64),
    Case(
        "Embed 0=4 1=6 2=1 3=24", [(3,)], lambda x, w, b: w[x.astype(int)] + b, [(T, (6, 4)), (R, (4,))], positive=True
    ),
    # -- explicit quantization
    Case("Quantize 0=1", [(99,)], lambda x, s: _rounded(x * s), [(R, (1,))]),
    Case(
        "Dequantize 0=3 1=3",
        [IMAGE],
        lambda x, s, b: x * spatial(s) + spatial(b),
        [(R, (3,)), (R, (3,))],
    ),
    Case(
        "Requantize 0=3 1=1 2=3 3=1",
        [IMAGE],
        lambda x, i, o, b: _rounded(np.maximum(x * spatial(i) + spatial(b), 0) * o),
        [(R, (3,)), (R, (1,)), (R, (3,))],
    ),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name or c.layer.split()[0])
def test_layer(case: Case, tmp_path: Path, rng: np.random.Generator) -> None:
    def draw(shape: Sequence[int]) -> Array:
        values = rng.standard_normal(shape).astype(np.float32)
        return np.abs(values) + np.float32(0.5) if case.positive else values

    arrays = [draw((1, *s)) for s in case.inputs]
    weights = [draw(s) for _, s in case.weights]
    data = b"".join((tagged if kind == T else raw)(w) for (kind, _), w in zip(case.weights, weights))
    kind, _, parameters = case.layer.partition(" ")
    names = " ".join(f"x{i}" for i in range(len(arrays)))
    text = param([f"{kind} op {len(arrays)} 1 {names} y {parameters}"], *case.inputs)
    (got,) = outputs(tmp_path, text, data, *arrays)
    expected = np.asarray(
        case.oracle(*(a.astype(np.float64) for a in arrays), *(w.astype(np.float64) for w in weights))
    )
    largest = [max(float(np.abs(v).max()), 1.0) for v in (*arrays, *weights)]
    oracle.assert_close(got, expected, case.terms, float(np.prod(sorted(largest)[-3:])))
