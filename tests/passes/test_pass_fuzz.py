"""Random graphs: whatever the passes make of them computes the same.

All dimensions are equal or 1 on purpose: where every wrong permutation has the right shape, only numbers tell.
"""

from __future__ import annotations

import os
from typing import Any

import pytest

from edgec.converter.ir.graph import Value
from tests.passes.builder import B, optimized

SEEDS = int(os.environ.get("EDGEC_TEST_GRAPHS", "60"))
SIZE = 4


def grow(b: B, values: list[Value]) -> Value:
    """One more node on values of rank 4, each dimension SIZE or 1."""
    rng = b.rng

    def pick() -> Value:
        return values[int(rng.integers(max(0, len(values) - 5), len(values)))]

    def number(low: int, high: int) -> int:
        return int(rng.integers(low, high))

    x = pick()
    c = x.types[0].shape[1]
    last = x.types[0].shape[3]
    whole = all(d == SIZE for d in x.types[0].shape)
    kind = number(0, 24)
    if kind == 0:
        return b.conv(x, SIZE, kernel=1 + 2 * number(0, 2))
    if kind == 1:
        return b.conv(x, last, kernel=1, nchw=False)
    if kind == 2:
        return b.conv(x, c, group=c)
    if kind == 3:
        return b("Relu", b("Add", b("Mul", x, b.const(c, 1, 1)), b.const(c, 1, 1)))
    if kind == 4:
        return b("Sigmoid", b("Mul", x, b.const(last)))
    if kind == 5:
        return b("Max", x, pick())
    if kind == 6:
        return b("Add", pick(), b("Mul", x, b.scalar(0.5)))
    if kind == 7:
        return b("Softmax", x, axis=number(-4, 4))
    if kind == 8:
        return b("ReduceMean", x, axes=[number(0, 4)])
    if kind == 9:
        return b.transpose(x, *(int(i) for i in rng.permutation(4)))
    if kind == 10:
        return b.nchw(b("Sin", b.nhwc(x)))
    if kind == 11 and whole:
        shape = [(4, 2, 2, 4, 4), (4, 4, 4, 2, 2), (16, 4, 4)][number(0, 3)]
        return b.reshape(b.transpose(b.reshape(x, *shape), *(int(i) for i in rng.permutation(len(shape)))), 4, 4, 4, 4)
    if kind == 12 and whole:
        axis = number(0, 4)
        return b("Concat", *reversed(b("Split", x, outputs=2, axis=axis)), axis=axis)
    if kind == 13 and whole:
        axis = number(0, 4)
        return (
            b("Slice", b("Concat", x, x, axis=axis), b.ints(number(0, 5)), b.ints(8), b.ints(axis))
            if number(0, 2)
            else x
        )
    if kind == 14:
        axis = number(0, 4)
        return b("Slice", x, b.ints(0), b.ints(1), b.ints(axis))
    if kind == 15:
        pads = [0] * 8
        axis = number(1, 4)
        pads[axis] = pads[axis + 4] = 1
        y = b("Pad", x, b.ints(*pads))
        return b("Slice", y, b.ints(1), b.ints(-1), b.ints(axis))
    if kind == 16 and whole:
        return b("MatMul", x, b.transpose(pick_whole(b, values), 0, 1, 3, 2))
    if kind == 17 and last == SIZE:
        return b("Add", b("MatMul", x, b.const(SIZE, SIZE, low=-0.5, high=0.5)), b.const(SIZE))
    if kind == 18:
        return b("LayerNorm", b("Add", x, b.const(last)), axis=-1)
    if kind == 19:
        y = b("Squeeze", b("ReduceMax", x, axes=[2]), axes=[2])
        return b("Unsqueeze", b("Neg", y), axes=[number(0, 4)])
    if kind == 20:
        y = b.nhwc(x)
        return b.nchw(b("MaxPool2d", b("Pad", y, b.ints(0, 1, 1, 0, 0, 1, 1, 0), b.scalar(-1e38)), kernel=[3, 3]))
    if kind == 21:
        return b("Where", b("Greater", x, b.scalar(0)), x, b("Mul", x, b.scalar(0.1)))
    if kind == 22:
        return b("Mul", x, b("Sigmoid", x))
    return b("Clip", b("Sub", x, b.scalar(0.25)), min=-1.0, max=1.0)


def pick_whole(b: B, values: list[Value]) -> Value:
    whole = [v for v in values if v.types[0].shape == (SIZE,) * 4]
    return whole[int(b.rng.integers(len(whole)))]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_graph(seed: int) -> None:
    def build(b: B) -> Any:
        values = [b.input(SIZE, SIZE, SIZE, SIZE)]
        for _ in range(12):
            y = grow(b, values)
            if all(d in (1, SIZE) for d in y.types[0].shape) and y.rank == 4:
                values.append(y)
        # Tanh keeps what grew large comparable.
        return [b("Tanh", values[-1]), b("Tanh", values[int(b.rng.integers(len(values)))])]

    optimized(build, seed=seed)
