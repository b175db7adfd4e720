"""Attention and embedding operators of com.microsoft, as onnxruntime's transformer optimizer writes them."""

from __future__ import annotations

import math

import numpy as np

from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.ops_norm import layer_norm
from edgec.converter.frontends.onnx.registry import MICROSOFT, Unsupported, onnx_op
from edgec.converter.ir.graph import Value


def heads(c: Context, x: Value, count: int) -> Value:
    """[B, S, H*D] -> [B, H, S, D]; a tensor of rank 4 is in that order already."""
    if x.rank == 4:
        return x
    width = x.shape[2]
    if width is None or count < 1 or width % count:
        raise Unsupported(f"attention with {count} heads over a width of {width}")
    return c.transpose(c.reshape(x, [c.dim(x, 0), c.dim(x, 1), count, width // count]), [0, 2, 1, 3])


def key_mask(c: Context, mask: Value, like: Value) -> Value:
    """A mask over keys (1 = attend), [B, T] or [B, S, T], as an additive one of rank 4."""
    if mask.rank not in (2, 3):
        raise Unsupported(f"an attention mask of rank {mask.rank}", "pass a mask of [batch, keys]")
    hidden = c.emit("Sub", [c.like(1.0, like), c.cast(mask, like.dtype)])
    # onnxruntime's own filter value: large enough to vanish, small enough to stay finite in a sum.
    return c.unsqueeze(c.emit("Mul", [hidden, c.like(-10000.0, like)]), [1, 2] if mask.rank == 2 else [1])


def attend(c: Context, q: Value, k: Value, v: Value, masks: list[Value], scale: float, causal: bool) -> Value:
    """softmax(q k^T scale + masks) v, back to [B, S, H*D]."""
    total: Value | None = None
    for mask in masks:
        total = mask if total is None else c.emit("Add", [total, mask])
    size = q.shape[3]
    if size is None:
        raise Unsupported("attention over a symbolic head size")
    attrs = {"scale": scale or 1.0 / math.sqrt(size), "causal": int(causal)}
    y = c.transpose(c.emit("Attention", [q, k, v, total], attrs), [0, 2, 1, 3])
    return c.reshape(y, [c.dim(y, 0), c.dim(y, 1), c.mul(c.dim(y, 2), c.dim(y, 3))])


def with_past(c: Context, past: Value | None, new: Value) -> Value:
    """Keys or values of earlier steps in front of the new ones, [B, H, T, D]; the result is the next step's past."""
    return new if past is None else c.emit("Concat", [past, new], {"axis": 2})


def causal_mask(c: Context, q: Value, k: Value, window: int = -1) -> Value:
    """Additive [S, T] for queries that are the last of the keys: query i sees the keys up to T - S + i.

    `window`: it sees only as many of them, itself included; -1: all.
    """
    steps, total = c.dim(q, 2), c.dim(k, 2)
    one, count = c.const(np.array(1, np.int64)), c.reshape(c.shape_vector([total]), [])
    keys = c.emit("Range", [c.const(np.array(0, np.int64)), count, one])
    past = c.emit("Sub", [count, c.reshape(c.shape_vector([steps]), [])])
    places = c.unsqueeze(c.emit("Range", [past, count, one]), [1])
    hidden = c.emit("Greater", [keys, places])
    if window > 0:
        early = c.emit("LessEqual", [keys, c.emit("Sub", [places, c.i64([window])])])
        hidden = c.emit("Or", [hidden, early])
    return c.emit("Where", [hidden, c.like(-np.inf, q), c.like(0.0, q)])


def causal_part(c: Context, q: Value, k: Value, past: bool, window: int = -1) -> tuple[list[Value], bool]:
    """(masks, the operator's own causal flag) of causal attention."""
    return ([causal_mask(c, q, k, window)], False) if past or window > 0 else ([], True)


def refuse(c: Context, inputs: tuple[int, ...], what: str) -> None:
    if any(c.input(i) is not None for i in inputs):
        raise Unsupported(f"{c.op} with {what}", "export with key-value caches that grow")


@onnx_op("Attention", domain=MICROSOFT)
def attention(c: Context) -> list[Value | None]:
    x, weight, bias, past = c.need(0), c.need(1), c.input(2), c.input(4)
    refuse(c, (6,), "a shared buffer of past keys")
    if c.attr("do_rotary", 0):
        raise Unsupported("Attention with rotary embedding inside")
    count, sizes = int(c.need_attr("num_heads")), c.attr("qkv_hidden_sizes")
    width = weight.shape[1]
    if width is None:
        raise Unsupported("Attention with weights of symbolic size")
    sizes = [int(s) for s in sizes] if sizes else [width // 3] * 3
    projected = c.emit("MatMul", [x, weight, bias])
    q, k, v = (heads(c, part, count) for part in c.emit_many("Split", [projected], {"axis": 2, "sizes": sizes}, 3))
    if past is not None:  # [2, B, H, T, D]
        before = c.emit_many("Split", [past], {"axis": 0, "sizes": [1, 1]}, 2)
        k, v = (with_past(c, c.squeeze(old, [0]), new) for old, new in zip(before, (k, v)))
    masks = [key_mask(c, c.need(3), x)] if c.input(3) is not None else []
    masks += [c.need(5)] if c.input(5) is not None else []
    causal = bool(c.attr("unidirectional", 0))
    if causal:
        more, causal = causal_part(c, q, k, past is not None)
        masks += more
    present = c.emit("Concat", [c.unsqueeze(k, [0]), c.unsqueeze(v, [0])], {"axis": 0}) if c.wants(1) else None
    return [attend(c, q, k, v, masks, float(c.attr("scale", 0.0)), causal), present]


@onnx_op("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(c: Context) -> list[Value | None]:
    q, k, v, bias = c.need(0), c.input(1), c.input(2), c.input(3)
    refuse(c, (8, 9), "a shared buffer of past keys")
    count = int(c.need_attr("num_heads"))
    if q.rank == 5:  # [B, S, H, 3, D]
        parts = c.emit_many("Split", [q], {"axis": 3, "sizes": [1, 1, 1]}, 3)
        q, k, v = (c.transpose(c.squeeze(p, [3]), [0, 2, 1, 3]) for p in parts)
    elif k is not None and k.rank == 5:  # [B, T, H, 2, D]
        parts = c.emit_many("Split", [k], {"axis": 3, "sizes": [1, 1]}, 2)
        k, v = (c.transpose(c.squeeze(p, [3]), [0, 2, 1, 3]) for p in parts)
    if k is None or v is None or q.rank not in (3, 4) or k.rank not in (3, 4):
        raise Unsupported(f"MultiHeadAttention with a query of rank {q.rank} and no keys")
    if bias is not None:
        if k.rank != 3 or any(p.shape[2] is None for p in (q, k, v)):
            raise Unsupported("MultiHeadAttention with a bias over keys that have their heads split")
        sizes = [int(p.shape[2]) for p in (q, k, v)]  # type: ignore[arg-type]
        parts = c.emit_many("Split", [bias], {"axis": 0, "sizes": sizes}, 3)
        q, k, v = (c.emit("Add", [x, b]) for x, b in zip((q, k, v), parts))
    masks = [key_mask(c, c.need(4), q)] if c.input(4) is not None else []
    masks += [c.need(5)] if c.input(5) is not None else []
    q, k, v = (heads(c, part, count) for part in (q, k, v))
    k, v = with_past(c, c.input(6), k), with_past(c, c.input(7), v)
    causal = bool(c.attr("unidirectional", 0))
    if causal:
        more, causal = causal_part(c, q, k, c.input(6) is not None)
        masks += more
    return [attend(c, q, k, v, masks, float(c.attr("scale", 0.0)), causal), k, v]


def rotated(c: Context, x: Value, cosine: Value, sine: Value, places: Value, interleaved: bool) -> Value:
    """Rotary embedding of x [B, H, S, D] at `places` [B or 1, S]; tables [positions, R / 2] rotate the first R of D."""
    half, width = cosine.shape[1], x.shape[3]
    if half is None or width is None:
        raise Unsupported(f"{c.op} with tables or heads of symbolic size")
    turn = [c.unsqueeze(c.emit("Gather", [table, places], {"axis": 0}), [1]) for table in (cosine, sine)]
    rest = None
    if width > 2 * half:
        x, rest = c.emit_many("Split", [x], {"axis": 3, "sizes": [2 * half, width - 2 * half]}, 2)
    if interleaved:
        a, b = (c.slice(x, [i], [2 * half], [3], [2]) for i in (0, 1))
    else:
        a, b = c.emit_many("Split", [x], {"axis": 3, "sizes": [half, half]}, 2)
    first = c.emit("Sub", [c.emit("Mul", [a, turn[0]]), c.emit("Mul", [b, turn[1]])])
    second = c.emit("Add", [c.emit("Mul", [a, turn[1]]), c.emit("Mul", [b, turn[0]])])
    if interleaved:
        pairs = c.emit("Concat", [c.unsqueeze(first, [4]), c.unsqueeze(second, [4])], {"axis": 4})
        y = c.reshape(pairs, [*(c.dim(x, i) for i in range(3)), 2 * half])
    else:
        y = c.emit("Concat", [first, second], {"axis": 3})
    return y if rest is None else c.emit("Concat", [y, rest], {"axis": 3})


def steps_from(c: Context, start: Value, x: Value) -> Value:
    """[1, S]: the places of the queries x [B, H, S, D] that begin at `start` (one number)."""
    length = c.reshape(c.shape_vector([c.dim(x, 2)]), [])
    steps = c.emit("Range", [c.const(np.array(0, np.int64)), length, c.const(np.array(1, np.int64))])
    return c.unsqueeze(c.emit("Add", [steps, start]), [0])


@onnx_op("RotaryEmbedding", domain=MICROSOFT)
def rotary_embedding(c: Context) -> Value:
    x, cosine, sine = c.need(0), c.need(2), c.need(3)
    places = c.as_i64(c.need(1))
    assert places is not None
    flat = x.rank == 3
    if flat:
        count = int(c.attr("num_heads", 0))
        half, width = cosine.shape[1], x.shape[2]
        if not count:
            if half is None or width is None or c.attr("rotary_embedding_dim", 0):
                raise Unsupported("RotaryEmbedding without the number of heads")
            count = width // (2 * half)
        x = heads(c, x, count)
    if places.rank == 1:  # one offset
        places = steps_from(c, places, x)
    y = rotated(c, x, cosine, sine, places, bool(c.attr("interleaved", 0)))
    if float(c.attr("scale", 1.0)) != 1.0:
        raise Unsupported("RotaryEmbedding with a scale")
    if not flat:
        return y
    y = c.transpose(y, [0, 2, 1, 3])
    return c.reshape(y, [c.dim(y, 0), c.dim(y, 1), c.mul(c.dim(y, 2), c.dim(y, 3))])


@onnx_op("GroupQueryAttention", domain=MICROSOFT)
def group_query_attention(c: Context) -> list[Value | None]:
    """Causal attention with fewer key heads, rotary embedding and a cache that holds exactly the past.

    The lengths per sequence (input 5) only matter for padded batches: here every sequence is as long as its tensors.
    """
    q, k, v, past = c.need(0), c.input(1), c.input(2), c.input(3)
    count, groups = int(c.need_attr("num_heads")), int(c.need_attr("kv_num_heads"))
    if float(c.attr("softcap", 0.0)) or c.attr("smooth_softmax", 0) or c.attr("k_quant_type", "NONE") != "NONE":
        raise Unsupported("GroupQueryAttention with softcap, smooth softmax or a quantized cache")
    refuse(c, tuple(range(9, 14)), "positions, a bias or sinks of its own")
    if k is None or v is None:
        width = q.shape[2]
        if width is None:
            raise Unsupported("GroupQueryAttention over a symbolic width")
        size = width // (count + 2 * groups)
        q, k, v = c.emit_many("Split", [q], {"axis": 2, "sizes": [count * size, groups * size, groups * size]}, 3)
    q, k, v = heads(c, q, count), heads(c, k, groups), heads(c, v, groups)
    if c.attr("do_rotary", 0):
        start = c.i64([0]) if past is None else c.shape_vector([c.dim(past, 2)])
        places = steps_from(c, start, q)
        q, k = (rotated(c, x, c.need(7), c.need(8), places, bool(c.attr("rotary_interleaved", 0))) for x in (q, k))
    k, v = with_past(c, past, k), with_past(c, c.input(4), v)
    masks, causal = causal_part(c, q, k, past is not None, int(c.attr("local_window_size", -1)))
    return [attend(c, q, k, v, masks, float(c.attr("scale", 0.0)), causal), k, v]


@onnx_op("EmbedLayerNormalization", domain=MICROSOFT)
def embed_layer_normalization(c: Context) -> list[Value | None]:
    """Word + position (+ segment) embeddings, normalised; positions count from 0 when they are not given."""
    ids, segments = c.as_i64(c.need(0)), c.input(1)
    assert ids is not None
    words, positions, types = c.need(2), c.need(3), c.input(4)
    total = c.emit("Gather", [words, ids], {"axis": 0})
    if c.input(8) is not None:
        place = c.emit("Gather", [positions, c.as_i64(c.need(8))], {"axis": 0})
    else:
        length = c.shape_vector([c.dim(ids, 1)])
        place = c.emit("Slice", [positions, c.i64([0]), length, c.i64([0]), c.i64([1])])
    total = c.emit("Add", [total, place])
    if segments is not None and types is not None:
        total = c.emit("Add", [total, c.emit("Gather", [types, c.as_i64(segments)], {"axis": 0})])
    y = layer_norm(c, total, c.need(5), c.need(6), 2, float(c.attr("epsilon", 1e-12)))
    lengths = None
    if c.wants(1):
        if c.input(7) is None:
            raise Unsupported("EmbedLayerNormalization with a mask index but no mask")
        lengths = c.cast(c.emit("ReduceSum", [c.cast(c.need(7), "i64")], {"axes": [1], "keepdims": 0}), "i32")
    return [y, lengths, total]
