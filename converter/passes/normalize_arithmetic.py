"""One way to write each piece of arithmetic, so that patterns need to know one form only."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np

from edgec.converter.ir import schema
from edgec.converter.ir.graph import MAX_KNOWN_ELEMENTS, Graph, Node, Value
from edgec.converter.passes.engine import Patch, replaceable, rewrite
from edgec.converter.passes.match import array, close, is_f32, only_use, producer, scalar, static_shape
from edgec.converter.passes.merge_views import VIEWS

_POWERS: dict[float, str] = {0.5: "Sqrt", -0.5: "Rsqrt", -1.0: "Reciprocal"}


def _float_constant(value: Value | None) -> np.ndarray | None:
    data = array(value)
    return data if data is not None and data.dtype == np.float32 else None


def _keeps_shape(x: Value, node: Node) -> bool:
    return x.types == node.outputs[0].types


_ROUNDING = (
    "Floor", "Ceil", "Round", "Cast", "Mod", "Sign",
    "Equal", "Less", "LessEqual", "Greater", "GreaterEqual", "ArgMax", "ArgMin",
)  # fmt: skip


def _rounded_below(value: Value, depth: int = 4) -> bool:
    """True when an operator that makes a step out of a rounding reads the value, directly or after arithmetic."""
    return depth > 0 and any(
        c.op in _ROUNDING
        or ((schema.elementwise(c.op) or c.op in VIEWS) and any(_rounded_below(v, depth - 1) for v in c.outputs))
        for c in value.consumers
    )


def _sub(patch: Patch, node: Node) -> Value | None:
    """x - c -> x + (-c)"""
    x, c = node.inputs
    data = _float_constant(c)
    if data is None or array(x) is not None:
        return None
    assert c is not None
    return patch.add("Add", [x, patch.constant(f"{c.name}:negated", -data)])


def _div(patch: Patch, node: Node) -> Value | None:
    """x / c -> x * (1/c); 1 / x -> Reciprocal; a / Sqrt(b) stays, LayerNorm looks for it"""
    x, c = node.inputs
    data = _float_constant(c)
    if data is not None and array(x) is None:
        assert c is not None
        with np.errstate(all="ignore"):
            inverse = np.float32(1) / data
        if not np.isfinite(inverse).all() or (np.abs(inverse) < np.finfo(np.float32).tiny).any():
            return None
        if not (np.frexp(data)[0] == 0.5).all() and _rounded_below(node.outputs[0]):
            return None  # 49 * (1/49) is less than 1, and floor() would show it
        return patch.add("Mul", [x, patch.constant(f"{c.name}:inverse", inverse)])
    if scalar(x) == 1 and c is not None and _keeps_shape(c, node) and is_f32(c):
        return patch.add("Reciprocal", [c])
    return None


def _pow(patch: Patch, node: Node) -> Value | None:
    """x^2 -> x*x, x^0.5 -> Sqrt, x^-0.5 -> Rsqrt, x^-1 -> Reciprocal"""
    x, exponent = node.inputs
    number = scalar(exponent)
    if x is None or number is None or not _keeps_shape(x, node):
        return None
    if number == 2:
        return patch.add("Mul", [x, x])
    op = _POWERS.get(number)
    return patch.add(op, [x]) if op and is_f32(x) else None


def _reciprocal(patch: Patch, node: Node) -> Value | None:
    """1 / Sqrt(x) -> Rsqrt(x)"""
    root = producer(node.inputs[0], "Sqrt")
    if root is None or not only_use(patch.graph, root.outputs[0]):
        return None
    return patch.add("Rsqrt", [root.inputs[0]])


def _mul(patch: Patch, node: Node) -> Value | None:
    """x * Reciprocal(y) -> x / y"""
    for x, r in (node.inputs, node.inputs[::-1]):
        inverse = producer(r, "Reciprocal")
        if inverse is not None and only_use(patch.graph, inverse.outputs[0]) and scalar(x) is None:
            return patch.add("Div", [x, inverse.inputs[0]])
    return None


def _neg(patch: Patch, node: Node) -> Value | None:
    """-(-x) -> x"""
    first = producer(node.inputs[0], "Neg")
    return None if first is None else first.inputs[0]


def _leaky_relu(patch: Patch, node: Node) -> Value | None:
    """LeakyRelu with slope 0 -> Relu"""
    return patch.add("Relu", node.inputs) if node.attr("alpha") == 0 else None


def _prelu(patch: Patch, node: Node) -> Value | None:
    """PRelu with one slope -> LeakyRelu"""
    x, slope = node.inputs
    number = scalar(slope)
    if x is None or number is None or not _keeps_shape(x, node):
        return None
    return patch.add("LeakyRelu", [x], {"alpha": number})


def _sqrt_of_square(patch: Patch, node: Node) -> Value | None:
    """Sqrt(x*x) -> Abs(x)"""
    square = producer(node.inputs[0], "Mul")
    if square is None or square.inputs[0] is not square.inputs[1]:
        return None
    return patch.add("Abs", [square.inputs[0]])


def _where(patch: Patch, node: Node) -> Value | None:
    """Where with a condition that is all true or all false -> that operand"""
    condition = array(node.inputs[0])
    if condition is None or condition.size == 0:
        return None
    if condition.all():
        chosen = node.inputs[1]
    elif not condition.any():
        chosen = node.inputs[2]
    else:
        return None
    return chosen if chosen is not None and _keeps_shape(chosen, node) else None


def _softplus(patch: Patch, node: Node) -> Value | None:
    """Log(1 + Exp(x)) -> Softplus(x), which does not overflow"""
    total = producer(node.inputs[0], "Add")
    if total is None:
        return None
    for one, e in (total.inputs, total.inputs[::-1]):
        exp = producer(e, "Exp")
        if (
            close(scalar(one), 1.0)
            and exp is not None
            and exp.inputs[0] is not None
            and _keeps_shape(exp.inputs[0], node)
        ):
            return patch.add("Softplus", [exp.inputs[0]])
    return None


_RULES: dict[str, Callable[[Patch, Node], Value | None]] = {
    "Sub": _sub,
    "Div": _div,
    "Pow": _pow,
    "Reciprocal": _reciprocal,
    "Mul": _mul,
    "Neg": _neg,
    "LeakyRelu": _leaky_relu,
    "PRelu": _prelu,
    "Sqrt": _sqrt_of_square,
    "Where": _where,
    "Log": _softplus,
}


@rewrite("normalize-arithmetic", ops=tuple(_RULES), stages=("simplify",))
def normalize_arithmetic(graph: Graph, node: Node) -> Patch | None:
    """Division by a constant -> multiplication, Pow -> product or root, PRelu with one slope -> LeakyRelu..."""
    y = node.outputs[0]
    if node.op not in ("Where", "Pow") and not is_f32(*node.outputs):
        return None
    patch = Patch(graph, "", node)
    new = _RULES[node.op](patch, node)
    if new is None or not replaceable(graph, y, new):
        return None
    patch.label = f"{node.op} written as {new.producer.op}" if patch.nodes and new.producer else f"{node.op} removed"
    return patch.replace(y, new)


@rewrite("integer-zero", ops=("Mul",), stages=("simplify",))
def integer_zero(graph: Graph, node: Node) -> Patch | None:
    """Integers times 0 -> zeros. (Not for floats: NaN and infinity.) Exporters write it to keep an unused input."""
    y = node.outputs[0]
    shape = static_shape(y)
    if y.dtype not in ("i32", "i64") or shape is None or math.prod(shape) > MAX_KNOWN_ELEMENTS or graph.is_output(y):
        return None
    if not any(scalar(v) == 0 for v in node.inputs):
        return None
    dtype = np.int32 if y.dtype == "i32" else np.int64
    patch = Patch(graph, "product with 0 folded", node)
    return patch.replace(y, patch.constant(y.name, np.zeros(shape, dtype)))


@rewrite("merge-constant-operands", ops=("Add", "Mul"), stages=("simplify",))
def merge_constant_operands(graph: Graph, node: Node) -> Patch | None:
    """(x + a) + b -> x + (a + b), and the same for products of constants."""
    if not is_f32(*node.inputs, *node.outputs):
        return None
    for x, b in (node.inputs, node.inputs[::-1]):
        second = array(b)
        inner = producer(x, node.op)
        if second is None or inner is None or x is None or not only_use(graph, x) or not is_f32(*inner.inputs):
            continue
        for source, a in (inner.inputs, inner.inputs[::-1]):
            first = array(a)
            if first is None or array(source) is not None:
                continue
            merged = first + second if node.op == "Add" else first * second
            if merged.size > max(first.size, second.size) or not np.isfinite(merged).all():
                continue
            patch = Patch(graph, f"constants of two {node.op} merged", node, [inner])
            assert a is not None
            return patch.replace(node.outputs[0], patch.add(node.op, [source, patch.constant(a.name, merged)]))
    return None
