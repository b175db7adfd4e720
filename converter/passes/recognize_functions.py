"""Functions of one variable are recognised by what they compute, not by how they were written down.

A group of elementwise nodes with one input x and scalar constants otherwise is a function of one variable. The runtime
evaluates the group and the candidate operators on the same grid; equal within a few roundings means equal. So every
way to write GELU, SiLU, HardSwish, Mish... is found by the same few lines.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import numpy as np

from edgec import _core
from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.passes.engine import Patch, rewrite
from edgec.converter.passes.match import is_f32, only_use, producer, scalar, with_scalar

_UNARY = (
    "Relu", "Sigmoid", "Tanh", "Exp", "Log", "Sqrt", "Rsqrt", "Reciprocal", "Erf", "Neg", "Abs", "Clip", "Softplus",
    "HardSigmoid", "HardSwish", "Silu", "LeakyRelu", "Elu",
)  # fmt: skip
_BINARY = ("Add", "Sub", "Mul", "Div", "Pow", "Min", "Max")
_MAX_NODES = 16
_ENDS = ("Mul", "Div", "Add", "Sub", "Clip", "Min", "Max", "Where", "Reciprocal", "Log", "HardSigmoid")

# Dense around zero where the functions bend, sparse outside, no value where one of them jumps.
_GRID = np.concatenate([np.linspace(-12.03, 12.05, 386), [-80.3, -30.1, 30.2, 80.7, -0.001, 0.001]]).astype(np.float32)


@cache
def _on_grid(op: str, attrs: tuple[tuple[str, Any], ...] = ()) -> np.ndarray:
    return np.asarray(_core.evaluate(op, dict(attrs), [_GRID], 1)[0])


def _plain(op: str, **attrs: Any) -> Callable[[np.ndarray], tuple[str, dict[str, Any]] | None]:
    def test(y: np.ndarray) -> tuple[str, dict[str, Any]] | None:
        return (op, attrs) if _equal(y, _on_grid(op, tuple(attrs.items()))) else None

    return test


def _hard_sigmoid(y: np.ndarray) -> tuple[str, dict[str, Any]] | None:
    """clamp(alpha * x + beta, 0, 1): alpha and beta from two points on the slope."""
    on_slope = np.flatnonzero((y > 0.01) & (y < 0.99))
    if len(on_slope) < 8:
        return None
    i, j = on_slope[np.argmin(_GRID[on_slope])], on_slope[np.argmax(_GRID[on_slope])]
    alpha = float(y[j] - y[i]) / float(_GRID[j] - _GRID[i])
    if not 0 < alpha < np.inf:
        return None
    alpha = _rounded(alpha)
    beta = _rounded(float(np.median(y[on_slope] - alpha * _GRID[on_slope])))
    attrs = {"alpha": alpha, "beta": beta}
    return ("HardSigmoid", attrs) if _equal(y, _on_grid("HardSigmoid", tuple(attrs.items()))) else None


def _leaky_relu(y: np.ndarray) -> tuple[str, dict[str, Any]] | None:
    i = int(np.argmin(_GRID))
    alpha = float(y[i]) / float(_GRID[i])
    if not -1e3 < alpha < 1:  # nor NaN
        return None
    alpha = _rounded(alpha)
    attrs = {"alpha": alpha}
    return ("LeakyRelu", attrs) if _equal(y, _on_grid("LeakyRelu", tuple(attrs.items()))) else None


def _rounded(number: float) -> float:
    """The short decimal or simple fraction that was meant, if one is within rounding."""
    for denominator in (1, 2, 3, 5, 6, 10, 100, 1000):
        candidate = round(number * denominator) / denominator
        if abs(candidate - number) <= 2e-6 * max(1.0, abs(number)) and candidate:
            return candidate
    return number


_CANDIDATES: tuple[Callable[[np.ndarray], tuple[str, dict[str, Any]] | None], ...] = (
    _plain("Relu"),
    _plain("HardSwish"),
    _plain("Silu"),
    _plain("Gelu", approximate="none"),
    _plain("Gelu", approximate="tanh"),
    _plain("Mish"),
    _plain("Sigmoid"),
    _plain("Tanh"),
    _plain("Softplus"),
    _plain("Softsign"),
    _plain("Clip", min=0.0, max=6.0),
    _hard_sigmoid,
    _leaky_relu,
)


def _equal(y: np.ndarray, reference: np.ndarray) -> bool:
    """Equal up to the cancellation that the decomposed form suffers: a few roundings of max(1, |x|)."""
    usable = np.isfinite(y)  # exp(80) and friends overflow in decomposed forms only
    if usable.sum() < 0.9 * len(y):
        return False
    tolerance = 16 * 2.0**-23 * np.maximum(1.0, np.abs(_GRID[usable]))
    return bool((np.abs(y[usable] - reference[usable]) <= tolerance).all())


@rewrite("recognize-functions", ops=_ENDS, stages=("recognise", "fuse"))
def recognize_functions(graph: Graph, node: Node) -> Patch | None:
    """x*Sigmoid(x) -> Silu, 0.5*x*(1+Erf(x/1.414)) -> Gelu, x*Clip(x+3, 0, 6)/6 -> HardSwish, Mish, HardSigmoid..."""
    if not is_f32(*node.outputs):
        return None
    for x, group in _groups(graph, node):
        y = _evaluate(x, group)
        if y is None:
            continue
        for candidate in _CANDIDATES:
            found = candidate(y)
            if found is None or (found[0] == node.op and len(group) == 1):
                continue
            op, attrs = found
            patch = Patch(graph, f"{op} recognised", node, group[:-1])
            return patch.replace(node.outputs[0], patch.add(op, [x], attrs))
    return None


def _groups(graph: Graph, root: Node) -> Iterator[tuple[Value, list[Node]]]:
    """Closed groups that end in `root` and have a single non-constant input, small ones first."""
    group = [root]
    frontier = _operands(root)
    while frontier is not None:
        values = list(dict.fromkeys(frontier))
        if len(values) == 1 and len(group) > 1 and values[0].types == root.outputs[0].types:
            yield values[0], sorted(group, key=lambda n: n.order)
        # Open the value that is computed last, so that the group stays closed.
        opened = max((v for v in values if _opens(graph, v, group)), key=_order, default=None)
        if opened is None or len(group) >= _MAX_NODES or any(_order(v) > _order(opened) for v in values):
            return
        assert opened.producer is not None
        more = _operands(opened.producer)
        if more is None:
            return
        group.append(opened.producer)
        frontier = [v for v in values if v is not opened] + more


def _order(value: Value) -> int:
    return value.producer.order if value.producer is not None else -1


def _opens(graph: Graph, value: Value, group: list[Node]) -> bool:
    """True when the value is computed by an elementwise node for this group only."""
    node = value.producer
    if node is None or node.op not in _UNARY + _BINARY or graph.is_output(value) or not is_f32(value):
        return False
    return all(any(c is g for g in group) for c in value.consumers)


def _operands(node: Node) -> list[Value] | None:
    """Non-constant operands; None when a constant is not a scalar or the operator is not one that we follow."""
    if node.op not in _UNARY + _BINARY:
        return None
    found = []
    for v in node.inputs:
        assert v is not None
        if scalar(v) is None:
            if v.is_constant:
                return None
            found.append(v)
    return found if found and all(v.types and v.types == node.outputs[0].types for v in found) else None


def _evaluate(x: Value, group: list[Node]) -> np.ndarray | None:
    values: dict[int, np.ndarray] = {id(x): _GRID}
    for node in group:
        inputs = []
        for v in node.inputs:
            assert v is not None
            number = scalar(v)
            inputs.append(values[id(v)] if number is None else np.float32(number).reshape(()))
        try:
            values[id(node.outputs[0])] = np.asarray(_core.evaluate(node.op, node.attrs, inputs, 1)[0])
        except _core.Error:
            return None
    y = values[id(group[-1].outputs[0])]
    return y if y.shape == _GRID.shape and y.dtype == np.float32 else None


@rewrite("quick-gelu", ops=("Mul",), stages=("recognise",))
def quick_gelu(graph: Graph, node: Node) -> Patch | None:
    """x * Sigmoid(c * x) -> Silu(c * x) / c: both factors then fold into the layers around it."""
    for x, gate in (node.inputs, node.inputs[::-1]):
        sigmoid = producer(gate, "Sigmoid")
        if sigmoid is None or gate is None or x is None or not only_use(graph, gate) or not is_f32(x):
            continue
        product = producer(sigmoid.inputs[0], "Mul")
        pair = None if product is None else with_scalar(product)
        if product is None or pair is None or pair[0] is not x or not only_use(graph, product.outputs[0]):
            continue
        if not 0.1 < pair[1] < 10:
            continue
        patch = Patch(graph, "x * Sigmoid(c * x) written as Silu", node, [sigmoid, product])
        scaled = patch.add("Mul", product.inputs)
        inverse = patch.constant(f"{node.name}:inverse", np.float32(1 / pair[1]).reshape(()))
        return patch.replace(node.outputs[0], patch.add("Mul", [patch.add("Silu", [scaled]), inverse]))
    return None
