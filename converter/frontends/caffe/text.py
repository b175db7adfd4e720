"""Reads protobuf's text format (prototxt) without a schema: fields keep their order, repetition and line."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TypeVar

from edgec.converter.errors import BadFileError

T = TypeVar("T")

MAX_BYTES = 4 << 20  # the prototxt of a network of 1,000 layers has about 300 KB
MAX_DEPTH = 32
MAX_FIELDS = 200_000

_TOKEN = re.compile(
    r"""(?P<skip>[\s,;]+|\#[^\n]*)
      | (?P<word>[A-Za-z_][\w.]*)
      | (?P<number>[+-]?(?:0[xX][0-9a-fA-F]+|(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?[fF]?|inf(?:inity)?\b|nan\b))
      | (?P<string>"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*')
      | (?P<sign>[{}<>:\[\]/-])""",
    re.VERBOSE,
)
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r", "\\": "\\", "'": "'", '"': '"', "a": "\a", "b": "\b", "f": "\f", "v": "\v"}
_ESCAPE = re.compile(r"\\(?:([0-7]{1,3})|x([0-9a-fA-F]{1,2})|(.))")
_TRUE, _FALSE = {"true", "t", "1", "True"}, {"false", "f", "0", "False"}


@dataclass(frozen=True)
class Scalar:
    """One value as it stands in the text; `quoted` tells a string from a word or a number."""

    text: str
    quoted: bool
    line: int


@dataclass
class Message:
    """Fields by name, each with all its values in order. Absent messages are empty ones."""

    name: str = "file"
    line: int = 1
    fields: dict[str, list[Scalar | Message]] = field(default_factory=dict)

    def __contains__(self, name: str) -> bool:
        return name in self.fields

    def _bad(self, name: str, value: Scalar | Message, expected: str) -> BadFileError:
        got = f"'{value.text[:40]}'" if isinstance(value, Scalar) else "a message"
        return BadFileError(f"line {value.line}: {self.name}.{name} is {got}, expected {expected}")

    def _scalars(self, name: str) -> Iterator[Scalar]:
        for value in self.fields.get(name, ()):
            if not isinstance(value, Scalar):
                raise self._bad(name, value, "a single value")
            yield value

    def messages(self, name: str) -> list[Message]:
        result = []
        for value in self.fields.get(name, ()):
            if not isinstance(value, Message):
                raise self._bad(name, value, "a message { ... }")
            result.append(value)
        return result

    def message(self, name: str) -> Message:
        """The message, merged where the text gives it several times; an empty one when it is absent."""
        found = self.messages(name)
        if len(found) < 2:
            return found[0] if found else Message(name, self.line)
        merged = Message(name, found[0].line)
        for part in found:
            for key, values in part.fields.items():
                merged.fields.setdefault(key, []).extend(values)
        return merged

    def ints(self, name: str) -> list[int]:
        result = []
        for value in self._scalars(name):
            try:
                result.append(int(value.text, 0))
            except ValueError:
                try:
                    number = float(value.text)
                    if value.quoted or number != int(number):
                        raise ValueError
                    result.append(int(number))
                except (ValueError, OverflowError):
                    raise self._bad(name, value, "an integer") from None
        return result

    def floats(self, name: str) -> list[float]:
        result = []
        for value in self._scalars(name):
            try:
                result.append(float(value.text.rstrip("fF") if "inf" not in value.text else value.text))
            except ValueError:
                raise self._bad(name, value, "a number") from None
        return result

    def strings(self, name: str) -> list[str]:
        return [value.text for value in self._scalars(name)]

    def integer(self, name: str, default: int | None = None) -> int:
        return self._last(name, self.ints(name), default)

    def number(self, name: str, default: float | None = None) -> float:
        return self._last(name, self.floats(name), default)

    def text(self, name: str, default: str | None = None) -> str:
        """A string or the name of an enumeration's value."""
        return self._last(name, self.strings(name), default)

    def flag(self, name: str, default: bool) -> bool:
        for value in reversed(list(self._scalars(name))):
            if value.text in _TRUE or value.text in _FALSE:
                return value.text in _TRUE
            raise self._bad(name, value, "true or false")
        return default

    def _last(self, name: str, values: list[T], default: T | None) -> T:
        if values:
            return values[-1]
        if default is None:
            raise BadFileError(f"line {self.line}: {self.name} does not say '{name}'")
        return default


def parse(text: str, file: str = "prototxt") -> Message:
    """The fields of a text; BadFileError names the line of the first mistake."""
    if len(text) > MAX_BYTES:
        raise BadFileError(f"{file}: {len(text)} characters, more than {MAX_BYTES}: this is no network definition")
    return _Parser(text, file).run()


@dataclass(frozen=True)
class _Token:
    kind: str
    text: str
    line: int


class _Parser:
    def __init__(self, text: str, file: str) -> None:
        self.file = file
        self.tokens = self._split(text)
        self.ahead: _Token | None = None
        self.line = 1

    def _bad(self, text: str, line: int | None = None) -> BadFileError:
        return BadFileError(f"{self.file}, line {line or self.line}: {text}")

    def _split(self, text: str) -> Iterator[_Token]:
        at, line = 0, 1
        while at < len(text):
            match = _TOKEN.match(text, at)
            if match is None:
                raise self._bad(f"cannot read {text[at : at + 20]!r}", line)
            kind = str(match.lastgroup)
            if kind != "skip":
                yield _Token(kind, match.group(), line)
            line += match.group().count("\n")
            at = match.end()

    def _peek(self) -> _Token | None:
        if self.ahead is None:
            self.ahead = next(self.tokens, None)
        return self.ahead

    def _next(self, expected: str) -> _Token:
        token = self._peek()
        if token is None:
            raise self._bad(f"the text ends where {expected} was expected")
        self.ahead = None
        self.line = token.line
        return token

    def run(self) -> Message:
        root = Message(self.file)
        stack: list[tuple[Message, str]] = [(root, "")]
        count = 0
        while True:
            message, end = stack[-1]
            token = self._peek()
            if token is None:
                if end:
                    raise self._bad(f"the text ends inside '{message.name}', which begins in line {message.line}")
                return root
            self._next("a field")
            if token.kind == "sign" and token.text == end:
                stack.pop()
                continue
            count += 1
            if count > MAX_FIELDS:
                raise self._bad(f"more than {MAX_FIELDS} fields")
            name = self._field_name(token)
            following = self._next(f"the value of '{name}'")
            if following.text == ":" and following.kind == "sign":
                following = self._next(f"the value of '{name}'")
            elif following.text not in ("{", "<"):
                raise self._bad(f"'{name}' is followed by '{following.text[:20]}', expected ':' or '{{'")
            values = message.fields.setdefault(name, [])
            if following.kind == "sign" and following.text in "{<":
                if len(stack) > MAX_DEPTH:
                    raise self._bad(f"messages are nested more than {MAX_DEPTH} deep")
                inner = Message(name, following.line)
                values.append(inner)
                stack.append((inner, "}" if following.text == "{" else ">"))
            elif following.kind == "sign" and following.text == "[":
                self._list(name, values)
            else:
                values.append(self._scalar(name, following))

    def _field_name(self, token: _Token) -> str:
        if token.kind == "word":
            return token.text
        if token.text == "[":  # an extension: [package.name]
            name = self._next("a name").text
            while (token := self._next("]")).text != "]":
                name += token.text
            return name
        raise self._bad(f"'{token.text[:20]}' stands where a field was expected")

    def _list(self, name: str, values: list[Scalar | Message]) -> None:
        while True:
            token = self._next("]")
            if token.kind == "sign" and token.text == "]":
                return
            if token.kind == "sign" and token.text in "{<":
                raise self._bad(f"'{name}' is a list of messages; write the field once per message")
            values.append(self._scalar(name, token))
            if len(values) > MAX_FIELDS:
                raise self._bad(f"'{name}' has more than {MAX_FIELDS} values")

    def _scalar(self, name: str, token: _Token) -> Scalar:
        if token.kind == "string":
            parts = [_unquote(token.text)]
            while (more := self._peek()) is not None and more.kind == "string":  # neighbours are one string
                parts.append(_unquote(self._next("a string").text))
            return Scalar("".join(parts), True, token.line)
        if token.kind == "sign" and token.text == "-":  # "-inf" as two tokens
            word = self._next("a number")
            return Scalar("-" + word.text, False, token.line)
        if token.kind in ("word", "number"):
            return Scalar(token.text, False, token.line)
        raise self._bad(f"'{token.text}' stands where the value of '{name}' was expected")


def _unquote(text: str) -> str:
    def one(match: re.Match[str]) -> str:
        octal, hexadecimal, letter = match.groups()
        if octal is not None:
            return chr(int(octal, 8))
        if hexadecimal is not None:
            return chr(int(hexadecimal, 16))
        return _ESCAPES.get(letter, letter)

    return _ESCAPE.sub(one, text[1:-1])
