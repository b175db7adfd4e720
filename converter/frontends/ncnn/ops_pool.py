"""Pooling of ncnn."""

from __future__ import annotations

import math
from typing import Any

from edgec.converter.frontends.layers.ops import pool2d, positive, reduce
from edgec.converter.frontends.ncnn.context import NcnnContext
from edgec.converter.frontends.ncnn.param import NOTHING
from edgec.converter.frontends.ncnn.registry import NCNN
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value

_FULL, _VALID, _SAME_UPPER, _SAME_LOWER = range(4)
MAX_BINS = 256  # of adaptive pooling whose windows differ in size


@NCNN.layer("Pooling", "Pooling1D")
def pooling(c: NcnnContext) -> Value:
    one = c.op.endswith("1D")
    x, p = c.ranked(c.x(), 3 if one else 4), c.p
    kind = p.integer(0, 0)
    if kind not in (0, 1):
        raise c.bad(f"there is no pooling type {kind}")
    average = kind == 1
    if p.integer(4, 0):
        return reduce(c, "ReduceMean" if average else "ReduceMax", x, range(2, x.rank), False)
    if p.integer(7, 0):
        wide = p.integer(8, 0)
        wanted = [wide] if one else [p.integer(18, wide), wide]
        return _adaptive(c, x, average, [n if w == NOTHING else w for w, n in zip(wanted, c.fixed(x, 2))])
    w = p.integer(1, 0)
    kernel = positive(c, "its kernel", [1 if one else p.integer(11, w), w])
    stride = p.integer(2, 1)
    strides = positive(c, "its strides", [1 if one else p.integer(12, stride), stride])
    if None in x.shape[2:]:
        return _over_symbols(c, x, average, kernel, strides, one)
    pads, counted = _pads(c, x, kernel, strides, one)
    return pool2d(c, x, average, kernel, strides, pads, count_include_pad=counted)


def _over_symbols(c: NcnnContext, x: Value, average: bool, kernel: list[int], strides: list[int], one: bool) -> Value:
    """Where the tail that fills the last window is not known: rounding up does the same, if no window is left out."""
    mode, include = c.p.integer(5, 0), bool(c.p.integer(6, 0))
    begin, end = _given(c, one)
    exact = mode == _FULL and not (average and include) and all(s + e <= k for s, e, k in zip(strides, end, kernel))
    if mode != _VALID and not exact:
        raise Unsupported("this pooling over symbolic sizes", "give fixed sizes with --shape")
    return pool2d(c, x, average, kernel, strides, begin + end, mode == _FULL, include)


def _given(c: NcnnContext, one: bool) -> tuple[list[int], list[int]]:
    """Pads of the file: [top, left], [bottom, right]."""
    left = c.p.integer(3, 0)
    top = 0 if one else c.p.integer(13, left)
    begin, end = [top, left], [0 if one else c.p.integer(15, top), c.p.integer(14, left)]
    if min(begin + end) < 0 or max(begin + end) >= 2**31:
        raise c.bad(f"its pads {begin + end} are negative or too large")
    return begin, end


def _pads(c: NcnnContext, x: Value, kernel: list[int], strides: list[int], one: bool) -> tuple[list[int], bool]:
    """[top, left, bottom, right], and whether averages count them."""
    mode, include = c.p.integer(5, 0), bool(c.p.integer(6, 0))
    sizes = [1, *c.fixed(x, 2)] if one else c.fixed(x, 2)
    begin, end = _given(c, one)
    if mode == _FULL:  # the last window is filled up
        for i, size in enumerate(sizes):
            over = (size + begin[i] + end[i] - kernel[i]) % strides[i]
            end[i] += strides[i] - over if over else 0
        return begin + end, include
    if mode == _VALID:
        return begin + end, include
    if mode not in (_SAME_UPPER, _SAME_LOWER):
        raise c.bad(f"there is no pad mode {mode}")
    for i, size in enumerate(sizes):
        total = max(kernel[i] + (size - 1) // strides[i] * strides[i] - size, 0)
        small, large = total // 2, total - total // 2
        begin[i], end[i] = (small, large) if mode == _SAME_UPPER else (large, small)
    return begin + end, True  # ncnn averages over the whole window here, whatever the flag says


def _adaptive(c: NcnnContext, x: Value, average: bool, wanted: list[int]) -> Value:
    """Windows from floor(i * n / out) to ceil((i + 1) * n / out)."""
    sizes = c.fixed(x, 2)
    positive(c, "its output size", wanted)
    if wanted == sizes:
        return x
    if all(n % w == 0 for n, w in zip(sizes, wanted)):
        window = [n // w for n, w in zip(sizes, wanted)]
        window = window if len(window) == 2 else [1, *window]
        return pool2d(c, x, average, window, window, [0] * 4)
    if sum(wanted) > MAX_BINS:
        raise Unsupported(f"adaptive pooling from {sizes} to {wanted}")
    op: Any = "ReduceMean" if average else "ReduceMax"
    for axis, (size, bins) in enumerate(zip(sizes, wanted), 2):
        parts = []
        for i in range(bins):
            first, last = size * i // bins, math.ceil(size * (i + 1) / bins)
            parts.append(reduce(c, op, c.slice(x, [first], [last], [axis]), [axis], True))
        x = c.emit("Concat", parts, {"axis": axis}) if bins > 1 else parts[0]
    return x
