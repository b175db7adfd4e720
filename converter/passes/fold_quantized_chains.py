"""Integer functions of one tensor are one table: x * sigmoid(x) costs a Lookup, to the same bit."""

from __future__ import annotations

import numpy as np

from edgec import _core
from edgec.converter.ir import schema
from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, replaceable, rewrite
from edgec.converter.passes.match import array, only_use, producer

_FUNCTIONS = ("Lookup", "QuantizedAdd", "QuantizedSub", "QuantizedMul", "Requantize")
_MOST_NODES = 12
_MOST_CHANNELS = 8192


@rewrite("merge-integer-functions", ops=_FUNCTIONS, stages=("finish",))
def merge_integer_functions(graph: Graph, node: Node) -> Patch | None:
    """QuantizedMul(x, Lookup(x)), Lookup(Lookup(x)), Requantize(Lookup(x))... -> Lookup(x)."""
    y = node.outputs[0]
    if y.dtype != "i8" or not _function_of_bytes(node):
        return None
    nodes = [node]
    leaves = _leaves(node)
    chain = len(leaves) == 1  # of functions with one operand: there must be a second one to merge with
    while len(leaves) > 1 or (chain and len(nodes) < 2):
        latest = max(leaves, key=lambda v: -1 if v.producer is None else v.producer.order)
        inner = producer(latest, *_FUNCTIONS)
        if inner is None or len(nodes) >= _MOST_NODES or not _function_of_bytes(inner) or graph.is_output(latest):
            return None
        if chain and not only_use(graph, latest):
            return None
        nodes.append(inner)
        leaves = [v for v in leaves if v is not latest] + [v for v in _leaves(inner) if v not in leaves]
    if len(leaves) != 1 or (len(nodes) == 1 and node.op in ("Lookup", "Requantize")):
        return None
    (x,) = leaves
    table = _table(nodes, x, y) if x.types == y.types else None
    if table is None:
        return None
    patch = Patch(graph, "integer functions merged into one table", node, nodes[1:])
    return patch.replace(y, patch.add("Lookup", [x, patch.constant(f"{node.name}:table", table)]))


@rewrite("remove-identity-tables", ops=("Lookup",), stages=("finish",))
def remove_identity_tables(graph: Graph, node: Node) -> Patch | None:
    """Lookup whose table maps every number to itself -> its input: a factor that the scales had taken in already."""
    x, table = node.inputs[0], array(node.inputs[1])
    if x is None or table is None or not (table == np.arange(-128, 128)).all():
        return None
    y = node.outputs[0]
    return Patch(graph, "table of identity removed", node).replace(y, x) if replaceable(graph, y, x) else None


@rewrite("table-into-limits", ops=("Lookup",), stages=("finish",))
def table_into_limits(graph: Graph, node: Node) -> Patch | None:
    """Lookup whose table only cuts the range (a relu or clip of one scale) -> limits of the operator in front of it."""
    x, table = node.inputs[0], array(node.inputs[1])
    before = None if x is None else x.producer
    if x is None or before is None or table is None or table.ndim != 1 or not only_use(graph, x):
        return None
    if "minimum" not in schema.attribute_types(before.op) or x.dtype != "i8" or len(before.outputs) != 1:
        return None
    low, high = int(table[0]), int(table[-1])
    if low > high or not (table == np.clip(np.arange(-128, 128), low, high)).all():
        return None
    limits = {
        "minimum": min(max(before.attr("minimum"), low), high),
        "maximum": max(min(before.attr("maximum"), high), low),
    }
    patch = Patch(graph, f"clip into {before.op}", node, [before])
    new = patch.add(before.op, before.inputs, {**before.attrs, **limits}, name=before.name)
    return patch.replace(node.outputs[0], new)


def _function_of_bytes(node: Node) -> bool:
    return all(v is not None and v.types and v.dtype == "i8" for v in [*node.inputs, *node.outputs])


def _leaves(node: Node) -> list[Value]:
    values = node.inputs[:1] if node.op in ("Lookup", "Requantize") else node.inputs
    return list(dict.fromkeys(v for v in values if v is not None and v.data is None))


def _table(nodes: list[Node], x: Value, y: Value) -> np.ndarray | None:
    """The function for all 256 numbers, computed by the operators themselves; [C, 256] when constants vary with C."""
    channels = x.shape[-1] if x.rank else 1
    numbers = np.arange(-128, 128).astype(np.int8)
    width = 1
    for n in nodes:
        for v in n.inputs:
            if v is None or v.data is None:
                continue
            if n.op == "Lookup":
                width = max(width, v.data.shape[0] if v.data.ndim == 2 else 1)
            elif v.data.size > 1:
                if v.data.size != channels or v.data.shape[-1] != channels:
                    return None
                width = max(width, v.data.size)
    if width > _MOST_CHANNELS or (width > 1 and width != channels):
        return None
    if width > 1 and not any(n.op == "Lookup" and n.inputs[1].data.ndim == 2 for n in nodes):  # type: ignore[union-attr]
        return None  # arithmetic with a constant per channel is faster than a table per channel
    values = {id(x): np.ascontiguousarray(np.broadcast_to(numbers.reshape(256, 1), (256, width)))}
    for n in sorted(nodes, key=lambda n: n.order):
        inputs: list[np.ndarray | None] = []
        for i, v in enumerate(n.inputs):
            assert v is not None
            if v.data is None:
                inputs.append(values[id(v)])
            else:
                inputs.append(v.data if n.op == "Lookup" and i == 1 else v.data.reshape(1, -1))
        (result,) = _core.evaluate(n.op, n.attrs, inputs, 1)
        values[id(n.outputs[0])] = np.ascontiguousarray(np.broadcast_to(result, (256, width)))
    table = values[id(y)]
    return np.ascontiguousarray(table.reshape(256) if width == 1 else table.T)
