"""Converted models, made once per test run."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import edgec


@pytest.fixture(scope="session")
def models(shared_models: Path) -> Path:
    """EDGEC_MODELS, or the models beside the checkout."""
    return Path(os.environ["EDGEC_MODELS"]) if "EDGEC_MODELS" in os.environ else shared_models


@pytest.fixture(scope="session")
def converted(models: Path) -> Callable[..., edgec.Model]:
    """converted("vit_mnist/vit_mnist.pt"): the model, converted once with default options and its own check."""
    cache: dict[Any, edgec.Model] = {}

    def convert(name: str, **options: Any) -> edgec.Model:
        key = (name, *sorted((k, str(v)) for k, v in options.items()))
        if key not in cache:
            if not name.endswith(".onnx"):
                pytest.importorskip("torch")
            cache[key] = edgec.convert(models / name, **options)
        return cache[key]

    return convert
