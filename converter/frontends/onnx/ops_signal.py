"""Fourier transforms as products with constant matrices, and the mel filter bank."""

from __future__ import annotations

import numpy as np

from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.model import NUMPY, dtype_name
from edgec.converter.frontends.onnx.registry import Unsupported, onnx_op
from edgec.converter.ir.graph import Value


def _matrices(length: int, size: int, bins: int, inverse: bool) -> tuple[np.ndarray, np.ndarray]:
    """Real and imaginary part of [length, bins]; inputs longer than `size` are cut, shorter ones padded with zeros."""
    n, k = np.arange(size)[:, None], np.arange(bins)[None]
    # The product is reduced modulo the size first: cos(2 pi n k / N) of a large n k would lose digits.
    angle = 2 * np.pi * ((n * k) % size) / size
    real, imaginary = np.cos(angle), np.sin(angle) if inverse else -np.sin(angle)
    if inverse:
        real, imaginary = real / size, imaginary / size
    rows = np.zeros((length, bins)), np.zeros((length, bins))
    rows[0][:size], rows[1][:size] = real[:length], imaginary[:length]
    return rows


def transform(c: Context, x: Value, axis: int, size: int | None, inverse: bool, onesided: bool) -> Value:
    """DFT of [..., 1 or 2] over `axis`; the result has a last dimension of 2 (1 for a real inverse)."""
    length, parts = x.shape[axis], x.shape[-1]
    if length is None or parts not in (1, 2):
        raise Unsupported("DFT over a symbolic length", "give a fixed length with --shape")
    size = size or length
    x = _resized(c, x, axis, length, size)
    if onesided and inverse:
        x, onesided = _mirrored(c, x, axis, size), False
        real_only = True
    else:
        real_only = False
    bins = size // 2 + 1 if onesided else size
    cos, sin = _matrices(size, size, bins, inverse)
    order = [i for i in range(x.rank - 1) if i != axis] + [axis]

    def plane(index: int) -> Value:
        piece = c.squeeze(c.slice(x, [index], [index + 1], [x.rank - 1]), [x.rank - 1])
        return c.transpose(piece, order)

    re = plane(0)
    real = c.emit("MatMul", [re, c.like(cos, x)])
    imaginary = c.emit("MatMul", [re, c.like(sin, x)])
    if x.shape[-1] == 2:
        im = plane(1)
        real = c.emit("Sub", [real, c.emit("MatMul", [im, c.like(sin, x)])])
        imaginary = c.emit("Add", [imaginary, c.emit("MatMul", [im, c.like(cos, x)])])
    back = [order.index(i) for i in range(x.rank - 1)]
    outs = [real] if real_only else [real, imaginary]
    return c.emit("Concat", [c.unsqueeze(c.transpose(v, back), [x.rank - 1]) for v in outs], {"axis": x.rank - 1})


def _resized(c: Context, x: Value, axis: int, length: int, size: int) -> Value:
    if length > size:
        return c.slice(x, [0], [size], [axis])
    return x


def _mirrored(c: Context, x: Value, axis: int, size: int) -> Value:
    """The second half of a real signal's spectrum: the conjugate of the first, backwards."""
    have = x.shape[axis] or 0
    if x.shape[-1] == 1 or have >= size:
        return x
    tail = c.slice(x, [size - have], [0], [axis], [-1])
    sign = np.array([1.0, -1.0]).reshape([1] * (x.rank - 1) + [2])
    return c.emit("Concat", [x, c.emit("Mul", [tail, c.like(sign, x)])], {"axis": axis})


@onnx_op("DFT")
def dft(c: Context) -> Value:
    x = c.need(0)
    axis = int(c.attr("axis", 1)) if c.opset < 20 else int(c.scalar(c.input(2), -2))
    axis = c.normalize_axis(axis, x.rank)
    size = c.scalar(c.input(1))
    size = None if size is None else int(size)
    inverse, onesided = bool(c.attr("inverse", 0)), bool(c.attr("onesided", 0))
    length = x.shape[axis]
    if size is not None and length is not None and size > length and not (inverse and onesided):
        pads = [0] * (2 * x.rank)
        pads[x.rank + axis] = size - length
        x = c.emit("Pad", [x, c.i64(pads)])
    if inverse and onesided and size is None and length is not None:
        size = 2 * (length - 1)
    return transform(c, x, axis, size, inverse, onesided)


@onnx_op("STFT")
def stft(c: Context) -> Value:
    """Frames are gathered with constant indices, windowed, and multiplied by the transform's matrices."""
    signal, step = c.need(0), int(c.scalar(c.need(1)))
    window = c.input(2)
    length = signal.shape[1]
    if signal.rank == 2:
        signal = c.unsqueeze(signal, [2])
    size = int(c.scalar(c.input(3))) if c.input(3) is not None else (window.shape[0] if window is not None else None)
    if length is None or size is None:
        raise Unsupported("STFT over a symbolic length", "give a fixed length with --shape")
    frames = (length - size) // step + 1
    index = np.arange(frames)[:, None] * step + np.arange(size)[None]
    pieces = c.emit("Gather", [signal, c.i64(index)], {"axis": 1})  # [batch, frames, size, parts]
    if window is not None:
        pieces = c.emit("Mul", [pieces, c.reshape(c.cast(window, signal.dtype), [size, 1])])
    return transform(c, pieces, 2, size, False, bool(c.attr("onesided", 1)))


@onnx_op("MelWeightMatrix")
def mel_weight_matrix(c: Context) -> Value:
    bins, size, rate, low, high = (c.scalar(c.need(i)) for i in range(5))
    dtype = NUMPY[dtype_name(c.attr("output_datatype", 1)) or "f32"]
    spectrum = int(size) // 2 + 1

    def to_mel(hertz: np.ndarray) -> np.ndarray:
        return np.asarray(2595 * np.log10(1 + hertz / 700))

    points = np.arange(int(bins) + 2) * ((to_mel(np.float64(high)) - to_mel(np.float64(low))) / (int(bins) + 2))
    hertz = 700 * (np.power(10, (points + to_mel(np.float64(low))) / 2595) - 1)
    places = ((int(size) + 1) * hertz // int(rate)).astype(np.int64)
    matrix = np.zeros((spectrum, int(bins)), dtype)
    for i in range(int(bins)):
        left, centre, right = places[i : i + 3]
        if centre == left:
            if centre < spectrum:
                matrix[centre, i] = 1
        else:
            for j in range(left, min(centre + 1, spectrum)):
                matrix[j, i] = (j - left) / (centre - left)
        for j in range(centre, min(right, spectrum)):
            if right > centre:
                matrix[j, i] = (right - j) / (right - centre)
    return c.const(matrix)
