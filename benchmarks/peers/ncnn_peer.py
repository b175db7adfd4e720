"""ncnn, CPU, f32 storage and arithmetic; converted by pnnx from TorchScript."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import version as package_version
from pathlib import Path
from typing import Any

import ncnn
import numpy as np


def version() -> str:
    return package_version("ncnn")


def prepare(module: Any, example: tuple[Any, ...], stem: Path) -> Path:
    import pnnx

    pnnx.export(module, str(stem.with_suffix(".ncnn_source.pt")), example, fp16=False)
    return Path(f"{stem}.ncnn_source.ncnn.param")


def load(path: Path, threads: int) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    net = ncnn.Net()
    net.opt.num_threads = threads
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.use_bf16_storage = False
    if net.load_param(str(path)) != 0 or net.load_model(str(path.with_suffix(".bin"))) != 0:
        raise RuntimeError(f"ncnn does not load {path}")

    def run(inputs: list[np.ndarray]) -> list[np.ndarray]:
        extractor = net.create_extractor()
        for name, x in zip(net.input_names(), inputs, strict=True):
            extractor.input(name, ncnn.Mat(x[0] if x.ndim > 1 else x))
        return [np.array(extractor.extract(name)[1])[None] for name in net.output_names()]

    return run
