"""The float network with a switch at every tensor: what does the rounding of one tensor alone do to the outputs?

Every scale of the placement becomes four inputs of the network (step, its inverse, lowest and highest integer), so that one
prepared session measures any range of any tensor. An infinite range with a tiny step switches the rounding off.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph, Value
from edgec.converter.writer import to_bytes
from edgec.model import Model
from edgec.quantize.clone import clone
from edgec.quantize.parameters import HIGHEST, LOWEST, Scale
from edgec.quantize.placement import Placement
from edgec.session import Session

Array = np.ndarray[Any, Any]
Feeds = Mapping[str, Array]

# x * 2^30 is an integer already where |x| >= 2^-7; what is smaller loses at most 2^-31.
_OFF = 2.0**-30


class Probe:
    """Sessions over the instrumented network; `error` is the one measurement."""

    def __init__(self, graph: Graph, placement: Placement, samples: Sequence[Feeds], threads: int = 1) -> None:
        instrumented, self._off = _instrument(graph, placement)
        self._session = Session(Model.from_bytes(to_bytes(instrumented)), threads=threads)
        self._samples = samples
        self._reference = [self._run(feeds, {}) for feeds in samples]

    def keep(self, count: int) -> None:
        """Measures on the first `count` samples only."""
        self._samples, self._reference = self._samples[:count], self._reference[:count]

    @property
    def count(self) -> int:
        """Number of samples."""
        return len(self._samples)

    def error(self, scales: Mapping[str, Scale], part: slice = slice(None)) -> float:
        """Mean over the samples of the outputs' squared error over their variance, worst output, when only the named
        scales are applied.

        scales: by name of the group's leader. part: of the samples.
        """
        settings: dict[str, Array] = {}
        for name, s in scales.items():
            settings |= _settings(name, s.scale, LOWEST - s.zero_point, HIGHEST - s.zero_point)
        pairs = list(zip(self._samples, self._reference, strict=True))[part]
        total = sum(relative_errors(self._run(feeds, settings), wanted) for feeds, wanted in pairs)
        return float(np.max(total, initial=0.0)) / max(len(pairs), 1)

    def _run(self, feeds: Feeds, settings: Mapping[str, Array]) -> list[Array]:
        return self._session.run(None, {**self._off, **feeds, **settings})


def _settings(name: str, step: Any, low: float, high: float) -> dict[str, Array]:
    return {
        f"{name}:step": np.float32(step),
        f"{name}:inverse": np.float32(1 / np.float64(step)),
        f"{name}:low": np.float32(low),
        f"{name}:high": np.float32(high),
    }  # type: ignore[dict-item]


def _instrument(graph: Graph, placement: Placement) -> tuple[Graph, dict[str, Array]]:
    copy, twins = clone(graph)
    off: dict[str, Array] = {}
    knobs: dict[Value, dict[str, Value]] = {}
    for leader in placement.leaders:
        neutral = _settings(leader.name, _OFF, -np.inf, np.inf)
        off |= neutral
        knobs[leader] = {key.rpartition(":")[2]: copy.add_input(key, "f32", ()) for key in neutral}
    for original in placement.tensors:
        if not _needed(original, placement):
            continue
        v, k = twins.values[original], knobs[placement.groups[original]]
        before = v.producer.next if v.producer is not None else copy.nodes[0]
        users = list(dict.fromkeys(v.consumers))
        x = v
        for op, operand in (("Mul", "inverse"), ("Round", ""), ("Max", "low"), ("Min", "high"), ("Mul", "step")):
            (x,) = copy.add(op, [x, k[operand]] if operand else [x], before=before)
        for user in users:
            copy.set_inputs(user, [x if i is v else i for i in user.inputs])
        if copy.is_output(v):
            copy.outputs = [x if o is v else o for o in copy.outputs]
    return copy, off


def _needed(v: Value, placement: Placement) -> bool:
    """What only moves rounded values needs no rounding of its own."""
    producer = v.producer
    if producer is None or producer not in placement.nodes:
        return True
    from edgec.quantize.placement import shares_scale

    return not shares_scale(producer)


def relative_errors(found: Sequence[Array], wanted: Sequence[Array]) -> Array:
    """Per output: mean squared error over variance. A common offset of all scores carries no decision."""
    result = []
    for a, b in zip(found, wanted, strict=True):
        x, y = np.asarray(a).reshape(-1), np.asarray(b).reshape(-1)
        if not y.size or x.shape != y.shape or y.dtype.kind != "f":
            result.append(0.0)
            continue
        square = float(np.dot(y, y)) / y.size
        power = max(square - float(y.mean(dtype=np.float64)) ** 2, 1e-6 * square, 1e-30)
        d = x - y
        result.append(float(np.dot(d, d)) / y.size / power)
    return np.array(result)
