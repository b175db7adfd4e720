"""What a handler sees of one TFLite operator.

Tensors come in two forms. `raw(i)` is what the file's tensor holds (integers where it is quantized), `need(i)` is its
real value: quantized tensors go through DequantizeLinear, once per tensor. Handlers compute with real values; the importer
quantizes what they return where the file's output is quantized.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.frontends.tflite.file import Operator, Quantization, Tensor
from edgec.converter.ir.graph import Graph, Value

if TYPE_CHECKING:
    from edgec.converter.frontends.tflite.importer import Frame, TfliteImporter

# A table without fields: every option has its default.
_NO_FIELDS = b"\x08\x00\x00\x00" + b"\x04\x00\x04\x00" + b"\x04\x00\x00\x00"


ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6", 4: "TANH", 5: "SIGN_BIT"}


class ComplexPair:
    """A complex tensor: real and imaginary part."""

    def __init__(self, real: Value, imaginary: Value) -> None:
        self.real, self.imaginary = real, imaginary

    def __repr__(self) -> str:
        return "a complex tensor"


class TfliteContext(Context):
    """One operator while its handler runs."""

    def __init__(self, importer: TfliteImporter, frame: Frame, op: Operator, inputs: list[Any]) -> None:
        place = f"operator {op.index}" + (f" of '{frame.graph.name}'" if frame.depth else "")
        names = [frame.graph.tensors[i].name if i >= 0 else "" for i in op.outputs]
        label = next((n for n in names if n), op.name)
        super().__init__(importer, None, op.name, label, place, {}, inputs, names, op.version)  # type: ignore[arg-type]
        self.tflite = importer
        self.frame = frame
        self.operator = op

    def in_graph(self, graph: Graph) -> TfliteContext:
        """The same operator, emitting into a sub-graph."""
        other = TfliteContext(self.tflite, self.frame, self.operator, self.inputs)
        other.graph = graph
        return other

    # -- the operator -----------------------------------------------------------------------------
    def options(self, class_name: str) -> Any:
        """The operator's options; all defaults when the file has none."""
        from edgec.converter.frontends.tflite.file import import_schema

        found = self.operator.options
        if found is not None and type(found).__name__ == class_name:
            return found
        if found is not None:
            raise BadFileError(f"{self.op} ({self.source}) has {type(found).__name__}, expected {class_name}")
        empty = getattr(import_schema(), class_name)()
        empty.Init(_NO_FIELDS, 8)
        return empty

    def tensor(self, i: int) -> Tensor | None:
        """The file's description of input i; None when it is absent."""
        index = self.operator.inputs[i] if i < len(self.operator.inputs) else -1
        return None if index < 0 else self.frame.graph.tensors[index]

    def need_tensor(self, i: int) -> Tensor:
        found = self.tensor(i)
        if found is None:
            raise BadFileError(f"{self.op} ({self.source}): input {i} is missing")
        return found

    def out(self, i: int = 0) -> Tensor:
        """The file's description of output i."""
        if i >= len(self.operator.outputs) or self.operator.outputs[i] < 0:
            raise BadFileError(f"{self.op} ({self.source}): output {i} is missing")
        return self.frame.graph.tensors[self.operator.outputs[i]]

    def wants(self, i: int) -> bool:
        return i < len(self.operator.outputs) and self.operator.outputs[i] >= 0

    @property
    def count(self) -> int:
        return len(self.inputs)

    # -- tensors ----------------------------------------------------------------------------------
    def any(self, i: int) -> Any:
        """Input i as it is: a Value, a ComplexPair, a Variable."""
        return self.inputs[i] if i < len(self.inputs) else None

    def raw(self, i: int) -> Value:
        value = self.any(i)
        if value is None:
            raise BadFileError(f"{self.op} ({self.source}): input {i} is missing")
        if not isinstance(value, Value):
            raise Unsupported(f"input {i} is {value}, not a tensor of numbers")
        return value

    def input(self, i: int) -> Value | None:
        """The real value of input i; None when it is absent."""
        if self.any(i) is None:
            return None
        value, tensor = self.raw(i), self.need_tensor(i)
        if not tensor.quantized:
            return value
        assert tensor.quantization is not None
        known = self.frame.real
        if tensor.index not in known:
            known[tensor.index] = self.dequantize(value, tensor.quantization)
        return known[tensor.index]

    def need(self, i: int) -> Value:
        value = self.input(i)
        if value is None:
            raise BadFileError(f"{self.op} ({self.source}): input {i} is missing")
        return value

    def constant(self, i: int) -> np.ndarray | None:
        """The stored values of input i when it is known without running the model."""
        value = self.any(i)
        return value.static_value if isinstance(value, Value) else None

    def numbers(self, i: int, what: str) -> list[int]:
        """Input i as known integers (axes, sizes...)."""
        return self.need_ints(self.raw(i), what)

    def vector(self, i: int) -> Value:
        """Input i (a shape, indices...) as i64."""
        return self.cast(self.raw(i), "i64")

    def weight(self, i: int, perm: Sequence[int] | None = None) -> Value:
        """The real value of input i with its dimensions in the order `perm`; a stored tensor is moved, not the result."""
        tensor, value = self.need_tensor(i), self.raw(i)
        if perm is None or value.data is None:
            real = self.need(i)
            return real if perm is None else self.transpose(real, perm)
        if len(perm) != value.rank:
            raise BadFileError(
                f"{self.op} ({self.source}): input {i} has shape {list(value.shape)}, expected {len(perm)} dimensions"
            )
        moved = self.const(np.ascontiguousarray(value.data.transpose(perm)))
        q = tensor.quantization
        if not tensor.quantized or q is None:
            return moved
        axis = list(perm).index(q.axis) if q.per_channel else 0
        return self.dequantize(moved, Quantization(q.scale, q.zero_point, axis))

    def bias(self, i: int, x: int, weight: int) -> Value | None:
        """Input i as the bias of a product of inputs x and weight: i32 there has the product of their scales."""
        if self.any(i) is None:
            return None
        value, tensor = self.raw(i), self.need_tensor(i)
        if value.dtype not in ("i32", "i64"):
            return self.input(i)
        sx, sw = self.need_tensor(x).quantization, self.need_tensor(weight).quantization
        if sx is not None and sw is not None:
            # TFLite's kernels go by the product, whatever the file says of the bias itself.
            scale = (sx.scale[0] * sw.scale).astype(np.float32)
        elif tensor.quantization is not None:
            scale = tensor.quantization.scale
        else:
            raise BadFileError(f"{self.op} ({self.source}): an integer bias without scales")
        if value.dtype == "i64":  # 16-bit activations
            if value.data is not None and np.abs(value.data).max(initial=0) < 2**31:
                value = self.const(value.data.astype(np.int32))
            else:
                return self.emit("Mul", [self.cast(value, "f32"), self.const(scale)])
        return self.dequantize(value, Quantization(scale, np.zeros(scale.size, np.int64), 0))

    # -- quantization -----------------------------------------------------------------------------
    def _scales(self, q: Quantization, dtype: str) -> tuple[Value, Value]:
        one = not q.per_channel
        scale = self.const(q.scale[0] if one else q.scale, "f32")
        zero = np.clip(q.zero_point, -(2**31), 2**31 - 1)
        return scale, self.const((zero[0] if one else zero), dtype)

    def dequantize(self, value: Value, q: Quantization) -> Value:
        scale, zero = self._scales(q, value.dtype)
        return self._add("DequantizeLinear", [value, scale, zero], {"axis": q.axis}, 1)[0]

    def quantize(self, value: Value, q: Quantization, dtype: str) -> Value:
        scale, zero = self._scales(q, dtype)
        return self._add("QuantizeLinear", [value, scale, zero], {"axis": q.axis}, 1)[0]

    def operand(self, x: Value, weight: int, axes: Sequence[int]) -> Value:
        """The real value x as a factor of the weights in input `weight`. Floats beside integer weights are rounded to
        256 steps between the least and the greatest of each group (`axes`), as TFLite does in such hybrid operators."""
        tensor = self.need_tensor(weight)
        if not tensor.quantized or tensor.data is None or tensor.dtype != "i8" or self.need_tensor(0).dtype != "f32":
            return x
        axes = list(axes)
        zero, one = self.const(np.float32(0)), self.const(np.float32(1))
        low = self.emit("Min", [self.emit("ReduceMin", [x], {"axes": axes, "keepdims": 1}), zero])
        high = self.emit("Max", [self.emit("ReduceMax", [x], {"axes": axes, "keepdims": 1}), zero])
        width = self.emit("Sub", [high, low])
        flat = self.emit("Equal", [width, zero])
        steps = self.emit("Where", [flat, one, self.emit("Div", [self.const(np.float32(255)), width])])
        size = self.emit("Where", [flat, one, self.emit("Div", [width, self.const(np.float32(255))])])
        # The zero point that is nearer to exact at its own end of the range.
        least, most = self.const(np.float32(-128)), self.const(np.float32(127))
        below, above = self.emit("Mul", [low, steps]), self.emit("Mul", [high, steps])
        errors = self.emit("Add", [self.emit("Add", [least, below]), self.emit("Add", [most, above])])
        offset = self.emit(
            "Where",
            [self.emit("Greater", [errors, zero]), self.emit("Sub", [least, below]), self.emit("Sub", [most, above])],
        )
        offset = self.emit("Round", [self.emit("Clip", [offset], {"min": -128.0, "max": 127.0})])
        q = self.emit("Add", [self.emit("Round", [self.emit("Mul", [x, steps])]), offset])
        q = self.emit("Clip", [q], {"min": -128.0, "max": 127.0})
        return self.emit("Mul", [self.emit("Sub", [q, offset]), size])

    # -- common pieces ----------------------------------------------------------------------------
    def fused(self, value: Value, activation: int) -> Value:
        """`value` through the operator's fused activation."""
        name = ACTIVATIONS.get(activation)
        if name == "NONE":
            return value
        if name == "RELU":
            return self.emit("Relu", [value])
        if name == "RELU6":
            return self.emit("Clip", [value], {"min": 0.0, "max": 6.0})
        if name == "RELU_N1_TO_1":
            return self.emit("Clip", [value], {"min": -1.0, "max": 1.0})
        if name == "TANH":
            return self.emit("Tanh", [value])
        if name == "SIGN_BIT":
            return self.cast(self.emit("Less", [value, self.like(0, value)]), value.dtype)
        raise BadFileError(f"{self.op} ({self.source}): fused activation {activation} does not exist")

    def activation_range(self, activation: int) -> tuple[float | None, float | None]:
        """The real values that a fused activation lets through; None: no limit."""
        return {1: (0.0, None), 2: (-1.0, 1.0), 3: (0.0, 6.0)}.get(activation, (None, None))

    def static(self, value: Value | None) -> np.ndarray | None:
        return None if value is None else value.static_value

    def sizes(self, value: Value, what: str) -> list[int]:
        """The shape, where a handler needs every size."""
        if any(d is None for d in value.shape):
            raise Unsupported(f"{what} over open sizes", "give fixed sizes with --shape")
        return [int(d) for d in value.shape if d is not None]

    def ranked(self, value: Value, *ranks: int) -> Value:
        if value.rank not in ranks:
            expected = " or ".join(str(r) for r in ranks)
            raise BadFileError(
                f"{self.op} ({self.source}): its input has shape {list(value.shape)}, expected {expected} dimensions"
            )
        return value
