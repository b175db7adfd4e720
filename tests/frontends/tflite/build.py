"""Small .tflite files for tests, written with the schema's own builder."""

from __future__ import annotations

from typing import Any

import flatbuffers
import numpy as np
import tflite

TYPES = {
    "float32": 0, "float16": 1, "int32": 2, "uint8": 3, "int64": 4, "string": 5, "bool": 6, "int16": 7, "complex64": 8,
    "int8": 9, "float64": 10, "resource": 13, "uint64": 12, "uint32": 15, "uint16": 16, "int4": 17,
}  # fmt: skip
OPCODES = {k: v for k, v in vars(tflite.BuiltinOperator).items() if isinstance(v, int)}
OPTIONS = {k: v for k, v in vars(tflite.BuiltinOptions).items() if isinstance(v, int)}


class SubGraph:
    """Tensors and operators; indices are handed out in order."""

    def __init__(self, model: Model, name: str) -> None:
        self.model, self.name = model, name
        self.tensors: list[dict[str, Any]] = []
        self.operators: list[dict[str, Any]] = []
        self.inputs: list[int] = []
        self.outputs: list[int] = []

    def tensor(
        self,
        shape: Any,
        dtype: str = "float32",
        data: Any = None,
        scale: Any = None,
        zero: Any = 0,
        axis: int = 0,
        name: str = "",
        signature: Any = None,
        variable: bool = False,
        buffer: int | None = None,
    ) -> int:
        """A tensor; `scale` (one or per index of `axis`) makes it quantized, `data` a constant."""
        if buffer is None:
            buffer = 0
            if data is not None:
                content = data if isinstance(data, bytes) else np.ascontiguousarray(data, dtype).tobytes()
                self.model.buffers.append(content)
                buffer = len(self.model.buffers) - 1
        self.tensors.append(
            {
                "shape": list(shape), "dtype": dtype, "scale": scale, "zero": zero, "axis": axis, "variable": variable,
                "name": name or f"t{len(self.tensors)}", "signature": signature, "buffer": buffer,
            }  # fmt: skip
        )
        return len(self.tensors) - 1

    def const(self, data: Any, dtype: str | None = None, **more: Any) -> int:
        array = np.asarray(data) if dtype is None else np.asarray(data, dtype)
        return self.tensor(array.shape, array.dtype.name, array, **more)

    def input(self, shape: Any, dtype: str = "float32", **more: Any) -> int:
        index = self.tensor(shape, dtype, **more)
        self.inputs.append(index)
        return index

    def op(
        self,
        name: str,
        inputs: list[int],
        outputs: list[int],
        options: str = "",
        custom_options: bytes = b"",
        intermediates: list[int] | None = None,
        **fields: Any,
    ) -> list[int]:
        """`options`: the class of the schema, `fields` its values by their names there (StrideW=1)."""
        self.operators.append(
            {
                "code": self.model.code(name), "inputs": inputs, "outputs": outputs, "options": options,
                "fields": fields, "custom_options": custom_options, "intermediates": intermediates or [],
            }  # fmt: skip
        )
        return outputs


class Model:
    """Subgraphs that become one file.

    >>> m = Model()
    >>> x = m.main.input([1, 4])
    >>> y = m.main.tensor([1, 4])
    >>> m.main.outputs = m.main.op("RELU", [x], [y])
    >>> content = m.finish()
    """

    def __init__(self) -> None:
        self.buffers: list[bytes] = [b""]
        self.codes: list[str] = []
        self.graphs: list[SubGraph] = []
        self.signatures: list[tuple[str, int, dict[str, int], dict[str, int]]] = []
        self.main = self.subgraph("main")

    def subgraph(self, name: str) -> SubGraph:
        self.graphs.append(SubGraph(self, name))
        return self.graphs[-1]

    def code(self, name: str) -> int:
        if name not in self.codes:
            self.codes.append(name)
        return self.codes.index(name)

    def finish(self) -> bytes:
        b = flatbuffers.Builder(1024)
        buffers = [self._buffer(b, content) for content in self.buffers]
        codes = [self._code(b, name) for name in self.codes]
        graphs = [self._graph(b, g) for g in self.graphs]
        signatures = [self._signature(b, *s) for s in self.signatures]
        vectors = {
            "Buffers": _tables(b, buffers),
            "OperatorCodes": _tables(b, codes),
            "Subgraphs": _tables(b, graphs),
        }
        if signatures:
            vectors["SignatureDefs"] = _tables(b, signatures)
        tflite.ModelStart(b)
        tflite.ModelAddVersion(b, 3)
        for name, at in vectors.items():
            getattr(tflite, f"ModelAdd{name}")(b, at)
        b.Finish(tflite.ModelEnd(b), b"TFL3")
        return bytes(b.Output())

    @staticmethod
    def _buffer(b: Any, content: bytes) -> int:
        at = None
        if content:
            b.StartVector(1, len(content), 16)
            b.head -= len(content)
            b.Bytes[b.head : b.head + len(content)] = content
            at = b.EndVector()
        tflite.BufferStart(b)
        if at is not None:
            tflite.BufferAddData(b, at)
        return tflite.BufferEnd(b)

    @staticmethod
    def _code(b: Any, name: str) -> int:
        custom = b.CreateString(name) if name not in OPCODES else None
        number = OPCODES.get(name, OPCODES["CUSTOM"])
        tflite.OperatorCodeStart(b)
        tflite.OperatorCodeAddDeprecatedBuiltinCode(b, min(number, 127))
        if custom is not None:
            tflite.OperatorCodeAddCustomCode(b, custom)
        tflite.OperatorCodeAddVersion(b, 1)
        tflite.OperatorCodeAddBuiltinCode(b, number)
        return tflite.OperatorCodeEnd(b)

    def _graph(self, b: Any, g: SubGraph) -> int:
        tensors = [self._tensor(b, t) for t in g.tensors]
        operators = [self._operator(b, o) for o in g.operators]
        name = b.CreateString(g.name)
        parts = {
            "Tensors": _tables(b, tensors),
            "Operators": _tables(b, operators),
            "Inputs": _ints(b, g.inputs),
            "Outputs": _ints(b, g.outputs),
        }
        tflite.SubGraphStart(b)
        for key, at in parts.items():
            getattr(tflite, f"SubGraphAdd{key}")(b, at)
        tflite.SubGraphAddName(b, name)
        return tflite.SubGraphEnd(b)

    @staticmethod
    def _tensor(b: Any, t: dict[str, Any]) -> int:
        quantization = None
        if t["scale"] is not None:
            scales = np.atleast_1d(np.asarray(t["scale"], np.float32))
            zeros = np.broadcast_to(np.atleast_1d(np.asarray(t["zero"], np.int64)), scales.shape)
            scale_at, zero_at = b.CreateNumpyVector(scales), b.CreateNumpyVector(np.ascontiguousarray(zeros))
            tflite.QuantizationParametersStart(b)
            tflite.QuantizationParametersAddScale(b, scale_at)
            tflite.QuantizationParametersAddZeroPoint(b, zero_at)
            tflite.QuantizationParametersAddQuantizedDimension(b, t["axis"])
            quantization = tflite.QuantizationParametersEnd(b)
        name, shape = b.CreateString(t["name"]), _ints(b, t["shape"])
        signature = None if t["signature"] is None else _ints(b, t["signature"])
        tflite.TensorStart(b)
        tflite.TensorAddName(b, name)
        tflite.TensorAddShape(b, shape)
        tflite.TensorAddType(b, TYPES[t["dtype"]])
        tflite.TensorAddBuffer(b, t["buffer"])
        tflite.TensorAddIsVariable(b, t["variable"])
        if quantization is not None:
            tflite.TensorAddQuantization(b, quantization)
        if signature is not None:
            tflite.TensorAddShapeSignature(b, signature)
        return tflite.TensorEnd(b)

    def _operator(self, b: Any, o: dict[str, Any]) -> int:
        inputs, outputs = _ints(b, o["inputs"]), _ints(b, o["outputs"])
        between = _ints(b, o["intermediates"]) if o["intermediates"] else None
        custom = b.CreateByteVector(o["custom_options"]) if o["custom_options"] else None
        options = None
        if o["options"]:
            kind = o["options"]
            values = {k: _ints(b, v) if isinstance(v, list) else v for k, v in o["fields"].items()}
            getattr(tflite, f"{kind}Start")(b)
            for key, value in values.items():
                getattr(tflite, f"{kind}Add{key}")(b, value)
            options = getattr(tflite, f"{kind}End")(b)
        tflite.OperatorStart(b)
        tflite.OperatorAddOpcodeIndex(b, o["code"])
        tflite.OperatorAddInputs(b, inputs)
        tflite.OperatorAddOutputs(b, outputs)
        if options is not None:
            tflite.OperatorAddBuiltinOptionsType(b, OPTIONS[o["options"]])
            tflite.OperatorAddBuiltinOptions(b, options)
        if custom is not None:
            tflite.OperatorAddCustomOptions(b, custom)
        if between is not None:
            tflite.OperatorAddIntermediates(b, between)
        return tflite.OperatorEnd(b)

    @staticmethod
    def _signature(b: Any, key: str, graph: int, inputs: dict[str, int], outputs: dict[str, int]) -> int:
        def maps(names: dict[str, int]) -> int:
            entries = []
            for name, index in names.items():
                text = b.CreateString(name)
                tflite.TensorMapStart(b)
                tflite.TensorMapAddName(b, text)
                tflite.TensorMapAddTensorIndex(b, index)
                entries.append(tflite.TensorMapEnd(b))
            return _tables(b, entries)

        ins, outs, text = maps(inputs), maps(outputs), b.CreateString(key)
        tflite.SignatureDefStart(b)
        tflite.SignatureDefAddInputs(b, ins)
        tflite.SignatureDefAddOutputs(b, outs)
        tflite.SignatureDefAddSignatureKey(b, text)
        tflite.SignatureDefAddSubgraphIndex(b, graph)
        return tflite.SignatureDefEnd(b)


def _tables(b: Any, items: list[int]) -> int:
    b.StartVector(4, len(items), 4)
    for item in reversed(items):
        b.PrependUOffsetTRelative(item)
    return b.EndVector()


def _ints(b: Any, items: list[int]) -> int:
    return b.CreateNumpyVector(np.asarray(items, np.int32))
