"""Random integer graphs give the bits of the NumPy reference on every instruction set, with 1, 2 and 3 threads.

EDGEC_BIT_IDENTITY_GRAPHS=10000 is the long run, EDGEC_BIT_IDENTITY_SEED=n starts elsewhere.
"""

from __future__ import annotations

import os

import numpy as np
import pytest

from edgec import Session, _core
from edgec.converter import writer
from edgec.model import Model
from tests.quantize_reference.random_graphs import RandomGraph

GRAPHS = int(os.environ.get("EDGEC_BIT_IDENTITY_GRAPHS", "200"))
FIRST = int(os.environ.get("EDGEC_BIT_IDENTITY_SEED", "0"))
ISAS = [name for name, supported in _core.cpu_info()["isas"] if supported]
BLOCK = 20


def same_bits(seed: int) -> RandomGraph:
    """Checks one graph; the message names the seed, the operators, the instruction set and the first difference."""
    random = RandomGraph(seed)
    model = Model.from_bytes(writer.to_bytes(random.graph))
    for i, isa in enumerate(ISAS):
        # Every thread count with every instruction set over the run, two of them per graph.
        for threads in {1 + (seed + i) % 3, 1 + (seed + i + 1) % 3}:
            got = Session(model, threads=threads, isa=isa).run(None, random.feeds)
            for value, result, expected in zip(random.graph.outputs, got, random.expected, strict=True):
                where = f"seed {seed}, {isa}, {threads} threads, output {value.name} of {random.operators}"
                assert result.dtype == expected.dtype and result.shape == expected.shape, where
                if not np.array_equal(result, expected):
                    at = tuple(int(i[0]) for i in np.nonzero(result != expected))
                    raise AssertionError(
                        f"{where}: {np.sum(result != expected)} differ, first at {at}: "
                        f"{result[at]} instead of {expected[at]}"
                    )
    return random


@pytest.mark.parametrize("first", range(FIRST, FIRST + GRAPHS, BLOCK))
def test_every_isa_gives_the_bits_of_the_reference(first: int) -> None:
    for seed in range(first, min(first + BLOCK, FIRST + GRAPHS)):
        same_bits(seed)


def test_all_operators_occur() -> None:
    seen = {op for seed in range(100) for op in RandomGraph(seed).operators}
    from tests.quantize_reference.random_graphs import _OPERATORS

    assert seen == set(_OPERATORS)


def test_a_wrong_bit_is_found() -> None:
    random = RandomGraph(3)
    wrong = random.expected[0].copy()
    wrong.reshape(-1)[-1] ^= 1 if wrong.dtype.kind in "iu" else 0
    assert wrong.dtype.kind == "f" or not np.array_equal(wrong, random.expected[0])
