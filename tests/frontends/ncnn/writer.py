"""Writes .param and .bin files as ncnn's tools do, and imports them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgec.converter.frontends.ncnn.importer import import_ncnn
from edgec.converter.frontends.shapes import parse_shapes
from edgec.converter.ir.graph import Graph
from edgec.converter.ir.run import run


def raw(array: np.ndarray) -> bytes:
    return array.astype("<f4").tobytes()


def _aligned(data: bytes) -> bytes:
    return data + b"\xee" * (-len(data) % 4)


def tagged(array: np.ndarray) -> bytes:
    """f32, f16 or i8 behind the tag that says which."""
    if array.dtype == np.float16:
        return (0x01306B47).to_bytes(4, "little") + _aligned(array.astype("<f2").tobytes())
    if array.dtype == np.int8:
        return (0x000D4B38).to_bytes(4, "little") + _aligned(array.tobytes())
    return bytes(4) + raw(array)


def table(indices: np.ndarray, values: np.ndarray) -> bytes:
    """Weights as indices into 256 values."""
    return b"\x01\x00\x00\x00" + raw(values) + _aligned(indices.astype(np.uint8).tobytes())


def param(layers: Sequence[str], *shapes: Sequence[int]) -> str:
    """A .param of the lines `layers` behind inputs x0, x1... of these shapes (without a batch)."""
    lines = []
    for i, shape in enumerate(shapes):
        keys = {1: "0", 2: "10", 3: "210"}.get(len(shape), "")
        sizes = " ".join(f"{k}={d}" for k, d in zip(keys, shape)) if keys else _four(shape)
        lines.append(f"Input in{i} 0 1 x{i} {sizes}")
    lines += [line for line in layers if line]
    return f"7767517\n{len(lines)} {len(lines) + 8}\n" + "\n".join(lines) + "\n"


def _four(shape: Sequence[int]) -> str:
    return f"2={shape[0]} 11={shape[1]} 1={shape[2]} 0={shape[3]}"


def graph(folder: Path, text: str, data: bytes = b"", shapes: object = None) -> Graph:
    (folder / "net.param").write_text(text)
    (folder / "net.bin").write_bytes(data)
    return import_ncnn(folder / "net.param", folder / "net.bin", parse_shapes(shapes))[0]


def outputs(folder: Path, text: str, data: bytes, *arrays: np.ndarray) -> list[np.ndarray]:
    """What the imported network computes, output by output; `arrays` have the batch of 1 in front."""
    g = graph(folder, text, data)
    feeds: Mapping[str, np.ndarray] = {v.name: a for v, a in zip(g.inputs, arrays)}
    results = run(g, feeds)
    return [results[v.name] for v in g.outputs]
