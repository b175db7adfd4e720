"""Every operator of the table that one line of NumPy describes, and the same against TFLite's own interpreter."""

from __future__ import annotations

import importlib.util

import numpy as np
import pytest

from tests.frontends.tflite.cases import CASES, Case
from tests.frontends.tflite.common import litert, run


def close(got: np.ndarray, expected: np.ndarray, case: Case) -> None:
    assert got.shape == expected.shape and got.dtype == expected.dtype
    if case.exact or expected.dtype.kind != "f":
        np.testing.assert_array_equal(got, expected)
    else:
        # Each term is one rounding of numbers of the largest magnitude that occurs.
        scale = max([1.0, *(float(np.abs(a).max(initial=0)) for a in (expected, *case.feeds) if a.dtype.kind == "f")])
        np.testing.assert_allclose(got, expected, rtol=0, atol=(case.terms + 8) * np.finfo(np.float32).eps * scale * 2)


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_equals_numpy(case: Case) -> None:
    got = run(case.model, *case.feeds)
    assert len(got) == len(case.expected)
    for g, e in zip(got, case.expected):
        close(g, e, case)


# Where the interpreter does not do what the schema says: it leaves this activation out.
DIFFERS = {"MUL-tanh"}


@pytest.mark.skipif(importlib.util.find_spec("ai_edge_litert") is None, reason="ai_edge_litert is not installed")
@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_numpy_is_what_tflite_computes(case: Case) -> None:
    if case.name in DIFFERS:
        pytest.skip("the interpreter leaves the activation out")
    try:
        results = litert(case.model.finish(), *case.feeds)
    except (RuntimeError, ValueError) as e:
        pytest.skip(f"the interpreter does not run it: {str(e).splitlines()[0]}")
    for got, expected in zip(results, case.expected):
        close(got, expected, case)
