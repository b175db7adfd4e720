"""Architectures with random weights: every one converts and computes what torch computes; some for several sizes."""

from __future__ import annotations

import os

os.environ.setdefault("HF_HUB_OFFLINE", "1")  # configurations only; nothing may be fetched
os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")

import pytest

torch = pytest.importorskip("torch")

import edgec  # noqa: E402
from tests.architectures import ARCHITECTURES, build, call  # noqa: E402
from tests.conftest import relative_l2  # noqa: E402

LIMIT = 1e-5  # relative L2 of f32 results against torch, the project's promise


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_architecture_matches_torch(name: str) -> None:
    if ARCHITECTURES[name].package is not None:
        pytest.importorskip(ARCHITECTURES[name].package)
    module, example = build(name)
    expected = call(module, example)
    model = edgec.convert(module, example)
    session = edgec.Session(model, threads=1)
    names = list(example) if isinstance(example, dict) else [spec.name for spec in session.inputs]
    values = list(example.values()) if isinstance(example, dict) else list(example)
    feeds = {n: v.numpy() for n, v in zip(names, values, strict=True)}
    # An input that no output depends on is not an input of the model.
    got = session.run(None, {spec.name: feeds[spec.name] for spec in session.inputs})
    assert len(got) == len(expected)
    for index, (g, e) in enumerate(zip(got, expected, strict=True)):
        error = relative_l2(g, e.numpy())
        print(f"{name} output {index}: relative L2 {error:.2e}")
        assert error <= LIMIT, f"{name}: output {index} differs from torch"
