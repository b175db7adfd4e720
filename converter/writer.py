"""Graph -> `.edge` file, to the letter of docs/format.md. The same graph gives the same bytes."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from edgec.converter.errors import Error
from edgec.converter.ir import schema
from edgec.converter.ir.graph import Graph, Node, Value
from edgec.files import write_atomically

MAGIC = b"\x89EDGE\r\n\x1a"
MAJOR, MINOR = 1, 0
ENDIAN_MARK = 0x01020304
HEADER_BYTES, SECTION_BYTES = 64, 32
ALIGNMENT, WEIGHTS_ALIGNMENT = 64, 4096
ABSENT = 0xFFFFFFFF
MAX_NAME_BYTES = 4096
_KEY_BYTES = 64

_Buffer = bytes | memoryview

DTYPES = {
    name: i + 1
    for i, name in enumerate(
        [
            "f32",
            "f16",
            "bf16",
            "i8",
            "u8",
            "i32",
            "i64",
            "bool",
            "f64",
            "i16",
            "u16",
            "u32",
            "u64",
            "f8e4m3fn",
            "f8e4m3fnuz",
            "f8e5m2",
            "f8e5m2fnuz",
            "f8e8m0",
            "f4e2m1",
            "i4",
            "u4",
            "i2",
            "u2",
        ]
    )
}
_ATTRIBUTE_TYPES = {"int": 1, "float": 2, "string": 3, "ints": 4, "floats": 5, "graph": 6}


def to_bytes(graph: Graph, golden: bytes = b"") -> bytes:
    """The whole file. `golden` is a ready GOLD section, or empty.

    Raises Error naming the node or tensor that the format cannot hold.
    """
    weights = _Weights()
    sections: list[tuple[bytes, list[_Buffer]]] = [
        (b"GRPH", [_Writer(weights).model(graph)]),
        (b"META", [_metadata(graph.metadata)]),
    ]
    if golden:
        sections.append((b"GOLD", [golden]))
    sections.append((b"WGHT", weights.parts))

    at = HEADER_BYTES + SECTION_BYTES * len(sections)
    table, body = b"", list[_Buffer]()
    for kind, parts in sections:
        start = _aligned(at, WEIGHTS_ALIGNMENT if kind == b"WGHT" else ALIGNMENT)
        crc, size = 0, 0
        for part in parts:
            crc, size = zlib.crc32(part, crc), size + len(part)
        body += [bytes(start - at), *parts]
        table += kind + struct.pack("<IQQQ", crc, start, size, 0)
        at = start + size

    def header(crc: int) -> bytes:
        return MAGIC + struct.pack("<HHIIIQ", MAJOR, MINOR, ENDIAN_MARK, len(sections), crc, at) + bytes(32)

    return b"".join([header(zlib.crc32(header(0) + table)), table, *body])


def write(graph: Graph, path: str | os.PathLike[str], overwrite: bool = False) -> int:
    """Writes the file and returns its size in bytes. Either the whole file appears under `path` or nothing does.

    Raises UsageError when `path` exists and `overwrite` is False, or is a symbolic link or not a regular file.
    """
    return write_atomically(path, to_bytes(graph), overwrite)


def _aligned(n: int, alignment: int) -> int:
    return -(-n // alignment) * alignment


def _string(text: str) -> bytes:
    data = text.encode()
    return struct.pack("<I", len(data)) + data


def _metadata(pairs: Mapping[str, str]) -> bytes:
    return struct.pack("<I", len(pairs)) + b"".join(_string(k) + _string(str(pairs[k])) for k in sorted(pairs))


class _Weights:
    """Constant data, each distinct content once, without a copy of what is stored as it lies in memory."""

    def __init__(self) -> None:
        self.parts: list[_Buffer] = []
        self._size = 0
        self._found: dict[tuple[int, bytes], list[tuple[int, _Buffer]]] = {}

    def add(self, array: np.ndarray) -> tuple[int, int]:
        """Offset and size in bytes of the array's little-endian data."""
        little = array if array.dtype.byteorder != ">" else array.astype(array.dtype.newbyteorder("<"))
        data = np.ascontiguousarray(little).reshape(-1).view(np.uint8).data
        # Equal content has an equal beginning and end; what shares them is compared in full.
        alike = self._found.setdefault((len(data), bytes(data[:_KEY_BYTES]) + bytes(data[-_KEY_BYTES:])), [])
        for offset, other in alike:
            if data == other:
                return offset, len(data)
        padding = _aligned(self._size, ALIGNMENT) - self._size
        self.parts += [bytes(padding), data]
        offset = self._size + padding
        alike.append((offset, data))
        self._size = offset + len(data)
        return offset, len(data)


class _Writer:
    def __init__(self, weights: _Weights) -> None:
        self.weights = weights
        self.operators: dict[str, int] = {}
        self.symbols: dict[str, int] = {}
        self.graphs: list[bytes] = []

    def model(self, main: Graph) -> bytes:
        self.symbols = {name: i for i, name in enumerate(main.symbols)}
        self.graph(main)
        versions = [_string(op) + struct.pack("<I", schema.of(op)["version"]) for op in self.operators]
        symbols = [_string(name) + struct.pack("<qq", *bounds) for name, bounds in main.symbols.items()]
        return b"".join(struct.pack("<I", len(rows)) + b"".join(rows) for rows in (versions, symbols, self.graphs))

    def graph(self, graph: Graph) -> int:
        index = len(self.graphs)
        self.graphs.append(b"")  # sub-graphs come after the graph that they stand in
        tensors: dict[int, int] = {}
        rows: list[bytes] = []
        names: dict[str, str] = {}

        def tensor(value: Value, row: bytes) -> None:
            if value.name in names:
                raise Error(f"two tensors of graph '{graph.name}' are called '{value.name}'")
            if not value.name or len(value.name.encode()) > MAX_NAME_BYTES or "\0" in value.name:
                raise Error(f"tensor name {value.name[:80]!r} is empty, too long or contains NUL")
            names[value.name] = ""
            tensors[id(value)] = len(rows)
            rows.append(_string(value.name) + row)

        for v in graph.inputs:
            tensor(v, self._input(v))
        for v in graph.constants():
            tensor(v, self._constant(v))
        nodes = graph.nodes
        written: list[tuple[Node, list[Value | None]]] = []
        for n in nodes:
            outputs: list[Value | None] = list(n.outputs)
            for i, out in enumerate(n.outputs):
                if not out.consumers and not graph.is_output(out) and schema.optional_output(n.op, i):
                    outputs[i] = None
            # The number of variadic outputs means something (equal parts of Split, results of a branch).
            while outputs and outputs[-1] is None and not schema.of(n.op)["outputs"][-1]["variadic"]:
                outputs.pop()
            written.append((n, outputs))
            for made in outputs:
                if made is not None:
                    tensor(made, struct.pack("<BB", 0, made.quantization is not None) + self._quantization(made))

        def indices(values: list[Value | None], where: str) -> bytes:
            found = []
            for v in values:
                if v is not None and id(v) not in tensors:
                    raise Error(f"{where} reads '{v.name}', which no node of graph '{graph.name}' writes")
                found.append(ABSENT if v is None else tensors[id(v)])
            return struct.pack(f"<I{len(found)}I", len(found), *found)

        steps = []
        for n, outputs in written:
            operator = self.operators.setdefault(n.op, len(self.operators))
            inputs = list(n.inputs)
            while inputs and inputs[-1] is None:
                inputs.pop()
            attrs = self._attributes(n)
            steps.append(
                struct.pack("<I", operator)
                + _string(n.name)
                + indices(inputs, n.name)
                + indices(outputs, n.name)
                + struct.pack("<I", len(attrs))
                + b"".join(attrs)
            )
        self.graphs[index] = b"".join(
            [
                _string(graph.name),
                struct.pack("<I", len(rows)),
                *rows,
                indices(list(graph.inputs), "the input list"),
                indices(list(graph.outputs), "the output list"),
                struct.pack("<I", len(steps)),
                *steps,
            ]
        )
        return index

    def _input(self, value: Value) -> bytes:
        if value.declared_shape is None and value.declared_dtype:
            return struct.pack("<BBBB", 2, 2, DTYPES[value.declared_dtype], 0)
        shape = value.declared_shape or ()
        dims = [-(self.symbols[d] + 1) if isinstance(d, str) else int(d or 0) for d in shape]
        return (
            struct.pack("<BBBB", 2, value.quantization is not None, DTYPES[value.dtype], len(dims))
            + struct.pack(f"<{len(dims)}q", *dims)
            + self._quantization(value)
        )

    def _constant(self, value: Value) -> bytes:
        assert value.data is not None
        offset, size = self.weights.add(value.data)
        shape = value.data.shape
        return (
            struct.pack("<BBBB", 1, value.quantization is not None, DTYPES[value.dtype], len(shape))
            + struct.pack(f"<{len(shape)}qQQ", *shape, offset, size)
            + self._quantization(value)
        )

    @staticmethod
    def _quantization(value: Value) -> bytes:
        q = value.quantization
        if q is None:
            return b""
        count = len(q.scale)
        return struct.pack(f"<iI{count}f{count}i", q.axis, count, *q.scale, *q.zero_point)

    def _attributes(self, node: Node) -> list[bytes]:
        types = schema.attribute_types(node.op)
        rows = []
        for name in sorted(node.attrs):
            value = node.attrs[name]
            if name not in types:
                raise Error(f"{node.op} '{node.name}' has no attribute '{name}'")
            if value is None or (
                not schema.required(node.op, name) and _equal(value, schema.default(node.op, name), types[name])
            ):
                continue
            rows.append(_string(name) + self._attribute(value, types[name]))
        return rows

    def _attribute(self, value: Any, kind: str) -> bytes:
        head = struct.pack("<B", _ATTRIBUTE_TYPES[kind])
        if kind == "int":
            return head + struct.pack("<q", int(value))
        if kind == "float":
            return head + struct.pack("<d", float(value))
        if kind == "string":
            return head + _string(value)
        if kind == "ints":
            return head + struct.pack(f"<I{len(value)}q", len(value), *(int(v) for v in value))
        if kind == "floats":
            return head + struct.pack(f"<I{len(value)}d", len(value), *(float(v) for v in value))
        return head + struct.pack("<I", self.graph(value))


def _equal(value: Any, default: Any, kind: str) -> bool:
    if kind in ("ints", "floats"):
        return list(value) == list(default)
    return kind != "graph" and bool(value == default)
