"""Operators of PyTorch that its ONNX exporter does not know, in terms of those that it does. Imports torch; late."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any


def decompose(program: Any) -> Any:
    """The program with the operators of the table below written out; the program itself if it has none of them."""
    found = {
        node.target: _RULES[node.target.name()]
        for module in program.graph_module.modules()
        for node in getattr(getattr(module, "graph", None), "nodes", ())
        if node.op == "call_function" and hasattr(node.target, "name") and _wanted(node)
    }
    return program.run_decompositions(found) if found else program


def _wanted(node: Any) -> bool:
    name = node.target.name()
    if name not in ("aten::adaptive_avg_pool2d", "aten::unsqueeze"):
        return name in _RULES
    value = node.args[0].meta.get("val")
    if name == "aten::unsqueeze":
        return value is not None and value.is_complex()
    # Sizes that are known are pooled as they are.
    return value is not None and not all(isinstance(d, int) for d in value.shape[-2:])


def _adaptive_average(x: Any, output_size: Any) -> Any:
    """Averages of the cells of a grid over sizes that only the run knows.

    torch's own rule counts the pixels of a cell while it exports, and the count is wrong for any other size.
    """
    import torch

    rows, columns = (s if o is None else o for s, o in zip(x.shape[-2:], output_size))
    if rows == 1 and columns == 1:
        return x.mean((-2, -1), keepdim=True)

    def cells(count: Any, size: Any) -> Any:  # [count, size], each row an average
        i, j = torch.arange(count).unsqueeze(1), torch.arange(size).unsqueeze(0)
        inside = (j >= i * size // count) & (j < ((i + 1) * size + count - 1) // count)
        weights = inside.to(x.dtype)
        return weights / weights.sum(1, keepdim=True)

    return cells(rows, x.shape[-2]) @ (x @ cells(columns, x.shape[-1]).transpose(0, 1))


def _adaptive_maximum(x: Any, output_size: Any) -> tuple[Any, Any]:
    """Maxima of the cells of a grid and their places in the image, cell by cell."""
    import torch

    height, width = x.shape[-2:]
    rows, columns = output_size if len(output_size) == 2 else (output_size[0],) * 2
    values, places = [], []
    for i in range(rows):
        top, bottom = i * height // rows, ((i + 1) * height + rows - 1) // rows
        for j in range(columns):
            left, right = j * width // columns, ((j + 1) * width + columns - 1) // columns
            best, index = x[..., top:bottom, left:right].flatten(-2).max(-1)
            across = right - left
            row = torch.div(index, across, rounding_mode="floor")
            values.append(best)
            places.append((top + row) * width + left + index - row * across)
    shape = (*x.shape[:-2], rows, columns)
    return torch.stack(values, -1).view(shape), torch.stack(places, -1).view(shape)


def _complex_unsqueeze(x: Any, dim: int) -> Any:
    """The exporter keeps real and imaginary part on a last axis, and counts it here."""
    import torch

    if not x.is_complex():
        return NotImplemented
    place = dim % (x.dim() + 1)
    return torch.view_as_complex(torch.view_as_real(x).unsqueeze(place))


def _convolution(
    x: Any, weight: Any, bias: Any, stride: Any, padding: Any, dilation: Any, transposed: bool, output_padding: Any,
    groups: int, *switches: Any,
) -> Any:  # fmt: skip
    """What jit.trace records for a convolution: the public operator and switches for kernels."""
    import torch

    return torch.convolution(x, weight, bias, stride, padding, dilation, transposed, output_padding, groups)


def _grouped_mm(x: Any, weight: Any, offs: Any = None, bias: Any = None, out_dtype: Any = None) -> Any:
    """Mixture of experts: rows up to offs[e] of x [T, K] meet weight[e] [K, N].

    Every row meets every expert and is kept by one: the assignment depends on data, static shapes cannot follow it.
    """
    import torch

    if x.dim() == 3 or weight.dim() == 2:
        if x.dim() == 3 and weight.dim() == 3:
            return torch.bmm(x, weight)
        raise NotImplementedError("_grouped_mm with groups along K or N")
    rows = torch.arange(x.shape[0], device=x.device)
    expert = (rows.unsqueeze(1) >= offs.unsqueeze(0)).sum(1)
    every = torch.matmul(x.unsqueeze(0), weight)  # [E, T, N]
    mine = (expert.unsqueeze(0) == torch.arange(weight.shape[0], device=x.device).unsqueeze(1)).unsqueeze(2)
    result = torch.where(mine, every, torch.zeros((), dtype=every.dtype)).sum(0)
    return result if bias is None else result + bias


def _attention(
    x: Any, heads: int, qkv: tuple[Any, Any], out: tuple[Any, Any], mask: Any, mask_type: Any
) -> tuple[Any, Any]:
    """Self-attention of x [B, L, E] as torch's fused inference kernels define it; mask: true (or not 0) hides."""
    import torch
    from torch.nn import functional

    batch, length, width = x.shape
    parts = functional.linear(x, *qkv).view(batch, length, 3, heads, width // heads).permute(2, 0, 3, 1, 4)
    scores = torch.matmul(parts[0] * (width // heads) ** -0.5, parts[1].transpose(-1, -2))
    if mask is not None:
        hidden = mask.to(torch.bool)
        if mask_type == _KEY_PADDING:
            hidden = hidden.view(batch, 1, 1, length)
        scores = scores.masked_fill(hidden, float("-inf"))
    weights = torch.softmax(scores, -1)
    return functional.linear(
        torch.matmul(weights, parts[2]).transpose(1, 2).reshape(batch, length, width), *out
    ), weights


_KEY_PADDING = 1  # mask_type of [B, L]; 0 is [L, L], 2 is both merged


def _encoder_layer(
    x: Any, width: int, heads: int, qkv_weight: Any, qkv_bias: Any, weight: Any, bias: Any, gelu: bool,
    norm_first: bool, epsilon: float,
    scale_1: Any, shift_1: Any, scale_2: Any, shift_2: Any, weight_1: Any, bias_1: Any, weight_2: Any, bias_2: Any,
    mask: Any = None, mask_type: Any = None,
) -> Any:  # fmt: skip
    """torch.nn.TransformerEncoderLayer on its fast path."""
    from torch.nn import functional

    def attend(y: Any) -> Any:
        return _attention(y, heads, (qkv_weight, qkv_bias), (weight, bias), mask, mask_type)[0]

    def feed_forward(y: Any) -> Any:
        y = functional.linear(y, weight_1, bias_1)
        return functional.linear(functional.gelu(y) if gelu else functional.relu(y), weight_2, bias_2)

    def norm(y: Any, scale: Any, shift: Any) -> Any:
        return functional.layer_norm(y, [width], scale, shift, epsilon)

    if norm_first:
        x = x + attend(norm(x, scale_1, shift_1))
        return x + feed_forward(norm(x, scale_2, shift_2))
    x = norm(x + attend(x), scale_1, shift_1)
    return norm(x + feed_forward(x), scale_2, shift_2)


def _native_attention(
    query: Any, key: Any, value: Any, width: int, heads: int, qkv_weight: Any, qkv_bias: Any, weight: Any, bias: Any,
    mask: Any = None, need_weights: bool = True, average_attn_weights: bool = True, mask_type: Any = None,
) -> tuple[Any, Any]:  # fmt: skip
    """torch.nn.MultiheadAttention on its fast path, which takes self-attention only."""
    y, weights = _attention(query, heads, (qkv_weight, qkv_bias), (weight, bias), mask, mask_type)
    if not need_weights:
        return y, query.new_empty(0)
    return y, weights.mean(1) if average_attn_weights else weights


_RULES: dict[str, Callable[..., Any]] = {
    "aten::adaptive_avg_pool2d": _adaptive_average,
    "aten::unsqueeze": _complex_unsqueeze,
    "aten::_convolution": _convolution,
    "aten::adaptive_max_pool2d": _adaptive_maximum,
    "aten::_grouped_mm": _grouped_mm,
    "transformers::grouped_mm_fallback": _grouped_mm,
    "aten::_transformer_encoder_layer_fwd": _encoder_layer,
    "aten::_native_multi_head_attention": _native_attention,
}
