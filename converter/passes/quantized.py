"""What the rewrites that make integer operators ask about Q and DQ. The arithmetic is that of docs/numerics.md."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch
from edgec.converter.passes.match import array, normalized_axis, only_use, producer

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Scaled:
    """real = (q - zero_point) * scale: one f32 scale for the tensor."""

    scale: float
    zero_point: int

    def attrs(self, prefix: str) -> dict[str, Any]:
        """The two attributes of an integer operator."""
        return {f"{prefix}_scale": self.scale, f"{prefix}_zero_point": self.zero_point}

    def real(self) -> Array:
        """The 256 numbers that i8 values mean, in f64."""
        return np.asarray((np.arange(-128, 128) - self.zero_point) * np.float64(np.float32(self.scale)))


@dataclass(frozen=True)
class Stored:
    """An 8-bit tensor behind a DequantizeLinear."""

    value: Value
    scaled: Scaled
    node: Node


@dataclass(frozen=True)
class StoredWeight:
    """A constant i8 tensor behind a DequantizeLinear; axis -1: one scale."""

    value: Value
    data: Array
    scale: Array  # f32 [1] or [n]
    zero_point: Array  # i64, as many
    axis: int


def parameters(node: Node) -> Scaled | None:
    """Scale and zero point of a QuantizeLinear or DequantizeLinear with one constant scale, else None."""
    scale, zero = array(node.inputs[1]), array(node.input(2))
    if scale is None or scale.size != 1 or scale.dtype != np.float32 or node.attr("block_size"):
        return None
    if node.input(2) is not None and (zero is None or zero.size != 1):
        return None
    number = float(scale.reshape(-1)[0])
    if not number > 0 or not math.isfinite(number):
        return None
    return Scaled(number, 0 if zero is None else int(zero.reshape(-1)[0]))


def dequantized(value: Value | None, dtype: str = "i8") -> Stored | None:
    """The i8 tensor that `value` is the dequantized form of, if it has one scale; f32 only."""
    node = producer(value, "DequantizeLinear")
    if node is None or value is None or not value.types or value.dtype != "f32":
        return None
    x = node.inputs[0]
    if x is None or not x.types or x.dtype != dtype:
        return None
    scaled = parameters(node)
    return None if scaled is None else Stored(x, scaled, node)


def quantizer(node: Node, dtype: str = "i8") -> Scaled | None:
    """Parameters of a QuantizeLinear from f32 to `dtype` with one scale."""
    x, y = node.inputs[0], node.outputs[0]
    if node.op != "QuantizeLinear" or x is None or x.dtype != "f32" or y.dtype != dtype:
        return None
    return parameters(node)


def stored_weight(value: Value | None) -> StoredWeight | None:
    """A constant i8 weight with one scale or one per index of an axis."""
    node = producer(value, "DequantizeLinear")
    if node is None or value is None or value.dtype != "f32" or node.attr("block_size"):
        return None
    x, scale, zero = node.inputs[0], array(node.inputs[1]), array(node.input(2))
    if x is None or x.data is None or x.data.dtype != np.int8 or scale is None or scale.dtype != np.float32:
        return None
    if node.input(2) is not None and zero is None:
        return None
    scale = scale.reshape(-1)
    points = np.zeros(scale.size, np.int64) if zero is None else zero.reshape(-1).astype(np.int64)
    if not (scale > 0).all() or not np.isfinite(scale).all() or points.size != scale.size:
        return None
    axis = normalized_axis(node.attr("axis"), x.rank) if scale.size > 1 else -1
    return StoredWeight(x, x.data, scale, points, axis)


def real_constant(value: Value | None) -> Array | None:
    """A constant as f64, also when it is stored in integers behind a DequantizeLinear."""
    data = array(value)
    if data is not None:
        return data.astype(np.float64) if data.dtype.kind in "fiu" else None
    node = producer(value, "DequantizeLinear")
    if node is None or node.attr("block_size"):
        return None
    x, scale, zero = array(node.inputs[0]), array(node.inputs[1]), array(node.input(2))
    if x is None or scale is None or (node.input(2) is not None and zero is None):
        return None
    points = np.zeros(scale.size, np.float64) if zero is None else zero.reshape(-1).astype(np.float64)
    shape: list[int] = []
    if scale.size > 1:
        axis = normalized_axis(node.attr("axis"), x.ndim)
        shape = [-1 if a == axis else 1 for a in range(x.ndim)]
    difference = (x.astype(np.float64) - points.reshape(shape)).astype(np.float32)
    return np.asarray(difference * scale.reshape(shape).astype(np.float32), np.float64)


# -- what a relu or clip leaves of the output's range -----------------------------------------------------------


@dataclass(frozen=True)
class Limits:
    """Least and greatest i8 result."""

    minimum: int = -128
    maximum: int = 127

    def clipped(self, low: float, high: float, y: Scaled) -> Limits:
        """With another clip to the real numbers [low, high] in front of these limits."""
        least, greatest = (min(max(_quantized(v, y), self.minimum), self.maximum) for v in (low, high))
        return Limits(least, greatest)

    def attrs(self) -> dict[str, Any]:
        """The attributes of an integer operator."""
        return {"minimum": self.minimum, "maximum": self.maximum}


def _quantized(real: float, y: Scaled) -> int:
    v = np.float64(real) / np.float64(np.float32(y.scale))
    return int(np.clip(np.rint(np.clip(v, -(2.0**30), 2.0**30)) + y.zero_point, -(2**31), 2**31 - 1))


def clip_range(op: str, attrs: Mapping[str, Any]) -> tuple[float, float] | None:
    """What Relu, Clip or the activation attributes of a convolution cut to; None for other functions."""
    if op in ("Relu", "relu"):
        return 0.0, math.inf
    if op == "Clip":
        return float(attrs.get("min", -math.inf)), float(attrs.get("max", math.inf))
    if op == "clip":
        return float(attrs.get("activation_alpha", 0.0)), float(attrs.get("activation_beta", 0.0))
    return (-math.inf, math.inf) if op == "none" else None


def before_clip(graph: Graph, value: Value | None, y: Scaled) -> tuple[Value | None, Limits, list[Node]]:
    """Looks through Relu and Clip: what they read, the limits that they leave, and the nodes themselves."""
    limits, nodes = Limits(), []
    while value is not None and (node := producer(value, "Relu", "Clip")) is not None and only_use(graph, value):
        cut = clip_range(node.op, node.attrs)
        assert cut is not None
        limits = limits.clipped(*cut, y)
        nodes.append(node)
        value = node.inputs[0]
    return value, limits, nodes


def quantize_constant(patch: Patch, name: str, y: Scaled, dtype: str = "i8") -> tuple[Value, Value]:
    """Scale and zero point as inputs of Q or DQ."""
    kind = np.uint8 if dtype == "u8" else np.int8
    scale = patch.constant(f"{name}:scale", np.float32(y.scale).reshape(()))
    return scale, patch.constant(f"{name}:zero_point", np.asarray(y.zero_point, kind).reshape(()))


def requantize(patch: Patch, value: Value, x: Scaled, y: Scaled) -> Value:
    """The i8 tensor under another scale and zero point; the tensor itself when they are the same."""
    if x == y:
        return value
    return patch.add("Requantize", [value], {**x.attrs("x"), **y.attrs("y")})


def exact_shift(node: Node) -> bool:
    """A Requantize that only moves values and zero point by 128 (i8 to u8 or back)."""
    x, y = node.inputs[0], node.outputs[0]
    return (
        x is not None
        and {x.dtype, y.dtype} == {"i8", "u8"}
        and node.attr("x_scale") == node.attr("y_scale")
        and abs(node.attr("y_zero_point") - node.attr("x_zero_point")) == 128
        and (node.attr("minimum"), node.attr("maximum")) == (-128, 127)
    )
