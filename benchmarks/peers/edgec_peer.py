"""edgec itself."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import edgec


def version() -> str:
    return str(edgec.__version__)


def prepare(module: Any, example: tuple[Any, ...], stem: Path) -> Path:
    path = stem.with_suffix(".edge")
    edgec.convert(module, example).save(path, overwrite=True)
    return path


def load(path: Path, threads: int) -> Callable[[list[np.ndarray]], list[np.ndarray]]:
    session = edgec.Session(path, threads=threads)
    names = [i.name for i in session.inputs]
    return lambda inputs: session.run(None, dict(zip(names, inputs, strict=True)))
