"""The converter's errors: names of the one hierarchy in `edgec.errors`."""

from edgec.errors import (
    BadFileError,
    CancelledError,
    CheckError,
    Error,
    InvalidArgumentError,
    IoError,
    MissingDependency,
    ResourceError,
    ShapeError,
    StateDictError,
    UnsafeFileError,
    UnsupportedError,
    UnsupportedOp,
    UsageError,
)

__all__ = [
    "BadFileError",
    "CancelledError",
    "CheckError",
    "Error",
    "InvalidArgumentError",
    "IoError",
    "MissingDependency",
    "ResourceError",
    "ShapeError",
    "StateDictError",
    "UnsafeFileError",
    "UnsupportedError",
    "UnsupportedOp",
    "UsageError",
]
