"""A graph as text, one line per node: for debugging, for bisecting rewrites and for `inspect`."""

from __future__ import annotations

from typing import Any

from edgec.converter.ir import schema
from edgec.converter.ir.graph import Graph, Node, Value

_MAX_INLINE = 8


def dump(graph: Graph) -> str:
    """Readable form. `?` stands for a dimension that depends on a symbol.

    >>> print(dump(graph))
    graph main(x: f32[?,3,8,8])
      y: f32[?,8] = MatMul(x, weight: f32[3,8])  activation=relu
      return y
    """
    inputs = ", ".join(f"{v.name}: {_declared(v)}" for v in graph.inputs)
    lines = [f"graph {graph.name}({inputs})", *("  " + line(n) for n in graph.nodes)]
    return "\n".join([*lines, "  return " + ", ".join(_operand(v) for v in graph.outputs)]) + "\n"


def line(node: Node) -> str:
    """One node."""
    outputs = ", ".join(f"{v.name}: {type_text(v)}" for v in node.outputs)
    inputs = ", ".join("-" if v is None else _operand(v) for v in node.inputs)
    attrs = "".join(f"  {k}={_attribute(node.attrs[k])}" for k in sorted(node.attrs) if not _is_default(node, k))
    return f"{outputs} = {node.op}({inputs}){attrs}"


def type_text(value: Value) -> str:
    """`f32[1,?,8]`, or `untyped`."""
    if not value.types:
        return "untyped"
    return f"{value.dtype}[{','.join('?' if d is None else str(d) for d in value.shape)}]"


def _declared(value: Value) -> str:
    return f"{value.dtype}[{','.join(str(d) for d in value.declared_shape or ())}]"


def _operand(value: Value) -> str:
    if value.data is None:
        return value.name
    if value.data.size <= _MAX_INLINE:
        return f"{value.name}: {value.dtype} {value.data.tolist()}"
    return f"{value.name}: {type_text(value)}"


def _attribute(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, (list, tuple)):
        return "[" + ",".join(_attribute(v) for v in value) + "]"
    return str(value)


def _is_default(node: Node, name: str) -> bool:
    value, default = node.attrs[name], schema.default(node.op, name)
    return list(value) == list(default) if isinstance(value, (list, tuple)) else bool(value == default)
