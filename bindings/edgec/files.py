"""Writing files so that nothing half-written, and nothing that was not asked for, ever stands under a name."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

from edgec.errors import ResourceError, UsageError


def write_atomically(path: str | os.PathLike[str], data: bytes, overwrite: bool = False) -> int:
    """Temporary file in the same directory, fsync, rename; a crash leaves either the old file or the new one."""
    target = Path(path)
    if target.is_symlink():
        raise UsageError(
            f"'{target}' is a symbolic link to '{target.readlink()}'",
            hint="write to the file it points to, or remove the link",
        )
    if target.exists() and not target.is_file():
        raise UsageError(f"'{target}' exists and is not a regular file", hint="choose another path")
    if target.exists() and not overwrite:
        raise UsageError(f"'{target}' exists", hint="pass -f (overwrite=True) to replace it")
    try:
        handle, temporary = tempfile.mkstemp(prefix=f".{target.name[:200]}.", suffix=".tmp", dir=target.parent)
    except OSError as e:
        raise UsageError(f"cannot write into '{target.parent}': {e.strerror}") from None
    try:
        with os.fdopen(handle, "wb") as f:
            f.write(data)
            f.flush()
            os.fchmod(f.fileno(), _permissions(target))
            os.fsync(f.fileno())
        if overwrite:
            Path(temporary).replace(target)
        else:
            # link() refuses an existing name, so a file that appeared meanwhile is not lost
            try:
                os.link(temporary, target)
                Path(temporary).unlink()
            except FileExistsError:
                raise UsageError(f"'{target}' exists", hint="pass -f (overwrite=True) to replace it") from None
            except OSError:  # a file system without hard links
                Path(temporary).replace(target)
        _sync_directory(target.parent)
    except OSError as e:
        raise ResourceError(f"cannot write '{target}': {e.strerror}") from None
    finally:
        with contextlib.suppress(FileNotFoundError):
            Path(temporary).unlink()
    return len(data)


def _permissions(target: Path) -> int:
    if target.exists():
        return target.stat().st_mode & 0o777
    mask = os.umask(0)
    os.umask(mask)
    return 0o666 & ~mask


def _sync_directory(directory: Path) -> None:
    with contextlib.suppress(OSError):  # not every file system lets a directory be opened
        handle = os.open(directory, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)
