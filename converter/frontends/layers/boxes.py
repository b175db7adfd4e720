"""Prior boxes, and the selection of boxes at the end of detectors, from operators of the IR."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from edgec.converter.frontends.layers.importer import MAX_ELEMENTS, LayerContext
from edgec.converter.ir.graph import Value


@dataclass
class Priors:
    """Sizes in pixels of the image; offset: the place of a box in its cell."""

    min_sizes: Sequence[float]
    max_sizes: Sequence[float]
    aspect_ratios: Sequence[float]  # besides 1
    variances: Sequence[float]
    image: tuple[float, float]  # height, width
    step: tuple[float, float]  # height, width
    offset: tuple[float, float]  # height, width
    clip: bool

    def boxes(self, c: LayerContext, height: int, width: int) -> np.ndarray:
        """[2, height * width * priors * 4]: corners relative to the image, and variances."""
        shapes = self._shapes(c)
        if height * width * len(shapes) * 8 > MAX_ELEMENTS:
            raise c.bad(f"{height} x {width} x {len(shapes)} prior boxes")
        x = (np.arange(width) + self.offset[1]) * self.step[1]
        y = (np.arange(height) + self.offset[0]) * self.step[0]
        centre = np.stack(np.broadcast_arrays(x[None, :, None], y[:, None, None]), -1)  # [H, W, 1, 2]
        half = np.array(shapes).reshape(1, 1, -1, 2) / 2
        size = np.array([self.image[1], self.image[0]], np.float64)
        corners = np.concatenate([(centre - half) / size, (centre + half) / size], -1).reshape(-1)
        if self.clip:
            corners = corners.clip(0, 1)
        variances = np.tile(np.asarray(self.variances, np.float64), corners.size // 4)
        return np.stack([corners, variances]).astype(np.float32)

    def _shapes(self, c: LayerContext) -> list[tuple[float, float]]:
        if self.max_sizes and len(self.max_sizes) != len(self.min_sizes):
            raise c.bad(f"{len(self.max_sizes)} max sizes for {len(self.min_sizes)} min sizes")
        if not self.min_sizes or len(self.variances) != 4 or min(self.image) <= 0 or min(self.step) <= 0:
            raise c.bad("its sizes, steps or variances are missing or not positive")
        result = []
        for i, smallest in enumerate(self.min_sizes):
            result.append((smallest, smallest))
            if self.max_sizes:
                side = math.sqrt(smallest * self.max_sizes[i])
                result.append((side, side))
            result += [(smallest * math.sqrt(r), smallest / math.sqrt(r)) for r in self.aspect_ratios]
        return result


def decode_centre(c: LayerContext, location: Value, prior: Value, variance: Value | None) -> Value:
    """Corners from offsets to prior boxes: centre and logarithmic size. All [..., P, 4]."""
    low, high = _halves(c, prior)
    size = c.emit("Sub", [high, low])
    centre = c.affine(c.emit("Add", [low, high]), 0.5)
    shift, growth = _halves(c, location if variance is None else c.emit("Mul", [location, variance]))
    middle = c.emit("Add", [c.emit("Mul", [shift, size]), centre])
    half = c.affine(c.emit("Mul", [c.emit("Exp", [growth]), size]), 0.5)
    return c.emit("Concat", [c.emit("Sub", [middle, half]), c.emit("Add", [middle, half])], {"axis": -1})


def decode_corner(c: LayerContext, location: Value, prior: Value, variance: Value | None, relative: bool) -> Value:
    """Corners from offsets of the corners, in units of the prior's size if `relative`."""
    shift = location if variance is None else c.emit("Mul", [location, variance])
    if relative:
        low, high = _halves(c, prior)
        size = c.emit("Sub", [high, low])
        shift = c.emit("Mul", [shift, c.emit("Concat", [size, size], {"axis": -1})])
    return c.emit("Add", [prior, shift])


def _halves(c: LayerContext, boxes: Value) -> tuple[Value, Value]:
    first, second = c.emit_many("Split", [boxes], {"axis": boxes.rank - 1, "sizes": [2, 2]}, 2)
    return first, second


@dataclass
class Selection:
    """Limits of the selection; top_k and keep_top_k -1: no limit."""

    confidence: float
    overlap: float
    top_k: int = -1  # candidates of a class, by score
    keep_top_k: int = -1  # results of an image, by score
    by_score: bool = True  # order of the result; False: by class, then score

    def rows(self, c: LayerContext, boxes: Value, scores: Value, labels: Sequence[float]) -> tuple[Value, Value, Value]:
        """boxes [P, 4] or [C, P, 4], scores [C, P], labels of the C classes -> label, score [M], box [M, 4]."""
        classes, count = c.fixed(scores)
        k = min(self.top_k, count) if self.top_k > 0 else count
        best, index = c.emit_many("TopK", [scores, c.i64([k])], {"axis": 1}, 2)
        if boxes.rank == 2:
            candidates = c.emit("Gather", [boxes, index], {"axis": 0})  # [C, k, 4]
        else:
            wide = c.emit("Expand", [c.unsqueeze(index, [2]), c.i64([classes, k, 4])])
            candidates = c.emit("GatherElements", [boxes, wide], {"axis": 1})
        # Classes take the place of images: each has boxes of its own.
        limits = [
            c.i64([k]),
            c.const(np.array([self.overlap], np.float32)),
            c.const(np.array([self.confidence], np.float32)),
        ]
        selected = c.emit("NonMaxSuppression", [candidates, c.unsqueeze(best, [1]), *limits])
        group = c.emit("Gather", [selected, c.i64(0)], {"axis": 1})
        place = c.emit("Gather", [selected, c.i64(2)], {"axis": 1})
        flat = c.emit("Add", [c.emit("Mul", [group, c.i64(k)]), place])
        score = c.emit("Gather", [c.reshape(best, [classes * k]), flat], {"axis": 0})
        box = c.emit("Gather", [c.reshape(candidates, [classes * k, 4]), flat], {"axis": 0})
        label = c.emit("Gather", [c.const(np.asarray(labels, np.float32)), group], {"axis": 0})
        if self.keep_top_k < 0 and not self.by_score:
            return label, score, box
        found = c.emit("Shape", [score])
        if self.keep_top_k >= 0:
            found = c.emit("Min", [found, c.i64([self.keep_top_k])])
        _, order = c.emit_many("TopK", [score, found], {"axis": 0}, 2)
        if not self.by_score:  # back to the order in which they were found
            order, _ = c.emit_many("TopK", [order, found], {"axis": 0, "largest": 0}, 2)
        return tuple(c.emit("Gather", [v, order], {"axis": 0}) for v in (label, score, box))  # type: ignore[return-value]


def column(c: LayerContext, values: Value) -> Value:
    """[M] -> [M, 1]"""
    return c.emit("Unsqueeze", [values], {"axes": [1]})
