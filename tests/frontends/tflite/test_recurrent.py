"""LSTM, RNN and SVDF in all their forms, against a NumPy loop over time."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import edgec
from edgec.session import Session
from tests.frontends.tflite.build import Model
from tests.frontends.tflite.common import run

EPS = np.finfo(np.float32).eps
B, T, F, H, P = 2, 5, 3, 4, 6


def sigmoid(x: np.ndarray) -> np.ndarray:
    return 1 / (1 + np.exp(-x))


class Weights:
    """Gates in the order input, forget, cell, output; None where a form has none."""

    def __init__(
        self, seed: int, peephole: bool = False, projection: bool = False, coupled: bool = False, norm: bool = False
    ) -> None:
        rng = np.random.default_rng(seed)
        width = P if projection else H

        def some(*shape: int) -> np.ndarray:
            return rng.standard_normal(shape).astype(np.float32) * np.float32(0.5)

        self.w: list[Any] = [some(H, F) for _ in range(4)]
        self.r: list[Any] = [some(H, width) for _ in range(4)]
        self.p: list[Any] = [some(H) if peephole else None for _ in range(3)]
        self.b: list[Any] = [some(H) for _ in range(4)]
        self.proj = some(P, H) if projection else None
        self.proj_bias = some(P) if projection else None
        self.norm: list[Any] = [some(H) + 1 if norm else None for _ in range(4)]
        self.coupled, self.width = coupled, width
        if coupled:
            self.w[0] = self.r[0] = self.p[0] = self.b[0] = self.norm[0] = None

    def tensors(self) -> list[Any]:
        return [*self.w, *self.r, *self.p, *self.b, self.proj, self.proj_bias]

    def loop(self, x: np.ndarray, cell_clip: float = 0, proj_clip: float = 0, reverse: bool = False) -> np.ndarray:
        """x [T, B, F] -> [T, B, width], in f64."""
        h, c = np.zeros((x.shape[1], self.width)), np.zeros((x.shape[1], H))
        results = [np.zeros(0)] * len(x)

        def gate(g: int, step: np.ndarray, memory: Any, peephole: int) -> np.ndarray:
            z = step @ self.w[g].T + h @ self.r[g].T
            if peephole >= 0 and self.p[peephole] is not None:
                z = z + memory * self.p[peephole]
            if self.norm[g] is not None:
                z = (z - z.mean(-1, keepdims=True)) / np.sqrt(z.var(-1, keepdims=True) + 1e-8) * self.norm[g]
            return z + self.b[g]

        for t in reversed(range(len(x))) if reverse else range(len(x)):
            step = x[t].astype(np.float64)
            f = sigmoid(gate(1, step, c, 1))
            i = 1 - f if self.coupled else sigmoid(gate(0, step, c, 0))
            c = f * c + i * np.tanh(gate(2, step, c, -1))
            if cell_clip:
                c = np.clip(c, -cell_clip, cell_clip)
            h = sigmoid(gate(3, step, c, 2)) * np.tanh(c)
            if self.proj is not None:
                h = h @ self.proj.T + self.proj_bias
                if proj_clip:
                    h = np.clip(h, -proj_clip, proj_clip)
            results[t] = h
        return np.stack(results)


def places(g: Any, values: list[Any]) -> list[int]:
    return [-1 if v is None else g.const(v) for v in values]


def states(g: Any, batch: int, width: int) -> list[int]:
    return [g.tensor([batch, n], variable=True, name=name) for n, name in ((width, "h"), (H, "c"))]


FORMS: dict[str, dict[str, bool]] = {
    "plain": {}, "peephole": {"peephole": True}, "projection": {"projection": True}, "coupled": {"coupled": True},
    "coupled-peephole": {"coupled": True, "peephole": True}, "norm": {"norm": True},
    "everything": {"peephole": True, "projection": True, "norm": True, "coupled": True},
}  # fmt: skip


def sequence_lstm(w: Weights, time_major: bool, steps: int = T, batch: int = B, **clips: float) -> Model:
    m = Model()
    g = m.main
    order = [steps, batch] if time_major else [batch, steps]
    x = g.input([*order, F])
    norm = places(g, w.norm) if any(n is not None for n in w.norm) else []
    inputs = [x, *places(g, w.tensors()), *states(g, batch, w.width), *norm]
    g.outputs = [g.tensor([*order, w.width])]
    g.op(
        "UNIDIRECTIONAL_SEQUENCE_LSTM", inputs, g.outputs, "UnidirectionalSequenceLSTMOptions",
        FusedActivationFunction=4, TimeMajor=time_major, **clips,
    )  # fmt: skip
    return m


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("time_major", [False, True])
def test_sequence_lstm(form: str, time_major: bool) -> None:
    w = Weights(3, **FORMS[form])
    x = np.random.default_rng(4).standard_normal((T, B, F)).astype(np.float32)
    (got,) = run(sequence_lstm(w, time_major), x if time_major else x.transpose(1, 0, 2))
    expected = w.loop(x)
    np.testing.assert_allclose(
        got if time_major else got.transpose(1, 0, 2), expected, rtol=0, atol=(F + w.width) * T * EPS * 8
    )


@pytest.mark.parametrize("projection", [False, True])
def test_clips(projection: bool) -> None:
    w = Weights(3, projection=projection)
    x = np.random.default_rng(4).standard_normal((T, B, F)).astype(np.float32) * 4
    (got,) = run(sequence_lstm(w, True, CellClip=0.3, ProjClip=0.5), x)
    expected = w.loop(x, 0.3, 0.5)
    assert np.abs(expected - w.loop(x)).max() > 0.1
    np.testing.assert_allclose(got, expected, rtol=0, atol=(F + P) * T * EPS * 8)


def test_one_step_at_a_time_keeps_its_state() -> None:
    w = Weights(3)
    x = np.random.default_rng(4).standard_normal((T, 1, F)).astype(np.float32)
    made = edgec.convert(sequence_lstm(w, True, steps=1, batch=1).finish(), check=False)
    assert [s.name for s in made.inputs][1:] == ["h", "c"] and [s.name for s in made.outputs][1:] == ["new_h", "new_c"]
    stream = Session(made).stream()
    expected = w.loop(x)
    for t in range(T):
        result = stream(x[t : t + 1])
        got = result[0] if isinstance(result, (list, tuple)) else result
        np.testing.assert_allclose(np.asarray(got)[0], expected[t], rtol=0, atol=(F + H) * T * EPS * 8)


@pytest.mark.parametrize("merge", [False, True])
def test_bidirectional_lstm(merge: bool) -> None:
    forward, backward = Weights(5), Weights(6)
    x = np.random.default_rng(7).standard_normal((T, B, F)).astype(np.float32)
    m = Model()
    g = m.main
    inputs = [g.input([T, B, F]), *places(g, forward.tensors()), *places(g, backward.tensors())]
    inputs += [*states(g, B, H), *states(g, B, H), *[-1] * 9]
    g.outputs = [g.tensor([T, B, 2 * H])] if merge else [g.tensor([T, B, H]), g.tensor([T, B, H])]
    g.op(
        "BIDIRECTIONAL_SEQUENCE_LSTM", inputs, g.outputs, "BidirectionalSequenceLSTMOptions",
        FusedActivationFunction=4, TimeMajor=True, MergeOutputs=merge,
    )  # fmt: skip
    got = run(m, x)
    expected = np.concatenate([forward.loop(x), backward.loop(x, reverse=True)], -1)
    np.testing.assert_allclose(np.concatenate(got, -1), expected, rtol=0, atol=(F + H) * T * EPS * 8)


def test_basic_lstm_cell() -> None:
    rng = np.random.default_rng(8)
    x, h, c = (rng.standard_normal((B, n)).astype(np.float32) for n in (F, H, H))
    w, b = rng.standard_normal((4 * H, F + H)).astype(np.float32), rng.standard_normal(4 * H).astype(np.float32)
    m = Model()
    g = m.main
    inputs = [g.input([B, F]), g.input([B, H]), g.const(w), g.const(b), g.input([B, H])]
    results = [g.tensor([B, H]), g.tensor([B, H]), g.tensor([B, F + H]), g.tensor([B, 4 * H])]
    g.op("LSTM", inputs, results, "LSTMOptions", FusedActivationFunction=4, KernelType=1)
    g.outputs = results[:2]
    i, n, f, o = np.split(np.concatenate([x, h], -1).astype(np.float64) @ w.T + b, 4, -1)
    state = sigmoid(i) * np.tanh(n) + sigmoid(f) * c
    got = run(m, x, h, c)
    for a, e in zip(got, (sigmoid(o) * np.tanh(state), state)):
        np.testing.assert_allclose(a, e, rtol=0, atol=(F + H) * EPS * 16)


@pytest.mark.parametrize("activation", ["RELU", "TANH"])
def test_simple_recurrent_layers(activation: str) -> None:
    rng = np.random.default_rng(9)
    w, r, b = (rng.standard_normal(s).astype(np.float32) * 0.5 for s in ((H, F), (H, H), (H,)))
    x = rng.standard_normal((T, B, F)).astype(np.float32)
    apply, code = (lambda v: np.maximum(v, 0), 1) if activation == "RELU" else (np.tanh, 4)
    m = Model()
    g = m.main
    inputs = [g.input([T, B, F]), g.const(w), g.const(r), g.const(b), g.tensor([B, H], variable=True)]
    g.outputs = [g.tensor([T, B, H])]
    g.op(
        "UNIDIRECTIONAL_SEQUENCE_RNN",
        inputs,
        g.outputs,
        "SequenceRNNOptions",
        TimeMajor=True,
        FusedActivationFunction=code,
    )
    h, expected = np.zeros((B, H)), []
    for step in x:
        h = apply(step @ w.T + h @ r.T + b)
        expected.append(h)
    np.testing.assert_allclose(run(m, x)[0], np.stack(expected), rtol=0, atol=(F + H) * T * EPS * 16)
    m = Model()
    g = m.main
    g.outputs = [g.tensor([B, H])]
    inputs = [g.input([B, F]), g.const(w), g.const(r), g.const(b), g.tensor([B, H], variable=True, name="state")]
    g.op("RNN", inputs, g.outputs, "RNNOptions", FusedActivationFunction=code)
    session = Session(edgec.convert(m.finish(), check=False))
    stream = session.stream()
    for t in range(T):
        result = stream(x[t])
        got = result[0] if isinstance(result, (list, tuple)) else result
        np.testing.assert_allclose(got, expected[t], rtol=0, atol=(F + H) * T * EPS * 16)


def test_svdf_streams() -> None:
    rng = np.random.default_rng(10)
    units, rank, memory = 3, 2, 4
    filters = units * rank
    feature, time = (rng.standard_normal(s).astype(np.float32) for s in ((filters, F), (filters, memory)))
    bias = rng.standard_normal(units).astype(np.float32)
    m = Model()
    g = m.main
    state = g.tensor([B, filters * memory], variable=True, name="memory")
    g.outputs = [g.tensor([B, units])]
    g.op(
        "SVDF", [g.input([B, F]), g.const(feature), g.const(time), g.const(bias), state], g.outputs, "SVDFOptions",
        Rank=rank, FusedActivationFunction=1,
    )  # fmt: skip
    stream = Session(edgec.convert(m.finish(), check=False)).stream()
    past = np.zeros((B, filters, memory))
    for _ in range(6):
        x = rng.standard_normal((B, F)).astype(np.float32)
        past = np.concatenate([past[:, :, 1:], (x @ feature.T)[:, :, None]], 2)
        expected = np.maximum((past * time).sum(2).reshape(B, units, rank).sum(2) + bias, 0)
        result = stream(x)
        got = result[0] if isinstance(result, (list, tuple)) else result
        np.testing.assert_allclose(got, expected, rtol=0, atol=F * filters * memory * EPS * 4)
