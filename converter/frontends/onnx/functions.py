"""Operators that ONNX itself defines by other operators: their body, from the schema of the installed onnx."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from edgec.converter.ir.graph import Value

_ELEM = {
    "f32": 1, "u8": 2, "i8": 3, "u16": 4, "i16": 5, "i32": 6, "i64": 7, "bool": 9,
    "f16": 10, "f64": 11, "u32": 12, "u64": 13, "bf16": 16, "f8e4m3fn": 17, "f8e4m3fnuz": 18, "f8e5m2": 19,
    "f8e5m2fnuz": 20, "u4": 21, "i4": 22, "f4e2m1": 23, "f8e8m0": 24, "u2": 25, "i2": 26,
}  # fmt: skip


def _schema(onnx: Any, domain: str, op: str, opsets: Mapping[str, int]) -> Any:
    version = opsets.get(domain)
    if version is None:
        return None
    try:
        return onnx.defs.get_schema(op, version, domain)
    except onnx.defs.SchemaError:
        return None


def schema_defaults(onnx: Any, domain: str, op: str, opsets: Mapping[str, int]) -> list[Any]:
    """AttributeProtos of the operator's defaults: bodies refer to attributes that a call leaves out."""
    schema = _schema(onnx, domain, op, opsets)
    if schema is None:
        return []
    return [a.default_value for a in schema.attributes.values() if a.default_value.name]


def has_function(onnx: Any, domain: str, op: str, opsets: Mapping[str, int]) -> bool:
    schema = _schema(onnx, domain, op, opsets)
    return schema is not None and (schema.has_function or schema.has_context_dependent_function)


def schema_function(
    onnx: Any, domain: str, op: str, opsets: Mapping[str, int], node: Any, inputs: Sequence[Any]
) -> Any:
    """FunctionProto of the operator's definition, or None when it has none."""
    schema = _schema(onnx, domain, op, opsets)
    if schema is None:
        return None
    if schema.has_function:
        return schema.function_body
    if not schema.has_context_dependent_function:
        return None
    types = []
    for value in inputs:
        proto = onnx.TypeProto()
        if isinstance(value, Value):
            proto.tensor_type.elem_type = _ELEM[value.dtype]
            for size in value.shape:
                dim = proto.tensor_type.shape.dim.add()
                if size is not None:
                    dim.dim_value = size
        types.append(proto.SerializeToString())
    body = schema.get_context_dependent_function(node.SerializeToString(), types)
    if not body:
        return None
    function = onnx.FunctionProto()
    function.ParseFromString(body)
    return function
