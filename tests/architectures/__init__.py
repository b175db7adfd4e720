"""More than a hundred architectures with random weights; `build(name)` gives the module and example inputs."""

from __future__ import annotations

from . import (  # noqa: F401
    classifiers,
    dense_predictors,
    other_models,
    signal_models,
    speech_models,
    text_models,
    vision_blocks,
    vision_models,
)
from .registry import ARCHITECTURES, Architecture, build, call

__all__ = ["ARCHITECTURES", "Architecture", "build", "call"]
