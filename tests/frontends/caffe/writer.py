"""Writes .caffemodel files, enough of protobuf's wire format for the tests, and imports pairs of text and weights."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from edgec.converter.frontends.caffe.importer import import_caffe
from edgec.converter.frontends.shapes import parse_shapes
from edgec.converter.ir.graph import Graph
from edgec.converter.ir.run import run


def varint(value: int) -> bytes:
    value &= (1 << 64) - 1
    out = bytearray()
    while value > 127:
        out.append(value & 127 | 128)
        value >>= 7
    return bytes([*out, value])


def field(number: int, content: bytes | int) -> bytes:
    """A length-delimited field, or a varint."""
    if isinstance(content, int):
        return varint(number << 3) + varint(content)
    return varint(number << 3 | 2) + varint(len(content)) + content


def blob(array: np.ndarray, form: str = "shape") -> bytes:
    """BlobProto. Forms: shape; old (num, channels, height, width); double; unpacked; half (NVCaffe)."""
    shape = field(7, field(1, b"".join(varint(d) for d in array.shape)))
    if form == "old":
        dims = [1] * (4 - array.ndim) + list(array.shape)
        return b"".join(field(i + 1, d) for i, d in enumerate(dims)) + field(5, array.astype("<f4").tobytes())
    if form == "double":
        return shape + field(8, array.astype("<f8").tobytes())
    if form == "unpacked":
        return shape + b"".join(b"\x2d" + np.float32(v).tobytes() for v in array.ravel())
    if form == "half":
        return shape + field(10, 2) + field(12, array.astype("<f2").tobytes())
    return shape + field(5, array.astype("<f4").tobytes())


def caffemodel(layers: Mapping[str, Sequence[np.ndarray]], v1: bool = False, form: str = "shape") -> bytes:
    """NetParameter with the blobs of each layer."""
    out = field(1, b"net")
    for name, blobs in layers.items():
        if v1:
            content = field(4, name.encode()) + field(5, 4) + b"".join(field(6, blob(b, form)) for b in blobs)
            out += field(2, content)
        else:
            content = field(1, name.encode()) + field(2, b"Any") + b"".join(field(7, blob(b, form)) for b in blobs)
            out += field(100, content)
    return out


def net(layers: str, *shapes: Sequence[int]) -> str:
    """A definition with inputs x0, x1... of these shapes."""
    tops = ""
    for i, shape in enumerate(shapes):
        dims = " ".join(f"dim: {d}" for d in shape)
        tops += f'layer {{ name: "in{i}" type: "Input" top: "x{i}" input_param {{ shape {{ {dims} }} }} }}\n'
    return tops + layers


def graph(
    folder: Path,
    text: str,
    weights: Mapping[str, Sequence[np.ndarray]] | bytes | None = None,
    shapes: object = None,
) -> Graph:
    (folder / "net.prototxt").write_text(text)
    data = weights if isinstance(weights, bytes) else caffemodel(weights or {"none": []})
    (folder / "net.caffemodel").write_bytes(data)
    return import_caffe(folder / "net.prototxt", folder / "net.caffemodel", parse_shapes(shapes))[0]


def outputs(
    folder: Path, text: str, weights: Mapping[str, Sequence[np.ndarray]] | bytes | None, *arrays: np.ndarray
) -> list[np.ndarray]:
    """What the imported network computes, output by output."""
    g = graph(folder, text, weights)
    results = run(g, {v.name: a for v, a in zip(g.inputs, arrays)})
    return [results[v.name] for v in g.outputs]
