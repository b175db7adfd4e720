"""Reads ncnn's .bin files: weights one behind the other, in the order in which the layers ask for them."""

from __future__ import annotations

import mmap
import os
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from edgec.converter.errors import BadFileError, IoError

# Tags in front of weights that a writer may have made smaller.
_RAW, _SCALED, _HALF, _INT8 = 0, 0x0002C056, 0x01306B47, 0x000D4B38


@dataclass
class WeightStream:
    """Position in the file, or a generator of random weights. `lost`: a layer was skipped whose size is not known."""

    data: memoryview | None = None
    file: str = ""
    generator: np.random.Generator | None = None
    at: int = 0
    lost: bool = False

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> WeightStream:
        file = Path(path)
        try:
            with file.open("rb") as f:
                if os.fstat(f.fileno()).st_size == 0:
                    return cls(memoryview(b""), file.name)  # networks without weights
                return cls(memoryview(mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)), file.name)
        except OSError as e:
            raise IoError(f"cannot read {file}: {e.strerror}") from None

    @classmethod
    def random(cls, seed: int) -> WeightStream:
        return cls(generator=np.random.default_rng(seed))

    @property
    def left(self) -> int:
        return 0 if self.data is None else len(self.data) - self.at

    def raw(self, count: int, what: str) -> np.ndarray:
        """f32 values without a tag."""
        return np.frombuffer(self._take(4 * count, what), "<f4")

    def tagged(self, count: int, what: str) -> np.ndarray:
        """f32 values, or i8 values when the file holds those."""
        head = self._take(4, f"the tag of {what}")
        tag = int.from_bytes(head, "little")
        if tag == _HALF:
            return np.frombuffer(self._take(_aligned(2 * count), what)[: 2 * count], "<f2").astype(np.float32)
        if tag == _INT8:
            return np.frombuffer(self._take(_aligned(count), what)[:count], np.int8)
        if tag in (_RAW, _SCALED):
            return self.raw(count, what)
        if sum(head) and tag & 0xFF:  # any other tag: a table of 256 values, and indices into it
            table = np.frombuffer(self._take(1024, f"the table of {what}"), "<f4")
            return table[np.frombuffer(self._take(_aligned(count), what)[:count], np.uint8)]
        raise BadFileError(
            f"{what}: the tag 0x{tag:08x} in {self.file} is not known", hint="is it the .bin of this .param?"
        )

    def _take(self, size: int, what: str) -> memoryview:
        assert self.data is not None
        if size > self.left:
            raise BadFileError(
                f"{what} takes {size} bytes at {self.at}, {self.file} has {self.left} left",
                hint="the file is cut off, or belongs to another .param",
            )
        part = self.data[self.at : self.at + size]
        self.at += size
        return part


def _aligned(size: int) -> int:
    return (size + 3) // 4 * 4
