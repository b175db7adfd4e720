"""Small float networks whose ranges are known."""

from __future__ import annotations

import numpy as np

import edgec
from edgec.converter.ir.graph import Graph, Value
from edgec.converter.writer import to_bytes


def convolution(
    g: Graph, v: Value, weight: np.ndarray, bias: np.ndarray, activation: str = "relu", **attrs: object
) -> Value:
    """One Conv2d."""
    operands = [v, g.constant("w", weight.astype(np.float32)), g.constant("b", bias.astype(np.float32))]
    return g.add("Conv2d", operands, {"activation": activation, **attrs}, outputs=["t"], name=f"conv_{len(g)}")[0]


def mobile(rng: np.random.Generator, largest: float = 1.0, blocks: int = 3, channels: int = 16) -> edgec.Model:
    """Pointwise and depthwise convolutions with relu; each channel scaled by up to `largest` where it is made and back where it
    is used, so that `largest` changes no output."""
    g = Graph("mobile")
    v = g.add_input("x", "f32", (1, 16, 16, 3))
    before: np.ndarray = np.ones(3)
    for i in range(blocks):
        first, second = (np.exp(rng.uniform(0, 1, channels) * np.log(largest)) for _ in range(2))
        pointwise = rng.standard_normal((channels, 1, 1, len(before))) * np.sqrt(2 / len(before))
        v = convolution(
            g, v, pointwise * first[:, None, None, None] / before, 0.1 * rng.standard_normal(channels) * first
        )
        depthwise = rng.standard_normal((channels, 3, 3, 1)) * np.sqrt(2 / 9)
        bias = 0.1 * rng.standard_normal(channels) * second
        strides = [1 + i % 2] * 2
        weight = depthwise * (second / first)[:, None, None, None]
        v = convolution(g, v, weight, bias, group=channels, pads=[1, 1, 1, 1], strides=strides)
        before = second
    last = rng.standard_normal((10, 1, 1, channels)) / np.sqrt(channels)
    v = convolution(g, v, last / before, np.zeros(10), "none")
    g.set_outputs(g.add("ReduceMean", [v], {"axes": [1, 2], "keepdims": 0}, outputs=["scores"]))
    return edgec.Model.from_bytes(to_bytes(g))


def pictures(rng: np.random.Generator, count: int) -> list[np.ndarray]:
    """Smooth noise of the input's shape."""
    coarse = rng.standard_normal((count, 1, 4, 4, 3)).astype(np.float32).repeat(4, 2).repeat(4, 3)
    return list(coarse + np.float32(0.3) * rng.standard_normal((count, 1, 16, 16, 3)).astype(np.float32))


def outputs(model: edgec.Model, samples: list[np.ndarray]) -> np.ndarray:
    """First output of every sample, joined."""
    session = edgec.Session(model)
    return np.concatenate([np.array(session.run(None, {session.inputs[0].name: s})[0]) for s in samples])


def sqnr(exact: np.ndarray, rounded: np.ndarray) -> float:
    """dB."""
    return float(
        10 * np.log10(np.sum(exact.astype(np.float64) ** 2) / np.sum((exact.astype(np.float64) - rounded) ** 2))
    )
