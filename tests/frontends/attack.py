"""Pickles and archives that try to do harm; each writes a marker file when it succeeds."""

from __future__ import annotations

import io
import os
import pickle
import struct
import zipfile
from pathlib import Path
from typing import Any

MAGIC = 0x1950A86A20F9469CFC6C


class Run:
    """Unpickling this with Python's own machine runs a command."""

    def __init__(self, marker: Path) -> None:
        self.marker = marker

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.marker}",)


def malicious_pickle(marker: Path, protocol: int = 2) -> bytes:
    return pickle.dumps({"state_dict": {}, "x": Run(marker)}, protocol=protocol)


def global_pickle(module: str, name: str) -> bytes:
    """Calls module.name("payload")."""
    return b"\x80\x02c" + f"{module}\n{name}\n".encode() + b"X\x07\x00\x00\x00payload\x85R."


def stack_global_pickle(module: str, name: str) -> bytes:
    def text(s: str) -> bytes:
        return b"\x8c" + bytes([len(s)]) + s.encode()

    return b"\x80\x04" + text(module) + text(name) + b"\x93" + text("payload") + b"\x85R."


def torch_zip(path: Path, data: bytes, extra: dict[str, bytes] | None = None, root: str = "archive") -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as z:
        z.writestr(f"{root}/data.pkl", data)
        z.writestr(f"{root}/version", "3\n")
        for name, content in (extra or {}).items():
            z.writestr(f"{root}/{name}", content)
    return path


def legacy_file(path: Path, data: bytes) -> Path:
    stream = io.BytesIO()
    for item in (MAGIC, 1001, {"little_endian": True}):
        pickle.dump(item, stream, protocol=2)
    stream.write(data)
    pickle.dump([], stream, protocol=2)
    path.write_bytes(stream.getvalue())
    return path


def zip_bytes(entries: list[tuple[str, bytes]], **changes: Any) -> bytearray:
    """A stored zip whose fields a test then changes in place."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", changes.get("method", zipfile.ZIP_STORED)) as z:
        for name, content in entries:
            z.writestr(name, content)
    return bytearray(stream.getvalue())


def patch_u32(data: bytearray, at: int, value: int) -> None:
    data[at : at + 4] = struct.pack("<I", value)
