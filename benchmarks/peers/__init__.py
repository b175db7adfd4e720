"""Runtimes that can be timed. One file per peer:

version() -> str                          raises ImportError when it is not installed
prepare(module, example, stem) -> Path    converts a torch module once; `stem` is a path without suffix
load(path, threads) -> run                run(list of NumPy arrays) -> list of NumPy arrays
"""

from __future__ import annotations

import importlib
from types import ModuleType

PEERS = ("edgec", "torch", "onnxruntime", "openvino", "ncnn", "mnn", "litert")


def peer(name: str) -> ModuleType:
    """The adapter of one peer; ValueError for an unknown name."""
    if name not in PEERS:
        raise ValueError(f"unknown peer '{name}'; known: {', '.join(PEERS)}")
    return importlib.import_module(f"benchmarks.peers.{name}_peer")
