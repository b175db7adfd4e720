"""A Pad in front of a convolution or pool becomes its own padding where that means the same."""

from __future__ import annotations

import math
from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.hoist_selects import select_of
from edgec.converter.passes.layout_views import atoms
from edgec.converter.passes.match import array, normalized_axis, only_use, producer, quantized, scalar
from edgec.converter.passes.merge_views import VIEWS, reshape_spec

_PADDED = ("Conv2d", "AvgPool2d", "MaxPool2d")
_NOT_NEGATIVE = ("Relu", "Sigmoid", "HardSigmoid", "Softmax", "Exp", "Abs", "Softplus")


def spatial_pads(pad: Node) -> list[int] | None:
    """[top, left, bottom, right] when only H and W of an NHWC tensor are padded, and by no negative amount."""
    x = pad.inputs[0]
    amounts = array(pad.inputs[1])
    if x is None or amounts is None or x.rank != 4:
        return None
    listed = array(pad.input(3)) if pad.input(3) is not None else np.arange(4)
    if listed is None or (amounts < 0).any():
        return None
    begin, end = [0] * 4, [0] * 4
    for i, axis in enumerate(listed.reshape(-1)):
        a = normalized_axis(int(axis), 4)
        begin[a], end[a] = int(amounts[i]), int(amounts[i + len(listed)])
    return [begin[1], begin[2], end[1], end[2]] if not (begin[0] or begin[3] or end[0] or end[3]) else None


def _not_negative(value: Value | None) -> bool:
    """True when every element is known to be >= 0."""
    node = producer(value)
    if node is None:
        return False
    if node.op == "Clip":
        return float(node.attr("min")) >= 0
    if node.op in ("MaxPool2d", "AvgPool2d", "Reshape", "Transpose"):
        return _not_negative(node.inputs[0])
    if node.op == "Concat":
        return all(_not_negative(v) for v in node.inputs)
    if node.op in ("Conv2d", "MatMul", "ConvTranspose2d"):
        if node.attr("residual_mode") == "after" if node.op != "ConvTranspose2d" else False:
            return False
        kind, low = node.attr("activation"), node.attr("activation_alpha")
        return kind in ("relu", "sigmoid", "hardsigmoid") or (kind == "clip" and low >= 0)
    return node.op in _NOT_NEGATIVE


@rewrite("pad-below-view", ops=VIEWS, stages=("fuse",))
def pad_below_view(graph: Graph, node: Node) -> Patch | None:
    """view(Pad(x)) in front of a convolution or pool -> Pad(view(x)), when the view leaves padded dimensions whole."""
    pad, y = producer(node.inputs[0], "Pad"), node.outputs[0]
    if pad is None or not any(c.op in _PADDED for c in y.consumers) or quantized(pad) or quantized(node):
        return None
    x, amounts = pad.inputs[0], array(pad.inputs[1])
    listed = array(pad.input(3)) if pad.input(3) is not None else np.arange(pad.outputs[0].rank)
    both = atoms(node)
    if x is None or amounts is None or listed is None or both is None:
        return None
    begin, end = [0] * y.rank, [0] * y.rank
    for i, axis in enumerate(listed.reshape(-1)):
        before, after = int(amounts[i]), int(amounts[i + listed.size])
        if before == after == 0:
            continue
        own = both[0][normalized_axis(int(axis), x.rank)]
        if not own or own not in both[1]:
            return None
        begin[both[1].index(own)], end[both[1].index(own)] = before, after
    inner = [tuple(d - b - e for d, b, e in zip(t.shape, begin, end)) for t in y.types]
    spec = reshape_spec([t.shape for t in x.types], inner) if all(d > 0 for s in inner for d in s) else None
    if spec is None:
        return None
    patch = Patch(graph, "Pad moved below a view", node, [pad])
    shape = patch.constant(f"{node.name}:shape", np.array(spec, np.int64))
    pads = patch.constant(f"{pad.name}:pads", np.array(begin + end, np.int64))
    moved = patch.add("Reshape", [x, shape], name=node.name)
    return patch.replace(y, patch.add("Pad", [moved, pads, pad.input(2)], dict(pad.attrs), name=pad.name))


@rewrite("fuse-pad", ops=_PADDED, stages=("fuse",))
def fuse_pad(graph: Graph, node: Node) -> Patch | None:
    """Pad with zeros before Conv2d or AvgPool2d, -inf (or zeros under values >= 0) before MaxPool2d -> its pads."""
    pad = producer(node.inputs[0], "Pad")
    if pad is None or pad.attr("mode") != "constant" or quantized(node) or quantized(pad):
        return None
    value = 0.0 if pad.input(2) is None else scalar(pad.input(2))
    more = spatial_pads(pad)
    if value is None or more is None:
        return None
    x = pad.inputs[0]
    old = list(node.attr("pads"))
    attrs = {**node.attrs, "pads": [a + b for a, b in zip(old, more)]}
    if node.op == "Conv2d":
        if value != 0:
            return None
    elif node.op == "AvgPool2d":
        # The zeros count in the mean; padding that the pool had itself must count too or not exist.
        if value != 0 or node.attr("ceil_mode") or (any(old) and not node.attr("count_include_pad")):
            return None
        attrs["count_include_pad"] = 1
        if not _smaller_than_kernel(attrs):
            return None
    else:
        lowest = value == -math.inf or value <= float(np.finfo(np.float32).min)
        if not lowest and not (value == 0 and _not_negative(x) and _smaller_than_kernel(attrs)):
            return None
        if not _smaller_than_kernel(attrs):
            return None  # a window that sees padding only
    patch = Patch(graph, f"Pad folded into {node.op}", node, [pad])
    return patch.replace(node.outputs[0], patch.add(node.op, [x, *node.inputs[1:]], attrs, name=node.name))


def _smaller_than_kernel(attrs: dict[str, Any]) -> bool:
    kernel: list[int] = list(attrs["kernel"])
    pads: list[int] = list(attrs["pads"])
    return all(p < kernel[i % 2] for i, p in enumerate(pads))


@rewrite("slice-into-convolution", ops=("Slice",), stages=("fuse",))
def slice_into_convolution(graph: Graph, node: Node) -> Patch | None:
    """Rows or columns that a convolution computes only to be cut off (causal networks) -> less padding."""
    x = node.inputs[0]
    conv, select = producer(x, "Conv2d"), select_of(node)
    if conv is None or select is None or x is None or not only_use(graph, x) or select.axis not in (1, 2):
        return None
    source, weight = conv.inputs[0], conv.inputs[1]
    if source is None or weight is None or conv.input(3) is not None or select.step != 1 or quantized(conv):
        return None
    i = select.axis - 1
    size, kernel = source.shape[select.axis], weight.shape[select.axis]
    if size is None or kernel is None:
        return None
    stride = int(conv.attr("strides")[i])
    pads = list(conv.attr("pads"))
    pads[i] -= select.start * stride
    reach = (kernel - 1) * int(conv.attr("dilations")[i]) + 1
    pads[i + 2] = (select.count - 1) * stride + reach - size - pads[i]
    if pads[i] < 0 or pads[i + 2] < 0:
        return None
    patch = Patch(graph, "Slice folded into Conv2d", node, [conv])
    new = patch.add("Conv2d", conv.inputs, {**conv.attrs, "pads": pads}, name=conv.name)
    return patch.replace(node.outputs[0], new)
