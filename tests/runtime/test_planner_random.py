"""Random graphs through the planner against the same graphs node by node.

Memory sharing (views, in-place results, one arena) may not change a single bit: the oracle runs every operator on
dense memory of its own.
"""

from __future__ import annotations

import numpy as np
import pytest

from edgec import _core
from edgec.converter.ir.graph import Graph, Value
from edgec.converter.ir.run import run
from edgec.converter.writer import to_bytes

CHANNELS = (1, 3, 8, 17)


class _Random:
    """Grows a graph of NHWC tensors by random operators that share memory in every possible way."""

    def __init__(self, seed: int) -> None:
        self.rng = np.random.default_rng(seed)
        self.graph = Graph("random")
        height, width = (int(v) for v in self.rng.choice([1, 2, 5], 2))
        self.values = [self.graph.add_input("x", "f32", (1, height, width, self.channels()))]
        if self.rng.random() < 0.3:
            self.values.append(self.graph.add_input("y", "f32", self.values[0].declared_shape or ()))

    def channels(self) -> int:
        return int(self.rng.choice(CHANNELS))

    def pick(self) -> Value:
        # Recent values more often: long chains are where lifetimes end.
        index = len(self.values) - 1 - min(int(self.rng.exponential(2.0)), len(self.values) - 1)
        return self.values[index]

    def ints(self, values: list[int]) -> Value:
        return self.graph.constant("ints", np.array(values, np.int64))

    def floats(self, *shape: int) -> Value:
        return self.graph.constant("floats", self.rng.standard_normal(shape).astype(np.float32))

    def add(self, op: str, inputs: list[Value], attrs: dict[str, object] | None = None, outputs: int = 1) -> None:
        self.values += self.graph.add(op, inputs, attrs, outputs)

    def step(self) -> None:
        x = self.pick()
        shape = [int(d or 0) for d in x.shape]
        kind = self.rng.choice(["unary", "binary", "concat", "split", "slice", "reshape", "conv", "transpose", "pool"])
        if kind == "unary":
            self.add(str(self.rng.choice(["Relu", "Neg", "Abs", "Sigmoid"])), [x])
        elif kind == "binary":
            same = [v for v in self.values if v.shape == x.shape]
            other = same[int(self.rng.integers(len(same)))] if self.rng.random() < 0.8 else self.floats(shape[-1])
            self.add(str(self.rng.choice(["Add", "Mul", "Sub"])), [x, other])
        elif kind == "concat":
            axis = int(self.rng.integers(len(shape)))
            rest = [d for i, d in enumerate(shape) if i != axis]
            fit = [
                v
                for v in self.values
                if len(v.shape) == len(shape) and [d for i, d in enumerate(v.shape) if i != axis] == rest
            ]
            parts = [fit[int(i)] for i in self.rng.integers(len(fit), size=int(self.rng.integers(1, 4)))]
            if sum(int(p.shape[axis] or 0) for p in parts) <= 64:
                self.add("Concat", parts, {"axis": axis})
        elif kind == "split":
            axis = int(self.rng.integers(len(shape)))
            if shape[axis] >= 2:
                first = int(self.rng.integers(1, shape[axis]))
                self.add("Split", [x], {"axis": axis, "sizes": [first, shape[axis] - first]}, 2)
        elif kind == "slice":
            axis = int(self.rng.integers(len(shape)))
            start = int(self.rng.integers(shape[axis]))
            stop = int(self.rng.integers(start + 1, shape[axis] + 1))
            self.add("Slice", [x, self.ints([start]), self.ints([stop]), self.ints([axis])])
        elif kind == "reshape":
            n = int(np.prod(shape))
            self.add(
                "Reshape",
                [x, self.ints([1, 1, n // shape[-1], shape[-1]] if self.rng.random() < 0.5 else [1, n, 1, 1])],
            )
        elif kind == "conv":
            out = self.channels()
            self.add("Conv2d", [x, self.floats(out, 1, 1, shape[-1]), self.floats(out)], {"activation": "relu"})
        elif kind == "transpose":
            self.add("Transpose", [x], {"perm": [int(i) for i in self.rng.permutation(len(shape))]})
        else:
            self.add("MaxPool2d", [x], {"kernel": [1, 1]})

    def finish(self) -> Graph:
        unused = [v for v in self.values if not v.consumers]
        extra = [self.values[int(i)] for i in self.rng.integers(len(self.values), size=2)]
        self.graph.set_outputs(list(dict.fromkeys(unused + extra)))
        return self.graph


@pytest.mark.parametrize("seed", range(150))
def test_sharing_memory_changes_no_bit(seed: int) -> None:
    random = _Random(seed)
    for _ in range(int(random.rng.integers(3, 25))):
        random.step()
    graph = random.finish()
    feeds = {v.name: random.rng.standard_normal(v.types[0].shape).astype(np.float32) for v in graph.inputs}
    expected = run(graph, feeds)
    model = _core.Model.from_bytes(to_bytes(graph))
    names = [v.name for v in graph.outputs]
    for threads, keep_all in ((1, False), (2, False), (1, True)):
        session = _core.Session(model, threads=threads, keep_all=keep_all)
        for _ in range(2):  # the second run finds the arena full of the first one's values
            outputs = session.run_tuple(*(feeds[v.name] for v in graph.inputs))
            for name, got in zip(names, outputs):
                np.testing.assert_array_equal(
                    got, expected[name], err_msg=f"seed {seed}, tensor {name}, {threads} threads"
                )
