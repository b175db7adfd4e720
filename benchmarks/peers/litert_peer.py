"""LiteRT (TensorFlow Lite) with XNNPACK; converted by litert-torch."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import numpy as np
from ai_edge_litert.interpreter import Interpreter


def version() -> str:
    return package_version("ai-edge-litert")


def prepare(module: Any, example: tuple[Any, ...], stem: Path) -> Path:
    import litert_torch

    path = stem.with_suffix(".tflite")
    litert_torch.convert(module, example).export(str(path))
    return path


def load(path: Path, threads: int) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    interpreter = Interpreter(model_path=str(path), num_threads=threads)
    interpreter.allocate_tensors()
    inputs_of = [d["index"] for d in interpreter.get_input_details()]
    outputs_of = [d["index"] for d in interpreter.get_output_details()]

    def run(inputs: list[np.ndarray]) -> list[np.ndarray]:
        for index, x in zip(inputs_of, inputs, strict=True):
            interpreter.set_tensor(index, x)
        interpreter.invoke()
        return [interpreter.get_tensor(index) for index in outputs_of]

    return run
