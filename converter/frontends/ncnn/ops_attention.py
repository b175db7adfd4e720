"""Matrix products and attention of ncnn."""

from __future__ import annotations

import math

import numpy as np

from edgec.converter.frontends.layers.ops import matrix
from edgec.converter.frontends.ncnn.context import NcnnContext
from edgec.converter.frontends.ncnn.registry import NCNN
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value


@NCNN.layer("MatMul")
def mat_mul(c: NcnnContext) -> Value:
    a, b = c.many(2)[:2]
    vector_a, vector_b = a.rank == 2, b.rank == 2
    transposed = bool(c.p.integer(0, 0)) and not vector_b
    if vector_a:
        a = c.unsqueeze(a, [1])
    if vector_b:
        b = c.unsqueeze(b, [2])
    rank = max(a.rank, b.rank)
    a, b = _batched(c, a, rank), _batched(c, b, rank)
    y = c.emit("MatMul", [a, b], {"transpose_b": int(transposed)})
    if vector_a and vector_b:
        return c.squeeze(y, [y.rank - 1])
    if vector_a:
        return c.squeeze(y, [y.rank - 2])
    return c.squeeze(y, [y.rank - 1]) if vector_b else y


def _batched(c: NcnnContext, x: Value, rank: int) -> Value:
    """Dimensions of 1 behind the image's own: [1, M, K] -> [1, 1, M, K]."""
    return c.unsqueeze(x, list(range(1, 1 + rank - x.rank))) if x.rank < rank else x


@NCNN.layer("Gemm")
def gemm(c: NcnnContext) -> Value:
    """alpha * (A B + beta * C), where each may be a constant of the file."""
    p = c.p
    m, n, k = p.integer(7, 0), p.integer(8, 0), p.integer(9, 0)
    transposed = [bool(p.integer(2, 0)), bool(p.integer(3, 0))]
    if p.integer(18, 0):
        raise Unsupported("a matrix product with quantized weights", "use the float model")
    constants: list[np.ndarray | None] = [None, None, None]
    if p.integer(4, 0):
        constants[0] = c.floats([k, m] if transposed[0] else [m, k], "matrix A")
    if p.integer(5, 0):
        constants[1] = c.floats([n, k] if transposed[1] else [k, n], "matrix B")
    kind = p.integer(10, 0)
    if p.integer(6, 0) and kind != -1:
        shapes = {0: [1], 1: [m], 2: [m, 1], 3: [m, n], 4: [1, n]}
        if kind not in shapes:
            raise c.bad(f"there is no broadcast type {kind}")
        addend_data = c.floats(shapes[kind], "matrix C")
        constants[2] = addend_data.reshape(m, 1) if kind == 1 else addend_data
    rest = list(c.many(0))
    operands: list[Value | None] = []
    for i, data in enumerate(constants):
        if data is not None:
            operands.append(c.const(data if i == 2 else data[None]))
        elif i == 2 and (p.integer(6, 0) or not rest):
            operands.append(None)
        elif not rest:
            raise c.bad(f"has {len(c.inputs)} inputs, and lacks matrix {'AB'[i]}")
        else:
            operands.append(rest.pop(0))
    a, b = (_matrix(c, v) for v in operands[:2] if v is not None)
    y = c.emit("MatMul", [a, b], {"transpose_a": int(transposed[0]), "transpose_b": int(transposed[1])})
    addend = operands[2]
    if addend is not None:
        addend = addend if constants[2] is not None else _addend(c, addend, y)
        y = c.emit("Add", [y, c.affine(addend, p.number(1, 1.0))])
    y = c.affine(y, p.number(0, 1.0))
    if p.integer(14, 0):
        y = c.transpose(y, [0, 2, 1])
    return c.unsqueeze(y, [2]) if p.integer(11, 0) else y


def _matrix(c: NcnnContext, x: Value) -> Value:
    if x.rank == 2:
        return c.unsqueeze(x, [1])
    if x.rank == 4:  # [M, 1, K]
        return c.reshape(x, [c.dim(x, 0), c.dim(x, 1), c.mul(c.dim(x, 2), c.dim(x, 3))])
    return c.ranked(x, 3)


def _addend(c: NcnnContext, x: Value, y: Value) -> Value:
    """A vector goes along the rows when it fits their number, else along the columns."""
    if x.rank != 2:
        return x
    rows = x.shape[1] == y.shape[1] and x.shape[1] != y.shape[2]
    return c.unsqueeze(x, [2] if rows else [1])


def _heads(c: NcnnContext, x: Value, heads: int) -> Value:
    """[N, S, E] -> [N, H, S, E/H]"""
    batch, steps, width = c.dims(x)
    return c.transpose(c.reshape(x, [batch, steps, heads, width // heads]), [0, 2, 1, 3])


def _mask(c: NcnnContext, mask: Value) -> Value:
    return c.unsqueeze(mask, [1]) if mask.rank == 3 else mask


@NCNN.layer("MultiHeadAttention")
def multi_head_attention(c: NcnnContext) -> Value:
    p = c.p
    width, heads, size = p.integer(0, 0), p.integer(1, 1), p.integer(2, 0)
    if width < 1 or heads < 1 or width % heads or size < 1 or size % width:
        raise c.bad(f"embeddings of {width}, {heads} heads and {size} weights")
    if p.integer(7, 0) or p.integer(18, 0):
        raise Unsupported("attention with a cache or quantized weights")
    query_width = size // width
    sizes = {"query": query_width, "key": p.integer(3, width), "value": p.integer(4, width)}
    weights = {}
    for what, columns in sizes.items():
        weights[what] = (c.floats([width, columns], f"{what} weight"), c.raw([width], f"{what} bias"))
    out_weight, out_bias = c.floats([query_width, width], "output weight"), c.raw([query_width], "output bias")
    inputs = c.many()
    mask = inputs.pop() if p.integer(5, 0) else None
    if not 1 <= len(inputs) <= 3:
        raise c.bad(f"has {len(inputs)} inputs besides the mask, expected 1 to 3")
    places = {1: (0, 0, 0), 2: (0, 1, 1), 3: (0, 1, 2)}[len(inputs)]
    parts = []
    for what, place in zip(weights, places):
        x = c.ranked(inputs[place], 3)
        if x.shape[2] != sizes[what]:
            raise c.bad(f"its {what} weight is for {sizes[what]} values, its input is {list(x.shape)}")
        parts.append(_heads(c, matrix(c, x, *weights[what]), heads))
    scale = p.number(6, 1 / math.sqrt(width // heads))
    y = c.emit("Attention", [*parts, *([_mask(c, mask)] if mask is not None else [])], {"scale": scale})
    batch, _, steps, _ = c.dims(y)
    return matrix(c, c.reshape(c.transpose(y, [0, 2, 1, 3]), [batch, steps, width]), out_weight, out_bias)


@NCNN.layer("SDPA")
def scaled_attention(c: NcnnContext) -> list[Value]:
    """Heads are the channels; with a cache, what came before is joined to keys and values."""
    p = c.p
    if p.integer(18, 0):
        raise Unsupported("attention with quantized weights")
    masked, cached = p.integer(5, 0), p.integer(7, 0)
    inputs = c.many(3 + (1 if masked else 0) + (2 if cached else 0))
    query, key, value = (c.ranked(v, 4) for v in inputs[:3])
    mask = inputs[3] if masked else None
    if cached:
        past_key, past_value = inputs[-2:]
        key = c.emit("Concat", [past_key, key], {"axis": 2})
        value = c.emit("Concat", [past_value, value], {"axis": 2})
    scale = p.number(6, 0.0) or 1 / math.sqrt(c.channels(query, 3))
    y = c.emit("Attention", [query, key, value, *([_mask(c, mask)] if mask is not None else [])], {"scale": scale})
    return [y, key, value] if cached else [y]


@NCNN.layer("RotaryEmbed")
def rotary_embed(c: NcnnContext) -> Value:
    """Pairs of numbers turned by an angle: halves of the last dimension, or neighbours."""
    x, cos, sin = c.many(3)[:3]
    batch, heads, steps, width = c.dims(c.ranked(x, 4))
    if width % 2:
        raise c.bad(f"its input has {width} values, expected an even number")
    neighbours = bool(c.p.integer(0, 0))
    pairs = c.reshape(x, [batch, heads, steps, *((width // 2, 2) if neighbours else (2, width // 2))])
    axis = 4 if neighbours else 3
    first, second = (c.squeeze(v, [axis]) for v in c.emit_many("Split", [pairs], {"axis": axis, "sizes": [1, 1]}, 2))
    cos, sin = (c.unsqueeze(v, [1]) if v.rank == 3 else v for v in (cos, sin))
    even = c.emit("Sub", [c.emit("Mul", [first, cos]), c.emit("Mul", [second, sin])])
    odd = c.emit("Add", [c.emit("Mul", [first, sin]), c.emit("Mul", [second, cos])])
    y = c.emit("Concat", [c.unsqueeze(even, [axis]), c.unsqueeze(odd, [axis])], {"axis": axis})
    return c.reshape(y, [batch, heads, steps, width])
