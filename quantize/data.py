"""Calibration data: folders of pictures or arrays, .npy, .npz, iterables, `module:function`."""

from __future__ import annotations

import importlib
import os
import re
import sys
import zipfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import numpy as np

from edgec import _core
from edgec.errors import BadFileError, InvalidArgumentError, ShapeError, UsageError
from edgec.inputs import as_array
from edgec.model import Model, TensorSpec
from edgec.quantize.preprocess import IMAGES, Preprocess, picture

Array = np.ndarray[Any, Any]
Feeds = dict[str, Array]

_FUNCTION = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def read_samples(model: Model, data: Any, preprocess: Preprocess | None = None, limit: int = 128) -> list[Feeds]:
    """At most `limit` samples, each one array per input by name, in the inputs' types.

    data: a folder of pictures (needs `preprocess`, else pixels / 255) or of .npy/.npz files, an .npy ([samples, ...]), an
    .npz (arrays by input name), an array, an iterable of arrays, tuples or dicts, a function that returns one, or
    "module:function". Of files and arrays, samples spread evenly over the whole are taken.

    Raises UsageError (not found, not understood), BadFileError, ShapeError, InvalidArgumentError.
    """
    if isinstance(data, (str, os.PathLike)):
        path = Path(data)
        if path.is_dir():
            return list(_folder(model, path, preprocess or Preprocess(), limit))
        if path.exists():
            return _file(model, path, limit)
        if isinstance(data, str) and _FUNCTION.fullmatch(data):
            return read_samples(model, function(data), preprocess, limit)
        raise UsageError(f"calibration data: there is no '{data}'", hint="a folder, .npy, .npz or module:function")
    if callable(data):
        data = data()
    if isinstance(data, np.ndarray):
        return _rows(model, [data], limit)
    if isinstance(data, Mapping):
        return _rows(model, [data[s.name] for s in _given(model, data)], limit)
    if not isinstance(data, Iterable):
        raise UsageError(f"calibration data: got a {type(data).__name__}")
    return [_sample(model, item) for item in islice(data, limit)]


def spread(count: int, limit: int) -> Iterator[int]:
    """At most `limit` of `count` indices, evenly spread: files and rows are often sorted by class."""
    taken = min(count, limit)
    return (i * count // taken for i in range(taken))


def function(text: str) -> Callable[..., Any]:
    """The function that "module:function" names; the current folder is searched too. Raises UsageError."""
    module, _, name = text.partition(":")
    added = str(Path.cwd())
    sys.path.insert(0, added)
    try:
        return getattr(importlib.import_module(module), name)  # type: ignore[no-any-return]
    except (ImportError, AttributeError) as e:
        raise UsageError(f"{text}: {e}") from e
    finally:
        sys.path.remove(added)


def _folder(model: Model, folder: Path, preprocess: Preprocess, limit: int) -> Iterator[Feeds]:
    files = sorted(f for f in folder.rglob("*") if f.suffix.lower() in IMAGES | {".npy", ".npz"} and f.is_file())
    if not files:
        raise UsageError(f"{folder} holds no pictures and no .npy or .npz files")
    spec = model.inputs[0]
    shape = model.example_shapes[0]
    for i in spread(len(files), limit):
        if files[i].suffix.lower() in IMAGES:
            if len(model.inputs) != 1:
                raise UsageError(f"the model has {len(model.inputs)} inputs: a folder of pictures feeds only one")
            yield {spec.name: picture(files[i], shape, spec.dtype, preprocess)}
        else:
            yield from _file(model, files[i], 1)


def _file(model: Model, path: Path, limit: int) -> list[Feeds]:
    try:
        if path.suffix.lower() == ".npy":
            return _rows(model, [np.load(path, allow_pickle=False)], limit)
        if path.suffix.lower() == ".npz":
            with np.load(path, allow_pickle=False) as archive:
                arrays = {name: archive[name] for name in archive.files}
            if len(arrays) == 1 and len(model.inputs) == 1:
                return _rows(model, list(arrays.values()), limit)
            return _rows(model, [arrays[s.name] for s in _given(model, arrays)], limit)
    except (OSError, ValueError, EOFError, zipfile.BadZipFile) as e:
        raise BadFileError(f"{path}: not readable: {e}") from e
    raise UsageError(f"{path}: expected a folder, .npy or .npz")


def _given(model: Model, arrays: Mapping[str, Any]) -> tuple[TensorSpec, ...]:
    for spec in model.inputs:
        if spec.name not in arrays:
            raise UsageError(f"calibration data: there is no array '{spec.name}'; there is {', '.join(arrays)}")
    return model.inputs


def _rows(model: Model, arrays: Sequence[Array], limit: int) -> list[Feeds]:
    """Arrays that hold many samples along their first dimension, or exactly one."""
    if len(arrays) != len(model.inputs):
        raise UsageError(f"calibration data: got {len(arrays)} arrays, the model has {len(model.inputs)} inputs")
    pieces = [_pieces(spec, np.asarray(a)) for spec, a in zip(model.inputs, arrays)]
    count = max(len(p) for p in pieces)
    if any(len(p) not in (1, count) for p in pieces):
        raise ShapeError(f"calibration data: the inputs have {', '.join(str(len(p)) for p in pieces)} samples")
    chosen = spread(count, limit)
    return [{s.name: _typed(s, p[i % len(p)]) for s, p in zip(model.inputs, pieces)} for i in chosen]


def _pieces(spec: TensorSpec, array: Array) -> list[Array]:
    if array.ndim == len(spec.shape) + 1:
        return list(array)
    if array.ndim != len(spec.shape):
        raise ShapeError(f"calibration data: {array.shape} does not fit input {spec}")
    if _fits(spec, array.shape) or not array.ndim:
        batch = spec.shape[0] if spec.shape else 1
        return [array] if isinstance(batch, int) else [array[i : i + 1] for i in range(len(array))]
    batch = int(spec.shape[0]) if isinstance(spec.shape[0], int) else 1
    if len(array) < batch or not _fits(spec, (batch, *array.shape[1:])):
        raise ShapeError(f"calibration data: {array.shape} does not fit input {spec}")
    return [array[i : i + batch] for i in range(0, len(array) - batch + 1, batch)]


def _fits(spec: TensorSpec, shape: Sequence[int]) -> bool:
    return len(shape) == len(spec.shape) and all(
        not isinstance(want, int) or want == d for want, d in zip(spec.shape, shape)
    )


def _typed(spec: TensorSpec, array: Array) -> Array:
    if array.dtype == spec.dtype:
        return np.ascontiguousarray(array)
    if array.dtype.kind == "f" and spec.dtype.kind == "f":
        return np.ascontiguousarray(array, spec.dtype)
    raise InvalidArgumentError(f"calibration data: input '{spec.name}' wants {spec.dtype}, got {array.dtype}")


def _sample(model: Model, item: Any) -> Feeds:
    if isinstance(item, Mapping):
        values = [item[s.name] for s in _given(model, item)]
    elif isinstance(item, (tuple, list)) and len(item) >= len(model.inputs) and hasattr(item[0], "__len__"):
        values = list(item[: len(model.inputs)])  # loaders yield (picture, label)
    else:
        values = [item]
    if len(values) != len(model.inputs):
        raise UsageError(f"calibration data: a sample has {len(values)} arrays, the model {len(model.inputs)} inputs")
    feeds = {}
    for spec, value in zip(model.inputs, values):
        array = as_array(value, spec.name, _core.dtype_name(spec.dtype))
        if array.ndim == len(spec.shape) - 1:
            array = array[None]
        if not _fits(spec, array.shape):
            raise ShapeError(f"calibration data: a sample of shape {array.shape} does not fit input {spec}")
        feeds[spec.name] = _typed(spec, array)
    return feeds
