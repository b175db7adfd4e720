"""Multiply-adds and parameters of a model: the one place where they are counted.

A multiply-add (MAC) is counted for convolutions, matrix products, attention and recurrent layers, as every other tool
does; additions, activations and pooling count nothing. What is folded at prepare is not in the steps, so not counted.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import prod
from typing import Any

from edgec.model import Model

Shape = Sequence[int]

# Index and shape constants (integers of 32 and 64 bits, bool) are not parameters.
PARAMETER_TYPES = ("f32", "f16", "bf16", "f64", "i8", "u8")


def _conv(inputs: list[Shape], outputs: list[Shape]) -> int:
    return prod(outputs[0]) * prod(inputs[1][1:])  # weight is [O, kh, kw, C/g]


def _conv_transpose(inputs: list[Shape], outputs: list[Shape]) -> int:
    # Every input element meets every kernel tap of its group's outputs: weight is [O, kh, kw, C/g].
    taps_per_input = prod(inputs[1]) // inputs[0][-1]
    return prod(inputs[0]) * taps_per_input


def _matmul(inputs: list[Shape], outputs: list[Shape]) -> int:
    return prod(outputs[0]) * _inner(inputs[0], inputs[1], outputs[0])


def _inner(a: Shape, b: Shape, out: Shape) -> int:
    """K: what both operands' last dimensions have that the product lost, whatever is transposed."""
    if len(a) == 1:
        return a[0]
    if len(b) == 1:
        return b[0]
    rows = out[-2]
    return prod(a[-2:]) // rows if rows else 0


def _attention(inputs: list[Shape], outputs: list[Shape]) -> int:
    query, key = inputs[0], inputs[1]
    scores = prod(query[:-1]) * key[-2]
    return scores * (query[-1] + inputs[2][-1])


def _recurrent(inputs: list[Shape], outputs: list[Shape]) -> int:
    steps_times_batch = prod(inputs[0][:-1])
    return steps_times_batch * (prod(inputs[1]) + prod(inputs[2]))


_MACS: dict[str, Callable[[list[Shape], list[Shape]], int]] = {
    "Conv2d": _conv,
    "ConvTranspose2d": _conv_transpose,
    "MatMul": _matmul,
    "QuantizedConv2d": _conv,
    "QuantizedConvTranspose2d": _conv_transpose,
    "QuantizedMatMul": _matmul,
    "Attention": _attention,
    "LSTM": _recurrent,
    "GRU": _recurrent,
    "RNN": _recurrent,
}


def step_macs(step: dict[str, Any]) -> int:
    """Multiply-adds of one entry of `Session.steps`."""
    rule = _MACS.get(step["op"])
    if rule is None:
        return 0
    return rule([shape for _, shape in step["inputs"]], [shape for _, shape in step["outputs"]])


def macs(steps: Sequence[dict[str, Any]]) -> int:
    """Multiply-adds of a whole run."""
    return sum(step_macs(s) for s in steps)


def integer_share(steps: Sequence[dict[str, Any]]) -> float | None:
    """The share of the multiply-adds that run on 8-bit integers, in [0, 1]; None when there are none at all."""
    total = macs(steps)
    return sum(step_macs(s) for s in steps if s["op"].startswith("Quantized")) / total if total else None


def parameters(model: Model) -> int:
    """Numbers stored as weights: floating-point and 8-bit constants; constants that share bytes count once."""
    seen: dict[tuple[int, int], int] = {}
    for graph in range(model.native.graph_count):
        for _, dtype, shape, offset in model.native.constants(graph):
            if dtype in PARAMETER_TYPES:
                seen[graph, offset] = prod(shape)
    return sum(seen.values())
