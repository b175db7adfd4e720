"""Small models for the tests of the Python interface and the command line, each with its NumPy oracle."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph
from edgec.converter.writer import to_bytes

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Network:
    """The bytes of a `.edge` file and what it has to compute."""

    data: bytes
    oracle: Callable[..., Any]


def scaled(dims: tuple[int | str, ...] = ("batch", 4), dtype: type = np.float32, **metadata: str) -> Network:
    """y = x * [0, 1, 2, 3]: exact in every type, one input 'x', one output."""
    graph = Graph("scaled")
    factors = np.arange(4, dtype=dtype)
    names = {np.float32: "f32", np.int64: "i64", np.int32: "i32"}
    x = graph.add_input("x", names[dtype], dims)
    graph.set_outputs(graph.add("Mul", [x, graph.constant("factors", factors)], outputs=["y"]))
    graph.metadata.update(metadata)
    return Network(to_bytes(graph), lambda x: x * factors)


def two_by_two() -> Network:
    """(a, b) -> sum = a + b, difference = a - b, both [2, 3]."""
    graph = Graph("two_by_two")
    a, b = graph.add_input("a", "f32", (2, 3)), graph.add_input("b", "f32", (2, 3))
    outputs = graph.add("Add", [a, b], outputs=["sum"]) + graph.add("Sub", [a, b], outputs=["difference"])
    graph.set_outputs(outputs)
    return Network(to_bytes(graph), lambda a, b: (a + b, a - b))


def heavy(size: int = 384) -> Network:
    """Three products of size x size matrices: long enough to watch while it runs."""
    graph = Graph("heavy")
    generator = np.random.default_rng(1)
    x = graph.add_input("x", "f32", (size, size))
    weights = [(generator.standard_normal((size, size)) / size).astype(np.float32) for _ in range(3)]
    for i, w in enumerate(weights):
        (x,) = graph.add("MatMul", [x, graph.constant(f"w{i}", w)], outputs=[f"product{i}"])
    graph.set_outputs([x])
    return Network(to_bytes(graph), lambda x: x @ weights[0] @ weights[1] @ weights[2])


def image_net(layout: str = "nchw", **metadata: str) -> Network:
    """A picture of 8 x 8 with 3 channels; the output is its mean per channel."""
    graph = Graph("image")
    shape = (1, 3, 8, 8) if layout == "nchw" else (1, 8, 8, 3)
    axes = [2, 3] if layout == "nchw" else [1, 2]
    x = graph.add_input("image", "f32", shape)
    graph.set_outputs(graph.add("ReduceMean", [x], {"axes": axes, "keepdims": 0}, outputs=["mean"]))
    graph.metadata.update(metadata)
    return Network(to_bytes(graph), lambda x: x.mean(axis=tuple(axes)))


def convolution() -> Network:
    """Convolution, pooling and a product, for counting: see test_cost.py."""
    graph = Graph("convolution")
    generator = np.random.default_rng(2)

    def weight(*shape: int) -> Array:
        return generator.standard_normal(shape).astype(np.float32)

    x = graph.add_input("x", "f32", (1, 16, 16, 3))
    w = graph.constant("conv.weight", weight(8, 3, 3, 3))
    b = graph.constant("conv.bias", weight(8))
    (y,) = graph.add("Conv2d", [x, w, b], {"pads": [1, 1, 1, 1], "activation": "relu"}, outputs=["conv"], name="conv")
    (y,) = graph.add("MaxPool2d", [y], {"kernel": [2, 2], "strides": [2, 2]}, outputs=["pool"], name="pool")
    shape = graph.constant("shape", np.array([1, 512], np.int64))
    (y,) = graph.add("Reshape", [y, shape], outputs=["flat"], name="flat")
    (y,) = graph.add("MatMul", [y, graph.constant("fc", weight(512, 10))], outputs=["scores"], name="fc")
    graph.set_outputs([y])
    return Network(to_bytes(graph), lambda x: None)
