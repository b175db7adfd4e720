"""The table `ONNX operator -> IR`. The onnx_ops_*.py files fill it when they are imported."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgec.converter.frontends.onnx.context import Context

Result = "Value | Sequence[Value | None]"
Handler = Callable[["Context"], Any]

MAIN = ""
MICROSOFT = "com.microsoft"

# Synonyms of the main domain, and domains whose operators are the main ones under another flag.
DOMAIN_ALIASES = {"ai.onnx": MAIN}

HANDLERS: dict[tuple[str, str], Handler] = {}


@dataclass(frozen=True)
class Unsupported(Exception):  # noqa: N818  a verdict, not an error of the program
    """Raised by a handler for a form of its operator that has no equivalent. `advice`: what to do instead."""

    reason: str
    advice: str = ""

    def __str__(self) -> str:
        return self.reason


def onnx_op(*names: str, domain: str = MAIN) -> Callable[[Handler], Handler]:
    """Registers a handler: it receives a Context, emits IR nodes, and returns one value or a list of outputs."""

    def register(handler: Handler) -> Handler:
        for name in names:
            HANDLERS[(domain, name)] = handler
        return handler

    return register


def handler_of(domain: str, op: str) -> Handler | None:
    return HANDLERS.get((DOMAIN_ALIASES.get(domain, domain), op))


def supported_operators() -> list[tuple[str, str]]:
    """(domain, operator) of everything the table maps, sorted; for `edgec ops` and the documentation."""
    load_all()
    return sorted(HANDLERS)


def load_all() -> None:
    """Imports the files that fill the table."""
    from edgec.converter.frontends.onnx import (  # noqa: F401
        ops_contrib,
        ops_contrib_quant,
        ops_control,
        ops_conv,
        ops_elementwise,
        ops_layout,
        ops_norm,
        ops_pool,
        ops_quant,
        ops_recurrent,
        ops_reduce,
        ops_resize,
        ops_sequence,
        ops_signal,
        ops_vision,
    )
