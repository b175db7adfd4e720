"""Streams: the state stays inside, several streams keep apart, a failed step changes nothing."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

import edgec
from edgec.converter.ir.graph import Graph
from edgec.converter.writer import to_bytes


def _accumulator() -> edgec.Session:
    g = Graph()
    x, total = g.add_input("x", "f32", (3,)), g.add_input("total", "f32", (3,))
    (following,) = g.add("Add", [x, total], outputs=["total_out"])
    (doubled,) = g.add("Add", [following, following], outputs=["doubled"])
    g.set_outputs([doubled, following])
    return edgec.Session(to_bytes(g))


def test_state_is_carried_and_reset() -> None:
    stream = _accumulator().stream()
    assert stream.states == {"total": "total_out"}
    one = np.ones(3, np.float32)
    assert [float(stream(one)[0]) for _ in range(3)] == [2.0, 4.0, 6.0]
    stream.reset()
    assert float(stream(one)[0]) == 2.0
    stream.reset(total=np.full(3, 10, np.float32))
    assert float(stream(one)[0]) == 22.0


def test_streams_of_one_session_keep_apart() -> None:
    session = _accumulator()
    a, b = session.stream(), session.stream()
    one = np.ones(3, np.float32)
    a(one)
    a(one)
    np.testing.assert_array_equal(b(one), np.full(3, 2, np.float32))
    np.testing.assert_array_equal(a(one), np.full(3, 6, np.float32))


def test_a_failed_step_leaves_the_state() -> None:
    stream = _accumulator().stream()
    stream(np.ones(3, np.float32))
    with pytest.raises(edgec.Error):
        stream(np.ones(4, np.float32))
    np.testing.assert_array_equal(stream.state["total"], np.ones(3, np.float32))


def test_a_model_without_state_says_what_it_has() -> None:
    g = Graph()
    x = g.add_input("x", "f32", (3,))
    g.set_outputs(g.add("Relu", [x], outputs=["y"]))
    with pytest.raises(edgec.Error, match="inputs: x; outputs: y"):
        edgec.Session(to_bytes(g)).stream()


@pytest.mark.parametrize("name", ["silero_vad.onnx", "silero_vad_16k_op15.onnx"])
def test_speech_detector_over_the_whole_recording(name: str, shared_models: Path) -> None:
    folder = shared_models / "silero_vad"
    with wave.open(str(folder / "speech_15s_16k.wav")) as recording:
        samples = np.frombuffer(recording.readframes(recording.getnframes()), np.int16).astype(np.float32) / 32768
    expected = np.load(folder / "reference.npz")["probs_onnx"]
    # One branch of the model's If is for 8 kHz and takes other sizes: the sample rate decides at conversion.
    fixed = {"sr": np.array(16000, np.int64)} if name == "silero_vad.onnx" else {}
    model = edgec.convert(folder / name, shapes={"input": (1, 576), "state": (2, 1, 128)}, fixed=fixed, check=False)
    session = edgec.Session(model)
    rate = {"sr": np.array(16000, np.int64)} if any(s.name == "sr" for s in session.inputs) else {}
    stream = session.stream(**rate)
    context, got = np.zeros(64, np.float32), []
    for start in range(0, len(samples) - 511, 512):
        frame = np.concatenate([context, samples[start : start + 512]])
        got.append(float(np.asarray(stream(frame[None])).reshape(-1)[0]))
        context = frame[-64:]
    assert len(got) == len(expected)
    assert np.abs(np.array(got) - expected).max() <= 1e-4
