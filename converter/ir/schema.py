"""The operator registry of the runtime as Python sees it: looked up once per operator, then cached."""

from __future__ import annotations

from functools import cache
from typing import Any

from edgec import _core


@cache
def of(op: str) -> dict[str, Any]:
    """The schema of one operator; raises `_core.Error` for a name that the registry does not have."""
    return dict(_core.schema(op))


@cache
def _defaults(op: str) -> dict[str, Any]:
    return {a["name"]: a["default"] for a in of(op)["attrs"]}


@cache
def attribute_types(op: str) -> dict[str, str]:
    """Attribute name -> `"int"`, `"float"`, `"string"`, `"ints"`, `"floats"` or `"graph"`."""
    return {a["name"]: a["type"] for a in of(op)["attrs"]}


def required(op: str, attr: str) -> bool:
    """Whether a file must hold the attribute; False for one that the operator does not have."""
    return any(a["name"] == attr and a["required"] for a in of(op)["attrs"])


def default(op: str, attr: str) -> Any:
    """The operator's default; raises KeyError for an attribute that it does not have."""
    return _defaults(op)[attr]


@cache
def known(op: str) -> bool:
    """True when this build of the runtime has the operator."""
    try:
        of(op)
    except _core.Error:
        return False
    return True


@cache
def elementwise(op: str) -> bool:
    """True when the operator commutes with any permutation of the dimensions."""
    return bool(of(op)["elementwise"])


@cache
def optional_output(op: str, index: int) -> bool:
    """True when output `index` may be left out."""
    ports = of(op)["outputs"]
    if index >= len(ports):
        return bool(ports and ports[-1]["variadic"])
    return bool(ports[index]["optional"])
