"""Quantization to 8 bits. Not part of this version; the function exists so that its absence has a clear answer."""

from __future__ import annotations

import sys
from types import ModuleType
from typing import Any, NoReturn

from edgec.errors import UnsupportedError


def quantize(*_arguments: Any, **_options: Any) -> NoReturn:
    """Raises UnsupportedError: int8 quantization comes in a later version."""
    raise UnsupportedError(
        "edgec.quantize: int8 quantization is not in this version yet. What to do: run the f32 model; "
        "edgec.Session and edgec.convert work without it."
    )


class _CallableModule(ModuleType):
    """`edgec.quantize` is this package and, for users, also the function: `edgec.quantize(model, ...)`."""

    def __call__(self, *arguments: Any, **options: Any) -> NoReturn:
        quantize(*arguments, **options)


sys.modules[__name__].__class__ = _CallableModule
