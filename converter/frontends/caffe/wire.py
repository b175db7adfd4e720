"""Reads the layers and weights of a .caffemodel: protobuf's wire format, only the fields that hold them.

Field numbers are those of caffe.proto. Values stay in the mapped file until a layer asks for them.
"""

from __future__ import annotations

import math
import mmap
import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError, IoError, UnsupportedError
from edgec.converter.frontends.layers.importer import MAX_ELEMENTS, MAX_LAYERS

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5

# NetParameter
_NET_LAYERS_V1, _NET_LAYER = 2, 100
# LayerParameter and V1LayerParameter: (name, blobs); V1LayerParameter.layer holds the still older V0 form.
_LAYER_FIELDS, _V1_FIELDS, _V0_IN_V1 = (1, 7), (4, 6), 1
# BlobProto. raw_* are NVCaffe's.
_NUM, _CHANNELS, _HEIGHT, _WIDTH, _DATA, _SHAPE, _DOUBLES, _RAW_TYPE, _RAW = 1, 2, 3, 4, 5, 7, 8, 10, 12
_RAW_TYPES = {0: np.float64, 1: np.float32, 2: np.float16}
_MAX_BLOBS = 64
_MAX_FIELDS = 1_000_000  # of one message; weights are few fields with much in them


@dataclass
class Blob:
    """Weights in the file: the shape (4 numbers in old files) and the pieces of data that make it up."""

    shape: list[int] = field(default_factory=list)
    pieces: list[np.ndarray] = field(default_factory=list)

    @property
    def size(self) -> int:
        return sum(p.size for p in self.pieces)

    def array(self) -> np.ndarray:
        """All values, flat, as f32."""
        parts = [p.astype(np.float32) for p in self.pieces]
        return parts[0] if len(parts) == 1 else np.concatenate([np.zeros(0, np.float32), *parts])


@dataclass
class WeightLayer:
    """A layer of the .caffemodel; what it does stands in the definition."""

    name: str
    blobs: list[Blob]


def read_weights(path: str | os.PathLike[str]) -> list[WeightLayer]:
    """The layers of a .caffemodel in order. Raises BadFileError, UnsupportedError (V0 files), IoError."""
    file = Path(path)
    try:
        with file.open("rb") as f:
            if os.fstat(f.fileno()).st_size == 0:
                raise BadFileError(f"{file} is empty")
            data = memoryview(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ))
    except OSError as e:
        raise IoError(f"cannot read {file}: {e.strerror}") from None
    if bytes(data[:8]) == b"\x89HDF\r\n\x1a\n":
        raise UnsupportedError(f"{file} holds Caffe weights as HDF5", hint="save them as .caffemodel (snapshot_format)")
    layers: list[WeightLayer] = []
    try:
        for number, wire, value in _fields(data):
            if wire != _BYTES or number not in (_NET_LAYER, _NET_LAYERS_V1):
                continue
            if len(layers) >= MAX_LAYERS:
                raise BadFileError(f"more than {MAX_LAYERS} layers")
            layers.append(_layer(value, _LAYER_FIELDS if number == _NET_LAYER else _V1_FIELDS))
    except BadFileError as e:
        raise BadFileError(f"{file}: {e.message}", hint="the file is damaged or no .caffemodel") from None
    if not layers:
        raise BadFileError(
            f"{file} holds no layers", hint="a .caffemodel is wanted here, not a solver state or a mean file"
        )
    return layers


def _layer(data: memoryview, numbers: tuple[int, int]) -> WeightLayer:
    name_field, blobs_field = numbers
    layer = WeightLayer("", [])
    for number, wire, value in _fields(data):
        if number == name_field and wire == _BYTES:
            layer.name = bytes(value[:4096]).decode("utf-8", "replace")
        elif number == blobs_field and wire == _BYTES:
            if len(layer.blobs) >= _MAX_BLOBS:
                raise BadFileError(f"layer '{layer.name}' has more than {_MAX_BLOBS} blobs")
            layer.blobs.append(_blob(value, layer.name))
        elif number == _V0_IN_V1 and wire == _BYTES and numbers is _V1_FIELDS:
            raise UnsupportedError(
                "a network in the V0 format of 2013", hint="Caffe's upgrade_net_proto_binary brings it up to date"
            )
    return layer


def _blob(data: memoryview, owner: str) -> Blob:
    blob = Blob()
    old = {_NUM: 0, _CHANNELS: 0, _HEIGHT: 0, _WIDTH: 0}
    raw, raw_type = None, 1
    at = count = 0
    while at < len(data):
        count = _counted(count)
        number, wire, value, end = _field(data, at)
        if wire == _FIXED32 and number == _DATA:
            at = _unpacked(data, at, 4, np.dtype("<f4"), blob)
            continue
        if wire == _FIXED64 and number == _DOUBLES:
            at = _unpacked(data, at, 8, np.dtype("<f8"), blob)
            continue
        at = end
        if number == _SHAPE and wire == _BYTES:
            blob.shape = _shape(value)
        elif number in old and wire == _VARINT:
            old[number] = _signed(value)
        elif number in (_DATA, _DOUBLES) and wire == _BYTES:
            kind = np.dtype("<f4" if number == _DATA else "<f8")
            if len(value) % kind.itemsize:
                raise BadFileError(f"layer '{owner}': {len(value)} bytes of weights are no whole number of values")
            blob.pieces.append(np.frombuffer(value, kind))
        elif number == _RAW_TYPE and wire == _VARINT:
            raw_type = value
        elif number == _RAW and wire == _BYTES:
            raw = value
    if raw is not None and not blob.pieces:
        if raw_type not in _RAW_TYPES:
            raise BadFileError(f"layer '{owner}': weights of raw type {raw_type}, expected 0 (f64), 1 (f32) or 2 (f16)")
        raw_kind = np.dtype(_RAW_TYPES[raw_type])
        if len(raw) % raw_kind.itemsize:
            raise BadFileError(f"layer '{owner}': {len(raw)} bytes of weights are no whole number of values")
        blob.pieces.append(np.frombuffer(raw, raw_kind))
    if not blob.shape and any(old.values()):
        blob.shape = list(old.values())
    if any(d < 0 or d > MAX_ELEMENTS for d in blob.shape) or math.prod(blob.shape) > MAX_ELEMENTS:
        raise BadFileError(f"layer '{owner}' has weights of shape {blob.shape[:8]}")
    return blob


def _unpacked(data: memoryview, at: int, width: int, kind: np.dtype, blob: Blob) -> int:
    """A run of values that each have their own tag, as writers without [packed] make them."""
    rest = np.frombuffer(data[at:], np.uint8)
    rows = rest[: len(rest) // (width + 1) * (width + 1)].reshape(-1, width + 1)
    other = np.flatnonzero(rows[:, 0] != rows[0, 0])
    count = int(other[0]) if other.size else len(rows)
    blob.pieces.append(np.frombuffer(np.ascontiguousarray(rows[:count, 1:]).tobytes(), kind))
    return at + count * (width + 1)


def _shape(data: memoryview) -> list[int]:
    """BlobShape: dim = 1, packed or not."""
    dims: list[int] = []
    for number, wire, value in _fields(data):
        if number != 1:
            continue
        if wire == _VARINT:
            dims.append(_signed(value))
        elif wire == _BYTES:
            at = 0
            while at < len(value) and len(dims) <= 32:
                d, at = _varint(value, at)
                dims.append(_signed(d))
        if len(dims) > 32:
            raise BadFileError("weights of more than 32 dimensions")
    return dims


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise BadFileError("a number is cut off or longer than 64 bits")
        byte = data[at]
        result |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return result & (1 << 64) - 1, at
        shift += 7


def _fields(data: memoryview) -> Iterator[tuple[int, int, Any]]:
    at = count = 0
    while at < len(data):
        count = _counted(count)
        number, wire, value, at = _field(data, at)
        yield number, wire, value


def _counted(count: int) -> int:
    if count >= _MAX_FIELDS:
        raise BadFileError(f"a message of more than {_MAX_FIELDS} fields")
    return count + 1


def _field(data: memoryview, at: int) -> tuple[int, int, Any, int]:
    """(field number, wire type, value, next position): an int, or a view of the bytes."""
    key, at = _varint(data, at)
    number, wire = key >> 3, key & 7
    if number == 0:
        raise BadFileError("a field with number 0")
    if wire == _VARINT:
        value, at = _varint(data, at)
        return number, wire, value, at
    if wire == _BYTES:
        length, at = _varint(data, at)
    elif wire in (_FIXED32, _FIXED64):
        length = 4 if wire == _FIXED32 else 8
    else:
        raise BadFileError(f"field {number} has wire type {wire}, which caffe.proto does not use")
    if length > len(data) - at:
        raise BadFileError(f"field {number} has {length} bytes, {len(data) - at} are left")
    return number, wire, data[at : at + length], at + length
