"""The table `TFLite operator -> IR`. The tflite_ops_*.py files fill it when they are imported."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgec.converter.frontends.tflite.context import TfliteContext

Handler = Callable[["TfliteContext"], Any]

_REFUSED = {
    "a table of texts has no place in a network of numbers": (
        "HASHTABLE", "HASHTABLE_FIND", "HASHTABLE_IMPORT", "HASHTABLE_SIZE", "HASHTABLE_LOOKUP", "LSH_PROJECTION",
        "SKIP_GRAM",
    ),
    "random numbers are not the same twice": ("RANDOM_STANDARD_NORMAL", "RANDOM_UNIFORM", "MULTINOMIAL"),
    "operators of TensorFlow inside TensorFlow Lite: convert with TFLITE_BUILTINS only": ("FlexDelegate",),
}  # fmt: skip

BUILTIN: dict[str, Handler] = {}
CUSTOM: dict[str, Handler] = {}


def tflite_op(*names: str) -> Callable[[Handler], Handler]:
    """Registers the handler of built-in operators: it emits IR nodes and returns one value or a list of outputs.

    What it returns may be real (f32) where the file's tensor is quantized: the importer quantizes it.
    """

    def register(handler: Handler) -> Handler:
        for name in names:
            BUILTIN[name] = handler
        return handler

    return register


def custom_op(*names: str) -> Callable[[Handler], Handler]:
    """Registers the handler of custom operators by their names in the file."""

    def register(handler: Handler) -> Handler:
        for name in names:
            CUSTOM[name] = handler
        return handler

    return register


def refusal(op: str) -> str:
    """Why an operator has no form here, "" when nothing is known against it."""
    if op.startswith("Flex"):
        op = "FlexDelegate"
    return next((reason for reason, ops in _REFUSED.items() if op in ops), "")


def supported_operators() -> tuple[list[str], list[str]]:
    """Built-in and custom operators that the table maps, sorted; for `edgec ops` and the documentation."""
    load_all()
    return sorted(BUILTIN), sorted(CUSTOM)


def load_all() -> None:
    """Imports the files that fill the table."""
    from edgec.converter.frontends.tflite import (  # noqa: F401
        ops_control,
        ops_conv,
        ops_detection,
        ops_elementwise,
        ops_indexing,
        ops_layout,
        ops_mediapipe,
        ops_pool,
        ops_recurrent,
        ops_reduce,
        ops_tensorflow,
    )
