"""Everything that can go wrong between a source model and a file, as exceptions with an exit code.

`edgec.errors` re-exports these names. The exit codes are the ones of the command line: 1 the result differs,
2 usage, 3 unsupported model, 4 bad or unsafe file, 5 resources, 6 a missing optional package.
"""

from __future__ import annotations

from dataclasses import dataclass


class Error(Exception):
    """Base of all errors that edgec raises on purpose; `exit_code` is what the command line returns."""

    exit_code = 4

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message}\n{self.hint}" if self.hint else self.message

    def to_dict(self) -> dict[str, object]:
        """For `--json`: kind, message, hint and exit code."""
        return {
            "error": type(self).__name__,
            "message": self.message,
            "hint": self.hint,
            "exit_code": self.exit_code,
        }


class UsageError(Error):
    """An argument is missing or makes no sense."""

    exit_code = 2


class ShapeError(UsageError):
    """An input shape is missing, malformed, or does not fit the model."""


@dataclass(frozen=True)
class UnsupportedOp:
    """One row of the list of what cannot be converted."""

    op: str
    count: int
    where: str
    advice: str

    def to_dict(self) -> dict[str, object]:
        return {"op": self.op, "count": self.count, "where": self.where, "advice": self.advice}


class UnsupportedError(Error):
    """The model needs something that edgec does not have. `ops` lists all of it, nothing was written."""

    exit_code = 3

    def __init__(self, message: str, ops: tuple[UnsupportedOp, ...] = (), *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.ops = ops

    def __str__(self) -> str:
        rows = "".join(f"\n  {o.op}  x{o.count}  {o.where}  ->  {o.advice}" for o in self.ops)
        return super().__str__() + rows

    def to_dict(self) -> dict[str, object]:
        return {**super().to_dict(), "ops": [o.to_dict() for o in self.ops]}


class BadFileError(Error):
    """The file is damaged or is not what it claims to be."""


class UnsafeFileError(BadFileError):
    """The file tries to do something that reading a model must not do (run code, leave its folder)."""


class StateDictError(Error):
    """The checkpoint holds weights but no network. `summary` says what is in it."""

    exit_code = 3

    def __init__(self, message: str, summary: dict[str, object], *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.summary = summary

    def to_dict(self) -> dict[str, object]:
        return {**super().to_dict(), "summary": self.summary}


class ResourceError(Error):
    """Memory or time limit reached."""

    exit_code = 5


class MissingDependency(Error):
    """An optional package is not installed; `pip` is the line that installs it."""

    exit_code = 6

    def __init__(self, package: str, purpose: str, pip: str) -> None:
        super().__init__(f"{purpose} needs the package '{package}', which is not installed", hint=pip)
        self.package = package
        self.pip = pip

    def to_dict(self) -> dict[str, object]:
        return {**super().to_dict(), "pip": self.pip}


class CheckError(Error):
    """The converted model does not compute what the source model computes. `report` has the numbers."""

    exit_code = 1

    def __init__(self, message: str, report: object = None, *, hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.report = report
