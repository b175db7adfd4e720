"""MNN, CPU, f32."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import MNN
import numpy as np


def version() -> str:
    return package_version("MNN")


def prepare(module: Any, example: tuple[Any, ...], stem: Path) -> Path:
    from benchmarks.peers.onnx_file import onnx_file

    source, path = onnx_file(module, example, stem), stem.with_suffix(".mnn")
    # The console script `mnnconvert` would import a usage reporter; this is the converter it wraps.
    arguments = ["mnnconvert", "-f", "ONNX", "--modelFile", str(source), "--MNNModel", str(path), "--bizCode", "edgec"]
    subprocess.run([sys.executable, "-c", f"import _tools; _tools.mnnconvert({arguments!r})"], check=True)
    return path


def load(path: Path, threads: int) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    manager = MNN.nn.create_runtime_manager(({"backend": "CPU", "numThread": threads, "precision": "high"},))
    info = MNN.nn.load_module_from_file(str(path), [], []).get_info()
    net = MNN.nn.load_module_from_file(str(path), info["inputNames"], info["outputNames"], runtime_manager=manager)

    def run(inputs: list[np.ndarray]) -> list[np.ndarray]:
        feeds = []
        for x in inputs:
            integer = np.issubdtype(x.dtype, np.integer)
            feed = MNN.expr.placeholder(list(x.shape), MNN.expr.NCHW, MNN.expr.int if integer else MNN.expr.float)
            feed.write(np.ascontiguousarray(x, np.int32 if integer else np.float32))
            feeds.append(feed)
        return [np.array(MNN.expr.convert(y, MNN.expr.NCHW).read()) for y in net.onForward(feeds)]

    return run
