"""QuantizedConv2d, QuantizedConvTranspose2d and QuantizedMatMul against docs/numerics.md in NumPy: equal, on every
instruction set of this machine, with 1 to 3 threads, with activations stored as i8 (between eager steps, and as the
model's inputs) and as u8 (inside a plan)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec import _core
from edgec.converter.ir.graph import Graph, Value
from edgec.converter.writer import to_bytes
from edgec.quantize.reference.convolution import quantized_conv2d, quantized_conv_transpose2d
from edgec.quantize.reference.matmul import quantized_matmul

REFERENCE = {
    "QuantizedConv2d": quantized_conv2d,
    "QuantizedConvTranspose2d": quantized_conv_transpose2d,
    "QuantizedMatMul": quantized_matmul,
}
ISAS = [name for name, supported in _core.cpu_info()["isas"] if supported]
CHANNELS = (1, 2, 3, 4, 5, 8, 16, 17, 31, 33, 64, 67)


class Chain:
    """A graph of integer products, and its value by the reference, grown together."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph("products")
        self.inputs: list[np.ndarray] = []
        self.values: list[tuple[Value, np.ndarray]] = []

    def i8(self, *shape: int) -> np.ndarray:
        if self.rng.random() < 0.15:
            return self.rng.choice(np.array([-128, 127], np.int8), shape)
        return self.rng.integers(-128, 128, shape, np.int8)

    def add_input(self, *shape: int) -> None:
        data = self.i8(*shape)
        self.inputs.append(data)
        self.values.append((self.graph.add_input(f"x{len(self.inputs)}", "i8", shape), data))

    def pick(self, rank: int) -> tuple[Value, np.ndarray]:
        fitting = [v for v in self.values if v[1].ndim == rank and v[1].dtype == np.int8]
        return fitting[-1 - min(len(fitting) - 1, int(self.rng.exponential(1.0)))]

    def one_of(self, *choices: Any) -> Any:
        return choices[int(self.rng.integers(len(choices)))]

    def zero_point(self) -> int:
        return int(self.one_of(-128, 127, 0, int(self.rng.integers(-128, 128))))

    def add(self, op: str, operands: list[tuple[Value, np.ndarray] | np.ndarray | None], attrs: dict[str, Any]) -> None:
        values = [
            None if o is None else o[0] if isinstance(o, tuple) else self.graph.constant("c", o) for o in operands
        ]
        arrays = [o[1] if isinstance(o, tuple) else o for o in operands]
        expected = REFERENCE[op](*arrays, **attrs)
        (made,) = self.graph.add(op, values, attrs)
        self.values.append((made, expected))

    def output_attrs(self, depth: int, residual: bool) -> dict[str, Any]:
        scale = float(np.float32(self.rng.uniform(0.2, 4.0) * 73.0 * max(depth, 1) ** 0.5))
        attrs: dict[str, Any] = {"y_scale": scale, "y_zero_point": self.zero_point()}
        if self.rng.random() < 0.3:
            attrs["minimum"], attrs["maximum"] = sorted(int(v) for v in self.rng.integers(-128, 128, 2))
        if residual:
            attrs |= {"residual_scale": float(np.float32(scale * 0.37)), "residual_zero_point": self.zero_point()}
        else:
            attrs["to"] = str(self.rng.choice(["i8", "i8", "i8", "f32", "i32"]))
        return attrs

    def scales(self, count: int) -> np.ndarray:
        return self.rng.uniform(0.5, 1.5, self.one_of(count, 1)).astype(np.float32)

    def bias(self, count: int) -> np.ndarray | None:
        high = self.one_of(3000, 2**31)
        return None if self.rng.random() < 0.3 else self.rng.integers(-high, high, count).astype(np.int32)

    def convolution(self) -> None:
        x = self.pick(4)
        _, height, width, channels = x[1].shape
        group = int(self.one_of(1, 1, *(g for g in range(1, channels + 1) if channels % g == 0), channels))
        outputs = group * int(self.one_of(1, 1, 2, 5, 16)) if group > 1 else int(self.one_of(*CHANNELS))
        transposed = self.rng.random() < 0.25
        kernel = [int(k) for k in self.rng.choice([1, 2, 3, 5], 2)]
        if self.rng.random() < 0.3:
            kernel = [1, 1]
        attrs: dict[str, Any] = {
            "strides": [int(s) for s in self.rng.integers(1, 4, 2)],
            "dilations": [int(d) for d in self.one_of([1, 1], [1, 1], self.rng.integers(1, 4, 2))],
            "pads": [int(p) for p in self.one_of([0] * 4, [1] * 4, self.rng.integers(0, 3, 4))],
            "group": group,
            "x_scale": 1.0,
            "x_zero_point": self.zero_point(),
        }
        if kernel == [1, 1] and self.rng.random() < 0.7:
            attrs |= {"strides": [1, 1], "pads": [0] * 4}
        weight = self.i8(outputs, *kernel, channels // group)
        span = [(k - 1) * d + 1 for k, d in zip(kernel, attrs["dilations"])]
        top, left, bottom, right = attrs["pads"]
        if transposed:
            reach = [(size - 1) * s + k for size, s, k in zip((height, width), attrs["strides"], span)]
            if reach[0] - top - bottom < 1 or reach[1] - left - right < 1:
                return
            attrs["output_padding"] = [int(self.rng.integers(0, s)) for s in attrs["strides"]]
        elif height + top + bottom < span[0] or width + left + right < span[1]:
            return
        depth = weight[0].size
        operands: list[Any] = [x, weight, self.scales(outputs), self.bias(outputs)]
        residual = not transposed and self.rng.random() < 0.3
        if residual:
            shape = quantized_conv2d(x[1], weight, operands[2], **attrs).shape
            same = [v for v in self.values if v[1].shape == shape and v[1].dtype == np.int8]
            operands.append(self.one_of(*same) if same else None)
            residual = bool(same)
        attrs |= self.output_attrs(depth, residual)
        self.add("QuantizedConvTranspose2d" if transposed else "QuantizedConv2d", operands, attrs)

    def product(self) -> None:
        a = self.pick(int(self.one_of(2, 3)))
        depth = a[1].shape[-1]
        columns = int(self.one_of(*CHANNELS))
        transpose = int(self.rng.integers(2))
        attrs: dict[str, Any] = {"transpose_b": transpose, "a_scale": 1.0, "a_zero_point": self.zero_point()}
        activations = [v for v in self.values if v[1].dtype == np.int8 and 2 <= v[1].ndim <= 3]
        fitting = [
            v
            for v in activations
            if v[1].shape[-1 if transpose else -2] == depth
            and (v[1].ndim == 2 or a[1].ndim == 2 or v[1].shape[0] in (1, a[1].shape[0]))
        ]
        if fitting and self.rng.random() < 0.6:
            b: Any = self.one_of(*fitting)
            columns = b[1].shape[-2 if transpose else -1]
            attrs["b_zero_point"] = self.zero_point()
            scale = np.array([0.75], np.float32)
        else:
            b = self.i8(columns, depth) if transpose else self.i8(depth, columns)
            scale = self.scales(columns)
        operands: list[Any] = [a, b, scale, self.bias(columns)]
        shape = quantized_matmul(a[1], b[1] if isinstance(b, tuple) else b, scale, **attrs).shape
        same = [v for v in self.values if v[1].shape == shape and v[1].dtype == np.int8]
        residual = bool(same) and self.rng.random() < 0.5
        if residual:
            operands.append(self.one_of(*same))
        self.add("QuantizedMatMul", operands, attrs | self.output_attrs(depth, residual))


def images(seed: int) -> Chain:
    chain = Chain(seed)
    size = chain.rng.integers(1, 15, 2)
    chain.add_input(int(chain.rng.integers(1, 3)), int(size[0]), int(size[1]), int(chain.one_of(*CHANNELS)))
    for _ in range(int(chain.rng.integers(1, 6))):
        chain.convolution()
    return chain


def matrices(seed: int) -> Chain:
    chain = Chain(seed)
    batch, rows, depth = int(chain.one_of(1, 2, 5)), int(chain.one_of(1, 3, 13, 49)), int(chain.one_of(*CHANNELS))
    chain.add_input(batch, rows, depth)
    chain.add_input(rows, depth)
    for _ in range(int(chain.rng.integers(1, 6))):
        chain.product()
    return chain


def check(chain: Chain) -> None:
    produced = [(value, expected) for value, expected in chain.values if value.producer is not None]
    if not produced:
        return
    # Results that something reads stay inside, where the plan chooses their form.
    outputs = [(value, expected) for value, expected in produced if not value.consumers] or produced[-1:]
    chain.graph.outputs = [value for value, _ in outputs]
    model = _core.Model.from_bytes(to_bytes(chain.graph))
    for isa in ISAS:
        for threads in (1, 2, 3):
            for keep_all in (False, True):
                session = _core.Session(model, threads=threads, isa=isa, keep_all=keep_all)
                results = session.run_tuple(*chain.inputs)
                for (value, expected), got in zip(outputs, results):
                    np.testing.assert_array_equal(np.asarray(got), expected, err_msg=f"{isa} {threads} {value.name}")


@pytest.mark.parametrize("seed", range(150))
def test_convolutions(seed: int) -> None:
    check(images(seed))


@pytest.mark.parametrize("seed", range(100))
def test_products(seed: int) -> None:
    check(matrices(seed))


def test_references_agree_with_integers() -> None:
    """The reference itself, against the formula of the document spelled out in Python integers."""
    rng = np.random.default_rng(0)
    a, b = rng.integers(-128, 128, (2, 5), np.int8), rng.integers(-127, 128, (5, 3), np.int8)
    bias = np.array([100, -2000, 2**31 - 1], np.int32)
    scales = np.float32([0.5, 0.25, 1])
    got = quantized_matmul(a, b, scales, bias, a_scale=0.1, a_zero_point=7, y_scale=13.0, y_zero_point=-4)
    for i in range(2):
        for j in range(3):
            acc = int(bias[j]) + sum((int(a[i, k]) - 7) * int(b[k, j]) for k in range(5))
            acc = (acc + 2**31) % 2**32 - 2**31
            multiplier = np.float32(np.float64(np.float32(0.1)) * np.float64(scales[j]) / 13.0)
            want = min(max(int(np.rint(np.float32(np.float32(acc) * multiplier))) - 4, -128), 127)
            assert got[i, j] == want
