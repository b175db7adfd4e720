"""The ONNX file that several peers read, exported once per network."""

from __future__ import annotations

from pathlib import Path
from typing import Any


def onnx_file(module: Any, example: tuple[Any, ...], stem: Path) -> Path:
    """Path of `stem`.onnx; exports it with torch's exporter when it is not there yet."""
    import torch

    path = stem.with_suffix(".onnx")
    if not path.exists():
        names = [f"x{i}" for i in range(len(example))]
        torch.onnx.export(module, example, str(path), input_names=names, dynamo=True, external_data=False)
    return path
