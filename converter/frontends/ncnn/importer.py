"""ncnn .param and .bin -> Graph."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.layers.importer import Layer, LayerImporter
from edgec.converter.frontends.ncnn import registry as ncnn_registry
from edgec.converter.frontends.ncnn.context import NcnnContext
from edgec.converter.frontends.ncnn.param import Params, read_param
from edgec.converter.frontends.ncnn.weights import WeightStream
from edgec.converter.frontends.shapes import InputShape, bind_shapes
from edgec.converter.ir.graph import Graph


def import_ncnn(
    definition: str | os.PathLike[str],
    weights: str | os.PathLike[str] | None,
    shapes: Sequence[InputShape] = (),
    fixed: Mapping[str, np.ndarray] | None = None,
    random_seed: int | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Graph, list[str]]:
    """The graph of a .param with the weights of a .bin, and remarks for the report.

    weights None with a `random_seed`: random weights. Tensors get a batch of 1 in front. Raises BadFileError,
    UnsupportedError (all missing layers), ShapeError.
    """
    path = Path(definition)
    layers = read_param(path)
    stream = WeightStream.random(random_seed or 0) if weights is None else WeightStream.open(weights)
    for layer in layers:
        layer.weights = stream
    _check_names(layers)
    inputs = [(name, _dims(layer.parameters)) for layer in layers if layer.type == "Input" for name in layer.outputs]
    bound = bind_shapes(shapes, [name for name, _ in inputs if name not in (fixed or {})])
    importer = LayerImporter("ncnn", ncnn_registry.load_all(), NcnnContext, Graph(path.stem), dict(fixed or {}))
    importer.on_problem = lambda: setattr(stream, "lost", True)
    if weights is None:
        importer.notes.append("weights are random (--random-weights)")
    for name, dims in inputs:
        importer.declare_input(name, dims, bound.get(name))
    read = {name for layer in layers for name in layer.inputs}
    rest = [layer for layer in layers if layer.type != "Input" and not _ends(layer, read)]
    importer.run(rest, progress)
    outputs = _outputs([name for name, _ in inputs], rest)
    graph = importer.finish(outputs)
    if stream.left:
        importer.notes.append(
            f"{stream.file} has {stream.left} bytes more than the network reads: is it the .bin of {path.name}?"
        )
    return graph, importer.notes


def _dims(p: Params) -> list[int] | None:
    """Shape of an Input layer with a batch of 1; None when the file leaves it open."""
    width, height, channels, depth = p.integer(0, 0), p.integer(1, 0), p.integer(2, 0), p.integer(11, 0)
    if depth:
        sizes = [channels, depth, height, width]
    elif channels:
        sizes = [channels, height, width]
    elif height:
        sizes = [height, width]
    else:
        sizes = [width]
    return [1, *sizes] if all(0 < d < 2**31 for d in sizes) else None


def _check_names(layers: Sequence[Layer]) -> None:
    written: dict[str, Layer] = {}
    for layer in layers:
        for name in layer.outputs:
            if name in written:
                raise BadFileError(f"{layer.type} {layer.where} writes '{name}', as {written[name].where} does")
            written[name] = layer
    seen: set[str] = set()
    for layer in layers:
        for name in layer.inputs:
            if name in written and name not in seen:
                raise BadFileError(
                    f"{layer.type} {layer.where} reads '{name}', which {written[name].where} writes later: "
                    "the layers form a circle or are not in order"
                )
        seen.update(layer.outputs)


def _ends(layer: Layer, read: set[str]) -> bool:
    """A Noop at the end, which only gathers the outputs."""
    return layer.type == "Noop" and not any(name in read for name in layer.outputs)


def _outputs(inputs: Sequence[str], layers: Sequence[Layer]) -> list[str]:
    """Blobs that no layer reads, in order."""
    read = {name for layer in layers for name in layer.inputs}
    found = [name for layer in layers for name in layer.outputs if name not in read]
    return found or [name for name in inputs if name not in read]
