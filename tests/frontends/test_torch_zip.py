"""The zip reader sees what any other reader would see, or refuses."""

from __future__ import annotations

import io
import struct
import zipfile
from pathlib import Path

import pytest

from edgec.converter.frontends.torch.zip import ZipReader
from edgec.errors import BadFileError, Error, UnsafeFileError
from tests.frontends.attack import zip_bytes

ENTRIES = [("archive/data.pkl", b"\x80\x02}."), ("archive/data/0", bytes(range(64)))]


def open_bytes(tmp_path: Path, data: bytes) -> ZipReader:
    path = tmp_path / "a.zip"
    path.write_bytes(bytes(data))
    return ZipReader(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_reads_what_zipfile_reads(method: int, tmp_path: Path) -> None:
    data = zip_bytes(ENTRIES, method=method)
    reader = open_bytes(tmp_path, data)
    assert reader.root() == "archive/"
    with zipfile.ZipFile(io.BytesIO(bytes(data))) as z:
        for name in z.namelist():
            assert reader.read(name) == z.read(name) == bytes(reader.view(name))


@pytest.mark.parametrize("name", ["/etc/passwd", "../up", "a/../../up", "a\\b", "c:/x", "a\0b"])
def test_names_that_leave_the_archive(name: str, tmp_path: Path) -> None:
    plain = "N" * len(name)
    data = zip_bytes([(plain, b"x")])
    with pytest.raises(UnsafeFileError):
        open_bytes(tmp_path, bytes(data).replace(plain.encode(), name.encode()))


def test_two_entries_with_one_name(tmp_path: Path) -> None:
    data = bytes(zip_bytes([("a/1", b"x"), ("a/2", b"y")])).replace(b"a/2", b"a/1")
    with pytest.raises(UnsafeFileError, match="two entries"):
        open_bytes(tmp_path, data)


def test_a_link(tmp_path: Path) -> None:
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w") as z:
        info = zipfile.ZipInfo("a/link")
        info.create_system, info.external_attr = 3, 0o120777 << 16
        z.writestr(info, "/etc/passwd")
    with pytest.raises(UnsafeFileError, match="link"):
        open_bytes(tmp_path, stream.getvalue())


def test_a_bomb(tmp_path: Path) -> None:
    with pytest.raises(UnsafeFileError, match="expands"):
        open_bytes(tmp_path, zip_bytes([("a/zero", bytes(1 << 24))], method=zipfile.ZIP_DEFLATED))


def test_headers_that_disagree(tmp_path: Path) -> None:
    data = zip_bytes(ENTRIES)
    local = data.index(b"PK\x03\x04")
    data[local + 30] ^= 1  # the name in the local header
    with pytest.raises(UnsafeFileError, match="disagree"):
        open_bytes(tmp_path, data)
    data = zip_bytes(ENTRIES)
    data[data.index(b"PK\x03\x04") + 22] ^= 1  # the size in the local header
    with pytest.raises(UnsafeFileError, match="disagree"):
        open_bytes(tmp_path, data)


def test_wrong_checksum(tmp_path: Path) -> None:
    data = zip_bytes(ENTRIES)
    at = bytes(data).index(bytes(range(64)))
    data[at] ^= 0xFF
    with pytest.raises(BadFileError, match="checksum"):
        open_bytes(tmp_path, data).read("archive/data/0")


def test_encrypted_flag_and_appended_bytes(tmp_path: Path) -> None:
    data = zip_bytes(ENTRIES)
    data[data.index(b"PK\x01\x02") + 8] |= 1
    with pytest.raises(UnsafeFileError, match="encrypted|disagree"):
        open_bytes(tmp_path, data)
    with pytest.raises(UnsafeFileError, match="behind the end"):
        open_bytes(tmp_path, bytes(zip_bytes(ENTRIES)) + b"polyglot")


def test_overlapping_entries(tmp_path: Path) -> None:
    data = zip_bytes([("a/1", b"x" * 10), ("a/2", b"y" * 10)])
    first = data.index(b"PK\x01\x02")
    second = data.index(b"PK\x01\x02", first + 1)
    struct.pack_into("<I", data, second + 42, 0)  # both point to the first local header
    with pytest.raises(Error):
        open_bytes(tmp_path, data)


def test_truncated_and_flipped_everywhere(tmp_path: Path) -> None:
    data = zip_bytes(ENTRIES)
    for end in range(len(data)):
        with pytest.raises(Error):
            open_bytes(tmp_path, data[:end])
    for at in range(len(data)):
        for bit in (0x01, 0x80, 0xFF):
            changed = bytearray(data)
            changed[at] ^= bit
            try:
                reader = open_bytes(tmp_path, changed)
                for name in list(reader.names()):
                    reader.read(name)
            except Error:
                continue


def test_zip64_that_lies(tmp_path: Path) -> None:
    data = zip_bytes(ENTRIES)
    first = data.index(b"PK\x01\x02")
    struct.pack_into("<I", data, first + 24, 0xFFFFFFFF)  # "the size is in the zip64 field", which is missing
    with pytest.raises(Error):
        open_bytes(tmp_path, data)
