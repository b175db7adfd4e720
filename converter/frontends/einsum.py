"""Einsum as transposes, products and sums: each pair of operands becomes one (batched) matrix product."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.context import Context
from edgec.converter.ir.graph import Value


class _Operand:
    """A tensor whose axes have labels."""

    def __init__(self, value: Value, labels: list[str]) -> None:
        self.value, self.labels = value, labels


def lower_einsum(c: Context, equation: str, values: list[Value]) -> Value:
    """The value of ONNX Einsum. Raises BadFileError for an equation that does not fit its operands."""
    operands, output = _parse(c, equation.replace(" ", ""), values)
    operands = [_diagonals(c, o) for o in operands]
    result = operands[0]
    for index, following in enumerate(operands[1:], start=2):
        later = {label for o in operands[index:] for label in o.labels} | set(output)
        result = _contract(c, result, following, later)
    result = _sum_away(c, result, set(output))
    missing = [label for label in output if label not in result.labels]
    if missing:
        raise BadFileError(f"Einsum '{c.name}': '{equation}' asks for labels that no operand has")
    order = [result.labels.index(label) for label in output]
    return c.transpose(result.value, order) if order != list(range(len(order))) else result.value


def _parse(c: Context, equation: str, values: list[Value]) -> tuple[list[_Operand], list[str]]:
    left, arrow, right = equation.partition("->")
    terms = left.split(",")
    if len(terms) != len(values):
        raise BadFileError(f"Einsum '{c.name}': '{equation}' has {len(terms)} terms for {len(values)} inputs")
    extra = max((v.rank - len(t.replace("...", "")) for t, v in zip(terms, values) if "..." in t), default=0)
    broadcast = [f"...{i}" for i in range(extra)]
    operands = []
    for term, value in zip(terms, values):
        before, dots, after = term.partition("...")
        count = value.rank - len(before) - len(after)
        if count < 0 or (not dots and count):
            raise BadFileError(f"Einsum '{c.name}': the term '{term}' for a tensor of rank {value.rank}")
        operands.append(_Operand(value, [*before, *broadcast[len(broadcast) - count :], *after]))
    if arrow:
        before, dots, after = right.partition("...")
        output = [*before, *(broadcast if dots else []), *after]
    else:  # the labels that occur once, in alphabetical order
        every = [label for o in operands for label in o.labels if not label.startswith("...")]
        output = [*broadcast, *sorted(label for label in set(every) if every.count(label) == 1)]
    return operands, output


def _diagonals(c: Context, o: _Operand) -> _Operand:
    """A label that occurs twice in one operand selects a diagonal: multiply by the identity and sum one axis away."""
    for label in dict.fromkeys(o.labels):
        while o.labels.count(label) > 1:
            first = o.labels.index(label)
            second = o.labels.index(label, first + 1)
            size = o.value.shape[first]
            if size is None or o.value.shape[second] != size:
                raise BadFileError(f"Einsum '{c.name}': the diagonal of axes of different or symbolic size")
            shape = [1] * o.value.rank
            shape[first] = shape[second] = size
            mask = c.like(np.eye(size).reshape(shape), o.value)
            kept = c.emit("Mul", [o.value, mask])
            value = c.emit("ReduceSum", [kept], {"axes": [second], "keepdims": 0})
            o = _Operand(value, [label_ for i, label_ in enumerate(o.labels) if i != second])
    return o


def _sum_away(c: Context, o: _Operand, needed: set[str]) -> _Operand:
    axes = [i for i, label in enumerate(o.labels) if label not in needed]
    if not axes:
        return o
    value = c.emit("ReduceSum", [o.value], {"axes": axes, "keepdims": 0})
    return _Operand(value, [label for label in o.labels if label in needed])


def _contract(c: Context, a: _Operand, b: _Operand, later: set[str]) -> _Operand:
    a = _sum_away(c, a, later | set(b.labels))
    b = _sum_away(c, b, later | set(a.labels))
    shared = [label for label in a.labels if label in b.labels]
    inner = [label for label in shared if label not in later]
    batch = [label for label in shared if label in later]
    rows = [label for label in a.labels if label not in shared]
    columns = [label for label in b.labels if label not in shared]
    if not inner:
        return _multiply(c, a, b, batch + rows + columns)
    sizes = {label: _size(c, label, a, b) for label in {*a.labels, *b.labels}}
    left = _arranged(c, a, batch, rows, inner, sizes)
    right = _arranged(c, b, batch, inner, columns, sizes)
    product = c.emit("MatMul", [left, right])
    labels = batch + rows + columns
    if len(rows) != 1 or len(columns) != 1:
        product = c.reshape(product, [sizes[label] for label in labels])
    return _Operand(product, labels)


def _size(c: Context, label: str, a: _Operand, b: _Operand) -> Any:
    """The size of a label; a broadcast 1 gives way to the other operand's."""
    found = [c.dim(o.value, o.labels.index(label)) for o in (a, b) if label in o.labels]
    return next((d for d in found if not (isinstance(d, int) and d == 1)), found[0])


def _arranged(
    c: Context, o: _Operand, batch: list[str], first: list[str], second: list[str], sizes: dict[str, Any]
) -> Value:
    """[batch..., prod(first), prod(second)]"""
    order = [o.labels.index(label) for label in batch + first + second]
    value = c.transpose(o.value, order)
    if len(first) == 1 and len(second) == 1:
        return value
    dims = [c.dim(o.value, o.labels.index(label)) for label in batch]
    return c.reshape(value, [*dims, c.mul(*[sizes[x] for x in first]), c.mul(*[sizes[x] for x in second])])


def _multiply(c: Context, a: _Operand, b: _Operand, labels: list[str]) -> _Operand:
    """No common label is summed: an elementwise product with broadcasting."""

    def aligned(o: _Operand) -> Value:
        present = [label for label in labels if label in o.labels]
        value = c.transpose(o.value, [o.labels.index(label) for label in present])
        axes = [i for i, label in enumerate(labels) if label not in o.labels]
        return c.unsqueeze(value, axes) if axes else value

    return _Operand(c.emit("Mul", [aligned(a), aligned(b)]), labels)
