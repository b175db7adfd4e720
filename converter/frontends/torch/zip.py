"""The zip container of PyTorch files, read with distrust.

Everything is checked against the central directory before any byte is used: duplicate names, names that leave
the archive, links, encryption, overlapping entries, sizes that differ between the two headers (a scanner and a
loader would see different data), and expansion beyond a stated ratio.
"""

from __future__ import annotations

import itertools
import mmap
import os
import struct
import zlib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from edgec.converter.errors import BadFileError, UnsafeFileError

MAX_ENTRIES = 1_000_000
MAX_RATIO = 200  # deflate of weights stays far below; 42.zip is at 10^8
MAX_COMPRESSED_ENTRY = 1 << 31

_EOCD = struct.Struct("<4s4H2LH")
_EOCD64_LOCATOR = struct.Struct("<4sLQL")
_EOCD64 = struct.Struct("<4sQ2H2L4Q")
_CENTRAL = struct.Struct("<4s6H3L5H2L")
_LOCAL = struct.Struct("<4s5H3L2H")
_U32 = 0xFFFFFFFF
_LINK = 0o120000


@dataclass(frozen=True)
class Entry:
    """One file of the archive. `offset` is the place of its data in the zip file."""

    name: str
    method: int
    crc: int
    compressed: int
    size: int
    offset: int


class ZipReader:
    """Read-only view of a zip file. Raises BadFileError (damaged) or UnsafeFileError (built to deceive)."""

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.path = Path(path)
        with Path(self.path).open("rb") as f:
            size = os.fstat(f.fileno()).st_size
            if size < _EOCD.size:
                raise BadFileError(f"{self.path}: too short for a zip archive")
            self._data = mmap.mmap(f.fileno(), 0, access=mmap.ACCESS_READ)
        self._size = size
        self.entries: dict[str, Entry] = {}
        self._read_directory()

    # -- directory --------------------------------------------------------------------------------
    def _bad(self, text: str) -> BadFileError:
        return BadFileError(f"{self.path}: {text}")

    def _unsafe(self, text: str) -> UnsafeFileError:
        return UnsafeFileError(f"{self.path}: {text}")

    def _directory_place(self) -> tuple[int, int, int]:
        """Offset, size and number of entries of the central directory."""
        start = max(self._size - _EOCD.size - 0xFFFF, 0)
        at = self._data.rfind(b"PK\x05\x06", start)
        if at < 0 or at + _EOCD.size > self._size:
            raise self._bad("the zip directory is missing (the file is truncated)")
        _, disk, disk_start, here, total, size, offset, comment = _EOCD.unpack_from(self._data, at)
        if at + _EOCD.size + comment != self._size:
            raise self._unsafe("there are bytes behind the end of the zip archive")
        locator = at - _EOCD64_LOCATOR.size
        if locator >= 0 and self._data[locator : locator + 4] == b"PK\x06\x07":
            _, _, at64, _ = _EOCD64_LOCATOR.unpack_from(self._data, locator)
            if at64 + _EOCD64.size > self._size or self._data[at64 : at64 + 4] != b"PK\x06\x06":
                raise self._bad("the zip64 directory is not where the file says")
            _, _, _, _, disk, disk_start, here64, total64, size64, offset64 = _EOCD64.unpack_from(self._data, at64)
            for small, large, limit in ((total, total64, 0xFFFF), (size, size64, _U32), (offset, offset64, _U32)):
                if small not in (limit, large):
                    raise self._unsafe("its zip and zip64 directories disagree")
            here, total, size, offset = here64, total64, size64, offset64
        if disk or disk_start or here != total:
            raise self._bad("zip archives in several parts are not supported")
        if total > MAX_ENTRIES or offset + size > at or total * _CENTRAL.size > size:
            raise self._bad("the zip directory does not fit the file")
        return offset, size, total

    def _read_directory(self) -> None:
        at, size, total = self._directory_place()
        end = at + size
        spans: list[tuple[int, int]] = []
        for _ in range(total):
            if at + _CENTRAL.size > end or self._data[at : at + 4] != b"PK\x01\x02":
                raise self._bad("the zip directory is damaged")
            (
                _,
                made,
                _,
                flags,
                method,
                _,
                _,
                crc,
                packed,
                full,
                n_name,
                n_extra,
                n_comment,
                _,
                _,
                attributes,
                local,
            ) = _CENTRAL.unpack_from(self._data, at)
            name_at = at + _CENTRAL.size
            if name_at + n_name + n_extra + n_comment > end:
                raise self._bad("the zip directory is damaged")
            raw = self._data[name_at : name_at + n_name]
            extra = self._data[name_at + n_name : name_at + n_name + n_extra]
            at = name_at + n_name + n_extra + n_comment
            full, packed, local = self._zip64(extra, full, packed, local)
            name = self._name(raw)
            if name in self.entries:
                raise self._unsafe(f"two entries have the name '{name}'")
            if flags & 0x41:
                raise self._unsafe(f"the entry '{name}' is encrypted")
            if made >> 8 == 3 and (attributes >> 16) & 0o170000 == _LINK:
                raise self._unsafe(f"the entry '{name}' is a link")
            if method not in (0, 8) or (method == 0 and packed != full):
                raise self._bad(f"the entry '{name}' uses an unknown compression")
            if method == 8 and (full > max(packed, 1024) * MAX_RATIO or full > MAX_COMPRESSED_ENTRY):
                raise self._unsafe(f"the entry '{name}' expands from {packed} to {full} bytes")
            data = self._data_place(name, raw, flags, method, crc, packed, full, local)
            spans.append((local, data + packed))
            self.entries[name] = Entry(name, method, crc, packed, full, data)
        if at != end:
            raise self._bad("the zip directory is damaged")
        spans.sort()
        for (_, before), (after, _) in itertools.pairwise(spans):
            if after < before:
                raise self._unsafe("entries of the zip archive overlap")

    def _zip64(self, extra: bytes, full: int, packed: int, local: int) -> tuple[int, int, int]:
        values = [full, packed, local]
        at = 0
        while at + 4 <= len(extra):
            kind, length = struct.unpack_from("<HH", extra, at)
            if kind == 1:
                place = at + 4
                for i, v in enumerate(values):
                    if v == _U32:
                        if place + 8 > min(at + 4 + length, len(extra)):
                            raise self._bad("a zip64 entry is damaged")
                        (values[i],) = struct.unpack_from("<Q", extra, place)
                        place += 8
                break
            at += 4 + length
        return values[0], values[1], values[2]

    def _name(self, raw: bytes) -> str:
        try:
            name = raw.decode("utf-8")
        except UnicodeDecodeError:
            raise self._unsafe("an entry's name is not UTF-8") from None
        parts = name.split("/")
        if not name or "\0" in name or "\\" in name or name.startswith("/") or ":" in parts[0] or ".." in parts:
            raise self._unsafe(f"an entry has the name '{name.encode('unicode_escape').decode()}'")
        return name

    def _data_place(
        self, name: str, raw: bytes, flags: int, method: int, crc: int, packed: int, full: int, local: int
    ) -> int:
        """Checks the local header against the directory; returns where the data begins."""
        if local + _LOCAL.size > self._size or self._data[local : local + 4] != b"PK\x03\x04":
            raise self._bad(f"the entry '{name}' is not where the directory says")
        (_, _, flags2, method2, _, _, crc2, packed2, full2, n_name, n_extra) = _LOCAL.unpack_from(self._data, local)
        begin = local + _LOCAL.size
        if self._data[begin : begin + n_name] != raw or method2 != method or (flags2 ^ flags) & 0x41:
            raise self._unsafe(f"the two headers of the entry '{name}' disagree")
        if not flags2 & 8:  # otherwise sizes and checksum follow the data
            extra = self._data[begin + n_name : begin + n_name + n_extra]
            full2, packed2, _ = self._zip64(extra, full2, packed2, 0)
            if (crc2, packed2, full2) != (crc, packed, full):
                raise self._unsafe(f"the two headers of the entry '{name}' disagree")
        data = begin + n_name + n_extra
        if data + packed > self._size:
            raise self._bad(f"the entry '{name}' reaches beyond the file (truncated?)")
        return data

    # -- content ----------------------------------------------------------------------------------
    def names(self) -> Iterable[str]:
        return self.entries.keys()

    def read(self, name: str, limit: int = MAX_COMPRESSED_ENTRY) -> bytes:
        """The whole entry, its checksum verified. Raises BadFileError when it is longer than `limit` bytes."""
        entry = self.entries[name]
        if entry.size > limit:
            raise self._bad(f"the entry '{name}' has {entry.size} bytes; at most {limit} are expected")
        raw = self._data[entry.offset : entry.offset + entry.compressed]
        if entry.method == 8:
            stream = zlib.decompressobj(-15)
            try:
                raw = stream.decompress(raw, entry.size + 1)
            except zlib.error as e:
                raise self._bad(f"the entry '{name}' does not decompress ({e})") from None
            if not stream.eof:
                raise self._unsafe(f"the entry '{name}' is longer than it says")
        if len(raw) != entry.size or zlib.crc32(raw) != entry.crc:
            raise self._bad(f"the entry '{name}' is damaged (checksum)")
        return raw

    def view(self, name: str) -> memoryview:
        """The entry's bytes without a copy when it is stored uncompressed."""
        entry = self.entries[name]
        if entry.method == 8:
            return memoryview(self.read(name))
        return memoryview(self._data)[entry.offset : entry.offset + entry.size]

    def root(self) -> str:
        """The directory that all entries share ("archive/"), or ""."""
        tops = {n.split("/", 1)[0] for n in self.entries if "/" in n}
        loose = [n for n in self.entries if "/" not in n]
        return f"{tops.pop()}/" if len(tops) == 1 and not loose else ""
