"""The converter's errors: names of the one hierarchy in `edgec.errors`."""

from edgec.errors import (
    BadFileError,
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
