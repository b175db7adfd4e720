"""Int8 in ncnn: symmetric, values multiplied by a scale, rounded, and limited to [-127, 127].

Layers that compute in int8 become Q/DQ around f32 ones. The explicit layers Quantize, Requantize and Dequantize pass
integers; here they are integral f32 values, and `from_integers` turns them back into real ones.
"""

from __future__ import annotations

import numpy as np

from edgec.converter.frontends.layers.importer import MAX_ELEMENTS
from edgec.converter.frontends.layers.ops import per_channel
from edgec.converter.frontends.ncnn.context import NcnnContext
from edgec.converter.frontends.ncnn.registry import NCNN
from edgec.converter.ir.graph import Value


def fake_quantized(c: NcnnContext, x: Value, scale: float) -> Value:
    """x through int8 and back. ncnn multiplies by `scale` to quantize."""
    x = from_integers(c, x, scale)
    step, zero = c.const(np.float32(1.0 / scale)), c.const(np.int8(0))
    return c.emit("DequantizeLinear", [c.emit("QuantizeLinear", [x, step, zero]), step, zero])


def dequantized_bias(c: NcnnContext, bias: np.ndarray, scale: np.ndarray) -> Value:
    """The bias as i32 in units of the products, and back."""
    scale = np.where(scale > 0, scale, 1.0)
    whole = np.clip(np.rint(bias.astype(np.float64) * scale), -(2**31), 2**31 - 1).astype(np.int32)
    return c.emit("DequantizeLinear", [c.const(whole), c.const((1.0 / scale).astype(np.float32))], {"axis": 0})


def from_integers(c: NcnnContext, x: Value, scale: float | None) -> Value:
    """Real values from what a Quantize or Requantize layer gave."""
    if id(x) not in _integers(c) or scale is None:
        return x
    return c.affine(x, 1.0 / scale)


def _integers(c: NcnnContext) -> dict[int, Value]:
    return c.layers.marked


def _vector(c: NcnnContext, x: Value, count: int, what: str) -> np.ndarray:
    values = c.raw([count], what, 1.0)
    if count != 1 and count != c.channels(x):
        raise c.bad(f"{count} {what} for {c.channels(x)} channels")
    return values.reshape([1] * x.rank) if count == 1 else per_channel(values, x.rank)


def _count(c: NcnnContext, key: int, default: int) -> int:
    count = c.p.integer(key, default)
    if not 0 <= count <= MAX_ELEMENTS:
        raise c.bad(f"{count} values")
    return count


def _rounded(c: NcnnContext, x: Value) -> Value:
    """Half away from zero, as ncnn rounds."""
    size = c.emit("Floor", [c.affine(c.emit("Abs", [x]), 1.0, 0.5)])
    y = c.emit("Clip", [c.emit("Mul", [c.emit("Sign", [x]), size])], {"min": -127.0, "max": 127.0})
    _integers(c)[id(y)] = y
    return y


@NCNN.layer("Quantize")
def quantize(c: NcnnContext) -> Value:
    x = c.x()
    return _rounded(c, c.affine(x, _vector(c, x, _count(c, 0, 1), "scales")))


@NCNN.layer("Dequantize")
def dequantize(c: NcnnContext) -> Value:
    x = c.x()
    y = c.affine(x, _vector(c, x, _count(c, 0, 1), "scales"))
    biases = _count(c, 1, 0)
    return c.affine(y, 1.0, _vector(c, x, biases, "biases")) if biases else y


@NCNN.layer("Requantize")
def requantize(c: NcnnContext) -> Value:
    x = c.x()
    scale_in = _vector(c, x, _count(c, 0, 1), "input scales")
    scale_out = _vector(c, x, _count(c, 1, 1), "output scales")
    biases = _count(c, 2, 0)
    y = c.affine(x, scale_in, _vector(c, x, biases, "biases") if biases else 0.0)
    return _rounded(c, c.affine(c.activate(y, 3, 4), scale_out))
