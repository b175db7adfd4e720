"""NNCF's post-training quantization, run by OpenVINO on the CPU with f32 for what stays in floating point."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nncf
import numpy as np
import openvino

from benchmarks.quantization.networks import SOURCES

OPTIONS: dict[str, dict[str, Any]] = {"defaults": {}, "bias": {"fast_bias_correction": False}}


def version() -> str:
    return f"NNCF {nncf.__version__}, OpenVINO {openvino.__version__.split('-')[0]}"


class Network:
    """A model and its session in one."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.request: Any = None
        self.inputs = [SimpleNamespace(name=i.any_name) for i in model.inputs]

    def run(self, _: None, feeds: dict[str, Any]) -> list[np.ndarray]:
        if self.request is None:
            config = {"INFERENCE_PRECISION_HINT": "f32", "INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1}
            self.request = openvino.Core().compile_model(self.model, "CPU", config).create_infer_request()
        return [np.array(v) for v in self.request.infer(feeds).values()]


def load(case: str, models: Path, work: Path) -> Network:
    source = SOURCES[case]
    return Network(openvino.convert_model(source.readable(models, work), input=source.shape))


def quantize(network: Network, samples: Sequence[Any], **options: Any) -> Network:
    feeds = [s if isinstance(s, dict) else {network.inputs[0].name: s} for s in samples]
    return Network(nncf.quantize(network.model.clone(), nncf.Dataset(feeds), **options))
