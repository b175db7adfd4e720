"""Imports an ONNX file whose dimensions are symbols: tries sizes for them until the network fits."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec.converter.errors import InvalidArgumentError, ShapeError, UnsupportedError
from edgec.converter.frontends.shapes import InputShape, bind_shapes

if TYPE_CHECKING:
    from edgec.converter.ir.graph import Graph

Progress = Callable[[str, int, int], None]

# Sizes tried, in order, for symbolic dimensions other than the batch. Networks halve and concatenate: a size that
# does not survive that is the probe's fault, not the model's.
EXAMPLE_SIZES = (32, 64, 128, 224, 320, 16, 8, 512)


def import_with_examples(
    file: Any, shapes: Sequence[InputShape], fixed: Mapping[str, Any], tell: Progress | None = None
) -> tuple[Graph, list[str]]:
    """The graph of an ONNX file; symbolic dimensions are probed with several sizes until one fits."""
    from edgec.converter.frontends.onnx.importer import Importer
    from edgec.converter.frontends.onnx.inputs import (
        BATCH_EXAMPLE,
        file_dims,
        input_names,
        real_inputs,
        symbols_beside_batch,
    )

    names = [n for n in input_names(file.model.graph) if n not in fixed]
    unknown = [n for n in fixed if n not in input_names(file.model.graph)]
    if unknown:
        raise InvalidArgumentError(
            f"fixed: the model has no input '{unknown[0]}'; its inputs are: {', '.join(input_names(file.model.graph))}"
        )
    bound = bind_shapes(shapes, names)
    values = {k: np.asarray(v) for k, v in fixed.items()}
    progress = None if tell is None else (lambda done, total: tell("import", done, total))

    def symbolic() -> bool:
        for info in real_inputs(file.model.graph):
            if info.name in fixed:
                continue
            dims = bound[info.name].dims if info.name in bound else file_dims(info)
            if dims is not None and any(not isinstance(d, int) for d in dims):
                return True
        return False

    if not symbolic():
        return Importer(file, bound, values, progress).run(), []
    many = len(symbols_beside_batch(file.model.graph, bound, fixed)) > 1

    def imported(size: int) -> tuple[Graph, int]:
        # Two names may mean one size (ids and their mask): only then are they probed with equal sizes.
        if many:
            with contextlib.suppress(ShapeError, UnsupportedError):
                importer = Importer(file, bound, values, progress, other_example=size)
                return importer.run(), importer.assumptions
        importer = Importer(file, bound, values, progress, other_example=size, distinct=False)
        return importer.run(), importer.assumptions

    failure: ShapeError | None = None
    best: tuple[Graph, int] | None = None
    for size in EXAMPLE_SIZES:
        try:
            graph, assumptions = imported(size)
        except ShapeError as e:
            failure = failure or e
            continue
        if not assumptions:
            return graph, []
        if best is None or assumptions < best[1]:  # a size that fits as many branches as any
            best = graph, assumptions
    if best is not None:
        return best[0], []
    # The batch may stand on another axis too, under a name of its own (a recurrent state).
    for name in symbols_beside_batch(file.model.graph, bound, fixed):
        for size in EXAMPLE_SIZES[:5]:
            with contextlib.suppress(ShapeError, UnsupportedError):
                options: dict[str, Any] = {"examples": {name: BATCH_EXAMPLE}, "other_example": size, "distinct": False}
                return Importer(file, bound, values, progress, **options).run(), []
    # A model that only works with one batch size says so by its reshapes.
    for size in EXAMPLE_SIZES[:5]:
        fewer = _without_batch(file, bound, fixed)
        if fewer is None:
            break
        try:
            graph = Importer(file, fewer, values, progress, other_example=size).run()
            return graph, ["the batch size is fixed to 1: the network's own reshapes do not allow another"]
        except (ShapeError, UnsupportedError):
            continue
    assert failure is not None
    raise failure


def _without_batch(
    file: Any, bound: Mapping[str, InputShape], fixed: Mapping[str, Any]
) -> dict[str, InputShape] | None:
    """The input shapes with every symbolic first dimension 1; None when no first dimension is symbolic."""
    from edgec.converter.frontends.onnx.inputs import file_dims, real_inputs

    result, changed = dict(bound), False
    for info in real_inputs(file.model.graph):
        if info.name in fixed:
            continue
        dims = list(bound[info.name].dims) if info.name in bound else file_dims(info)
        if dims and not isinstance(dims[0], int) and info.name not in bound:
            result[info.name] = InputShape(info.name, (1, *dims[1:]))
            changed = True
    return result if changed else None


def named_symbols(file: Any, names: Sequence[str], shapes: Sequence[InputShape]) -> list[InputShape]:
    """Exporters call a dynamic dimension s77: it gets the name and range back that the user gave it."""
    from edgec.converter.frontends.onnx.inputs import file_dims, real_inputs

    if not any(not isinstance(d, int) for s in shapes for d in s.dims):
        return []
    if all(s.name in names for s in shapes):
        by_name = {s.name: s for s in shapes}
    else:
        by_name = dict(zip(names, shapes)) if len(shapes) == len(names) else {}
    result = []
    for info in real_inputs(file.model.graph):
        declared, wanted = file_dims(info), by_name.get(info.name)
        if declared is None or wanted is None or len(declared) != len(wanted.dims):
            continue
        dims = [w if not isinstance(d, int) and not isinstance(w, int) else d for d, w in zip(declared, wanted.dims)]
        result.append(InputShape(info.name, tuple(dims)))
    return result
