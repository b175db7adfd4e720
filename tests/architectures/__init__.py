"""More than a hundred architectures with random weights; `build(name)` gives the module and example inputs."""

from __future__ import annotations

from . import classifiers, dense_predictors, other_models, speech_models, text_models, vision_models  # noqa: F401
from .registry import ARCHITECTURES, Architecture, build, call

__all__ = ["ARCHITECTURES", "Architecture", "build", "call"]
