"""Caffe and ncnn keep a network in two files, definition and weights: finds the other half and imports both."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from edgec.converter.errors import BadFileError, InvalidArgumentError
from edgec.converter.frontends.detect import Kind, Source
from edgec.converter.frontends.shapes import InputShape
from edgec.converter.ir.graph import Graph

# Suffixes of (definition, weights). The other half is only ever looked for under the name of the given file.
_SUFFIXES = {Kind.CAFFE: (".prototxt", ".caffemodel"), Kind.NCNN: (".param", ".bin")}


def is_layer_format(kind: Kind) -> bool:
    return kind in _SUFFIXES


def is_definition(path: Path) -> bool:
    """By its name the definition of a Caffe or ncnn network."""
    return path.suffix.lower() in (text for text, _ in _SUFFIXES.values())


def lacks_weights(path: Path) -> bool:
    """A definition without a file of the same name that holds its weights."""
    found = [binary for text, binary in _SUFFIXES.values() if text == path.suffix.lower()]
    return bool(found) and not path.with_suffix(found[0]).is_file()


def definition_first(
    source: str | os.PathLike[str], weights: str | os.PathLike[str] | None
) -> tuple[str | os.PathLike[str], str | os.PathLike[str] | None]:
    """The two files of a pair in order: the bytes of an ncnn .bin do not say what it is."""
    if weights is not None and is_definition(Path(weights)):
        return weights, source
    return source, weights


def import_layers(
    source: Source,
    weights: str | os.PathLike[str] | None,
    shapes: Sequence[InputShape],
    fixed: Mapping[str, Any],
    random_seed: int | None,
    progress: Callable[[int, int], None] | None = None,
) -> tuple[Graph, list[str]]:
    """Graph and remarks of a Caffe or ncnn network.

    `weights`: the second file, in either order. None: a file of the same name beside the first, or random weights
    where a `random_seed` is given.
    """
    definition, data = _halves(source, None if weights is None else Path(weights), random_seed is not None)
    if source.kind is Kind.CAFFE:
        from edgec.converter.frontends.caffe.importer import import_caffe as reader
    else:
        from edgec.converter.frontends.ncnn.importer import import_ncnn as reader
    return reader(definition, data, shapes, fixed, random_seed if data is None else None, progress)


def _halves(source: Source, second: Path | None, random: bool) -> tuple[Path, Path | None]:
    text, binary = _SUFFIXES[source.kind]
    name = source.kind.value.split()[0]
    first_is_weights = source.path.suffix.lower() == binary
    if source.kind is Kind.NCNN and first_is_weights:
        from edgec.converter.frontends.ncnn.param import refuse_binary

        refuse_binary(source.path)
    if second is None:
        other = source.path.with_suffix(text if first_is_weights else binary)
        if random and not first_is_weights:
            return source.path, None
        if not other.is_file():
            missing = "definition" if first_is_weights else "weights"
            hint = f"pass both: edgec convert {source.path.name} FILE{text if first_is_weights else binary}"
            if not first_is_weights:
                hint += "; --random-weights converts without them, to measure speed"
            raise BadFileError(f"the {missing} of the {name} model are not there: {other} does not exist", hint=hint)
        second = other
    elif random:
        raise InvalidArgumentError("weights and random weights exclude each other")
    if not second.is_file():
        raise BadFileError(f"{second} does not exist")
    if first_is_weights == (second.suffix.lower() == binary):
        raise BadFileError(
            f"{source.path.name} and {second.name} are no pair of a {name} model",
            hint=f"one {text} and one {binary} file",
        )
    return (second, source.path) if first_is_weights else (source.path, second)
