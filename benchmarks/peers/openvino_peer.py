"""OpenVINO, CPU, latency hint, computing in f32 (its default on recent CPUs is bf16)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import openvino


def version() -> str:
    return str(openvino.__version__)


def prepare(module: Any, example: tuple[Any, ...], stem: Path) -> Path:
    from benchmarks.peers.onnx_file import onnx_file

    return onnx_file(module, example, stem)


def load(path: Path, threads: int) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    config = {
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": 1,
        "INFERENCE_PRECISION_HINT": "f32",
        "PERFORMANCE_HINT": "LATENCY",
    }
    request = openvino.Core().compile_model(str(path), "CPU", config).create_infer_request()

    def run(inputs: list[np.ndarray]) -> list[np.ndarray]:
        result = request.infer(inputs, share_inputs=True)
        return [np.array(v) for v in result.values()]

    return run
