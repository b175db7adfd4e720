"""Every error that edgec raises: what happened, where, what was got, what was expected, what to do.

One hierarchy for the converter, the runtime and the command line. The native module raises these very classes,
so `except edgec.Error` catches whatever part failed. Each class knows its status code (the one of the C interface;
0x100 and above exist in Python only) and the exit code that the command line ends with.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass


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
    INTERRUPTED = 130


class Error(Exception):
    """Base of all errors that edgec raises on purpose.

    `message` says what is wrong, `hint` what to do about it, `code` is the status code and `exit_code` what the
    command line returns.
    """

    code: int = 10
    exit_code: int = ExitCode.INTERNAL

    def __init__(self, message: str = "", *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def to_dict(self) -> dict[str, object]:
        """For `--json`: kind, message, hint, code and exit code."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "hint": self.hint,
            "code": self.code,
            "exit_code": self.exit_code,
        }


class InvalidArgumentError(Error, ValueError):
    """A call that makes no sense: unknown name, wrong data type, a missing argument, a value out of range."""

    code = 1
    exit_code = ExitCode.USAGE


UsageError = InvalidArgumentError


class BadFileError(Error):
    """A file that is damaged, or not what its name says."""

    code = 2
    exit_code = ExitCode.BAD_FILE


class UnsafeFileError(BadFileError):
    """A file that tries to do what reading a model must not do: run code, leave its folder."""


class VersionError(BadFileError):
    """A file written by a newer edgec; the text names both versions."""

    code = 3


@dataclass(frozen=True)
class UnsupportedOp:
    """One kind of operator that cannot be converted: how often, where, and what to do about it."""

    op: str
    count: int
    where: str
    advice: str

    def to_dict(self) -> dict[str, object]:
        """For `--json`."""
        return asdict(self)


class UnsupportedError(Error):
    """The model needs something that edgec does not have. `ops` lists all of it; nothing was written."""

    code = 4
    exit_code = ExitCode.UNSUPPORTED

    def __init__(self, message: str = "", ops: Sequence[UnsupportedOp] = (), *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.ops = tuple(ops)

    def __str__(self) -> str:
        rows = "".join(f"\n  {o.op}  x{o.count}  {o.where}  ->  {o.advice}" for o in self.ops)
        return super().__str__() + rows

    def to_dict(self) -> dict[str, object]:
        return {**super().to_dict(), "ops": [o.to_dict() for o in self.ops]}


class StateDictError(UnsupportedError):
    """A checkpoint that holds weights but no network. `summary` says what is in it."""

    def __init__(self, message: str = "", summary: dict[str, object] | None = None, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.summary = summary or {}

    def to_dict(self) -> dict[str, object]:
        return {**super().to_dict(), "summary": self.summary}


class ResourceError(Error):
    """A limit of memory or time was reached."""

    code = 5
    exit_code = ExitCode.RESOURCES


class OutOfMemoryError(ResourceError, MemoryError):
    """More memory than the system, or the caller's `max_memory`, allows. Raised before running, never during."""


class ShapeError(InvalidArgumentError):
    """A shape that is missing or does not fit; the text names the tensor, what was got and what was expected."""

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


class NeedsValueError(Error):
    """Inference of an operator needs a value that only the run knows; the converter keeps its type open."""

    code = 100


class MissingDependency(Error, ImportError):  # noqa: N818  the name that the public interface promises
    """An optional package is not installed. `pip` is the line that installs it."""

    code = 0x100
    exit_code = ExitCode.MISSING_PACKAGE

    def __init__(self, package: str, purpose: str, pip: str = "") -> None:
        self.package, self.purpose = package, purpose
        self.pip = pip or f"pip install {package}"
        super().__init__(f"{purpose} needs the package '{package}', which is not installed", hint=self.pip)

    def __reduce__(self) -> tuple[type[MissingDependency], tuple[str, str, str]]:
        return type(self), (self.package, self.purpose, self.pip)  # the message is made of these

    def to_dict(self) -> dict[str, object]:
        return {**super().to_dict(), "pip": self.pip}


class CheckError(Error):
    """The converted model does not compute what the source model computes. `report` has the numbers."""

    code = 0x101
    exit_code = ExitCode.DIFFERS

    def __init__(self, message: str = "", report: object = None, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.report = report

    def to_dict(self) -> dict[str, object]:
        return {**super().to_dict(), "report": self.report}


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
        NeedsValueError,
    )
}
