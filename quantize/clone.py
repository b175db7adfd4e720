"""Copies of graphs, with the way from the original to the copy."""

from __future__ import annotations

from dataclasses import dataclass, field

from edgec.converter.ir.graph import Graph, Node, Value


@dataclass
class Twins:
    """Original -> copy."""

    nodes: dict[Node, Node] = field(default_factory=dict)
    values: dict[Value, Value] = field(default_factory=dict)


def clone(graph: Graph) -> tuple[Graph, Twins]:
    """A graph that can be edited without the original; constants share their memory."""
    copy, twins = Graph(graph.name), Twins()
    copy.symbols, copy.probes = dict(graph.symbols), [dict(p) for p in graph.probes]
    copy.metadata = dict(graph.metadata)
    for v in graph.inputs:
        dims = None if v.declared_shape is None else [d if d is not None else 0 for d in v.declared_shape]
        made = copy.add_input(v.name, v.declared_dtype or v.dtype, dims)
        twins.values[v] = made
    for v in graph.constants():
        assert v.data is not None
        twins.values[v] = copy.constant(v.name, v.data)
    for n in graph.nodes:
        inputs = [None if v is None else twins.values[v] for v in n.inputs]
        made_outputs = copy.add(n.op, inputs, n.attrs, [v.name for v in n.outputs], n.name, n.source)
        twins.values.update(zip(n.outputs, made_outputs))
        producer = made_outputs[0].producer
        assert producer is not None
        twins.nodes[n] = producer
    copy.set_outputs(twins.values[v] for v in graph.outputs)
    return copy, twins
