"""A model: what `convert` returns, what a `.edge` file holds, what a session runs."""

from __future__ import annotations

import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from edgec import _core
from edgec.errors import InvalidArgumentError, IoError, ShapeError
from edgec.files import write_atomically

Dim = int | str

# Tried in order for symbolic dimensions that may be anything: networks halve, and subtract kernels.
EXAMPLE_SIZES = (1, 16, 32, 64, 128, 224, 320, 512)


@dataclass(frozen=True)
class TensorSpec:
    """Name, shape and data type of an input or output.

    `shape` holds ints, and the names of symbolic dimensions; `dtype` is NumPy's. An output whose type depends on the
    input's values, so that only a run can tell it, has the shape ("...",) and the type void.
    """

    name: str
    shape: tuple[Dim, ...]
    dtype: np.dtype[Any]

    @classmethod
    def of(cls, name: str, dtype: str, shape: Sequence[Dim]) -> TensorSpec:
        """From edgec's name of the data type; "none" = unknown before a run."""
        if dtype == "none":
            return cls(name, ("...",), np.dtype(np.void))
        return cls(name, tuple(shape), _core.numpy_dtype(dtype))

    def __str__(self) -> str:
        return f"{self.name}: {self.dtype}[{','.join(map(str, self.shape))}]"


class Model:
    """A converted model; immutable, and shared by any number of sessions and threads.

    >>> model = edgec.load("net.edge")
    >>> model.inputs[0].shape
    (1, 3, 224, 224)
    >>> session = edgec.Session(model, threads=2)
    """

    def __init__(
        self,
        native: _core.Model,
        *,
        path: Path | None = None,
        data: bytes | None = None,
        report: dict[str, Any] | None = None,
    ) -> None:
        """Internal; use `edgec.load`, `edgec.convert` or `Model.from_bytes`."""
        self._native = native
        self._path = path
        self._data = data
        self._report = report
        self._example_size = 1

    @classmethod
    def open(cls, path: str | os.PathLike[str], *, verify: bool = False) -> Model:
        """Maps and checks a `.edge` file. `verify` also checks the checksum of the weights.

        Raises IoError when it cannot be read, BadFileError when it is not a sound `.edge` file.
        """
        return cls(_core.Model.open(os.fspath(path), verify=verify), path=Path(path))

    @classmethod
    def from_bytes(
        cls, data: bytes | bytearray | memoryview, *, report: dict[str, Any] | None = None, verify: bool = False
    ) -> Model:
        """The model in the bytes of a `.edge` file. `report` is the converter's, kept beside the file's own."""
        data = bytes(data)
        return cls(_core.Model.from_bytes(data, verify=verify), data=data, report=report)

    @property
    def native(self) -> _core.Model:
        """The native object; internal."""
        return self._native

    @cached_property
    def inputs(self) -> tuple[TensorSpec, ...]:
        """Inputs in order."""
        return tuple(TensorSpec.of(n, d, s) for n, d, s in self._native.inputs)

    @cached_property
    def outputs(self) -> tuple[TensorSpec, ...]:
        """Outputs in order. A dimension that depends on an input's symbolic dimension is given as `"?"`.

        Shapes are inferred by preparing the model, for two sizes of every symbol.
        """
        first = self.example_shapes
        types = [_core.Session(self._native, shapes=first or None).output_types]
        for factor in (2, 3, 4) if self.symbols else ():
            try:
                types.append(_core.Session(self._native, shapes=self._sized(factor=factor)).output_types)
                break
            except InvalidArgumentError:
                continue
        specs = []
        for per_probe in zip(*types, strict=True):
            name, dtype, shape = per_probe[0]
            dims: tuple[Dim, ...] = tuple(
                d if all(len(s) == len(shape) and s[i] == d for _, _, s in per_probe) else "?"
                for i, d in enumerate(shape)
            )
            specs.append(TensorSpec.of(name, dtype, dims))
        return tuple(specs)

    @cached_property
    def example_shapes(self) -> list[list[int]]:
        """Input shapes that the model accepts: symbolic dimensions as small as possible, larger where that fails.

        Raises ShapeError when none of the sizes tried works; then only the user knows some.
        """
        failure: InvalidArgumentError | None = None
        for size in EXAMPLE_SIZES if self.symbols else (1,):
            shapes = self._sized(size)
            try:
                if self.symbols:
                    _core.Session(self._native, shapes=shapes)
            except InvalidArgumentError as e:
                failure = failure or e
                continue
            self._example_size = size
            return shapes
        assert failure is not None
        raise ShapeError(failure.message, hint="give the shapes of the inputs: shapes={...}, or --shape NAME:[...]")

    def _sized(self, size: int | None = None, factor: int = 1) -> list[list[int]]:
        """Every symbol at `size` (None: what worked) times `factor`, within its range; the first dimension counts
        things of a batch, so that its symbol starts at its minimum."""
        size = self._example_size if size is None else size
        leading = {s.shape[0] for s in self.inputs if s.shape}
        sizes: dict[Dim, int] = {}
        for name, (minimum, maximum) in self.symbols.items():
            wanted = factor * max(minimum, 1 if name in leading else size)
            sizes[name] = min(wanted, maximum) if maximum else wanted
        return [[d if isinstance(d, int) else sizes[d] for d in s.shape] for s in self.inputs]

    @cached_property
    def metadata(self) -> dict[str, str]:
        """The file's metadata: producer, source, labels and others (docs/format.md)."""
        return dict(self._native.metadata)

    @cached_property
    def report(self) -> dict[str, Any]:
        """What the converter did: operators, fusions, checks, warnings. Empty for files that carry none."""
        if self._report is not None:
            return self._report
        text = self.metadata.get("report", "")
        try:
            report = json.loads(text) if text else {}
        except ValueError:
            return {}
        return report if isinstance(report, dict) else {}

    @property
    def symbols(self) -> dict[str, tuple[int, int]]:
        """Symbolic dimensions: name -> (smallest, largest); 0 = no upper limit."""
        return {name: (minimum, maximum) for name, minimum, maximum in self._native.symbols}

    def to_bytes(self) -> bytes:
        """The model as the bytes of a `.edge` file."""
        if self._data is not None:
            return self._data
        if self._path is None:
            raise InvalidArgumentError("this model has neither a file nor bytes")
        try:
            return self._path.read_bytes()
        except OSError as e:
            raise IoError(f"{self._path}: {e.strerror}") from e

    def save(self, path: str | os.PathLike[str], *, overwrite: bool = True) -> Path:
        """Writes the `.edge` file at once or not at all (temporary file, then rename). Returns its path.

        Raises UsageError when the file exists and `overwrite` is False, ResourceError when the system refuses.
        """
        write_atomically(path, self.to_bytes(), overwrite)
        return Path(path)

    def __repr__(self) -> str:
        ins = ", ".join(str(s) for s in self.inputs)
        return f"<edgec.Model ({ins}) -> ({', '.join(self._native.output_names)})>"


def load(path: str | os.PathLike[str], *, verify: bool = False) -> Model:
    """Opens a `.edge` file; see `Model.open`.

    >>> edgec.load("net.edge").inputs[0].name
    'input'
    """
    return Model.open(path, verify=verify)
