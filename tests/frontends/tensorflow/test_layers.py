"""Every common Keras layer converts and computes what Keras computes."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgec
from tests.conftest import relative_l2
from tests.frontends.tensorflow.layers import CASES

pytestmark = pytest.mark.tensorflow

NAMES = sorted(CASES)
# TensorFlow's converter writes loops over steps for a fixed batch only.
LOOPS = {
    "LSTM relu",
    "SimpleRNN",
    "SimpleRNN sequences",
    "RNN stacked cells",
    "ConvLSTM1D",
    "ConvLSTM2D",
    "Masked LSTM",
    "Embedding masked LSTM",
}
BATCH = 40  # layers per start of TensorFlow


def converted(name: str, made_once: Callable[..., Path]) -> tuple[edgec.Model, list[np.ndarray], list[np.ndarray]]:
    first = NAMES.index(name) // BATCH * BATCH
    part = NAMES[first : first + BATCH]
    folder = made_once(f"layers{first}", "tests.frontends.tensorflow.layers", *part)
    error = folder / f"{name}.error"
    assert not error.exists(), error.read_text(encoding="utf-8")
    assert (folder / f"{name}.npz").exists(), (folder / "log").read_text(encoding="utf-8")[-2000:]
    with np.load(folder / f"{name}.npz") as stored:
        inputs = [stored[k] for k in sorted(stored.files) if k.startswith("in")]
        outputs = [stored[k] for k in sorted(stored.files) if k.startswith("out")]
    return edgec.Model.open(folder / f"{name}.edge"), inputs, outputs


@pytest.mark.parametrize("name", NAMES)
def test_layer(name: str, made_once: Callable[..., Path]) -> None:
    model, inputs, expected = converted(name, made_once)
    got = edgec.Session(model).run(None, {f"in{i}": a for i, a in enumerate(inputs)})
    assert len(got) == len(expected)
    for a, b in zip(got, expected, strict=True):
        if b.dtype.kind == "f":
            assert relative_l2(a, b) <= 1e-5
        else:
            np.testing.assert_array_equal(a, b)
    if name in LOOPS:
        assert model.inputs[0].shape[0] == 1
        return
    assert model.inputs[0].shape[0] == "batch"
    doubled = {f"in{i}": np.concatenate([a, a]) for i, a in enumerate(inputs)}
    for a, b in zip(edgec.Session(model).run(None, doubled), expected, strict=True):
        np.testing.assert_allclose(a, np.concatenate([b, b]), rtol=1e-4, atol=1e-5 * float(np.abs(b).max()))
