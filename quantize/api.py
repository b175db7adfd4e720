"""What `edgec.quantize` and the command line call: model and data in any form -> quantized model."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from edgec.errors import UsageError
from edgec.model import Model

Progress = Callable[[str, int, int], None]

MOST_EVALUATED = 100_000


@dataclass
class Settings:
    """The keyword arguments of `edgec.quantize`, which documents them."""

    weights: str | None = None
    group: int = 32
    preprocess: str | None = None
    samples: int = 128
    method: str = "auto"
    per_tensor: bool = False
    keep_float: tuple[str, ...] = ()
    equalize: bool = True
    bias_correction: bool = True
    adaround: bool | None = None
    max_drop: float | None = None
    metric: Any = "sqnr"
    evaluation: Any = None
    threads: int = 1
    progress: Progress | None = None


def run(source: Any, calibration: Any, convert: Mapping[str, Any], settings: Settings) -> Model:
    """The body of `edgec.quantize`."""
    from edgec.converter.ir.reader import read
    from edgec.quantize.data import read_samples
    from edgec.quantize.preprocess import parse
    from edgec.quantize.quantizer import quantize_graph
    from edgec.quantize.weight_only import shrink_weights

    model = as_model(source, convert)
    origin = Path(source).name if isinstance(source, (str, os.PathLike)) else None
    if settings.weights is not None:
        return shrink_weights(model, settings.weights, settings.group, origin)
    if calibration is None:
        raise UsageError(
            "8-bit activations need calibration data: samples of what the model will see",
            hint="calibration=..., --calib FOLDER; or weights='int8', which needs none",
        )
    preprocess = parse(settings.preprocess) if settings.preprocess else None
    samples = read_samples(model, calibration, preprocess, settings.samples)
    evaluation, labels = None, None
    if settings.evaluation is not None:
        given = settings.evaluation
        if isinstance(given, tuple) and len(given) == 2:
            given, labels = given
        evaluation = read_samples(model, given, preprocess, MOST_EVALUATED)
        if labels is not None and len(labels) != len(evaluation):
            raise UsageError(f"evaluation: {len(evaluation)} samples and {len(labels)} labels")
    graph = read(model)
    if origin is not None:
        graph.metadata["quantized_from"] = origin  # `edgec bench --compare-to float` looks for it
    return quantize_graph(graph, samples, settings, report=model.report, evaluation=evaluation, labels=labels)


def as_model(source: Any, convert: Mapping[str, Any]) -> Model:
    """The float model: opened when it is one already, else converted."""
    if isinstance(source, Model):
        return source
    if isinstance(source, (str, os.PathLike)) and Path(source).suffix == ".edge":
        return Model.open(source)
    from edgec.converter.convert import convert as convert_model

    return convert_model(source, **convert)
