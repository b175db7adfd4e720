"""`.edge` -> Graph, through the runtime's own reader: there is no second parser of the format."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from edgec.converter.errors import UnsupportedError
from edgec.converter.ir.graph import Graph, Value

if TYPE_CHECKING:
    from edgec.model import Model


def read(model: Model) -> Graph:
    """The graph of a loaded model, ready to be rewritten and written again; constants are views of the file.

    Raises UnsupportedError for models with control flow (If, Loop, Scan), whose bodies the reflection does not show.

    >>> graph = read(edgec.load("net.edge"))
    """
    native = model.native
    if native.graph_count > 1:
        raise UnsupportedError(
            "the model has control flow (If, Loop or Scan): its graph cannot be read back from a .edge file",
            hint="make branches constant when converting, e.g. --fix sr=16000",
        )
    graph = Graph()
    graph.metadata = dict(native.metadata)
    sizes = _symbol_sizes(model)
    for name, minimum, maximum in native.symbols:
        graph.add_symbol(name, minimum, maximum, example=sizes.get(name))
    values: dict[str, Value] = {}
    for name, dtype, dims in native.inputs:
        values[name] = graph.add_input(name, dtype, dims)
    for name, _dtype, _shape, _offset in native.constants():
        values[name] = graph.constant(name, np.asarray(native.constant(name)))
    for n in native.nodes():
        # An omitted optional output keeps its place; it gets a name of its own.
        names = [name if name is not None else f"{n['name']}:unused{i}" for i, name in enumerate(n["outputs"])]
        inputs = [None if name is None else values[name] for name in n["inputs"]]
        for name, value in zip(names, graph.add(n["op"], inputs, n["attrs"], names, n["name"])):
            values[name] = value
    graph.set_outputs(values[name] for name in native.output_names)
    return graph


def _symbol_sizes(model: Model) -> dict[str, int]:
    """Sizes that the model is known to accept."""
    if not model.symbols:
        return {}
    return {
        dim: size
        for spec, shape in zip(model.inputs, model.example_shapes)
        for dim, size in zip(spec.shape, shape)
        if isinstance(dim, str)
    }
