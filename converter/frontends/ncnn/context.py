"""What an ncnn handler sees of one layer. ncnn has no batch: its tensors [C, H, W] are [1, C, H, W] here.

Weights come in the order of the file. A handler therefore reads all of its layer's weights before it may refuse.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from edgec.converter.frontends.layers.importer import MAX_ELEMENTS, Layer, LayerContext, LayerImporter
from edgec.converter.frontends.ncnn.param import Params
from edgec.converter.frontends.ncnn.weights import WeightStream
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value

_ACTIVATIONS = {1: "Relu", 4: "Sigmoid", 5: "Mish"}


class NcnnContext(LayerContext):
    """One ncnn layer while its handler runs."""

    def __init__(self, importer: LayerImporter, layer: Layer, inputs: list[Value | None]) -> None:
        super().__init__(importer, layer, inputs)
        self.p: Params = layer.parameters
        self.stream: WeightStream = layer.weights

    # -- axes ---------------------------------------------------------------------------------------
    def axis_of(self, x: Value, axis: int) -> int:
        """ncnn counts from the outermost dimension and knows no batch."""
        rank = x.rank - 1
        if not -rank <= axis < rank:
            raise self.bad(f"axis {axis} for a tensor of {rank} dimensions")
        return axis + 1 if axis >= 0 else axis + x.rank

    # -- weights ------------------------------------------------------------------------------------
    def _checked(self, shape: Sequence[int], what: str) -> int:
        count = math.prod(shape)
        if min(shape, default=1) < 0 or count > MAX_ELEMENTS:
            raise self.bad(f"its {what} would have the shape {list(shape)}")
        return count

    def _label(self, what: str) -> str:
        return f"{self.op} {self.source}: its {what}"

    def raw(self, shape: Sequence[int], what: str, fill: float | None = None) -> np.ndarray:
        """f32 weights without a tag. `fill`: their value among random weights (None: random)."""
        count = self._checked(shape, what)
        if self.stream.lost:
            return np.zeros(shape, np.float32)
        if self.stream.generator is not None:
            return np.full(shape, fill, np.float32) if fill is not None else self._random(shape)
        return self.stream.raw(count, self._label(what)).reshape(shape)

    def tagged(self, shape: Sequence[int], what: str, int8: bool = False) -> np.ndarray:
        """f32 or i8 weights behind a tag; `int8`: the layer has scales for i8."""
        count = self._checked(shape, what)
        if self.stream.lost:
            return np.zeros(shape, np.float32)
        if self.stream.generator is not None:
            if int8:
                return self.stream.generator.integers(-127, 128, shape, np.int8)
            return self._random(shape)
        return self.stream.tagged(count, self._label(what)).reshape(shape)

    def floats(self, shape: Sequence[int], what: str) -> np.ndarray:
        """f32 weights behind a tag, where i8 is not possible."""
        values = self.tagged(shape, what)
        if values.dtype == np.int8:
            raise self.bad(f"its {what} is int8, which the layer has no scales for")
        return values

    def _random(self, shape: Sequence[int]) -> np.ndarray:
        assert self.stream.generator is not None
        fan_in = max(math.prod(shape[1:]), 1) if len(shape) > 1 else 1
        return self.stream.generator.standard_normal(shape, np.float32) * np.float32(fan_in**-0.5)

    def needs_one_input(self) -> Value:
        """The input, where a second one would hold weights."""
        if len(self.inputs) > 1:
            raise Unsupported("weights that the network computes", "make them constants")
        return self.x()

    # -- activations --------------------------------------------------------------------------------
    def activate(self, x: Value, kind_key: int = 9, values_key: int = 10) -> Value:
        """The activation that ncnn fuses into many layers."""
        kind, values = self.p.integer(kind_key, 0), self.p.numbers(values_key)
        needed = {2: 1, 3: 2, 6: 2}.get(kind, 0)
        if len(values) < needed:
            raise self.bad(f"its activation {kind} has {len(values)} parameters, expected {needed}")
        attrs: dict[str, Any] = {}
        if kind == 0:
            return x
        if kind in _ACTIVATIONS:
            return self.emit(_ACTIVATIONS[kind], [x], attrs)
        if kind == 2:
            return self.emit("LeakyRelu", [x], {"alpha": values[0]})
        if kind == 3:
            return self.emit("Clip", [x], {"min": values[0], "max": values[1]})
        if kind == 6:
            return self.hard_swish(x, values[0], values[1])
        raise self.bad(f"there is no activation {kind}")

    def hard_swish(self, x: Value, alpha: float, beta: float) -> Value:
        """x * clamp(alpha * x + beta, 0, 1)"""
        if abs(alpha - 1 / 6) < 1e-6 and beta == 0.5:
            return self.emit("HardSwish", [x])
        return self.emit("Mul", [x, self.emit("HardSigmoid", [x], {"alpha": alpha, "beta": beta})])
