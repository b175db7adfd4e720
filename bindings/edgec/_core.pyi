"""The native module. Internal: its interface may change with any version."""

import os
from collections.abc import Mapping, Sequence
from typing import Any, TypedDict

import numpy as np

from edgec.errors import BadFileError as BadFileError
from edgec.errors import CancelledError as CancelledError
from edgec.errors import Error as Error
from edgec.errors import InternalError as InternalError
from edgec.errors import InvalidArgumentError as InvalidArgumentError
from edgec.errors import IoError as IoError
from edgec.errors import NeedsValueError as NeedsValueError
from edgec.errors import OutOfMemoryError as OutOfMemoryError
from edgec.errors import ShapeError as ShapeError
from edgec.errors import SignatureError as SignatureError
from edgec.errors import UnsupportedError as UnsupportedError
from edgec.errors import VersionError as VersionError

__version__: str

Array = np.ndarray[Any, Any]
Type = tuple[str, tuple[int, ...]]

class Port(TypedDict):
    name: str
    optional: bool
    variadic: bool
    doc: str

class Attribute(TypedDict):
    name: str
    type: str
    default: Any
    required: bool
    choices: list[str]
    doc: str

class Schema(TypedDict):
    name: str
    version: int
    doc: str
    inputs: list[Port]
    outputs: list[Port]
    attrs: list[Attribute]
    pitched_inputs: bool
    pitched_outputs: bool
    shape_only: bool
    view: bool
    not_foldable: bool
    elementwise: bool
    control_flow: bool
    inplace: list[int]

class CpuInfo(TypedDict):
    features: dict[str, bool]
    isas: list[tuple[str, bool]]
    isa: str
    usable_cpus: int
    caches: dict[str, int]

class ModelNode(TypedDict):
    op: str
    name: str
    inputs: list[str | None]
    outputs: list[str | None]
    attrs: dict[str, Any]

def registry() -> list[Schema]: ...
def schema(op: str) -> Schema: ...
def infer(
    op: str,
    attrs: Mapping[str, Any],
    in_types: Sequence[tuple[str, Sequence[int]] | None],
    in_values: Sequence[Array | None],
    n_outputs: int,
) -> list[Type]: ...
def evaluate(
    op: str,
    attrs: Mapping[str, Any],
    inputs: Sequence[Array | tuple[str, Sequence[int]] | None],
    n_outputs: int,
) -> list[Array]: ...
def dtype_name(dtype: Any) -> str: ...
def numpy_dtype(name: str) -> np.dtype[Any]: ...
def cpu_info() -> CpuInfo: ...

class Model:
    @staticmethod
    def open(path: str | bytes | os.PathLike[str], verify: bool = False) -> Model: ...
    @staticmethod
    def from_bytes(data: bytes, verify: bool = False) -> Model: ...
    @property
    def inputs(self) -> list[tuple[str, str, tuple[int | str, ...]]]: ...
    @property
    def output_names(self) -> list[str]: ...
    @property
    def symbols(self) -> list[tuple[str, int, int]]: ...
    @property
    def metadata(self) -> dict[str, str]: ...
    @property
    def format_version(self) -> tuple[int, int]: ...
    @property
    def weight_bytes(self) -> int: ...
    @property
    def graph_count(self) -> int: ...
    def nodes(self, graph: int = 0) -> list[ModelNode]: ...
    def constants(self, graph: int = 0) -> list[tuple[str, str, tuple[int, ...], int]]: ...
    def constant(self, name: str) -> Array: ...

class Session:
    def __init__(
        self,
        model: Model,
        threads: int = 1,
        max_memory: int = 0,
        keep_all: bool = False,
        isa: str = "",
        shapes: Sequence[Sequence[int]] | None = None,
    ) -> None: ...
    def run_tuple(self, *inputs: Any, **named: Any) -> tuple[Array, ...]: ...
    def profile(self, feeds: Mapping[str, Any], count: int = 1) -> list[float]: ...
    def prepare(self, shapes: Mapping[str, Sequence[int]]) -> None: ...
    def tensor(self, name: str) -> Array: ...
    @property
    def tensor_names(self) -> list[str]: ...
    def cancel(self) -> None: ...
    @property
    def stats(self) -> dict[str, int]: ...
    @property
    def steps(self) -> list[dict[str, Any]]: ...
    @property
    def input_types(self) -> list[tuple[str, str, tuple[int, ...]]]: ...
    @property
    def output_types(self) -> list[tuple[str, str, tuple[int, ...]]]: ...
    @property
    def output_names(self) -> list[str]: ...
    @property
    def threads(self) -> int: ...
    @property
    def isa(self) -> str: ...
