"""Every error that edgec raises: what happened, where, what was got, what was expected, what to do.

One hierarchy for the converter, the runtime and the command line. The native module raises these very classes,
so `except edgec.Error` catches whatever part failed. Each class knows its status code (the one of the C interface;
0x100 and above exist in Python only) and the exit code that the command line ends with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


class ExitCode:
    """What the command line's exit status means (docs/cli.md)."""

    OK = 0
    DIFFERS = 1
    USAGE = 2
    UNSUPPORTED = 3
    BAD_FILE = 4
    RESOURCES = 5
    MISSING_PACKAGE = 6
    INTERNAL = 70


class Error(Exception):
    """Base of all errors of edgec. `code` is the status code, `exit_code` what the command line returns."""

    code: int = 10
    exit_code: int = ExitCode.INTERNAL


class InvalidArgumentError(Error, ValueError):
    """A call that makes no sense: unknown name, wrong data type, value out of range."""

    code = 1
    exit_code = ExitCode.USAGE


class BadFileError(Error):
    """A file that is damaged, hostile, or not what its name says."""

    code = 2
    exit_code = ExitCode.BAD_FILE


class VersionError(BadFileError):
    """A file written by a newer edgec; the text names both versions."""

    code = 3


@dataclass(frozen=True)
class UnsupportedItem:
    """One kind of operator that cannot be converted: how often, where, and what to do about it."""

    op: str
    count: int
    where: str
    advice: str


class UnsupportedError(Error):
    """The model needs something that edgec does not have. `items` lists every such thing."""

    code = 4
    exit_code = ExitCode.UNSUPPORTED

    def __init__(self, message: str = "", items: Sequence[UnsupportedItem] = ()) -> None:
        super().__init__(message)
        self.items = tuple(items)


class OutOfMemoryError(Error, MemoryError):
    """More memory than the system, or the caller's `max_memory`, allows. Raised before running, never during."""

    code = 5
    exit_code = ExitCode.RESOURCES


class ShapeError(InvalidArgumentError):
    """A shape that does not fit; the text names the tensor, what was got and what was expected."""

    code = 6


class CancelledError(Error):
    """The run was cancelled from another thread."""

    code = 7
    exit_code = ExitCode.RESOURCES


class IoError(Error):
    """The system could not read or write a file."""

    code = 8
    exit_code = ExitCode.BAD_FILE


class SignatureError(BadFileError):
    """A signature that is missing or does not match."""

    code = 9


class InternalError(Error):
    """A defect of edgec itself; please report it with the model."""

    code = 10


class MissingDependency(Error, ImportError):  # noqa: N818  the name that the public interface promises
    """A package that this operation needs is not installed. `pip` is the line that installs it."""

    code = 0x100
    exit_code = ExitCode.MISSING_PACKAGE

    def __init__(self, package: str, why: str, pip: str = "") -> None:
        self.package = package
        self.pip = pip or f"pip install {package}"
        super().__init__(f"{why} needs the package '{package}', which is not installed. What to do: {self.pip}")


BY_CODE: dict[int, type[Error]] = {
    c.code: c
    for c in (
        InvalidArgumentError,
        BadFileError,
        VersionError,
        UnsupportedError,
        OutOfMemoryError,
        ShapeError,
        CancelledError,
        IoError,
        SignatureError,
        InternalError,
    )
}
