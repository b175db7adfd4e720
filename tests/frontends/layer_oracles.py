"""What layers of Caffe and ncnn compute, in NumPy and float64. Images are [N, C, H, W], weights [O, I/g, kh, kw]."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

EPS = float(np.finfo(np.float32).eps)


def assert_close(got: np.ndarray, expected: np.ndarray, k: int = 16, scale: float | None = None) -> None:
    """|got - expected| <= (k + 1) * eps * magnitude * 2; k: terms of a sum, scale: the largest term (default: result)."""
    assert got.shape == expected.shape, (got.shape, expected.shape)
    limit = 2 * (k + 1) * EPS * max(scale if scale is not None else 0.0, float(np.abs(expected).max(initial=0)), EPS)
    difference = np.abs(got.astype(np.float64) - expected)
    assert difference.max(initial=0) <= limit, (float(difference.max()), limit)


def pad2d(x: np.ndarray, pads: Sequence[int], value: float = 0.0) -> np.ndarray:
    """pads [top, left, bottom, right]"""
    return np.pad(x, ((0, 0), (0, 0), (pads[0], pads[2]), (pads[1], pads[3])), constant_values=value)


def conv2d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
    pad_value: float = 0.0,
) -> np.ndarray:
    x, w = pad2d(x.astype(np.float64), pads, pad_value), w.astype(np.float64)
    outputs, _, kh, kw = w.shape
    height = (x.shape[2] - dilations[0] * (kh - 1) - 1) // strides[0] + 1
    width = (x.shape[3] - dilations[1] * (kw - 1) - 1) // strides[1] + 1
    y = np.zeros((x.shape[0], outputs, height, width))
    ins, outs = x.shape[1] // group, outputs // group
    for g in range(group):
        part, own = x[:, g * ins : (g + 1) * ins], w[g * outs : (g + 1) * outs]
        for i in range(kh):
            for j in range(kw):
                rows = slice(i * dilations[0], i * dilations[0] + (height - 1) * strides[0] + 1, strides[0])
                columns = slice(j * dilations[1], j * dilations[1] + (width - 1) * strides[1] + 1, strides[1])
                y[:, g * outs : (g + 1) * outs] += np.einsum(
                    "nchw,oc->nohw", part[:, :, rows, columns], own[:, :, i, j]
                )
    return y if b is None else y + b.reshape(1, -1, 1, 1)


def deconv2d(
    x: np.ndarray,
    w: np.ndarray,
    b: np.ndarray | None = None,
    strides: Sequence[int] = (1, 1),
    pads: Sequence[int] = (0, 0, 0, 0),
    dilations: Sequence[int] = (1, 1),
    group: int = 1,
    extra: Sequence[int] = (0, 0),
) -> np.ndarray:
    """w [I, O/g, kh, kw]: every input pixel adds a scaled kernel."""
    n, channels, height, width = x.shape
    _, outs, kh, kw = w.shape
    full = [
        (s - 1) * st + d * (k - 1) + 1 + e
        for s, st, d, k, e in zip((height, width), strides, dilations, (kh, kw), extra)
    ]
    y = np.zeros((n, outs * group, *full))
    ins = channels // group
    for c in range(channels):
        first = c // ins * outs
        for r in range(height):
            for q in range(width):
                rows = slice(r * strides[0], r * strides[0] + dilations[0] * (kh - 1) + 1, dilations[0])
                columns = slice(q * strides[1], q * strides[1] + dilations[1] * (kw - 1) + 1, dilations[1])
                y[:, first : first + outs, rows, columns] += x[:, c, r, q][:, None, None, None] * w[c][None]
    y = y[:, :, pads[0] : full[0] - pads[2], pads[1] : full[1] - pads[3]]
    return y if b is None else y + b.reshape(1, -1, 1, 1)


def pool2d(
    x: np.ndarray,
    average: bool,
    kernel: Sequence[int],
    strides: Sequence[int],
    outs: Sequence[int],
    begin: Sequence[int],
    counted: Sequence[int] | None = None,
) -> np.ndarray:
    """Window by window. `counted`: sizes up to which (from -begin) padding counts in averages; None: only the image."""
    y = np.zeros((*x.shape[:2], *outs))
    for i in range(outs[0]):
        for j in range(outs[1]):
            top, left = i * strides[0] - begin[0], j * strides[1] - begin[1]
            window = x[:, :, max(top, 0) : top + kernel[0], max(left, 0) : left + kernel[1]].astype(np.float64)
            if not average:
                y[:, :, i, j] = window.max((2, 3))
            elif counted is None:
                y[:, :, i, j] = window.mean((2, 3))
            else:
                area = (min(top + kernel[0], counted[0]) - top) * (min(left + kernel[1], counted[1]) - left)
                y[:, :, i, j] = window.sum((2, 3)) / area
    return y


def softmax(x: np.ndarray, axis: int) -> np.ndarray:
    e = np.exp(x.astype(np.float64) - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x.astype(np.float64)))


def lrn_across(x: np.ndarray, size: int, alpha: float, beta: float, k: float) -> np.ndarray:
    x = x.astype(np.float64)
    total = np.zeros_like(x)
    for c in range(x.shape[1]):
        total[:, c] = (x[:, max(c - size // 2, 0) : c + size // 2 + 1] ** 2).sum(1)
    return x / (k + alpha / size * total) ** beta


def resize_corners(x: np.ndarray, height: int, width: int) -> np.ndarray:
    """Bilinear with the corners aligned."""

    def weights(size: int, out: int) -> np.ndarray:
        m = np.zeros((out, size))
        for i in range(out):
            at = i * (size - 1) / (out - 1) if out > 1 else 0.0
            low = min(int(at), size - 1)
            m[i, low] += 1 - (at - low)
            m[i, min(low + 1, size - 1)] += at - low
        return m

    return np.einsum("oh,nchw,pw->ncop", weights(x.shape[2], height), x.astype(np.float64), weights(x.shape[3], width))


def overlap(a: np.ndarray, b: np.ndarray) -> float:
    side = np.maximum(np.minimum(a[2:], b[2:]) - np.maximum(a[:2], b[:2]), 0)
    both = float(np.prod(side))
    return both / (float(np.prod(a[2:] - a[:2])) + float(np.prod(b[2:] - b[:2])) - both)


def suppress(boxes: np.ndarray, scores: np.ndarray, confidence: float, limit: float, top_k: int) -> list[int]:
    """Greedy suppression in one class."""
    order = [int(i) for i in np.argsort(-scores, kind="stable") if scores[i] > confidence][
        : top_k if top_k > 0 else None
    ]
    kept: list[int] = []
    for i in order:
        if all(overlap(boxes[i], boxes[k]) <= limit for k in kept):
            kept.append(i)
    return kept


def decode_ssd(location: np.ndarray, prior: np.ndarray, variance: np.ndarray) -> np.ndarray:
    """CENTER_SIZE: [P, 4] each."""
    size, centre = prior[:, 2:] - prior[:, :2], (prior[:, 2:] + prior[:, :2]) / 2
    shift = location * variance
    middle, half = shift[:, :2] * size + centre, np.exp(shift[:, 2:]) * size / 2
    return np.concatenate([middle - half, middle + half], 1)


def lstm(x: np.ndarray, w: np.ndarray, r: np.ndarray, b: np.ndarray) -> np.ndarray:
    """x [T, N, I]; gates in rows i, f, o, g -> [T, N, H]"""
    hidden = r.shape[1]
    h = c = np.zeros((x.shape[1], hidden))
    rows = []
    for step in x.astype(np.float64):
        i, f, o, g = np.split(step @ w.T + h @ r.T + b, 4, axis=1)
        c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
        h = sigmoid(o) * np.tanh(c)
        rows.append(h)
    return np.stack(rows)
