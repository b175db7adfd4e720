"""Reads .tflite files: every vector, buffer and index is checked against the file before it is used.

The package `tflite` holds the classes generated from the schema. They follow whatever offsets the file gives, and
Python's own bounds checks end a wild one with an exception; what they do not limit is the length of loops and copies.
That is done here: no vector may be longer than the file, and all of them together not longer than a few times the file.
"""

from __future__ import annotations

import math
import os
import struct
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError, MissingDependency, UnsupportedError
from edgec.converter.frontends.tflite.sparse import densify

MAX_RANK = 8
# No network for a device has a larger tensor; a damaged file easily claims one.
MAX_ELEMENTS = 2**31
MAX_OPERATORS = 200_000
MAX_NAME = 1000  # bytes; converters join the names of everything that they fused

# TensorType -> IR name, where the IR has the type. Values of the other types stay inside the frontend.
DTYPES = {
    0: "f32", 1: "f16", 2: "i32", 3: "u8", 4: "i64", 6: "bool", 7: "i16", 9: "i8", 10: "f64", 12: "u64", 15: "u32",
    16: "u16", 17: "i4", 18: "bf16",
}  # fmt: skip
OTHER_TYPES = {5: "string", 8: "complex64", 11: "complex128", 13: "resource", 14: "variant"}
_NUMPY = {
    "f32": "<f4", "f16": "<f2", "i32": "<i4", "u8": "u1", "i64": "<i8", "bool": "?", "i16": "<i2", "i8": "i1",
    "f64": "<f8", "u64": "<u8", "u32": "<u4", "u16": "<u2",
}  # fmt: skip
QUANTIZED = ("i8", "u8", "i16", "i4")


def import_schema() -> Any:
    """The packages `tflite` and `flatbuffers`."""
    try:
        import flatbuffers  # noqa: F401
        import tflite
    except ImportError as e:
        name = "flatbuffers" if "flatbuffers" in str(e) else "tflite"
        raise MissingDependency(name, "Reading TensorFlow Lite models", 'pip install "edgec[tflite]"') from None
    return tflite


@dataclass(frozen=True)
class Quantization:
    """real = (q - zero_point) * scale; `axis` counts only where there are several scales."""

    scale: np.ndarray  # f32 [n]
    zero_point: np.ndarray  # i64 [n]
    axis: int

    def same(self, other: Quantization | None) -> bool:
        """The same integers mean the same numbers."""
        return (
            other is not None
            and np.array_equal(self.scale, other.scale)
            and np.array_equal(self.zero_point, other.zero_point)
            and (self.axis == other.axis or self.scale.size == 1)
        )

    @property
    def per_channel(self) -> bool:
        return bool(self.scale.size > 1)


@dataclass(frozen=True)
class Tensor:
    """`dtype` is the IR's name, or "string", "resource"...; `data` the stored values of a constant, else None.

    4-bit integers are unpacked: their dtype is i8.
    """

    index: int
    name: str
    shape: tuple[int, ...]
    signature: tuple[int, ...]  # -1 where the size is open
    dtype: str
    quantization: Quantization | None
    is_variable: bool
    data: np.ndarray | None = field(repr=False)
    buffer: int = 0

    @property
    def quantized(self) -> bool:
        return self.quantization is not None and self.dtype in QUANTIZED


@dataclass(frozen=True)
class Operator:
    """`options` is the schema's table (defaults when the file has none); inputs and outputs are -1 where absent."""

    index: int
    name: str
    custom: bool
    version: int
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    intermediates: tuple[int, ...]
    options: Any
    custom_options: bytes


@dataclass(frozen=True)
class SubGraph:
    name: str
    tensors: list[Tensor]
    inputs: tuple[int, ...]
    outputs: tuple[int, ...]
    operators: list[Operator]


@dataclass(frozen=True)
class Signature:
    key: str
    subgraph: int
    inputs: dict[int, str]  # tensor -> the user's name
    outputs: dict[int, str]


@dataclass
class TfliteFile:
    """A checked model. Raises BadFileError for everything that does not hold together."""

    subgraphs: list[SubGraph]
    signatures: list[Signature]
    description: str
    metadata: dict[str, bytes]
    content: bytes = field(repr=False)

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> TfliteFile:
        try:
            content = Path(path).read_bytes()
        except OSError as e:
            raise BadFileError(f"cannot read {path}: {e.strerror}") from None
        return cls.parse(content, str(path))

    @classmethod
    def parse(cls, content: bytes, label: str = "the given bytes") -> TfliteFile:
        schema = import_schema()
        if len(content) < 16 or content[4:8] != b"TFL3":
            raise BadFileError(f"{label} is not a TensorFlow Lite model (bytes 4 to 8 are not 'TFL3')")
        try:
            return _Reader(schema, content).read()
        except (struct.error, ValueError, TypeError, IndexError, OverflowError, AttributeError, KeyError) as e:
            raise BadFileError(f"{label}: the file is damaged ({type(e).__name__}: {e})") from e
        except BadFileError as e:
            raise BadFileError(f"{label}: {e.message}") from e


class _Reader:
    def __init__(self, schema: Any, content: bytes) -> None:
        self.schema = schema
        self.content = content
        self.budget = 4 * len(content) + 65536
        self.names: dict[int, str] = {
            v: k for k, v in vars(schema.BuiltinOperator).items() if isinstance(v, int) and not k.startswith("_")
        }
        self.options: dict[int, str] = {
            v: k for k, v in vars(schema.BuiltinOptions).items() if isinstance(v, int) and not k.startswith("_")
        }

    def count(self, n: Any, what: str) -> int:
        """A length from the file; everything read so far counts against the budget."""
        self.budget -= int(n) + 1
        if n < 0 or self.budget < 0:
            raise BadFileError(f"{what} has {n} entries, more than the file can hold")
        return int(n)

    def text(self, table: Any, slot: int, what: str) -> str:
        """A string field, read only after its length is known."""
        at = table._tab.Offset(slot)
        if not at:
            return ""
        at += table._tab.Pos
        start = at + int.from_bytes(self.content[at : at + 4], "little")
        length = self.count(int.from_bytes(self.content[start : start + 4], "little"), what)
        return self.content[start + 4 : start + 4 + min(length, MAX_NAME)].decode("utf-8", "replace").replace("\0", " ")

    def ints(self, length: int, values: Any, what: str) -> tuple[int, ...]:
        n = self.count(length, what)
        return tuple(int(v) for v in values()) if n else ()

    def read(self) -> TfliteFile:
        model = self.schema.Model.GetRootAs(self.content, 0)
        if model.Version() != 3:
            raise UnsupportedError(f"TensorFlow Lite schema version {model.Version()}; edgec reads version 3")
        self.codes = []
        for i in range(self.count(model.OperatorCodesLength(), "operator_codes")):
            code = model.OperatorCodes(i)
            # Files before schema 3a only have the old field, of 8 bits.
            number = max(code.DeprecatedBuiltinCode(), code.BuiltinCode())
            name = self.text(code, 6, "custom_code") if number == self.schema.BuiltinOperator.CUSTOM else ""
            self.codes.append((number, name, code.Version()))
        self.model = model
        self.buffer_count = self.count(model.BuffersLength(), "buffers")
        subgraphs = [
            self._subgraph(model.Subgraphs(i), i) for i in range(self.count(model.SubgraphsLength(), "subgraphs"))
        ]
        if not subgraphs:
            raise BadFileError("the file has no subgraph")
        signatures = []
        for i in range(self.count(model.SignatureDefsLength(), "signature_defs")):
            signature = self._signature(model.SignatureDefs(i), subgraphs)
            if signature is not None:
                signatures.append(signature)
        metadata = {}
        for i in range(self.count(model.MetadataLength(), "metadata")):
            entry = model.Metadata(i)
            number = entry.Buffer()
            if number < self.buffer_count:
                metadata[self.text(entry, 4, "metadata name")] = bytes(self._buffer(number))
        return TfliteFile(subgraphs, signatures, self.text(model, 10, "description"), metadata, self.content)

    def _buffer(self, number: int) -> memoryview:
        buffer = self.model.Buffers(number)
        offset, size = buffer.Offset(), buffer.Size()
        view = memoryview(self.content)
        if offset > 1:  # data behind the flatbuffer, for models of more than 2 GiB
            if offset + size > len(self.content):
                raise BadFileError(f"buffer {number} lies at {offset}, {size} bytes long, behind the end of the file")
            return view[offset : offset + size]
        length = buffer.DataLength()
        if not length:
            return view[:0]
        start = buffer._tab.Vector(buffer._tab.Offset(4))
        if start < 0 or start + length > len(self.content):
            raise BadFileError(f"buffer {number} has {length} bytes, more than the file holds")
        return view[start : start + length]

    # -- tensors ----------------------------------------------------------------------------------
    def _subgraph(self, graph: Any, position: int) -> SubGraph:
        tensors = [self._tensor(graph.Tensors(i), i) for i in range(self.count(graph.TensorsLength(), "tensors"))]
        inputs = self.ints(graph.InputsLength(), graph.InputsAsNumpy, "inputs")
        outputs = self.ints(graph.OutputsLength(), graph.OutputsAsNumpy, "outputs")
        number = self.count(graph.OperatorsLength(), "operators")
        if number > MAX_OPERATORS:
            raise UnsupportedError(f"subgraph {position} has {number} operators; {MAX_OPERATORS} is the limit")
        operators = [self._operator(graph.Operators(i), i, len(tensors)) for i in range(number)]
        for index in (*inputs, *outputs):
            if not 0 <= index < len(tensors):
                raise BadFileError(f"subgraph {position} names tensor {index}; it has {len(tensors)}")
        return SubGraph(self.text(graph, 12, "subgraph name"), tensors, inputs, outputs, operators)

    def _tensor(self, tensor: Any, index: int) -> Tensor:
        name = self.text(tensor, 10, "tensor name") or f"tensor_{index}"
        where = f"tensor {index} '{name}'"
        rank = self.count(tensor.ShapeLength(), f"the shape of {where}")
        open_rank = self.count(tensor.ShapeSignatureLength(), f"the shape signature of {where}")
        if rank > MAX_RANK or open_rank > MAX_RANK:
            raise UnsupportedError(f"{where} has {max(rank, open_rank)} dimensions; {MAX_RANK} is the limit")
        shape = tuple(int(d) for d in tensor.ShapeAsNumpy()) if rank else ()
        signature = tuple(int(d) for d in tensor.ShapeSignatureAsNumpy()) if open_rank else shape
        if any(d < 0 for d in shape) or any(d < -1 for d in signature):
            raise BadFileError(f"{where} has the shape {list(shape)}")
        if math.prod(shape) > MAX_ELEMENTS:
            raise BadFileError(f"{where} has the shape {list(shape)}, {math.prod(shape)} elements")
        if len(signature) != len(shape):
            signature = shape
        code = tensor.Type()
        dtype = DTYPES.get(code) or OTHER_TYPES.get(code)
        if dtype is None:
            raise BadFileError(f"{where} has the data type {code}, which does not exist")
        quantization = self._quantization(tensor.Quantization(), shape, where)
        number = tensor.Buffer()
        if number >= self.buffer_count:
            raise BadFileError(f"{where} names buffer {number}; the file has {self.buffer_count}")
        data = None
        if number and not tensor.IsVariable():
            content = self._buffer(number)
            sparsity = tensor.Sparsity()
            if sparsity is not None and len(content):
                data = densify(sparsity, content, shape, _item_type(dtype, where), where, self.count)
            elif len(content) or (math.prod(shape) == 0 and dtype in _NUMPY):
                data = _array(content, shape, dtype, where)
        if dtype == "i4":
            dtype = "i8"
        return Tensor(index, name, shape, signature, dtype, quantization, bool(tensor.IsVariable()), data, number)

    def _quantization(self, q: Any, shape: tuple[int, ...], where: str) -> Quantization | None:
        if q is None:
            return None
        n = self.count(q.ScaleLength(), f"the scales of {where}")
        zeros = self.count(q.ZeroPointLength(), f"the zero points of {where}")
        if n == 0:
            return None
        scale = np.asarray(q.ScaleAsNumpy(), np.float32)
        zero = np.asarray(q.ZeroPointAsNumpy(), np.int64) if zeros else np.zeros(n, np.int64)
        axis = q.QuantizedDimension()
        if zero.size == 1 and n > 1:
            zero = np.repeat(zero, n)
        if zero.size != n:
            raise BadFileError(f"{where} has {n} scales and {zero.size} zero points")
        if n > 1 and not (0 <= axis < len(shape) and shape[axis] == n):
            raise BadFileError(f"{where} of shape {list(shape)} has {n} scales along dimension {axis}")
        if not np.isfinite(scale).all() or (scale < 0).any():
            raise BadFileError(f"{where} has the scale {scale[~np.isfinite(scale) | (scale < 0)][0]}")
        if (scale == 0).all():
            return None  # some writers mark tensors that are not quantized like this
        if (scale == 0).any():
            # A channel that is zero everywhere: any scale is right.
            scale = np.where(scale == 0, np.float32(1), scale)
        return Quantization(scale, zero, axis if n > 1 else 0)

    # -- operators --------------------------------------------------------------------------------
    def _operator(self, op: Any, index: int, tensors: int) -> Operator:
        code = op.OpcodeIndex()
        if code >= len(self.codes):
            raise BadFileError(f"operator {index} has the operator code {code}; the file has {len(self.codes)}")
        number, custom, version = self.codes[code]
        name = custom or self.names.get(number) or f"builtin {number}"
        inputs = self.ints(op.InputsLength(), op.InputsAsNumpy, "operator inputs")
        outputs = self.ints(op.OutputsLength(), op.OutputsAsNumpy, "operator outputs")
        between = self.ints(op.IntermediatesLength(), op.IntermediatesAsNumpy, "intermediates")
        for i in (*inputs, *outputs, *between):
            if not -1 <= i < tensors:
                raise BadFileError(f"operator {index} ({name}) names tensor {i}; the subgraph has {tensors}")
        length = self.count(op.CustomOptionsLength(), "custom_options")
        raw = bytes(op.CustomOptionsAsNumpy()) if length else b""
        return Operator(index, name, bool(custom), version, inputs, outputs, between, self._options(op, name), raw)

    def _options(self, op: Any, name: str) -> Any:
        kind = op.BuiltinOptionsType()
        if kind == 0:
            return None
        if kind not in self.options:
            raise BadFileError(f"{name} has options of type {kind}, which does not exist")
        class_name = self.options[kind]
        table = op.BuiltinOptions()
        if table is None:
            return None
        options = getattr(self.schema, class_name)()
        options.Init(table.Bytes, table.Pos)
        return options

    def _signature(self, definition: Any, subgraphs: list[SubGraph]) -> Signature | None:
        number = definition.SubgraphIndex()
        if number >= len(subgraphs):
            raise BadFileError(f"a signature names subgraph {number}; the file has {len(subgraphs)}")
        maps: list[dict[int, str]] = []
        for length, entry in (
            (definition.InputsLength(), definition.Inputs),
            (definition.OutputsLength(), definition.Outputs),
        ):
            found: dict[int, str] = {}
            for i in range(self.count(length, "a signature")):
                pair = entry(i)
                found.setdefault(int(pair.TensorIndex()), self.text(pair, 4, "signature name"))
            maps.append(found)
        return Signature(self.text(definition, 8, "signature key"), int(number), maps[0], maps[1])


def variable_name(options: Any) -> str:
    """Of a VAR_HANDLE."""
    parts = [(t or b"").decode("utf-8", "replace")[:200] for t in (options.Container(), options.SharedName())]
    return "/".join(parts).strip("/").replace("\0", " ") or "variable"


def _item_type(dtype: str, where: str) -> np.dtype[Any]:
    if dtype not in _NUMPY:
        raise UnsupportedError(f"{where} is a sparse tensor of {dtype}")
    return np.dtype(_NUMPY[dtype])


def _array(content: memoryview, shape: tuple[int, ...], dtype: str, where: str) -> np.ndarray:
    """The constant's values, without a copy where the file holds them as they are."""
    count = math.prod(shape)
    if dtype == "i4":  # two to a byte, the lower half first
        _need_bytes(content, (count + 1) // 2, shape, dtype, where)
        packed = np.frombuffer(content, np.int8)
        both = np.stack([np.left_shift(packed, 4) >> 4, packed >> 4], axis=-1).reshape(-1)
        return both[:count].reshape(shape)
    if dtype == "bf16":
        import ml_dtypes

        _need_bytes(content, 2 * count, shape, dtype, where)
        return np.frombuffer(content, np.uint16).view(ml_dtypes.bfloat16).reshape(shape)
    if dtype not in _NUMPY:
        return np.frombuffer(content, np.uint8)  # strings and complex numbers: for the operators that know them
    item = np.dtype(_NUMPY[dtype])
    _need_bytes(content, count * item.itemsize, shape, dtype, where)
    if dtype == "bool":
        return (np.frombuffer(content, np.uint8) != 0).reshape(shape)
    return np.frombuffer(content, item).reshape(shape)


def _need_bytes(content: memoryview, wanted: int, shape: tuple[int, ...], dtype: str, where: str) -> None:
    if len(content) != wanted:
        raise BadFileError(
            f"{where} of shape {list(shape)} and type {dtype} needs {wanted} bytes, its buffer has {len(content)}"
        )
