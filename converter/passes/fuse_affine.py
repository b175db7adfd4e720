"""Mul and Add with constants go into the weights and the bias of the convolution or product beside them.

BatchNorm at inference is such a Mul and Add, so this is also how it disappears.
"""

from __future__ import annotations

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.match import array, is_f32, only_use, per_last_dim, producer

DOT = ("Conv2d", "ConvTranspose2d", "MatMul")
CONVOLUTIONS = ("Conv2d", "ConvTranspose2d")


def output_channels(node: Node) -> int | None:
    """Size of the last dimension of the result."""
    return node.outputs[0].shape[-1] if node.outputs[0].rank else None


def weights(node: Node) -> np.ndarray | None:
    """The constant f32 weight of a convolution, or the constant f32 right side of a MatMul."""
    data = array(node.inputs[1])
    if data is None or data.dtype != np.float32 or node.inputs[1] is None or node.inputs[1].quantization is not None:
        return None
    return data if node.op != "MatMul" or data.ndim >= 2 else None


def bias(node: Node, channels: int) -> np.ndarray | None:
    """The bias as a vector, zeros when there is none; None when it is not a constant."""
    if node.input(2) is None:
        return np.zeros(channels, np.float32)
    data = array(node.input(2))
    return None if data is None else data.reshape(channels)


def plain(node: Node) -> bool:
    """True when nothing follows the sum of products and bias: no activation and no residual."""
    return node.attr("activation") == "none" and (node.op == "ConvTranspose2d" or node.input(3) is None)


def rebuilt(
    patch: Patch, node: Node, weight: np.ndarray | None, bias_data: np.ndarray | None, x: Value | None = None
) -> Value:
    """The node with other constants; None keeps the old weight, a bias of zeros is left out."""
    inputs = list(node.inputs) + [None] * (3 - len(node.inputs))
    if x is not None:
        inputs[0] = x
    if weight is not None and node.inputs[1] is not None:
        inputs[1] = patch.constant(node.inputs[1].name, np.ascontiguousarray(weight, np.float32))
    if bias_data is not None:
        old = node.input(2)
        name = old.name if old is not None else f"{node.name}:bias"
        inputs[2] = patch.constant(name, bias_data.astype(np.float32)) if bias_data.any() else None
    return patch.add(node.op, inputs, dict(node.attrs), name=node.name)


def _scaled_outputs(node: Node, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Each output channel multiplied by its factor."""
    if node.op != "MatMul":
        factor = factor.reshape(-1, 1, 1, 1)
    elif node.attr("transpose_b"):
        factor = factor.reshape(-1, 1)
    return np.asarray(weight * factor)


def _scaled_inputs(node: Node, weight: np.ndarray, factor: np.ndarray) -> np.ndarray:
    """Each input channel multiplied by its factor."""
    if node.op == "MatMul":
        return np.asarray(weight * (factor if node.attr("transpose_b") else factor.reshape(-1, 1)))
    groups = node.attr("group")
    outputs, per_group = weight.shape[0], weight.shape[3]
    by_output = np.repeat(factor.reshape(groups, per_group), outputs // groups, axis=0)
    return np.asarray(weight * by_output.reshape(outputs, 1, 1, per_group))


def _shifted(node: Node, weight: np.ndarray, shift: np.ndarray) -> np.ndarray:
    """What a constant added to every input channel adds to every output channel."""
    w = weight.astype(np.float64)
    if node.op == "MatMul":
        return np.asarray(w @ shift if node.attr("transpose_b") else shift @ w, np.float32)
    groups = node.attr("group")
    sums = w.sum(axis=(1, 2)).reshape(groups, -1, weight.shape[3])
    shifts = np.einsum("goc,gc->go", sums, shift.astype(np.float64).reshape(groups, -1))
    return np.asarray(shifts.reshape(-1), np.float32)


def _finite(*arrays: np.ndarray) -> bool:
    return all(bool(np.isfinite(a).all()) for a in arrays)


@rewrite("fold-affine-after", ops=("Mul", "Add"), stages=("fuse",))
def fold_affine_after(graph: Graph, node: Node) -> Patch | None:
    """Mul or Add of a constant per channel after a convolution or product -> into its weights and bias."""
    if not is_f32(*node.inputs, *node.outputs):
        return None
    for x, c in (node.inputs, node.inputs[::-1]):
        dot = producer(x, *DOT)
        if dot is None or x is None or not only_use(graph, x) or not plain(dot) or x.types != node.outputs[0].types:
            continue
        if not is_f32(*dot.inputs):
            continue
        channels = output_channels(dot)
        constant = per_last_dim(c, channels)
        if constant is None or channels is None:
            continue
        old_bias = bias(dot, channels)
        if old_bias is None or (dot.op == "MatMul" and x.rank < 2):
            continue
        patch = Patch(graph, f"{node.op} folded into {dot.op}", node, [dot])
        if node.op == "Add":
            new = rebuilt(patch, dot, None, old_bias + constant)
        else:
            weight = weights(dot)
            if weight is None or (len(dot.inputs[1].consumers) > 1 and weight.nbytes > 1 << 20):  # type: ignore[union-attr]
                continue
            scaled = _scaled_outputs(dot, weight, constant)
            if not _finite(scaled):
                continue
            new = rebuilt(patch, dot, scaled, old_bias * constant)
        return patch.replace(node.outputs[0], new)
    return None


@rewrite("fold-affine-before", ops=DOT, stages=("fuse",))
def fold_affine_before(graph: Graph, node: Node) -> Patch | None:
    """Mul (or, where nothing is padded, Add) of a constant per channel before a convolution or product -> weights."""
    affine = producer(node.inputs[0], "Mul", "Add")
    weight = weights(node)
    x = node.inputs[0]
    if affine is None or weight is None or x is None or not only_use(graph, x):
        return None
    if not is_f32(*affine.inputs, *node.inputs) or (node.op == "MatMul" and (node.attr("transpose_a") or x.rank < 2)):
        return None
    if affine.op == "Add" and (node.op == "ConvTranspose2d" or (node.op == "Conv2d" and any(node.attr("pads")))):
        return None  # padding is zero after the addition, not before
    if weight.ndim != (2 if node.op == "MatMul" else 4):
        return None
    for source, c in (affine.inputs, affine.inputs[::-1]):
        constant = per_last_dim(c, x.shape[-1])
        if constant is None or source is None or source.types != x.types or source.is_constant:
            continue
        patch = Patch(graph, f"{affine.op} before {node.op} folded", node, [affine])
        if affine.op == "Mul":
            scaled = _scaled_inputs(node, weight, constant)
            return (
                patch.replace(node.outputs[0], rebuilt(patch, node, scaled, None, source)) if _finite(scaled) else None
            )
        channels = output_channels(node)
        old_bias = None if channels is None else bias(node, channels)
        if old_bias is None:
            return None
        total = old_bias + _shifted(node, weight, constant)
        return patch.replace(node.outputs[0], rebuilt(patch, node, None, total, source)) if _finite(total) else None
    return None
