"""edgec: convert a trained model, run it anywhere.

>>> import edgec
>>> model = edgec.convert("net.onnx")
>>> model.save("net.edge")
>>> session = edgec.Session("net.edge", threads=2)
>>> y = session(x)

Names are loaded on first use: importing `edgec` costs a few milliseconds and imports neither NumPy nor the
native module.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from edgec.errors import (
    BadFileError,
    CancelledError,
    CheckError,
    Error,
    InternalError,
    InvalidArgumentError,
    IoError,
    MissingDependency,
    OutOfMemoryError,
    ResourceError,
    ShapeError,
    SignatureError,
    StateDictError,
    UnsafeFileError,
    UnsupportedError,
    UsageError,
    VersionError,
)

if TYPE_CHECKING:
    from edgec.comparison import compare
    from edgec.converter.convert import convert
    from edgec.model import Model, load
    from edgec.quantize import quantize
    from edgec.session import Outputs, Session, TensorSpec

__version__ = "0.1.0"

_LAZY = {
    "Model": "edgec.model",
    "load": "edgec.model",
    "Session": "edgec.session",
    "Outputs": "edgec.session",
    "TensorSpec": "edgec.session",
    "compare": "edgec.comparison",
    "convert": "edgec.converter.convert",
}

__all__ = [
    "BadFileError",
    "CancelledError",
    "CheckError",
    "Error",
    "InternalError",
    "InvalidArgumentError",
    "IoError",
    "MissingDependency",
    "Model",
    "OutOfMemoryError",
    "Outputs",
    "ResourceError",
    "Session",
    "ShapeError",
    "SignatureError",
    "StateDictError",
    "TensorSpec",
    "UnsafeFileError",
    "UnsupportedError",
    "UsageError",
    "VersionError",
    "compare",
    "convert",
    "load",
    "quantize",
]


def __getattr__(name: str) -> Any:
    if name == "quantize":  # both a package and, because its module is callable, the function
        return importlib.import_module("edgec.quantize")
    if name not in _LAZY:
        raise AttributeError(f"module 'edgec' has no attribute '{name}'")
    value = getattr(importlib.import_module(_LAZY[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
