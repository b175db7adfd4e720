"""What a handler sees of one ONNX node, and the helpers it builds IR with.

A dimension is an `int` when it is static and otherwise a one-element i64 `Value`; the arithmetic on dimensions
(`mul`, `div`, `shape_vector`, `reshape`) takes both, so that handlers are written once for static and symbolic shapes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.model import NUMPY
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import GraphError, Value

if TYPE_CHECKING:
    from edgec.converter.frontends.onnx.importer import Importer, Scope

Dim = "int | Value"

# Computed in f32 (or i64) when the runtime has no kernel for the narrow type; the result is cast back.
_PROMOTED = {"f16": "f32", "bf16": "f32", "f64": "f32"}
_PROMOTED_INT = dict.fromkeys(("i8", "u8", "i16", "u16", "i32", "u32", "u64"), "i64")
_INDEX_OUTPUTS = {"ArgMax": (0,), "ArgMin": (0,), "TopK": (1,), "Shape": (0,), "Size": (0,), "NonZero": (0,)}


class Context:
    """One ONNX node while its handler runs."""

    def __init__(
        self,
        importer: Importer,
        scope: Scope,
        op: str,
        name: str,
        source: str,
        attributes: dict[str, Any],
        inputs: list[Value | None],
        output_names: list[str],
        opset: int,
    ) -> None:
        self.importer = importer
        self.scope = scope
        self.graph = importer.graph
        self.op = op
        self.name = name
        self.source = source
        self.attributes = attributes
        self.inputs = inputs
        self.output_names = output_names
        self.opset = opset

    # -- the node ---------------------------------------------------------------------------------
    def input(self, i: int) -> Value | None:
        value = self.inputs[i] if i < len(self.inputs) else None
        if isinstance(value, list):
            raise Unsupported(f"input {i} is a sequence")
        return value

    def need(self, i: int) -> Value:
        value = self.input(i)
        if value is None:
            raise BadFileError(f"{self.op} '{self.name}': input {i} is missing")
        return value

    def attr(self, name: str, default: Any = None) -> Any:
        return self.attributes.get(name, default)

    def need_attr(self, name: str) -> Any:
        if name not in self.attributes:
            raise BadFileError(f"{self.op} '{self.name}': attribute '{name}' is missing")
        return self.attributes[name]

    def wants(self, i: int) -> bool:
        """Output i exists and somebody may read it."""
        return i < len(self.output_names) and self.output_names[i] != ""

    # -- building ---------------------------------------------------------------------------------
    def emit(self, op: str, inputs: Sequence[Value | None], attrs: dict[str, Any] | None = None) -> Value:
        return self.emit_many(op, inputs, attrs, 1)[0]

    def emit_many(
        self, op: str, inputs: Sequence[Value | None], attrs: dict[str, Any] | None, outputs: int
    ) -> list[Value]:
        """Adds a node; when the runtime refuses the data type, computes in f32 (floats) or i64 (integers)."""
        try:
            return self._add(op, inputs, attrs, outputs)
        except GraphError as refused:
            for table in (_PROMOTED, _PROMOTED_INT):
                wide = self._promote(inputs, table)
                if wide is None:
                    continue
                try:
                    results = self._add(op, wide[0], attrs, outputs)
                except GraphError:
                    continue
                keep = _INDEX_OUTPUTS.get(op, ())
                return [
                    self.cast(r, wide[1]) if i not in keep and r.dtype == table[wide[1]] else r
                    for i, r in enumerate(results)
                ]
            raise refused from None

    def _promote(self, inputs: Sequence[Value | None], table: dict[str, str]) -> tuple[list[Value | None], str] | None:
        narrow = [v.dtype for v in inputs if v is not None and v.dtype in table]
        if not narrow:
            return None
        return [self.cast(v, table[v.dtype]) if v is not None and v.dtype in table else v for v in inputs], narrow[0]

    def _add(self, op: str, inputs: Sequence[Value | None], attrs: dict[str, Any] | None, outputs: int) -> list[Value]:
        return self.importer.add(op, inputs, attrs, outputs, self.name, self.source)

    def const(self, data: Any, dtype: str | None = None) -> Value:
        array = np.asarray(data) if dtype is None else np.asarray(data, dtype=NUMPY[dtype])
        return self.importer.constant(self.name, array)

    def i64(self, data: Any) -> Value:
        return self.const(np.asarray(data, dtype=np.int64))

    def like(self, data: Any, value: Value) -> Value:
        """A constant with the data type of `value`."""
        return self.const(np.asarray(data).astype(NUMPY[value.dtype]))

    def cast(self, value: Value, dtype: str, rules: dict[str, Any] | None = None) -> Value:
        """`value` as `dtype`; `rules`: attributes of Cast for small floats."""
        if value.types and value.dtype == dtype:
            return value
        if not rules and value.data is not None and dtype in NUMPY and value.data.dtype.kind in "fiub":
            integer_from_float = (
                NUMPY[dtype] not in (np.float16, np.float32, np.float64) and value.data.dtype.kind == "f"
            )
            if not integer_from_float:
                return self.const(value.data.astype(NUMPY[dtype]))
        return self._add("Cast", [value], {"to": dtype, **(rules or {})}, 1)[0]

    # -- known values -----------------------------------------------------------------------------
    def static(self, value: Value | None) -> np.ndarray | None:
        return None if value is None else value.static_value

    def ints(self, value: Value | None) -> list[int] | None:
        """A known integer tensor as a flat list, else None."""
        data = self.static(value)
        return None if data is None else [int(v) for v in np.asarray(data).reshape(-1)]

    def need_ints(self, value: Value | None, what: str) -> list[int]:
        result = self.ints(value)
        if result is None:
            raise Unsupported(
                f"{what} is computed while the model runs", f"make {what} a constant, or give fixed shapes with --shape"
            )
        return result

    def ints_attr_or_input(self, name: str, i: int, default: list[int] | None = None) -> list[int] | None:
        """Axes and the like: an attribute in older opsets, input i in newer ones."""
        if name in self.attributes:
            value = self.attributes[name]
            return [int(v) for v in value] if isinstance(value, (list, tuple)) else [int(value)]
        if self.input(i) is None:
            return default
        return self.need_ints(self.input(i), name)

    def scalar(self, value: Value | None, default: Any = None) -> Any:
        """A known one-element tensor as a Python number; `default` when absent; Unsupported when not known."""
        if value is None:
            return default
        data = self.static(value)
        if data is None or data.size != 1:
            raise Unsupported("a scalar parameter is computed while the model runs", "make it a constant")
        return data.reshape(-1)[0].item()

    # -- dimensions -------------------------------------------------------------------------------
    def dim(self, value: Value, axis: int) -> Any:
        """Size of `axis`: an int, or a one-element i64 Value when it depends on a symbol."""
        axis %= max(value.rank, 1)
        size = value.shape[axis]
        return size if size is not None else self._add("Shape", [value], {"start": axis, "end": axis + 1}, 1)[0]

    def dims(self, value: Value) -> list[Any]:
        return [self.dim(value, i) for i in range(value.rank)]

    def _dim_value(self, d: Any) -> Value:
        return self.i64([d]) if isinstance(d, int) else d

    def mul(self, *factors: Any) -> Any:
        known, rest = 1, []
        for f in factors:
            if isinstance(f, int):
                known *= f
            else:
                rest.append(f)
        if not rest:
            return known
        result = rest[0]
        for f in rest[1:]:
            result = self._add("Mul", [result, f], None, 1)[0]
        return result if known == 1 else self._add("Mul", [result, self.i64([known])], None, 1)[0]

    def div(self, a: Any, b: Any) -> Any:
        if isinstance(a, int) and isinstance(b, int):
            return a // b
        return self._add("Div", [self._dim_value(a), self._dim_value(b)], None, 1)[0]

    def plus(self, a: Any, b: Any) -> Any:
        if isinstance(a, int) and isinstance(b, int):
            return a + b
        return self._add("Add", [self._dim_value(a), self._dim_value(b)], None, 1)[0]

    def shape_vector(self, dims: Sequence[Any]) -> Value:
        """A 1-D i64 tensor of dimensions; a constant when all are static."""
        if all(isinstance(d, int) for d in dims):
            return self.i64(np.array(dims, dtype=np.int64).reshape(-1))
        return self._add("Concat", [self._dim_value(d) for d in dims], {"axis": 0}, 1)[0]

    # -- layout -----------------------------------------------------------------------------------
    def reshape(self, value: Value, dims: Sequence[Any]) -> Value:
        """Reshape; at most one symbolic dimension becomes -1, so that no shape arithmetic is needed for it."""
        if value.data is not None and all(isinstance(d, int) for d in dims):
            return self.const(value.data.reshape(list(dims)))
        symbolic = [i for i, d in enumerate(dims) if not isinstance(d, int)]
        zero = any(isinstance(d, int) and d == 0 for d in dims)
        if len(symbolic) == 1 and not zero and -1 not in [d for d in dims if isinstance(d, int)]:
            dims = [-1 if i == symbolic[0] else d for i, d in enumerate(dims)]
        attrs = {"allowzero": 1} if zero and not any(isinstance(d, int) and d == -1 for d in dims) else None
        return self.emit("Reshape", [value, self.shape_vector(dims)], attrs)

    def transpose(self, value: Value, perm: Sequence[int]) -> Value:
        perm = [int(p) for p in perm]
        if perm == list(range(len(perm))):
            return value
        if value.data is not None:
            return self.const(np.ascontiguousarray(value.data.transpose(perm)))
        return self._add("Transpose", [value], {"perm": perm}, 1)[0]

    def unsqueeze(self, value: Value, axes: Sequence[int]) -> Value:
        if value.data is not None:
            return self.const(np.expand_dims(value.data, tuple(axes)))
        return self._add("Unsqueeze", [value], {"axes": list(axes)}, 1)[0]

    def squeeze(self, value: Value, axes: Sequence[int]) -> Value:
        if value.data is not None:
            return self.const(np.squeeze(value.data, tuple(axes)))
        return self._add("Squeeze", [value], {"axes": list(axes)}, 1)[0]

    def slice(self, value: Value, starts: Any, ends: Any, axes: Any, steps: Any = None) -> Value:
        n = len(axes)
        return self.emit("Slice", [value, self.i64(starts), self.i64(ends), self.i64(axes), self.i64(steps or [1] * n)])

    def as_i64(self, value: Value | None) -> Value | None:
        """Index and shape inputs: ONNX allows i32, the IR wants i64."""
        return None if value is None else self.cast(value, "i64")

    # -- channels-last ----------------------------------------------------------------------------
    def to_nhwc(self, value: Value) -> Value:
        """[N,C,H,W] -> [N,H,W,C]; [N,C,L] -> [N,1,L,C]."""
        if value.rank == 3:
            return self.unsqueeze(self.transpose(value, [0, 2, 1]), [1])
        return self.transpose(value, [0, 2, 3, 1])

    def from_nhwc(self, value: Value, rank: int) -> Value:
        """Undoes to_nhwc; the channels-last tensor gets the node's output name with ':nhwc' behind it."""
        if value.data is None and self.output_names:
            self.importer.rename(value, f"{self.output_names[0]}:nhwc")
        if rank == 3:
            return self.transpose(self.squeeze(value, [1]), [0, 2, 1])
        return self.transpose(value, [0, 3, 1, 2])

    def axis(self, axis: int, x: Value) -> int:
        """`axis` counted from the front; as it is when the rank of `x` is open (operators take negative ones)."""
        return self.normalize_axis(axis, x.rank) if x.types else axis

    def normalize_axis(self, axis: int, rank: int) -> int:
        if not -rank <= axis < max(rank, 1):
            raise BadFileError(f"{self.op} '{self.name}': axis {axis} for a tensor of rank {rank}")
        return axis + rank if axis < 0 else axis
