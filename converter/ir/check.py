"""The invariants of a graph. `check` costs one walk over it; the patch engine checks what a patch touched."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable

from edgec.converter.ir.graph import Graph, GraphError, Node, Value


def check(graph: Graph) -> None:
    """Raises GraphError naming the node or tensor that breaks an invariant.

    Topological order, one producer per activation, use lists that agree with the inputs, unique names, a type on
    every value, outputs that exist.
    """
    names: dict[str, int] = {}
    uses: Counter[tuple[int, int]] = Counter()
    values: dict[int, Value] = {}

    def see(value: Value) -> None:
        if id(value) in values:
            return
        values[id(value)] = value
        if names.setdefault(value.name, id(value)) != id(value):
            raise GraphError(f"two tensors are called '{value.name}'")
        if value.types and len(value.types) != len(graph.probes):
            raise GraphError(f"tensor '{value.name}' has {len(value.types)} types for {len(graph.probes)} probes")

    for v in graph.inputs:
        see(v)
    for node in graph.nodes:
        check_node(graph, node)
        for value in node.outputs:
            see(value)
        for used in node.inputs:
            if used is not None:
                see(used)
                uses[id(used), id(node)] += 1
    for value in values.values():
        listed = Counter((id(value), id(n)) for n in value.consumers)
        if any(uses[key] != count for key, count in listed.items()):
            raise GraphError(f"tensor '{value.name}': the use list names a node that does not read it")
    if sum(uses.values()) != sum(len(v.consumers) for v in values.values()):
        raise GraphError("a use list misses a node")
    for v in graph.outputs:
        if v.producer is None and not v.is_constant and not v.is_input:
            raise GraphError(f"graph output '{v.name}' is produced by nothing")
        if v.producer is not None and not v.producer.alive:
            raise GraphError(f"graph output '{v.name}' is produced by the removed node {v.producer.name}")


def check_node(graph: Graph, node: Node) -> None:
    """Invariants of one node and its direct neighbours."""
    if not node.alive:
        raise GraphError(f"{node.name} is not in the graph")
    for v in node.inputs:
        if v is None or v.is_constant:
            continue
        if v.producer is None:
            if not v.is_input:
                raise GraphError(f"{node.name} reads '{v.name}', which nothing produces")
        elif not v.producer.alive or v.producer.order >= node.order:
            raise GraphError(f"{node.name} reads '{v.name}' before {v.producer.name} has written it")
        if node not in v.consumers:
            raise GraphError(f"'{v.name}': the use list misses {node.name}")
    for v in node.outputs:
        if v.producer is not node or v.is_constant or v.is_input:
            raise GraphError(f"'{v.name}' is an output of {node.name} but says otherwise")
        check_order(v.consumers, node)


def check_order(consumers: Iterable[Node], producer: Node) -> None:
    """Every consumer stands after the producer."""
    for consumer in consumers:
        if consumer.order <= producer.order:
            raise GraphError(f"{consumer.name} stands before {producer.name}, whose output it reads")
