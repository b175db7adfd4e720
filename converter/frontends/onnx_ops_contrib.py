"""Attention and embedding operators of com.microsoft, as onnxruntime's transformer optimizer writes them."""

from __future__ import annotations

import math

from edgec.converter.frontends.onnx_context import Context
from edgec.converter.frontends.onnx_ops_norm import layer_norm
from edgec.converter.frontends.onnx_registry import MICROSOFT, Unsupported, onnx_op
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


def no_extra(c: Context, first: int, last: int, what: str) -> None:
    if any(c.input(i) is not None for i in range(first, last + 1)):
        raise Unsupported(f"{c.op} with {what}", "export without past key-value inputs")


@onnx_op("Attention", domain=MICROSOFT)
def attention(c: Context) -> list[Value]:
    x, weight, bias = c.need(0), c.need(1), c.input(2)
    no_extra(c, 4, 4, "past keys")
    no_extra(c, 6, 6, "past sequence length")
    if c.attr("do_rotary", 0):
        raise Unsupported("Attention with rotary embedding inside")
    count, sizes = int(c.need_attr("num_heads")), c.attr("qkv_hidden_sizes")
    width = weight.shape[1]
    if width is None:
        raise Unsupported("Attention with weights of symbolic size")
    sizes = [int(s) for s in sizes] if sizes else [width // 3] * 3
    projected = c.emit("MatMul", [x, weight, bias])
    q, k, v = (heads(c, part, count) for part in c.emit_many("Split", [projected], {"axis": 2, "sizes": sizes}, 3))
    masks = [key_mask(c, c.need(3), x)] if c.input(3) is not None else []
    masks += [c.need(5)] if c.input(5) is not None else []
    return [attend(c, q, k, v, masks, float(c.attr("scale", 0.0)), bool(c.attr("unidirectional", 0)))]


@onnx_op("MultiHeadAttention", domain=MICROSOFT)
def multi_head_attention(c: Context) -> list[Value]:
    q, k, v, bias = c.need(0), c.input(1), c.input(2), c.input(3)
    no_extra(c, 6, 9, "past keys")
    if k is None or v is None or q.rank != 3 or k.rank not in (3, 4):
        raise Unsupported("MultiHeadAttention with packed query, key and value", "export with separate inputs")
    count = int(c.need_attr("num_heads"))
    if bias is not None:
        if k.rank != 3 or any(p.shape[2] is None for p in (q, k, v)):
            raise Unsupported("MultiHeadAttention with a bias over keys that have their heads split")
        sizes = [int(p.shape[2]) for p in (q, k, v)]  # type: ignore[arg-type]
        parts = c.emit_many("Split", [bias], {"axis": 0, "sizes": sizes}, 3)
        q, k, v = (c.emit("Add", [x, b]) for x, b in zip((q, k, v), parts))
    masks = [key_mask(c, c.need(4), q)] if c.input(4) is not None else []
    masks += [c.need(5)] if c.input(5) is not None else []
    q, k, v = (heads(c, part, count) for part in (q, k, v))
    return [attend(c, q, k, v, masks, float(c.attr("scale", 0.0)), bool(c.attr("unidirectional", 0)))]


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
