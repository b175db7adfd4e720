"""Random graphs of integer operators together with what the NumPy reference says they compute."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph, Value
from edgec.quantize.reference.convolution import quantized_conv2d, quantized_conv_transpose2d
from edgec.quantize.reference.elementwise import (
    dequantize_linear,
    quantize_linear,
    quantized_add,
    quantized_mul,
    requantize,
)
from edgec.quantize.reference.lookup import lookup, softmax_table
from edgec.quantize.reference.matmul import quantized_matmul
from edgec.quantize.reference.norm import quantized_layer_norm
from edgec.quantize.reference.pool import max_pool2d, quantized_avg_pool2d, quantized_reduce_mean
from edgec.quantize.reference.resize import quantized_resize
from edgec.quantize.reference.softmax import quantized_softmax

Array = np.ndarray[Any, Any]

# Around the widths of registers and tiles, and primes.
SIZES = (1, 2, 3, 4, 5, 7, 8, 9, 13, 15, 16, 17, 24, 31, 32, 33, 48, 63, 64, 65, 97)
EDGES = (1, 2, 3, 4, 5, 6, 7, 9, 11, 14)
MOST_ELEMENTS = 40_000
MOST_PRODUCTS = 4_000_000


class RandomGraph:
    """Up to eight operators over a few inputs. `expected` holds the reference's value of every output, in order."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph(f"random{seed}")
        self.feeds: dict[str, Array] = {}
        self.data: dict[int, Array] = {}  # id(value) -> reference
        self.values: list[Value] = []  # i8 tensors that operators may read
        self.ends: list[Value] = []  # results of other types
        self.operators: list[str] = []
        self._start()
        wanted = int(self.rng.integers(1, 9))
        for _ in range(10 * wanted):
            if len(self.operators) >= wanted:
                break
            name = str(self.rng.choice(list(_OPERATORS)))
            x = self._pick()
            if _OPERATORS[name](self, x):
                self.operators.append(name)
        leaves = [v for v in self.values if not v.consumers and not v.is_input]
        inner = [v for v in self.values if v.consumers and not v.is_input and self.rng.random() < 0.15]
        outputs = [*leaves, *inner, *self.ends] or [self._dequantized(self.values[-1])]
        self.graph.set_outputs(outputs)
        self.expected = [self.data[id(v)] for v in outputs]

    # -- pieces -----------------------------------------------------------------------------------
    def _start(self) -> None:
        shape = self._image() if self.rng.random() < 0.7 else self._matrix()
        for i in range(int(self.rng.integers(1, 3))):
            name = f"x{i}"
            if self.rng.random() < 0.3:
                self.feeds[name] = self._reals(shape)
                x = self.graph.add_input(name, "f32", shape)
                scale, zero = self.scale(), self.zero()
                y = self.add(
                    "QuantizeLinear", [x, self.const(np.float32(scale)), self.const(np.int8(zero))], {"axis": 0}
                )
                self.result(y, quantize_linear(self.feeds[name], scale, zero))
            elif self.rng.random() < 0.2:
                self.feeds[name] = self.bytes(shape, np.uint8)
                x = self.graph.add_input(name, "u8", shape)
                attrs = {"x_scale": self.scale(), "x_zero_point": int(self.rng.integers(0, 256)), **self.y(1.0)}
                attrs["y_scale"] = self.float32(attrs["x_scale"] * 2.0 ** self.rng.uniform(-2, 2))
                self.result(self.add("Requantize", [x], attrs), requantize(self.feeds[name], **attrs))
            else:
                self.feeds[name] = self.bytes(shape)
                x = self.graph.add_input(name, "i8", shape)
                self.values.append(x)
                self.data[id(x)] = self.feeds[name]

    def _image(self) -> tuple[int, ...]:
        n = 1 if self.rng.random() < 0.8 else 2
        while True:
            shape = (n, *(int(self.rng.choice(EDGES)) for _ in range(2)), int(self.rng.choice(SIZES)))
            if np.prod(shape) <= MOST_ELEMENTS // 4:
                return shape

    def _matrix(self) -> tuple[int, ...]:
        rows, columns = (int(self.rng.choice(SIZES)) for _ in range(2))
        return (rows, columns) if self.rng.random() < 0.6 else (2, rows, columns)

    def _pick(self) -> Value:
        # Mostly the latest, so that chains get long.
        index = len(self.values) - 1 - int(self.rng.geometric(0.6) - 1) % len(self.values)
        return self.values[index]

    def bytes(self, shape: tuple[int, ...], kind: Any = np.int8) -> Array:
        info = np.iinfo(kind)
        style = self.rng.random()
        if style < 0.1:
            return self.rng.choice(np.array([info.min, info.max], kind), shape)
        if style < 0.2:
            return np.full(shape, self.rng.choice(np.array([info.min, 0, info.max], kind)), kind)
        return self.rng.integers(info.min, info.max + 1, shape).astype(kind)

    def _reals(self, shape: tuple[int, ...]) -> Array:
        x = (self.rng.normal(size=shape) * 2.0 ** self.rng.uniform(-3, 4)).astype(np.float32)
        odd = self.rng.random(shape) < 0.02
        x[odd] = self.rng.choice(
            np.array([np.nan, np.inf, -np.inf, 1e38, -1e38, 0.5, -0.0], np.float32), int(odd.sum())
        )
        return x

    @staticmethod
    def float32(value: float) -> float:
        """Attributes hold f32 values."""
        return float(np.float32(value))

    def scale(self, magnitude: float = 0.05) -> float:
        if self.rng.random() < 0.03:
            return self.float32(self.rng.choice([1e-12, 1e-6, 1.0, 2.0**-7, 1e4]))
        return self.float32(magnitude * 2.0 ** self.rng.uniform(-2, 2))

    def zero(self) -> int:
        return (
            int(self.rng.choice([-128, -127, -5, 0, 3, 126, 127]))
            if self.rng.random() < 0.5
            else int(self.rng.integers(-128, 128))
        )

    def y(self, magnitude: float, *, limits: bool = False) -> dict[str, Any]:
        attrs: dict[str, Any] = {"y_scale": self.scale(magnitude), "y_zero_point": self.zero()}
        if limits and self.rng.random() < 0.4:
            low, high = sorted(int(v) for v in self.rng.integers(-128, 128, 2))
            attrs.update(minimum=low, maximum=high)
        return attrs

    def const(self, data: Any) -> Value:
        return self.graph.constant("c", np.asarray(data))

    def add(self, op: str, inputs: list[Value | None], attrs: dict[str, Any] | None = None, outputs: int = 1) -> Any:
        made = self.graph.add(op, inputs, attrs, outputs=outputs)
        return made[0] if outputs == 1 else made

    def result(self, value: Value, expected: Array) -> bool:
        assert value.types[0].shape == expected.shape, (value.producer, value.types, expected.shape)
        self.data[id(value)] = expected
        (self.values if value.dtype == "i8" else self.ends).append(value)
        return True

    def _dequantized(self, x: Value) -> Value:
        _dequantize(self, x)
        return self.ends[-1]


# -- operators: True when the graph got one ----------------------------------------------------------------------

Step = Callable[[RandomGraph, Value], bool]
_OPERATORS: dict[str, Step] = {}


def _operator(f: Step) -> Step:
    _OPERATORS[f.__name__.lstrip("_")] = f
    return f


def _shape(x: Value) -> tuple[int, ...]:
    return x.types[0].shape


def _window(g: RandomGraph, x: Value, kernels: tuple[int, ...]) -> dict[str, Any] | None:
    kernel = [int(g.rng.choice(kernels)) for _ in range(2)]
    dilations = [int(g.rng.choice([1, 1, 1, 2])) for _ in range(2)]
    pads = [int(g.rng.integers(0, k)) for k in (*kernel, *kernel)]
    reach = [(k - 1) * d + 1 for k, d in zip(kernel, dilations)]
    if any(s + pads[i] + pads[i + 2] < r for i, (s, r) in enumerate(zip(_shape(x)[1:3], reach))):
        return None
    strides = [int(g.rng.choice([1, 1, 2, 3])) for _ in range(2)]
    return {"kernel": kernel, "strides": strides, "dilations": dilations, "pads": pads}


def _product_attrs(g: RandomGraph, depth: int) -> dict[str, Any]:
    x_scale, spread = g.scale(), float(np.sqrt(depth))
    return {"x_scale": x_scale, "x_zero_point": g.zero(), **g.y(x_scale * 0.01 * 40 * spread, limits=True)}


def _weights(g: RandomGraph, shape: tuple[int, ...], channels: int) -> tuple[Array, Array, Array | None]:
    weight = g.bytes(shape)
    count = channels if g.rng.random() < 0.7 else 1
    scales = (0.01 * 2.0 ** g.rng.uniform(-2, 2, count)).astype(np.float32)
    bias = None
    if g.rng.random() < 0.7:
        reach = 2**31 - 1 if g.rng.random() < 0.1 else 20_000
        bias = g.rng.integers(-reach, reach, channels).astype(np.int32)
    return weight, scales, bias


def _to(g: RandomGraph) -> dict[str, str]:
    choice = g.rng.random()
    return {"to": "f32"} if choice < 0.07 else {"to": "i32"} if choice < 0.1 else {}


@_operator
def _conv2d(g: RandomGraph, x: Value) -> bool:
    shape = _shape(x)
    window = _window(g, x, (1, 1, 2, 3, 3, 5)) if len(shape) == 4 else None
    if window is None:
        return False
    kernel, channels = window.pop("kernel"), shape[3]
    style = g.rng.random()
    group = channels if style < 0.3 else 1
    outputs = channels if group > 1 else int(g.rng.choice(SIZES))
    if 0.3 <= style < 0.4 and channels % 2 == 0:
        group, outputs = 2, 2 * int(g.rng.choice(SIZES[:14]))
    per_group = channels // group
    if np.prod(shape[:3]) * outputs * kernel[0] * kernel[1] * per_group > MOST_PRODUCTS:
        return False
    depth = kernel[0] * kernel[1] * per_group
    weight, scales, bias = _weights(g, (outputs, *kernel, per_group), outputs)
    attrs = {**window, "group": group, **_product_attrs(g, depth), **_to(g)}
    inputs = [x, g.const(weight), g.const(scales), None if bias is None else g.const(bias)]
    expected = quantized_conv2d(g.data[id(x)], weight, scales, bias, **attrs)
    residual = None
    if "to" not in attrs and g.rng.random() < 0.3:
        fitting = [v for v in g.values if _shape(v) == expected.shape]
        residual = fitting[0] if fitting else g.const(g.bytes(expected.shape))
        attrs.update(residual_scale=g.scale(attrs["y_scale"]), residual_zero_point=g.zero())
        inputs.append(residual)
        other = residual.data if residual.data is not None else g.data[id(residual)]
        expected = quantized_conv2d(g.data[id(x)], weight, scales, bias, other, **attrs)
    return g.result(g.add("QuantizedConv2d", inputs, attrs), expected)


@_operator
def _conv_transpose2d(g: RandomGraph, x: Value) -> bool:
    shape = _shape(x)
    if len(shape) != 4:
        return False
    kernel = [int(g.rng.integers(1, 5)) for _ in range(2)]
    strides = [int(g.rng.integers(1, 4)) for _ in range(2)]
    group = shape[3] if g.rng.random() < 0.2 else 1
    outputs = shape[3] if group > 1 else int(g.rng.choice(SIZES[:16]))
    depth = kernel[0] * kernel[1] * shape[3] // group
    if np.prod(shape[:3]) * outputs * depth > MOST_PRODUCTS:
        return False
    pads = [int(g.rng.integers(0, k)) for k in (*kernel, *kernel)]
    extra = [int(g.rng.integers(0, s)) for s in strides]
    size = [(d - 1) * s + k + e for d, s, k, e in zip(shape[1:3], strides, kernel, extra)]
    if any(size[i] - pads[i] - pads[i + 2] < 1 for i in range(2)) or np.prod(size) * outputs * shape[0] > MOST_ELEMENTS:
        return False
    weight, scales, bias = _weights(g, (outputs, *kernel, shape[3] // group), outputs)
    attrs = {
        "strides": strides,
        "pads": pads,
        "output_padding": extra,
        "group": group,
        **_product_attrs(g, depth),
        **_to(g),
    }
    inputs = [x, g.const(weight), g.const(scales), None if bias is None else g.const(bias)]
    expected = quantized_conv_transpose2d(g.data[id(x)], weight, scales, bias, **attrs)
    return g.result(g.add("QuantizedConvTranspose2d", inputs, attrs), expected)


@_operator
def _matmul(g: RandomGraph, x: Value) -> bool:
    shape = _shape(x)
    if len(shape) < 2:
        return False
    columns, transpose = int(g.rng.choice(SIZES)), int(g.rng.random() < 0.4)
    if np.prod(shape) * columns > MOST_PRODUCTS:
        return False
    depth = shape[-1]
    attrs = {"transpose_b": transpose, **_product_attrs(g, depth), **_to(g)}
    attrs["a_scale"], attrs["a_zero_point"] = attrs.pop("x_scale"), attrs.pop("x_zero_point")
    fitting = [v for v in g.values if v is not x and _shape(v) == (*shape[:-2], columns, depth)]
    style = g.rng.random()
    if style < 0.3:  # an activation on the right: itself, or one of the same shape
        right = fitting[0] if fitting else x
        attrs.update(transpose_b=1, b_zero_point=g.zero())
        b, scales, bias = g.data[id(right)], np.array([0.01], np.float32), None
        if b.shape[-1] != depth:
            return False
    else:
        weight_shape = (columns, depth) if transpose else (depth, columns)
        b, scales, bias = _weights(g, weight_shape, columns)
        right = g.const(b)
        if scales.size == 1 and g.rng.random() < 0.3:
            attrs["b_zero_point"] = g.zero()
    inputs = [x, right, g.const(scales), None if bias is None else g.const(bias)]
    expected = quantized_matmul(g.data[id(x)], b, scales, bias, **attrs)
    if "to" not in attrs and g.rng.random() < 0.2:
        residual = g.bytes(expected.shape)
        attrs.update(residual_scale=g.scale(attrs["y_scale"]), residual_zero_point=g.zero())
        inputs.append(g.const(residual))
        expected = quantized_matmul(g.data[id(x)], b, scales, bias, residual, **attrs)
    return g.result(g.add("QuantizedMatMul", inputs, attrs), expected)


@_operator
def _arithmetic(g: RandomGraph, x: Value) -> bool:
    op = str(g.rng.choice(["QuantizedAdd", "QuantizedSub", "QuantizedMul"]))
    shape = _shape(x)
    same = [v for v in g.values if _shape(v) == shape]
    style = g.rng.random()
    if style < 0.6:
        other = same[int(g.rng.integers(len(same)))]
        b = g.data[id(other)]
    else:
        keep = g.rng.random(len(shape)) < 0.5
        b = g.bytes(tuple(d if k else 1 for d, k in zip(shape, keep)))
        other = g.const(b)
    attrs: dict[str, Any] = {
        "a_scale": g.scale(),
        "a_zero_point": g.zero(),
        "b_scale": g.scale(),
        "b_zero_point": g.zero(),
    }
    attrs.update(g.y(attrs["a_scale"] * attrs["b_scale"] * 60 if op == "QuantizedMul" else 0.08, limits=True))
    first, second = (x, other), (g.data[id(x)], b)
    if g.rng.random() < 0.3:
        first, second = first[::-1], second[::-1]
    if op == "QuantizedMul":
        expected = quantized_mul(*second, **attrs)
    else:
        expected = quantized_add(*second, **attrs, sign=1 if op == "QuantizedAdd" else -1)
    return g.result(g.add(op, list(first), attrs), expected)


@_operator
def _average(g: RandomGraph, x: Value) -> bool:
    window = _window(g, x, (1, 2, 3, 5)) if len(_shape(x)) == 4 else None
    if window is None:
        return False
    attrs = {**window, "ceil_mode": int(g.rng.random() < 0.3), "count_include_pad": int(g.rng.random() < 0.4)}
    attrs.update({"x_scale": g.scale(), "x_zero_point": g.zero(), **g.y(0.05, limits=True)})
    return g.result(g.add("QuantizedAvgPool2d", [x], attrs), quantized_avg_pool2d(g.data[id(x)], **attrs))


@_operator
def _mean(g: RandomGraph, x: Value) -> bool:
    rank = len(_shape(x))
    axes = [a for a in range(rank) if g.rng.random() < 0.5] or [rank - 1]
    attrs: dict[str, Any] = {"axes": axes, "keepdims": int(len(axes) == rank or g.rng.random() < 0.5)}
    attrs.update({"x_scale": g.scale(), "x_zero_point": g.zero(), **g.y(0.03, limits=True)})
    return g.result(g.add("QuantizedReduceMean", [x], attrs), quantized_reduce_mean(g.data[id(x)], **attrs))


@_operator
def _requantize(g: RandomGraph, x: Value) -> bool:
    attrs: dict[str, Any] = {"x_scale": g.scale(), "x_zero_point": g.zero(), **g.y(0.05)}
    if g.rng.random() < 0.15:
        attrs.update(to="u8", y_zero_point=int(g.rng.integers(0, 256)))
    return g.result(g.add("Requantize", [x], attrs), requantize(g.data[id(x)], **attrs))


@_operator
def _lookup(g: RandomGraph, x: Value) -> bool:
    per_channel = g.rng.random() < 0.4
    table = g.bytes((_shape(x)[-1], 256) if per_channel else (256,))
    return g.result(g.add("Lookup", [x, g.const(table)]), lookup(g.data[id(x)], table))


@_operator
def _softmax(g: RandomGraph, x: Value) -> bool:
    table = softmax_table(g.scale())
    attrs = {
        "axis": int(g.rng.integers(-len(_shape(x)), len(_shape(x)))),
        "y_scale": g.scale(1 / 256),
        "y_zero_point": g.zero(),
    }
    return g.result(
        g.add("QuantizedSoftmax", [x, g.const(table)], attrs), quantized_softmax(g.data[id(x)], table, **attrs)
    )


@_operator
def _layer_norm(g: RandomGraph, x: Value) -> bool:
    rank = len(_shape(x))
    axis = int(g.rng.integers(1, rank)) if rank > 1 else 0
    n = _shape(x)[axis:]
    scale = g.rng.normal(size=n).astype(np.float32) if g.rng.random() < 0.7 else None
    bias = g.rng.normal(size=n).astype(np.float32) if g.rng.random() < 0.7 else None
    attrs: dict[str, Any] = {"axis": axis, "epsilon": g.float32(g.rng.choice([1e-5, 1e-12, 0.1]))}
    attrs.update({"x_scale": g.scale(), "x_zero_point": g.zero(), **g.y(0.02)})
    inputs = [x, None if scale is None else g.const(scale), None if bias is None else g.const(bias)]
    return g.result(
        g.add("QuantizedLayerNorm", inputs, attrs), quantized_layer_norm(g.data[id(x)], scale, bias, **attrs)
    )


@_operator
def _resize(g: RandomGraph, x: Value) -> bool:
    shape = _shape(x)
    if len(shape) < 2:
        return False
    sizes = list(shape)
    for a in g.rng.permutation(len(shape))[: int(g.rng.integers(1, 3))]:
        sizes[int(a)] = int(g.rng.integers(1, 2 * shape[int(a)] + 2))
    if np.prod(sizes) > MOST_ELEMENTS:
        return False
    coordinate = str(g.rng.choice(["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]))
    attrs = {"sizes": sizes, "coordinate": coordinate, "x_scale": g.scale(), "x_zero_point": g.zero(), **g.y(0.05)}
    return g.result(g.add("QuantizedResize", [x], attrs), quantized_resize(g.data[id(x)], **attrs))


@_operator
def _max_pool(g: RandomGraph, x: Value) -> bool:
    window = _window(g, x, (1, 2, 3, 5)) if len(_shape(x)) == 4 else None
    if window is None:
        return False
    attrs = {**window, "ceil_mode": int(g.rng.random() < 0.3)}
    return g.result(g.add("MaxPool2d", [x], attrs), max_pool2d(g.data[id(x)], **attrs))


@_operator
def _extremum(g: RandomGraph, x: Value) -> bool:
    rank, data = len(_shape(x)), g.data[id(x)]
    axis = int(g.rng.integers(rank))
    if g.rng.random() < 0.3:
        y = g.add("ArgMax", [x], {"axis": axis, "keepdims": 1})
        return g.result(y, np.expand_dims(data.argmax(axis=axis), axis))
    op = str(g.rng.choice(["ReduceMax", "ReduceMin"]))
    expected = (data.max if op == "ReduceMax" else data.min)(axis=axis, keepdims=True)
    return g.result(g.add(op, [x], {"axes": [axis], "keepdims": 1}), expected)


@_operator
def _transpose(g: RandomGraph, x: Value) -> bool:
    perm = [int(p) for p in g.rng.permutation(len(_shape(x)))]
    return g.result(g.add("Transpose", [x], {"perm": perm}), g.data[id(x)].transpose(perm))


@_operator
def _reshape(g: RandomGraph, x: Value) -> bool:
    shape = list(_shape(x))
    if len(shape) < 2:
        return False
    at = int(g.rng.integers(len(shape) - 1))
    target = [*shape[:at], shape[at] * shape[at + 1], *shape[at + 2 :]]
    return g.result(g.add("Reshape", [x, g.const(np.array(target, np.int64))]), g.data[id(x)].reshape(target))


@_operator
def _concat(g: RandomGraph, x: Value) -> bool:
    shape = _shape(x)
    axis = int(g.rng.integers(len(shape)))
    other = [v for v in g.values if len(_shape(v)) == len(shape)]
    fitting = [v for v in other if all(d == e for i, (d, e) in enumerate(zip(_shape(v), shape)) if i != axis)]
    parts = [x, *(v for v in fitting if v is not x)][:3]
    if g.rng.random() < 0.2:
        constant = g.const(g.bytes(shape))
        g.data[id(constant)] = constant.data  # type: ignore[assignment]
        parts.append(constant)
    expected = np.concatenate([g.data[id(p)] for p in parts], axis)
    return expected.size <= MOST_ELEMENTS and g.result(g.add("Concat", list(parts), {"axis": axis}), expected)


@_operator
def _split(g: RandomGraph, x: Value) -> bool:
    axis = int(g.rng.integers(len(_shape(x))))
    size = _shape(x)[axis]
    if size < 2:
        return False
    first = int(g.rng.integers(1, size))
    parts = g.add("Split", [x], {"axis": axis, "sizes": [first, size - first]}, outputs=2)
    for part, data in zip(parts, np.split(g.data[id(x)], [first], axis)):
        g.result(part, data)
    return True


@_operator
def _slice(g: RandomGraph, x: Value) -> bool:
    axis = int(g.rng.integers(len(_shape(x))))
    size = _shape(x)[axis]
    start, step = int(g.rng.integers(size)), int(g.rng.integers(1, 3))
    ends = np.array([size], np.int64)
    inputs = [x, g.const(np.array([start], np.int64)), g.const(ends), g.const(np.array([axis], np.int64))]
    inputs.append(g.const(np.array([step], np.int64)))
    index = tuple(slice(start, None, step) if a == axis else slice(None) for a in range(len(_shape(x))))
    return g.result(g.add("Slice", inputs), g.data[id(x)][index])


@_operator
def _pad(g: RandomGraph, x: Value) -> bool:
    rank = len(_shape(x))
    amounts = g.rng.integers(0, 3, (2, rank))
    value = np.int8(g.zero()) if g.rng.random() < 0.8 else None
    inputs = [x, g.const(amounts.reshape(-1).astype(np.int64)), None if value is None else g.const(value)]
    expected = np.pad(g.data[id(x)], list(zip(*amounts)), constant_values=0 if value is None else value)
    return expected.size <= MOST_ELEMENTS and g.result(g.add("Pad", inputs), expected)


@_operator
def _gather(g: RandomGraph, x: Value) -> bool:
    axis = int(g.rng.integers(len(_shape(x))))
    indices = g.rng.integers(0, _shape(x)[axis], int(g.rng.integers(1, 6)))
    expected = g.data[id(x)].take(indices, axis)
    return g.result(g.add("Gather", [x, g.const(indices.astype(np.int64))], {"axis": axis}), expected)


@_operator
def _repeat(g: RandomGraph, x: Value) -> bool:
    shape, data = _shape(x), g.data[id(x)]
    axis = int(g.rng.integers(len(shape)))
    if 2 * data.size > MOST_ELEMENTS:
        return False
    if g.rng.random() < 0.5:
        sizes = [2 * d if a == axis else d for a, d in enumerate(shape)]
        y = g.add(
            "Resize", [x], {"mode": "nearest", "coordinate": "asymmetric", "nearest_mode": "floor", "sizes": sizes}
        )
        return g.result(y, data.repeat(2, axis))
    repeats = [2 if a == axis else 1 for a in range(len(shape))]
    return g.result(g.add("Tile", [x, g.const(np.array(repeats, np.int64))]), np.tile(data, repeats))


@_operator
def _dequantize(g: RandomGraph, x: Value) -> bool:
    scale, zero = g.scale(), g.zero()
    y = g.add("DequantizeLinear", [x, g.const(np.float32(scale)), g.const(np.int8(zero))], {"axis": 0})
    return g.result(y, dequantize_linear(g.data[id(x)], scale, zero))
