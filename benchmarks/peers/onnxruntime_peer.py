"""ONNX Runtime, CPU provider, all graph optimizations."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


def version() -> str:
    return str(onnxruntime.__version__)


def prepare(module: Any, example: tuple[Any, ...], stem: Path) -> Path:
    from benchmarks.peers.onnx_file import onnx_file

    return onnx_file(module, example, stem)


def load(path: Path, threads: int) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
    names = [i.name for i in session.get_inputs()]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))
