"""What a Caffe handler sees of one layer: the parameters from the text and the weights by the layer's name."""

from __future__ import annotations

import difflib
import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.caffe.text import Message
from edgec.converter.frontends.caffe.wire import Blob, WeightLayer
from edgec.converter.frontends.layers.importer import MAX_ELEMENTS, Layer, LayerContext, LayerImporter
from edgec.converter.ir.graph import Value


@dataclass
class Weights:
    """The caffemodel's layers by name, or a generator of random weights (seed given)."""

    layers: dict[str, WeightLayer] = field(default_factory=dict)
    file: str = ""
    generator: np.random.Generator | None = None
    used: set[str] = field(default_factory=set)

    @classmethod
    def of(cls, layers: Sequence[WeightLayer], file: str) -> Weights:
        # A name that occurs twice has its weights in one of the two.
        by_name: dict[str, WeightLayer] = {}
        for layer in layers:
            if layer.blobs or layer.name not in by_name:
                by_name[layer.name] = layer
        return cls(by_name, file)

    @classmethod
    def random(cls, seed: int) -> Weights:
        return cls(generator=np.random.default_rng(seed))

    def remarks(self) -> list[str]:
        rest = [n for n, layer in self.layers.items() if layer.blobs and n not in self.used]
        if not rest:
            return []
        shown = ", ".join(rest[:3]) + (f" and {len(rest) - 3} more" if len(rest) > 3 else "")
        return [f"{self.file} holds weights of layers that the network does not have: {shown}"]


class CaffeContext(LayerContext):
    """One Caffe layer while its handler runs."""

    def __init__(self, importer: LayerImporter, layer: Layer, inputs: list[Value | None]) -> None:
        super().__init__(importer, layer, inputs)
        self.message: Message = layer.parameters
        self.weights: Weights = layer.weights

    def param(self, name: str) -> Message:
        """A parameter message such as convolution_param; empty when the layer has none."""
        return self.message.message(name)

    @property
    def blob_count(self) -> int | None:
        """How many blobs the file has for the layer; None with random weights."""
        if self.weights.generator is not None:
            return None
        return len(self._blobs())

    def _blobs(self) -> list[Blob]:
        found = self.weights.layers.get(self.name)
        if found is None:
            near = difflib.get_close_matches(self.name, [n for n, v in self.weights.layers.items() if v.blobs], 1)
            raise BadFileError(
                f"{self.op} {self.source}: {self.weights.file} has no weights for it"
                + (f" (it has '{near[0]}')" if near else ""),
                hint="the definition and the weights belong to different networks",
            )
        self.weights.used.add(self.name)
        return found.blobs

    def weight(self, index: int, shape: Sequence[int], what: str, fill: float | None = None) -> np.ndarray:
        """Blob `index` as f32 of this shape. `fill`: its value among random weights (None: random)."""
        count = math.prod(shape)
        if count > MAX_ELEMENTS or min(shape, default=1) < 0:
            raise self.bad(f"its {what} would have the shape {list(shape)}")
        if self.weights.generator is not None:
            if fill is not None:
                return np.full(shape, fill, np.float32)
            fan_in = max(math.prod(shape[1:]), 1) if len(shape) > 1 else 1
            values = self.weights.generator.standard_normal(count, np.float32) * np.float32(fan_in**-0.5)
            return values.reshape(shape)
        blobs = self._blobs()
        if index >= len(blobs):
            raise self.bad(f"{self.weights.file} has {len(blobs)} blobs for it, expected {what} as blob {index}")
        blob = blobs[index]
        # Old files pad shapes with ones in front (and bias vectors to 1x1x1xN).
        stored, wanted = [d for d in blob.shape if d != 1], [d for d in shape if d != 1]
        if blob.size != count or (blob.shape and stored != wanted):
            raise self.bad(
                f"its {what} is {blob.shape} ({blob.size} values) in {self.weights.file}, expected {list(shape)}"
            )
        return blob.array().reshape(shape)
