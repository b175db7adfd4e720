"""Inputs and outputs of a model in the layout that the user wants: a Transpose at the boundary, which the rewrites cancel
with the ones inside where they can."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from edgec.converter.errors import InvalidArgumentError
from edgec.converter.ir.graph import Graph, Value

LAYOUTS = ("nchw", "nhwc")
# Frameworks whose images have their channels last; the others have them behind the batch.
CHANNELS_LAST = ("tflite", "tensorflow", "keras")
_RANKS = (4, 5)  # images and videos; tensors of other ranks have no channels that one could know


def source_layout(framework: str) -> str:
    return "nhwc" if framework in CHANNELS_LAST else "nchw"


def _to_last(rank: int) -> list[int]:
    return [0, *range(2, rank), 1]


def _to_second(rank: int) -> list[int]:
    return [0, rank - 1, *range(1, rank - 1)]


@dataclass
class BoundaryLayouts:
    """What was moved: `inputs` name -> order that gives the source's layout, `outputs` position -> order from it."""

    inputs: dict[str, list[int]] = field(default_factory=dict)
    outputs: dict[int, list[int]] = field(default_factory=dict)
    names: dict[str, dict[str, str]] = field(default_factory=dict)  # for the report: "inputs" -> name -> layout

    def to_source(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        return {n: np.asarray(a).transpose(self.inputs[n]) if n in self.inputs else a for n, a in feeds.items()}

    def from_source(self, feeds: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        back = {n: [int(i) for i in np.argsort(p)] for n, p in self.inputs.items()}
        return {n: np.asarray(a).transpose(back[n]) if n in back else a for n, a in feeds.items()}

    def results(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return [a.transpose(self.outputs[i]) if i in self.outputs else a for i, a in enumerate(arrays)]


class MovedReference:
    """A reference that is given inputs, and gives results, in the layouts of the converted model."""

    def __init__(self, reference: Any, layouts: BoundaryLayouts) -> None:
        self._reference, self._layouts = reference, layouts

    def __getattr__(self, name: str) -> Any:
        return getattr(self._reference, name)

    def run(self, feeds: Mapping[str, np.ndarray]) -> list[np.ndarray]:
        return self._layouts.results(self._reference.run(self._layouts.to_source(feeds)))


def change_layouts(
    graph: Graph, framework: str, input_layout: str | None = None, output_layout: str | None = None
) -> BoundaryLayouts:
    """Moves inputs and outputs of rank 4 and 5 to the given layouts ("nchw", "nhwc"; None: as in the source).

    Raises InvalidArgumentError for another name, and when there is nothing of that rank to move.
    """
    own = source_layout(framework)
    for option, wanted in (("input_layout", input_layout), ("output_layout", output_layout)):
        if wanted is not None and wanted not in LAYOUTS:
            raise InvalidArgumentError(f"{option}: got '{wanted}', expected {' or '.join(LAYOUTS)}")
    done = BoundaryLayouts(names={"inputs": {}, "outputs": {}})
    images = [v for v in graph.inputs if v.rank in _RANKS]
    results = [(i, v) for i, v in enumerate(graph.outputs) if v.types and v.rank in _RANKS]
    for option, wanted, found in (("input", input_layout, images), ("output", output_layout, results)):
        if wanted is not None and not found:
            raise InvalidArgumentError(f"{option}_layout: the model has no {option} with 4 or 5 dimensions")
    for value in images:
        name = value.name  # which the new input takes over
        done.names["inputs"][name] = input_layout or own
        if input_layout not in (None, own):
            done.inputs[name] = _move_input(graph, value, to_last=input_layout == "nhwc")
    for index, value in results:
        done.names["outputs"][value.name] = output_layout or own
        if output_layout not in (None, own):
            done.outputs[index] = _move_output(graph, index, value, to_last=output_layout == "nhwc")
    return done


def _move_input(graph: Graph, old: Value, to_last: bool) -> list[int]:
    forward = _to_last(old.rank) if to_last else _to_second(old.rank)
    back = [int(i) for i in np.argsort(forward)]
    declared = old.declared_shape
    assert declared is not None
    new = graph.add_input(
        f"{old.name}_moved", old.dtype, [d if d is not None else 0 for d in (declared[p] for p in forward)]
    )
    graph.inputs.pop()
    first = graph.nodes[0] if len(graph) else None
    (moved,) = graph.add("Transpose", [new], {"perm": back}, 1, name=f"{old.name}_moved", before=first)
    graph.replace_uses(old, moved)
    graph.inputs[graph.inputs.index(old)] = new
    graph.take_name(new, old)
    return back


def _move_output(graph: Graph, index: int, old: Value, to_last: bool) -> list[int]:
    perm = _to_last(old.rank) if to_last else _to_second(old.rank)
    (new,) = graph.add("Transpose", [old], {"perm": perm}, 1, name=f"{old.name}_moved")
    graph.outputs = [new if i == index else v for i, v in enumerate(graph.outputs)]
    graph.take_name(new, old)
    return perm
