"""A convolution as a product: the inputs of some output positions as rows."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.ir.graph import Node

Array = np.ndarray[Any, Any]


def positions(node: Node, shape: tuple[int, ...], count: int, generator: np.random.Generator) -> Array:
    """Indices of at most `count` of the output positions of one input of `shape`, in order."""
    total = int(np.prod(shape[:-1])) if node.op == "MatMul" else int(np.prod(_output(node, shape)))
    if total <= count:
        return np.arange(total)
    return np.sort(generator.choice(total, count, replace=False))


def rows(node: Node, x: Array, at: Array) -> Array:
    """f32 [len(at), taps, C]: what the output positions read; zeros beyond the border. MatMul: taps = 1."""
    if node.op == "MatMul":
        return x.reshape(-1, 1, x.shape[-1])[at]
    n, high, wide = _output(node, x.shape)
    assert node.inputs[1] is not None and node.inputs[1].data is not None
    _, kh, kw, _ = node.inputs[1].data.shape
    (sh, sw), (dh, dw), pads = node.attr("strides"), node.attr("dilations"), node.attr("pads")
    padded = np.pad(x, ((0, 0), (pads[0], pads[2]), (pads[1], pads[3]), (0, 0)))
    image, y, z = np.unravel_index(at, (n, high, wide))
    taps_y = (y * sh)[:, None, None] + (np.arange(kh) * dh)[None, :, None]
    taps_x = (z * sw)[:, None, None] + (np.arange(kw) * dw)[None, None, :]
    found = padded[image[:, None, None], taps_y, taps_x]
    return np.asarray(found.reshape(len(at), kh * kw, x.shape[-1]))


def _output(node: Node, shape: tuple[int, ...]) -> tuple[int, int, int]:
    assert node.inputs[1] is not None and node.inputs[1].data is not None
    _, kh, kw, _ = node.inputs[1].data.shape
    (sh, sw), (dh, dw), pads = node.attr("strides"), node.attr("dilations"), node.attr("pads")
    high = (shape[1] + pads[0] + pads[2] - dh * (kh - 1) - 1) // sh + 1
    wide = (shape[2] + pads[1] + pads[3] - dw * (kw - 1) - 1) // sw + 1
    return shape[0], high, wide
