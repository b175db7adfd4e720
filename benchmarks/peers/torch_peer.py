"""PyTorch in eager mode: what a user has without another runtime."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch


def version() -> str:
    return str(torch.__version__)


def prepare(module: Any, example: tuple[Any, ...], stem: Path) -> Path:
    path = stem.with_suffix(".module.pt")
    torch.save(module, path)
    return path


def load(path: Path, threads: int) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    torch.set_num_threads(threads)
    module = torch.load(path, weights_only=False)  # written by prepare() a moment ago

    def run(inputs: list[np.ndarray]) -> list[np.ndarray]:
        with torch.inference_mode():
            out = module(*(torch.from_numpy(x) for x in inputs))
        return [y.numpy() for y in (out if isinstance(out, tuple) else (out,))]

    return run
