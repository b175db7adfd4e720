"""Runs a graph node by node through the operators of the runtime: slow, simple, for tests and comparisons."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from edgec import _core
from edgec.converter.ir.graph import Graph, GraphError, Value


def run(graph: Graph, feeds: Mapping[str, np.ndarray], keep_all: bool = False) -> dict[str, np.ndarray]:
    """The graph's outputs by name; with `keep_all` every tensor that was computed.

    `feeds` holds one array per graph input, in the declared dtype. Raises GraphError naming a missing input or
    the node that failed.
    """
    values: dict[int, np.ndarray] = {}
    names: dict[str, np.ndarray] = {}
    last_use: dict[int, int] = {}
    nodes = graph.nodes
    for i, node in enumerate(nodes):
        last_use.update((id(v), i) for v in node.inputs if v is not None)
    for v in graph.inputs:
        if v.name not in feeds:
            raise GraphError(f"no data for input '{v.name}'")
        values[id(v)] = np.ascontiguousarray(feeds[v.name])

    def read(v: Value | None) -> np.ndarray | None:
        if v is None:
            return None
        return v.data if v.data is not None else values[id(v)]

    for i, node in enumerate(nodes):
        try:
            results = _core.evaluate(node.op, node.attrs, [read(v) for v in node.inputs], len(node.outputs))
        except _core.Error as e:
            raise GraphError(f"{node.name}: {e}") from None
        for v, array in zip(node.outputs, results):
            values[id(v)] = array
            if keep_all:
                names[v.name] = array
        if not keep_all:
            for used in node.inputs:
                if used is not None and last_use[id(used)] == i and not graph.is_output(used):
                    values.pop(id(used), None)
    names.update((v.name, read(v)) for v in graph.outputs)  # type: ignore[misc]
    return names
