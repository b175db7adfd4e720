"""What a SavedModel or a frozen graph holds, read from its protobuf bytes without TensorFlow; nothing is executed.

Only the fields that a decision needs are read: nodes (name, operator), functions, signatures, shapes of constants.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from edgec.converter.errors import BadFileError, UnsafeFileError

# Field numbers of saved_model.proto, meta_graph.proto, graph.proto, function.proto, tensor.proto.
_META_GRAPHS = 2
_META_INFO, _META_GRAPH, _META_SIGNATURES, _INFO_TAGS = 1, 2, 5, 4
_GRAPH_NODE, _GRAPH_LIBRARY, _LIBRARY_FUNCTION, _FUNCTION_SIGNATURE, _FUNCTION_NODE, _OPDEF_NAME = 1, 2, 1, 1, 3, 1
_NODE_NAME, _NODE_OP, _NODE_INPUT, _NODE_ATTR, _ATTR_TENSOR = 1, 2, 3, 5, 8
_TENSOR_TYPE, _TENSOR_SHAPE, _TENSOR_CONTENT, _TENSOR_INTS, _TENSOR_INT64S = 1, 2, 4, 7, 10
_SHAPE_DIM, _DIM_SIZE = 2, 1

MAX_FILE = 1 << 31  # protobuf's own limit
MAX_NODES = 2_000_000
# A constant may be stored as one repeated value; beyond this many elements that is no model's weight.
MAX_SPLAT = 1 << 27

# Operators that run Python, touch files or the network, or load code. TensorFlow's file operators for variables
# (SaveV2, RestoreV2...) belong to every SavedModel; they may stand in the file, but not in what is converted.
_DANGEROUS = {
    "PyFunc": "calls Python code",
    "PyFuncStateless": "calls Python code",
    "EagerPyFunc": "calls Python code",
    "ReadFile": "reads any file",
    "WriteFile": "writes any file",
    "MatchingFiles": "lists folders",
    "ImmutableConst": "maps any file",
    "PrintV2": "may write to any file",
    "InitializeTableFromTextFile": "reads a file",
    "InitializeTableFromTextFileV2": "reads a file",
    "WholeFileReader": "reads any file",
    "WholeFileReaderV2": "reads any file",
    "TextLineReader": "reads any file",
    "TextLineReaderV2": "reads any file",
    "TFRecordReader": "reads any file",
    "TFRecordReaderV2": "reads any file",
    "FixedLengthRecordReader": "reads any file",
    "FixedLengthRecordReaderV2": "reads any file",
    "LMDBReader": "reads any file",
    "DebugIdentity": "sends tensors away",
    "DebugIdentityV2": "writes tensors to files",
    "DebugIdentityV3": "writes tensors to files",
    "DebugNanCount": "sends tensors away",
    "DebugNumericSummary": "sends tensors away",
    "DebugNumericSummaryV2": "sends tensors away",
    "RpcCall": "uses the network",
    "RpcClient": "uses the network",
    "RpcServer": "uses the network",
    "LoadTPUEmbeddingCheckpoint": "reads any file",
    "SaveDataset": "writes any file",
    "SaveDatasetV2": "writes any file",
    "LoadDataset": "reads any file",
    "SnapshotDataset": "writes any file",
    "SnapshotDatasetV2": "writes any file",
    "TextLineDataset": "reads any file",
    "TFRecordDataset": "reads any file",
    "TFRecordDatasetV2": "reads any file",
    "FixedLengthRecordDataset": "reads any file",
    "FixedLengthRecordDatasetV2": "reads any file",
    "SqlDataset": "opens a database",
    "LMDBDataset": "reads any file",
    "CacheDataset": "writes any file",
    "CreateSummaryFileWriter": "writes any file",
    "CreateSummaryDbWriter": "writes any file",
    "DataServiceDataset": "uses the network",
    "DataServiceDatasetV2": "uses the network",
    "XlaRecv": "uses the network",
    "XlaSend": "uses the network",
}
# Operators whose result is as large as a constant input says, and which input that is.
_GROWING = {
    "Fill": 0, "BroadcastTo": 1, "Tile": 1, "Range": 1, "OneHot": 1, "LinSpace": 2, "Pad": 1, "PadV2": 1, "MirrorPad": 1,
    "ResizeBilinear": 1, "ResizeNearestNeighbor": 1, "ResizeBicubic": 1, "ResizeArea": 1, "RandomUniform": 0,
    "RandomStandardNormal": 0, "TruncatedNormal": 0, "TensorListReserve": 1, "Empty": 0, "ScatterNd": 2,
}  # fmt: skip
VARIABLE_FILES = {
    "Save", "SaveV2", "SaveSlices", "Restore", "RestoreV2", "RestoreSlice", "ShardedFilename", "ShardedFilespec",
    "MergeV2Checkpoints",
}  # fmt: skip


@dataclass
class Node:
    """A node's name, operator and inputs; `function` is the body it stands in, or ""."""

    name: str
    op: str
    inputs: list[str]
    function: str = ""
    numbers: tuple[int, ...] = ()  # of a small integer constant

    @property
    def place(self) -> str:
        return f"{self.function}/{self.name}" if self.function else self.name


@dataclass
class GraphFacts:
    """All nodes of a graph with its functions; tags and signature names where it comes from a SavedModel."""

    nodes: list[Node] = field(default_factory=list)
    tags: list[str] = field(default_factory=list)
    signatures: list[str] = field(default_factory=list)

    def operators(self) -> Counter[str]:
        return Counter(n.op for n in self.nodes)


def danger_of(op: str) -> str:
    """Why an operator is refused, or ""."""
    return _DANGEROUS.get(op, "")


def refuse_dangerous(what: str, nodes: list[Node], *, variable_files: bool) -> None:
    """Raises UnsafeFileError that names the first operators which no model of arithmetic needs."""
    found = [(n, danger_of(n.op)) for n in nodes]
    bad = [(n, why) for n, why in found if why]
    if not variable_files:
        bad += [(n, "reads or writes files") for n, _ in found if n.op in VARIABLE_FILES]
    if not bad:
        return
    rows = "".join(f"\n  {n.op} ({why}): {_shown(n.place)}" for n, why in bad[:5])
    more = f"\n  and {len(bad) - 5} more" if len(bad) > 5 else ""
    raise UnsafeFileError(
        f"{what} holds operators that no model needs for its arithmetic:{rows}{more}",
        hint="export the model without them (the pre-processing belongs outside), and do not run this file",
    )


def _shown(name: str) -> str:
    return name.encode("unicode_escape").decode()[:120]


# -- files ---------------------------------------------------------------------------------------
def read_saved_model(folder: Path) -> list[GraphFacts]:
    """One entry per meta graph. Raises BadFileError, UnsafeFileError."""
    file = folder / "saved_model.pb"
    data = _content(file)
    result = []
    try:
        for number, value in _fields(data):
            if number == _META_GRAPHS and isinstance(value, memoryview):
                result.append(_meta_graph(value, str(folder)))
    except _DamagedError as e:
        raise BadFileError(f"{file}: damaged or cut off ({e})") from None
    if not result:
        raise BadFileError(f"{file} holds no graph")
    for facts in result:
        _refuse_growth(facts, str(folder))
        refuse_dangerous(str(folder), facts.nodes, variable_files=True)
    variables = folder / "variables"
    needs = any(n.op == "VarHandleOp" or n.op in ("VariableV2", "Variable") for f in result for n in f.nodes)
    if needs and not (variables / "variables.index").is_file():
        raise BadFileError(
            f"{folder} lacks variables/variables.index: the weights are not there",
            hint="copy the whole folder: saved_model.pb, variables/ and assets/",
        )
    return result


def read_frozen_graph(file: Path) -> GraphFacts:
    """A GraphDef. Raises BadFileError that says what else the file is, UnsafeFileError."""
    data = _content(file)
    facts = GraphFacts()
    try:
        _graph(data, facts, str(file))
    except _DamagedError as e:
        if _is_text_graph(bytes(data[:512])):
            raise BadFileError(
                f"{file} is a graph in text form (pbtxt)",
                hint="write it in binary: tf.io.write_graph(..., as_text=False)",
            ) from None
        if _is_saved_model(data):
            raise BadFileError(f"{file} is the graph of a SavedModel", hint="name its folder instead") from None
        raise BadFileError(f"{file}: damaged or cut off, or no TensorFlow graph ({e})") from None
    if not facts.nodes:
        if _is_saved_model(data):
            raise BadFileError(f"{file} is the graph of a SavedModel", hint="name its folder instead")
        raise BadFileError(f"{file} holds no TensorFlow graph")
    _refuse_growth(facts, str(file))
    refuse_dangerous(str(file), facts.nodes, variable_files=False)
    variables = [n.name for n in facts.nodes if n.op in ("VarHandleOp", "VariableV2", "Variable")]
    if variables:
        raise BadFileError(
            f"{file} is not frozen: {len(variables)} variables have no value (the first: {_shown(variables[0])})",
            hint="convert the SavedModel folder, or freeze the graph first",
        )
    return facts


def _content(file: Path) -> memoryview:
    try:
        size = file.stat().st_size
        if size > MAX_FILE:
            raise BadFileError(f"{file} has {size} bytes; protobuf files end at {MAX_FILE}")
        return memoryview(file.read_bytes())
    except OSError as e:
        raise BadFileError(f"cannot read {file}: {e.strerror}") from None


def _is_text_graph(head: bytes) -> bool:
    return head.lstrip().startswith((b"node {", b"node{", b"versions {", b"library {"))


def _is_saved_model(data: memoryview) -> bool:
    """saved_model_schema_version = 1, then a MetaGraphDef."""
    return bytes(data[:3]) == b"\x08\x01\x12"


# -- messages ------------------------------------------------------------------------------------
def _meta_graph(data: memoryview, what: str) -> GraphFacts:
    facts = GraphFacts()
    for number, value in _messages(data):
        if number == _META_INFO:
            facts.tags += [_text(v) for n, v in _messages(value) if n == _INFO_TAGS]
        elif number == _META_GRAPH:
            _graph(value, facts, what)
        elif number == _META_SIGNATURES:
            facts.signatures += [_text(v) for n, v in _messages(value) if n == 1]
    return facts


def _graph(data: memoryview, facts: GraphFacts, what: str) -> None:
    for number, value in _messages(data):
        if number == _GRAPH_NODE:
            _node(value, facts, "", what)
        elif number == _GRAPH_LIBRARY:
            for n, function in _messages(value):
                if n == _LIBRARY_FUNCTION:
                    _function(function, facts, what)


def _function(data: memoryview, facts: GraphFacts, what: str) -> None:
    name = ""
    for number, value in _messages(data):
        if number == _FUNCTION_SIGNATURE:
            name = next((_text(v) for n, v in _messages(value) if n == _OPDEF_NAME), "")
        elif number == _FUNCTION_NODE:
            _node(value, facts, name, what)


def _node(data: memoryview, facts: GraphFacts, function: str, what: str) -> None:
    if len(facts.nodes) >= MAX_NODES:
        raise BadFileError(f"{what}: more than {MAX_NODES} nodes")
    node = Node("", "", [], function)
    for number, value in _messages(data):
        if number == _NODE_NAME:
            node.name = _text(value)
        elif number == _NODE_OP:
            node.op = _text(value)
        elif number == _NODE_INPUT:
            node.inputs.append(_text(value))
        elif number == _NODE_ATTR:
            _check_constant(value, node, what)
    facts.nodes.append(node)


def _check_constant(entry: memoryview, node: Node, what: str) -> None:
    """map<string, AttrValue>: only tensors matter, and of those the shape against the bytes."""
    for number, attribute in _messages(entry):
        if number != 2:
            continue
        for n, tensor in _messages(attribute):
            if n != _ATTR_TENSOR:
                continue
            for m, shape in _messages(tensor):
                if m in (_TENSOR_CONTENT, _TENSOR_INTS, _TENSOR_INT64S) and len(shape) <= 128:
                    node.numbers = _numbers(m, shape, tensor)
                if m == _TENSOR_SHAPE:
                    dims = _dims(shape)
                    elements = math.prod(dims)
                    if any(d < 0 for d in dims) or elements > max(MAX_SPLAT, 8 * len(tensor)):
                        raise BadFileError(
                            f"{what}: the constant {_shown(node.place)} has the shape {dims[:8]} in {len(tensor)} bytes"
                        )


def _numbers(number: int, content: memoryview, tensor: memoryview) -> tuple[int, ...]:
    """The values of a constant of type DT_INT32 (3) or DT_INT64 (9)."""
    kind = next((v for n, v in _fields(tensor) if n == _TENSOR_TYPE and isinstance(v, int)), 0)
    width = {3: 4, 9: 8}.get(kind)
    if width is None:
        return ()
    if number == _TENSOR_CONTENT:
        ends = range(width, len(content) + 1, width)
        return tuple(int.from_bytes(content[e - width : e], "little", signed=True) for e in ends)
    result, at = [], 0
    while at < len(content):
        value, at = _varint(content, at)
        result.append(value - (1 << 64) if value >= 1 << 63 else value)
    return tuple(result)


def _refuse_growth(facts: GraphFacts, what: str) -> None:
    """Raises BadFileError for constants that ask for results beyond any memory."""
    numbers = {(n.function, n.name): n.numbers for n in facts.nodes if n.numbers}
    for node in facts.nodes:
        index = _GROWING.get(node.op)
        if index is None or index >= len(node.inputs):
            continue
        found = numbers.get((node.function, node.inputs[index].split(":", maxsplit=1)[0]), ())
        if math.prod(max(abs(v), 1) for v in found) > MAX_SPLAT:
            raise BadFileError(
                f"{what}: {node.op} ({_shown(node.place)}) asks for a result of {list(found)[:8]} elements"
            )


def _dims(shape: memoryview) -> list[int]:
    result = []
    for number, dim in _messages(shape):
        if number == _SHAPE_DIM:
            size = next((v for n, v in _fields(dim) if n == _DIM_SIZE and isinstance(v, int)), 0)
            result.append(size - (1 << 64) if size >= 1 << 63 else size)
            if len(result) > 254:
                raise _DamagedError("a shape of more than 254 dimensions")
    return result


def _text(data: memoryview) -> str:
    return bytes(data[:4096]).decode("utf-8", "replace")


# -- wire format ---------------------------------------------------------------------------------
class _DamagedError(Exception):
    pass


def _messages(data: memoryview) -> Iterator[tuple[int, memoryview]]:
    """The length-delimited fields only."""
    for number, value in _fields(data):
        if isinstance(value, memoryview):
            yield number, value


def _fields(data: memoryview) -> Iterator[tuple[int, Any]]:
    """(field number, int or view of the bytes)."""
    at, end = 0, len(data)
    while at < end:
        key, at = _varint(data, at)
        number, wire = key >> 3, key & 7
        if number == 0:
            raise _DamagedError("a field with number 0")
        if wire == 0:
            value, at = _varint(data, at)
            yield number, value
            continue
        if wire == 2:
            length, at = _varint(data, at)
        elif wire in (1, 5):
            length = 8 if wire == 1 else 4
        else:
            raise _DamagedError(f"a field of wire type {wire}")
        if length > end - at:
            raise _DamagedError(f"a field of {length} bytes where {end - at} are left")
        if wire == 2:
            yield number, data[at : at + length]
        at += length


def _varint(data: memoryview, at: int) -> tuple[int, int]:
    result = shift = 0
    while True:
        if at >= len(data) or shift > 63:
            raise _DamagedError("a number is cut off or too long")
        byte = data[at]
        result |= (byte & 0x7F) << shift
        at += 1
        if byte < 0x80:
            return result, at
        shift += 7
