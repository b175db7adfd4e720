"""Reads ncnn's text .param files: one layer per line, parameters by number."""

from __future__ import annotations

import math
import re
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from edgec.converter.errors import BadFileError, IoError, UnsupportedError
from edgec.converter.frontends.layers.importer import MAX_LAYERS, Layer

MAGIC = 7767517
BINARY_MAGIC = MAGIC.to_bytes(4, "little")
MAX_BYTES = 16 << 20
MAX_BLOBS = 1024  # inputs or outputs of one layer
MAX_ARRAY = 100_000
NOTHING = -233  # ncnn's number for "not given"

_PAIR = re.compile(r'(-?\d+)=("[^"]*"|\S*)')
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?$|[+-]?(inf|nan)$", re.IGNORECASE)

Number = int | float


def _as_float(value: Number) -> float:
    """ncnn stores both types in the same 4 bytes: a large integer where a float is meant is the float's bits."""
    if isinstance(value, int) and 2**23 <= abs(value) < 2**32:
        return float(struct.unpack("<f", struct.pack("<I", value & 0xFFFFFFFF))[0])
    return float(value)


@dataclass
class Params:
    """The parameters of one layer by number; absent ones take the default that the caller gives."""

    where: str
    values: dict[int, list[Number] | str] = field(default_factory=dict)

    def __contains__(self, key: int) -> bool:
        return key in self.values

    def _numbers(self, key: int) -> list[Number] | None:
        value = self.values.get(key)
        if isinstance(value, str):
            raise BadFileError(f"{self.where}: parameter {key} is the text '{value[:40]}', expected a number")
        return value

    def integer(self, key: int, default: int) -> int:
        value = self._numbers(key)
        if value is None:
            return default
        if len(value) != 1 or not math.isfinite(value[0]) or value[0] != int(value[0]):
            raise BadFileError(f"{self.where}: parameter {key} is {value[:4]}, expected an integer")
        return int(value[0])

    def number(self, key: int, default: float) -> float:
        value = self._numbers(key)
        if value is None:
            return default
        if len(value) != 1:
            raise BadFileError(f"{self.where}: parameter {key} has {len(value)} values, expected one")
        return _as_float(value[0])

    def integers(self, key: int) -> list[int]:
        values = self._numbers(key) or []
        if any(not math.isfinite(v) or v != int(v) for v in values):
            raise BadFileError(f"{self.where}: parameter {key} is {values[:4]}, expected integers")
        return [int(v) for v in values]

    def numbers(self, key: int) -> list[float]:
        return [_as_float(v) for v in self._numbers(key) or []]

    def text(self, key: int) -> str:
        value = self.values.get(key, "")
        return value if isinstance(value, str) else ""


def read_param(path: Path) -> list[Layer]:
    """The layers of a .param file in order. Raises BadFileError, UnsupportedError (binary files), IoError."""
    refuse_binary(path)
    try:
        with path.open("rb") as f:
            raw = f.read(MAX_BYTES + 1)
    except OSError as e:
        raise IoError(f"cannot read {path}: {e.strerror}") from None
    if len(raw) > MAX_BYTES:
        raise BadFileError(f"{path} has more than {MAX_BYTES} bytes: this is no .param file")
    lines = [(i, line.split()) for i, line in enumerate(raw.decode("utf-8", "replace").splitlines(), 1) if line.strip()]
    if not lines or lines[0][1] != [str(MAGIC)]:
        raise BadFileError(
            f"{path} does not begin with {MAGIC}", hint="older .param files must be made anew with ncnn's tools"
        )
    counts = _counts(path, lines[1][1] if len(lines) > 1 else [])
    texts = raw.decode("utf-8", "replace").splitlines()
    rows = lines[2 : 2 + counts[0]]
    if len(rows) < counts[0]:
        raise BadFileError(f"{path} announces {counts[0]} layers and holds {len(rows)}")
    return [_layer(path, number, words, texts[number - 1]) for number, words in rows]


def refuse_binary(path: Path) -> None:
    """Raises UnsupportedError for what ncnn2mem writes: numbers instead of names."""
    try:
        with path.open("rb") as f:
            head = f.read(len(BINARY_MAGIC))
    except OSError as e:
        raise IoError(f"cannot read {path}: {e.strerror}") from None
    if head == BINARY_MAGIC:
        raise UnsupportedError(
            f"{path} is a binary .param file, which holds no names",
            hint="convert the text file that ncnn2mem made it from",
        )


def _counts(path: Path, words: Sequence[str]) -> tuple[int, int]:
    if len(words) != 2 or not all(w.isascii() and w.isdigit() and len(w) < 10 for w in words):
        raise BadFileError(f"{path}, line 2: expected the numbers of layers and blobs, got '{' '.join(words)[:40]}'")
    layers, blobs = int(words[0]), int(words[1])
    if not 1 <= layers <= MAX_LAYERS or blobs < 1:
        raise BadFileError(f"{path}, line 2: {layers} layers and {blobs} blobs; 1 to {MAX_LAYERS} layers are possible")
    return layers, blobs


def _layer(path: Path, line: int, words: list[str], text: str) -> Layer:
    where = f"{path.name}, line {line}"
    if len(words) < 4 or not all(w.isascii() and w.isdigit() and len(w) < 6 for w in words[2:4]):
        raise BadFileError(f"{where}: expected a type, a name, and the numbers of inputs and outputs")
    inputs, outputs = int(words[2]), int(words[3])
    if max(inputs, outputs) > MAX_BLOBS:
        raise BadFileError(f"{where}: {inputs} inputs and {outputs} outputs; {MAX_BLOBS} is the limit")
    names = words[4 : 4 + inputs + outputs]
    if len(names) < inputs + outputs or any(_PAIR.fullmatch(n) for n in names):
        raise BadFileError(f"{where}: announces {inputs} inputs and {outputs} outputs, names {len(names)} of them")
    layer = Layer(words[0], words[1], names[:inputs], names[inputs:], None, line=line)
    layer.parameters = Params(f"{layer.type} {layer.where}", _pairs(where, text, 4 + inputs + outputs))
    return layer


def _pairs(where: str, text: str, skip: int) -> dict[int, list[Number] | str]:
    """The key=value pairs behind the first `skip` words. Arrays: -23300-key=count,values or key=a,b,c."""
    parts = text.split(None, skip)
    rest = parts[skip] if len(parts) > skip else ""
    result: dict[int, list[Number] | str] = {}
    at = 0
    while at < len(rest):
        if rest[at].isspace():
            at += 1
            continue
        match = _PAIR.match(rest, at)
        if match is None or len(match[1]) > 9:
            raise BadFileError(f"{where}: cannot read the parameter at '{rest[at : at + 20]}'")
        at = match.end()
        key, value = int(match[1]), match[2]
        is_array = key <= -23300
        key = -23300 - key if is_array else key
        if not 0 <= key < 64:
            raise BadFileError(f"{where}: there is no parameter number {match[1]}")
        result[key] = _value(where, key, value, is_array)
    return result


def _value(where: str, key: int, value: str, is_array: bool) -> list[Number] | str:
    if value.startswith('"') or (
        not is_array and (not value or value[0].isalpha() or value[0] in "(*/") and not _NUMBER.match(value)
    ):
        return value.strip('"')
    words = value.split(",")
    if not is_array and not all(_NUMBER.match(w) for w in words) and any(c.isalpha() or c == "(" for c in value):
        return value  # an expression such as 0w,0h,-1
    if len(words) > MAX_ARRAY:
        raise BadFileError(f"{where}: parameter {key} has {len(words)} values; {MAX_ARRAY} is the limit")
    numbers: list[Number] = []
    for word in words:
        if not _NUMBER.match(word) or len(word) > 40:
            raise BadFileError(f"{where}: parameter {key} has the value '{word[:20]}', expected a number")
        numbers.append(float(word) if not word.lstrip("+-").isdigit() else int(word))
    if not is_array:
        return numbers
    if numbers[0] != len(numbers) - 1:
        raise BadFileError(f"{where}: parameter {key} announces {numbers[0]} values and has {len(numbers) - 1}")
    return numbers[1:]
