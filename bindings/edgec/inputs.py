"""Turns what users pass as an input into an array; called by the native module for anything that is not one."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec import _core
from edgec.errors import InvalidArgumentError


def as_array(value: Any, name: str, dtype: str) -> np.ndarray[Any, Any]:
    """`value` as a NumPy array, without copying when it is a tensor of another library in CPU memory.

    Tensors keep their data type (the caller compares it). Plain Python numbers and (nested) lists have none, so they
    take the input's, provided that no value changes.

    Raises InvalidArgumentError with the input's name when the value cannot be read or would be changed.
    """
    if isinstance(value, np.generic):
        return np.asarray(value)
    if hasattr(value, "__dlpack__") or hasattr(value, "__array__"):
        return _from_tensor(value, name)
    return _from_python(value, name, dtype)


def _from_tensor(value: Any, name: str) -> np.ndarray[Any, Any]:
    if hasattr(value, "detach"):  # torch: a tensor that still records gradients refuses to be exported
        value = value.detach()
    device = getattr(value, "device", None)
    if device is not None and getattr(device, "type", "cpu") != "cpu":
        raise InvalidArgumentError(f"input '{name}': the tensor is on {device}. What to do: pass tensor.cpu()")
    try:
        if hasattr(value, "__dlpack__"):
            return np.from_dlpack(value)
    except (BufferError, RuntimeError, TypeError, ValueError, AttributeError):
        pass  # e.g. a type or a stride that DLPack cannot say; __array__ may
    try:
        return np.asarray(value)
    except Exception as e:  # whatever a foreign __array__ raises
        raise InvalidArgumentError(f"input '{name}': {type(value).__name__} cannot become an array: {e}") from e


def _from_python(value: Any, name: str, dtype: str) -> np.ndarray[Any, Any]:
    wanted = _core.numpy_dtype(dtype)
    try:
        given = np.asarray(value)
    except ValueError as e:
        raise InvalidArgumentError(f"input '{name}': {e}") from e
    if given.dtype.kind not in "bifu":
        raise InvalidArgumentError(f"input '{name}': got {type(value).__name__}, expected an array of {wanted}")
    if given.dtype == wanted:
        return given
    with np.errstate(all="ignore"):
        array = given.astype(wanted)
    if given.dtype.kind == "f" and wanted.kind == "f":
        return array  # the nearest float is what a Python literal means
    if given.dtype.kind == "b" or wanted.kind == "b" or not np.array_equal(array, given):
        raise InvalidArgumentError(
            f"input '{name}': got {given.dtype} values that {wanted} cannot hold exactly. "
            f'What to do: pass np.asarray(value, "{wanted}")'
        )
    return array
