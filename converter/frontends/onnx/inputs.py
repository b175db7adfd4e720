"""Declares the inputs of an ONNX graph: shapes of the file, overridden by the user's, symbols where both are open."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from edgec.converter.errors import ShapeError, UnsupportedError
from edgec.converter.frontends.onnx.model import NUMPY, dtype_name
from edgec.converter.frontends.shapes import Symbol, dims_text

if TYPE_CHECKING:
    from edgec.converter.frontends.onnx.importer import Importer, Scope

# Sizes with which a symbolic dimension is probed when nothing is known about it. Batch is small; other
# dimensions must survive five halvings (a U-Net) and doubling.
BATCH_EXAMPLE = 2
OTHER_EXAMPLE = 32


def real_inputs(proto: Any) -> list[Any]:
    """Graph inputs that are not initializers (files of IR version 3 list both)."""
    constants = {t.name for t in proto.initializer}
    return [i for i in proto.input if i.name not in constants]


def input_names(proto: Any) -> list[str]:
    return [i.name for i in real_inputs(proto)]


def file_dims(info: Any) -> list[int | Symbol] | None:
    """Dimensions that the file declares; None when it declares no shape."""
    tensor = info.type.tensor_type
    if not tensor.HasField("shape"):
        return None
    dims: list[int | Symbol] = []
    for axis, d in enumerate(tensor.shape.dim):
        if d.HasField("dim_value") and d.dim_value > 0:
            dims.append(int(d.dim_value))
        elif d.HasField("dim_value") and d.dim_value == 0 and not d.dim_param:
            dims.append(0)
        else:
            name = d.dim_param.strip() or f"{info.name}_dim{axis}"
            dims.append(Symbol(name, 0 if "past" in name.lower() else 1))  # a cache begins empty
    return dims


def declare_inputs(importer: Importer, proto: Any, scope: Scope) -> None:
    graph = importer.graph
    declared: list[tuple[Any, str, list[int | Symbol]]] = []
    fixed: list[tuple[Any, str]] = []
    for info in real_inputs(proto):
        if not info.type.HasField("tensor_type"):
            kind = info.type.WhichOneof("value") or "unknown"
            raise UnsupportedError(f"input '{info.name}' is a {kind.replace('_type', '')}, edgec takes tensors")
        dtype = dtype_name(info.type.tensor_type.elem_type)
        if dtype is None:
            raise UnsupportedError(f"input '{info.name}' has a data type that edgec does not know (strings, float8...)")
        if info.name in importer.fixed:
            fixed.append((info, dtype))
            continue
        dims = file_dims(info)
        wanted = importer.shapes.get(info.name)
        if wanted is not None:
            if dims is not None:
                _check_override(info.name, dims, wanted.dims)
            dims = list(wanted.dims)
        if dims is None:
            raise ShapeError(
                f"the file does not say the shape of input '{info.name}'",
                hint=f"give it: --shape {info.name}:1x3x224x224",
            )
        declared.append((info, dtype, dims))
    growth: dict[str, int] = {}
    for _, _, dims in declared:
        for axis, d in enumerate(dims):
            if isinstance(d, Symbol):
                if axis > 0 and d.name not in graph.symbols and importer.distinct:
                    growth.setdefault(d.name, 2 + len(growth))
                example = importer.examples.get(d.name) or importer.example_of(axis)
                if d.maximum:
                    example = min(max(example, d.minimum), d.maximum)
                graph.add_symbol(d.name, d.minimum, d.maximum, max(example, d.minimum), growth.get(d.name, 2))
    for info, dtype, dims in declared:
        shape = [d.name if isinstance(d, Symbol) else d for d in dims]
        scope.values[info.name] = graph.add_input(info.name, dtype, shape)
    for info, dtype in fixed:  # behind the symbols: a constant has one type per probe
        data = np.asarray(importer.fixed[info.name]).astype(NUMPY.get(dtype, np.float32))
        dims = file_dims(info)
        if dims is not None and data.ndim != len(dims) and data.size == 1:
            data = data.reshape([1] * len(dims))
        scope.values[info.name] = graph.constant(info.name, data)


def _check_override(name: str, file: list[int | Symbol], wanted: tuple[int | Symbol, ...]) -> None:
    if len(file) != len(wanted):
        raise ShapeError(
            f"input '{name}' has {len(file)} dimensions {dims_text(file)}, the given shape {dims_text(wanted)} has {len(wanted)}"
        )


def symbols_beside_batch(proto: Any, shapes: Any, fixed: Any) -> list[str]:
    """The symbolic dimensions of the inputs that are not a first axis."""
    names: dict[str, None] = {}
    for info in real_inputs(proto):
        dims = shapes[info.name].dims if info.name in shapes else file_dims(info)
        if info.name not in fixed:
            names.update({d.name: None for d in (dims or ())[1:] if isinstance(d, Symbol)})
    return list(names)
