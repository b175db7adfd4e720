"""Sizes that ncnn computes from the shapes of a layer's inputs: "0w,*(0h,2),-1"."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

from edgec.converter.frontends.layers.importer import LayerContext
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value

_TOKEN = re.compile(
    r"\s*(?:(?P<size>\d[whdc])|(?P<number>-?\d+\.?\d*(?:e[+-]?\d+)?)|(?P<name>[a-z_]+\d*|//|[+\-*/])|(?P<sign>[(),]))"
)
_FUNCTIONS: dict[str, Callable[..., float]] = {
    "+": lambda a, b: a + b, "add": lambda a, b: a + b, "-": lambda a, b: a - b, "sub": lambda a, b: a - b,
    "*": lambda a, b: a * b, "mul": lambda a, b: a * b, "/": lambda a, b: a / b, "div": lambda a, b: a / b,
    "//": lambda a, b: a // b, "floor_div": lambda a, b: a // b, "max": max, "min": min, "abs": abs,
    "neg": lambda a: -a, "floor": lambda a: a // 1, "ceil": lambda a: -(-a // 1), "trunc": lambda a: float(int(a)),
    "round": lambda a: float(round(a)), "square": lambda a: a * a, "sqrt": lambda a: a**0.5,
    "fmod": lambda a, b: a % b, "remainder": lambda a, b: a % b,
}  # fmt: skip
MAX_DEPTH = 16


def evaluate(c: LayerContext, text: str, inputs: Sequence[Value]) -> list[int]:
    """The numbers of an expression list."""
    tokens: list[tuple[str, str]] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match is None:
            raise c.bad(f"cannot read the expression '{text[:60]}'")
        tokens.append((str(match.lastgroup), match[str(match.lastgroup)]))
        at = match.end()
    position = 0

    def need(sign: str) -> None:
        nonlocal position
        if position >= len(tokens) or tokens[position] != ("sign", sign):
            raise c.bad(f"cannot read the expression '{text[:60]}'")
        position += 1

    def one(depth: int) -> float:
        nonlocal position
        if position >= len(tokens) or depth > MAX_DEPTH:
            raise c.bad(f"cannot read the expression '{text[:60]}'")
        kind, word = tokens[position]
        position += 1
        if kind == "number":
            return float(word)
        if kind == "size":
            return float(_size(c, inputs, word))
        if kind == "sign" or word not in _FUNCTIONS:
            raise Unsupported(f"'{word}' in the expression '{text[:60]}'")
        need("(")
        values = [one(depth + 1)]
        while position < len(tokens) and tokens[position] == ("sign", ","):
            position += 1
            values.append(one(depth + 1))
        need(")")
        return float(_FUNCTIONS[word](*values))

    result = [int(one(0))]
    while position < len(tokens):
        need(",")
        result.append(int(one(0)))
    return result


def _size(c: LayerContext, inputs: Sequence[Value], word: str) -> int:
    index, letter = int(word[0]), word[1]
    if index >= len(inputs):
        raise c.bad(f"'{word}' of {len(inputs)} inputs")
    sizes = c.fixed(inputs[index], 1)
    names = {1: "w", 2: "hw", 3: "chw", 4: "cdhw"}.get(len(sizes), "")
    return sizes[names.index(letter)] if letter in names else 1
