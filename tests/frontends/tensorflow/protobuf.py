"""Writes the few protobuf messages that hostile TensorFlow files are made of."""

from __future__ import annotations


def varint(value: int) -> bytes:
    out = bytearray()
    value &= (1 << 64) - 1
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    return bytes([*out, value])


def number(field: int, value: int) -> bytes:
    return varint(field << 3) + varint(value)


def message(field: int, content: bytes | str) -> bytes:
    data = content.encode() if isinstance(content, str) else content
    return varint(field << 3 | 2) + varint(len(data)) + data


def node(name: str, op: str, *inputs: str, attributes: bytes = b"") -> bytes:
    """A GraphDef field: node = 1."""
    parts = message(1, name) + message(2, op) + b"".join(message(3, i) for i in inputs) + attributes
    return message(1, parts)


def shape(*dims: int) -> bytes:
    return b"".join(message(2, number(1, d)) for d in dims)


def attribute(name: str, value: bytes) -> bytes:
    return message(5, message(1, name) + message(2, value))


def dtype(name: str = "dtype", value: int = 1) -> bytes:
    return attribute(name, number(6, value))


def constant(name: str, *dims: int) -> bytes:
    """A Const of one repeated value."""
    tensor = number(1, 1) + message(2, shape(*dims)) + message(5, b"\0\0\x80\x3f")
    return node(name, "Const", attributes=dtype() + attribute("value", message(8, tensor)))


def integers(name: str, *values: int) -> bytes:
    """A Const of 32-bit integers."""
    content = b"".join(v.to_bytes(4, "little", signed=True) for v in values)
    tensor = number(1, 3) + message(2, shape(len(values))) + message(4, content)
    return node(name, "Const", attributes=dtype(value=3) + attribute("value", message(8, tensor)))


def placeholder(name: str, *dims: int) -> bytes:
    return node(name, "Placeholder", attributes=dtype() + attribute("shape", message(7, shape(*dims))))


def saved_model(graph: bytes) -> bytes:
    return number(1, 1) + message(2, message(1, message(4, "serve")) + message(2, graph))
