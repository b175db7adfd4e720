"""The labels that a .tflite file carries: its metadata tools append a zip archive with text files to the model."""

from __future__ import annotations

import io
import zipfile
import zlib

MAX_BYTES = 1 << 20


def appended_labels(content: bytes) -> list[str]:
    """Lines of the first label file; [] when there is none, or when it cannot be read."""
    if content[-65557:].find(b"PK\x05\x06") < 0:
        return []
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = [i for i in archive.infolist() if i.filename.endswith(".txt") and "label" in i.filename.lower()]
            if not names or names[0].file_size > MAX_BYTES:
                return []
            with archive.open(names[0]) as f:
                text = f.read(MAX_BYTES).decode("utf-8")
    except (zipfile.BadZipFile, ValueError, OSError, NotImplementedError, RuntimeError, EOFError, zlib.error):
        return []
    return [line.strip().replace("\0", " ") for line in text.splitlines()]
