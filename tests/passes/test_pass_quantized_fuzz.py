"""Random networks between Q and DQ: every rewrite fits every neighbour, and the integers mean what the floats meant."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from edgec import _core
from edgec.converter.ir.graph import Graph, Value
from edgec.converter.ir.run import run
from edgec.converter.passes.pipeline import optimize
from tests.passes.builder import ops

Array = np.ndarray[Any, Any]
SEEDS = 120


class Network:
    """A random graph; `real` holds what each tensor is for the feeds, so that scales fit."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph(f"fuzz{seed}")
        self.u8 = bool(self.rng.random() < 0.5)
        self.float_share = float(self.rng.choice([0.0, 0.0, 0.2]))
        self.data: dict[int, Array] = {}
        self.feeds: dict[str, Array] = {}
        shape = (1, *(int(d) for d in self.rng.integers(3, 9, 2)), int(self.rng.choice([3, 4, 8, 10])))
        self.values = [self.input("x", shape)]
        if self.rng.random() < 0.4:
            self.values.append(self.input("r", shape))
        for _ in range(int(self.rng.integers(2, 10))):
            self.step()
        ends = [v for v in self.values if not v.consumers and not v.is_input]
        self.graph.set_outputs(ends or [self.values[-1]])

    def input(self, name: str, shape: tuple[int, ...]) -> Value:
        x = self.graph.add_input(name, "f32", shape)
        self.feeds[name] = self.data[id(x)] = self.rng.normal(size=shape).astype(np.float32)
        return self.quantized(x)

    def const(self, data: Any) -> Value:
        v = self.graph.constant("c", np.asarray(data))
        self.data[id(v)] = v.data  # type: ignore[assignment]
        return v

    def add(self, op: str, *inputs: Value | None, outputs: int = 1, **attrs: Any) -> list[Value]:
        made = self.graph.add(op, list(inputs), attrs, outputs=outputs)
        results = _core.evaluate(op, attrs, [None if v is None else self.data[id(v)] for v in inputs], outputs)
        for v, data in zip(made, results):
            self.data[id(v)] = data
        return made

    def quantized(self, x: Value) -> Value:
        """x, mostly behind Q and DQ that fit its range."""
        if self.rng.random() < self.float_share:
            return x
        data = self.data[id(x)]
        low, high = min(float(data.min()), 0.0), max(float(data.max()), 1e-3)
        scale = np.float32((high - low) / 255)
        zero = int(np.clip(np.rint(-low / scale), 0, 255)) - (0 if self.u8 else 128)
        pair = [self.const(scale), self.const((np.uint8 if self.u8 else np.int8)(zero))]
        (q,) = self.add("QuantizeLinear", x, *pair, axis=0)
        return self.add("DequantizeLinear", q, *pair, axis=0)[0]

    def weight(self, *shape: int) -> Value:
        data = self.rng.integers(-127, 128, shape).astype(np.int8)
        scales = (self.rng.uniform(0.5, 1.5, shape[0]) / 127 / np.sqrt(np.prod(shape[1:]))).astype(np.float32)
        return self.add("DequantizeLinear", self.const(data), self.const(scales), None, axis=0)[0]

    def step(self) -> None:
        x = self.values[int(self.rng.integers(max(0, len(self.values) - 3), len(self.values)))]
        made = getattr(self, f"_{self.rng.choice(KINDS)}")(x, x.types[0].shape)
        self.values += [self.quantized(v) for v in made]

    # -- operators ----------------------------------------------------------------------------------
    def _conv(self, x: Value, shape: tuple[int, ...]) -> list[Value]:
        if len(shape) != 4:
            return []
        outputs, depthwise = int(self.rng.integers(1, 12)), bool(self.rng.random() < 0.3)
        weight = self.weight(shape[3], 3, 3, 1) if depthwise else self.weight(outputs, 3, 3, shape[3])
        bias = self.const(self.rng.normal(size=weight.shape[0]).astype(np.float32))  # type: ignore[arg-type]
        attrs = {"pads": [1, 1, 1, 1], "group": shape[3] if depthwise else 1}
        (y,) = self.add("Conv2d", x, weight, bias if self.rng.random() < 0.5 else None, **attrs)
        return self.add("Relu", y) if self.rng.random() < 0.5 else [y]

    def _channels_first_conv(self, x: Value, shape: tuple[int, ...]) -> list[Value]:
        if len(shape) != 4:
            return []
        (first,) = self.add("Transpose", x, perm=[0, 3, 1, 2])
        (last,) = self.add("Transpose", self.quantized(first), perm=[0, 2, 3, 1])
        return self._conv(last, shape)

    def _product(self, x: Value, shape: tuple[int, ...]) -> list[Value]:
        if self.rng.random() < 0.3 and len(shape) > 1:
            return self.add("MatMul", x, x, transpose_b=1)
        return self.add("MatMul", x, self.weight(5, shape[-1]), transpose_b=1) if len(shape) > 1 else []

    def _arithmetic(self, x: Value, shape: tuple[int, ...]) -> list[Value]:
        same = [v for v in self.values if v.types[0].shape == shape]
        other = same[int(self.rng.integers(len(same)))]
        if self.rng.random() < 0.2:
            other = self.const(self.rng.normal(size=shape[-1]).astype(np.float32))
        return self.add(str(self.rng.choice(["Add", "Sub", "Mul"])), x, other)

    def _function(self, x: Value, shape: tuple[int, ...]) -> list[Value]:
        op = str(self.rng.choice(["Relu", "Sigmoid", "Tanh", "HardSwish", "Abs", "LeakyRelu"]))
        (y,) = self.add(op, x)
        if self.rng.random() < 0.3:
            (y,) = self.add("Mul", self.quantized(y), x)
        return [y]

    def _move(self, x: Value, shape: tuple[int, ...]) -> list[Value]:
        axis, choice = int(self.rng.integers(len(shape))), int(self.rng.integers(6))
        if choice == 0:
            return self.add("Transpose", x, perm=[int(p) for p in self.rng.permutation(len(shape))])
        if choice == 1:
            return self.add("Reshape", x, self.const(np.array([shape[0], -1], np.int64)))
        if choice == 2:
            return self.add("Concat", x, x, axis=axis)
        if choice == 3 and shape[axis] > 1:
            return self.add("Split", x, axis=axis, sizes=[1, shape[axis] - 1], outputs=2)
        if choice == 4:
            pads = self.rng.integers(0, 2, 2 * len(shape)).astype(np.int64)
            return self.add("Pad", x, self.const(pads))
        sizes = [d * 2 if a == axis else d for a, d in enumerate(shape)]
        return self.add("Resize", x, mode="nearest", sizes=sizes)

    def _window(self, x: Value, shape: tuple[int, ...]) -> list[Value]:
        if len(shape) != 4 or min(shape[1:3]) < 2:
            return []
        op = "MaxPool2d" if self.rng.random() < 0.5 else "AvgPool2d"
        return self.add(op, x, kernel=[2, 2], strides=[int(s) for s in self.rng.integers(1, 3, 2)])

    def _row(self, x: Value, shape: tuple[int, ...]) -> list[Value]:
        choice = int(self.rng.integers(4))
        if choice == 0:
            return self.add("Softmax", x, axis=-1)
        if choice == 1:
            return self.add("ReduceMean", x, axes=[len(shape) - 1], keepdims=1)
        if choice == 2:
            return self.add("LayerNorm", x, self.const(self.rng.normal(size=shape[-1]).astype(np.float32)), epsilon=0.1)
        sizes = [shape[0], *(d + 1 for d in shape[1:3]), *shape[3:]]
        return self.add("Resize", x, mode="linear", sizes=sizes[: len(shape)])


KINDS = [name[1:] for name in vars(Network) if name.startswith("_") and not name.startswith("__")]


@pytest.mark.parametrize("seed", range(SEEDS))
def test_random_network(seed: int) -> None:
    before, after = Network(seed), Network(seed)
    report = optimize(after.graph, check_all=True, strict=True)
    assert not report.refused and not report.repeating
    expected, got = run(before.graph, before.feeds), run(after.graph, before.feeds)
    for name, value in expected.items():
        assert got[name].shape == value.shape and got[name].dtype == value.dtype
        spread = float(np.ptp(value)) or 1.0
        # A unit is 1/255 of the range. Few numbers are rounded the other way, but layers behind them pass that on.
        error = float(np.sqrt(np.mean((got[name] - value) ** 2))) / spread
        assert error < 1.5 / 255, f"seed {seed}: {name} differs by {error:.4f} of its range; {ops(after.graph)}"
    again = optimize(after.graph, strict=True)
    assert not again.refused and not again.repeating
    for name, value in run(after.graph, before.feeds).items():
        np.testing.assert_allclose(value, got[name], rtol=1e-5, atol=1e-5 * float(np.abs(got[name]).max() + 1))


def test_networks_become_integers() -> None:
    """Without tensors left in floats, hardly an operator stays there."""
    total = floats = 0
    for seed in range(40):
        network = Network(seed)
        if network.float_share:
            continue
        found = optimize(network.graph, strict=True)
        total += sum(found.operators_before.values())
        floats += len(found.float_fallbacks)
    assert total > 300 and floats < total / 20
