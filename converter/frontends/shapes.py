"""Input shapes as users write them.

1x3x224x224            the first (or only) input
x:1x3x224x224          by name
x:[1,3,224,224]        the same
x:1x3x(224..640)x(224..640)   dimensions that may vary within a range
batchx3x224x224        a named dimension that may be anything
[batch(1..8),3,224,224]       a named dimension with a range
tokens:1x64:int64             with the data type, where the source does not say it
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from edgec.converter.errors import ShapeError

MAX_RANK = 8
_RANGE = re.compile(r"^(?P<name>[A-Za-z_][\w.\-]*)?\((?P<low>\d+)\.\.(?P<high>\d*)\)$")
_NAME = re.compile(r"^[A-Za-z_][\w.\-]*$")
_DTYPES = {
    "float32": "float32", "f32": "float32", "float": "float32", "float64": "float64", "f64": "float64",
    "float16": "float16", "f16": "float16", "int64": "int64", "i64": "int64", "long": "int64", "int32": "int32",
    "i32": "int32", "int16": "int16", "i16": "int16", "int8": "int8", "i8": "int8", "uint8": "uint8", "u8": "uint8",
    "bool": "bool", "bfloat16": "bfloat16", "bf16": "bfloat16",
}  # fmt: skip
_EXAMPLES = "e.g. --shape 1x3x224x224, --shape x:[1,3,224,224], --shape x:1x3x(224..640)x(224..640)"


@dataclass(frozen=True)
class Symbol:
    """A dimension that varies: name, smallest and largest size (0 = unbounded)."""

    name: str
    minimum: int = 1
    maximum: int = 0

    def __str__(self) -> str:
        if self.minimum == 1 and not self.maximum:
            return self.name
        return f"{self.name}({self.minimum}..{self.maximum or ''})"


@dataclass(frozen=True)
class InputShape:
    """`name` None: the input is meant by position."""

    name: str | None
    dims: tuple[int | Symbol, ...]
    dtype: str | None = None  # NumPy's name


def parse_shape(text: str) -> InputShape:
    """One `--shape` text. Raises ShapeError that shows the forms."""
    name, _, body = text.strip().rpartition(":")
    body = body.strip()
    dtype = _DTYPES.get(body.lower()) if name else None
    if dtype is not None:
        name, _, body = name.rpartition(":")
    if (body.startswith("[") and body.endswith("]")) or (
        body.startswith("(") and body.endswith(")") and ".." not in body
    ):
        tokens = [t.strip() for t in body[1:-1].split(",") if t.strip()]
    elif "," in body:
        tokens = [t.strip() for t in body.split(",")]
    else:
        tokens = body.split("x") if body else []
    if body and body not in ("[]", "()") and (not tokens or any(t == "" for t in tokens)):
        raise ShapeError(f"cannot read the shape '{text}'", hint=_EXAMPLES)
    return InputShape(name or None, _dims(tokens, name or "input", text), dtype)


def _dims(tokens: Sequence[Any], owner: str, text: str) -> tuple[int | Symbol, ...]:
    if len(tokens) > MAX_RANK:
        raise ShapeError(f"the shape '{text}' has {len(tokens)} dimensions; {MAX_RANK} is the limit")
    result: list[int | Symbol] = []
    for axis, token in enumerate(tokens):
        if isinstance(token, Symbol):
            result.append(token)
            continue
        if token is None or token == -1 or token in ("-1", "?"):
            result.append(Symbol(f"{owner}_dim{axis}"))
            continue
        word = str(token)
        if word.isdigit():
            size = int(word)
            if size >= 2**31:
                raise ShapeError(f"the shape '{text}': {size} is too large for a dimension")
            result.append(size)
            continue
        match = _RANGE.match(word)
        if match:
            low, high = int(match["low"]), int(match["high"] or 0)
            if high and high < low:
                raise ShapeError(f"the shape '{text}': the range {word} is empty")
            result.append(Symbol(match["name"] or f"{owner}_dim{axis}", low, high))
        elif _NAME.match(word):
            result.append(Symbol(word))
        else:
            raise ShapeError(f"cannot read the shape '{text}' (at '{word}')", hint=_EXAMPLES)
    return tuple(result)


def parse_shapes(shapes: Any) -> list[InputShape]:
    """What `convert(shapes=...)` takes: a text, a list of texts or tuples, or a dict name -> text or tuple."""
    if shapes is None:
        return []
    if isinstance(shapes, str):
        return [parse_shape(shapes)]
    if isinstance(shapes, InputShape):
        return [shapes]
    if isinstance(shapes, Mapping):
        return [_one(v, str(k)) for k, v in shapes.items()]
    if isinstance(shapes, Iterable):
        items = list(shapes)
        if items and all(isinstance(i, (int, Symbol)) and not isinstance(i, bool) for i in items):
            return [_one(items, None)]
        return [_one(i, None) for i in items]
    raise ShapeError(f"shapes: cannot read {shapes!r}", hint=_EXAMPLES)


def _one(value: Any, name: str | None) -> InputShape:
    if isinstance(value, InputShape):
        return value
    if isinstance(value, str):
        shape = parse_shape(value)
        return InputShape(name or shape.name, shape.dims, shape.dtype)
    if isinstance(value, Sequence) or hasattr(value, "__iter__"):
        return InputShape(name, _dims(list(value), name or "input", str(value)))
    raise ShapeError(f"shapes: cannot read {value!r}", hint=_EXAMPLES)


def bind_shapes(shapes: Sequence[InputShape], names: Sequence[str]) -> dict[str, InputShape]:
    """Shape per input name; those without a name go to the inputs in order."""
    result: dict[str, InputShape] = {}
    free = [n for n in names if n not in {s.name for s in shapes}]
    for shape in shapes:
        if shape.name is not None:
            if shape.name not in names:
                near = difflib.get_close_matches(shape.name, names, 1)
                raise ShapeError(
                    f"the model has no input '{shape.name}'; its inputs are: {', '.join(names) or '(none)'}",
                    hint=f"did you mean '{near[0]}'?" if near else "",
                )
            result[shape.name] = shape
        elif free:
            name = free.pop(0)
            dims = tuple(
                Symbol(d.name.replace("input_dim", f"{name}_dim", 1), d.minimum, d.maximum)
                if isinstance(d, Symbol)
                else d
                for d in shape.dims
            )
            result[name] = InputShape(name, dims, shape.dtype)
        else:
            raise ShapeError(f"{len(shapes)} shapes given, the model has {len(names)} inputs: {', '.join(names)}")
    return result


def dims_text(dims: Iterable[Any]) -> str:
    """[1,3,h,w]"""
    return "[" + ",".join("?" if d is None else str(d) for d in dims) + "]"
