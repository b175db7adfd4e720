"""The speech detector in its three forms, with its state carried over the whole recording."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

import edgec

FRAME, CONTEXT = 512, 64
SHAPES = {"input": (1, FRAME + CONTEXT), "state": (2, 1, 128)}
LIMIT = 1e-4  # on probabilities, after 468 steps that feed their state back


def _audio(folder: Path) -> np.ndarray:
    with wave.open(str(folder / "speech_15s_16k.wav")) as f:
        return np.frombuffer(f.readframes(f.getnframes()), np.int16).astype(np.float32) / np.float32(32768)


def _expected(folder: Path, key: str) -> np.ndarray:
    with np.load(folder / "reference.npz") as stored:
        return np.asarray(stored[key])


def _check(name: str, found: list[float], expected: np.ndarray) -> None:
    error = float(np.abs(np.array(found) - expected).max())
    print(f"{name}: largest error {error:.2e}, speech in {np.mean(np.array(found) > 0.5):.1%} of the frames")
    assert error <= LIMIT


@pytest.mark.parametrize(
    "name, fixed", [("silero_vad.onnx", True), ("silero_vad.onnx", False), ("silero_vad_16k_op15.onnx", True)]
)
def test_whole_recording(name: str, fixed: bool, models: Path) -> None:
    """The sample rate as a constant, and as an input that chooses the branch of an If in every run."""
    folder = models / "silero_vad"
    model = edgec.convert(folder / name, shapes=SHAPES, fixed={"sr": 16000} if fixed else {})
    session = edgec.Session(model)
    rate = {} if fixed else {"sr": np.array(16000)}
    assert {i.name for i in session.inputs} == {"input", "state", *rate}
    audio, expected = _audio(folder), _expected(folder, "probs_onnx")
    state, context, found = np.zeros((2, 1, 128), np.float32), np.zeros((1, CONTEXT), np.float32), []
    for i in range(len(expected)):
        x = np.concatenate([context, audio[None, i * FRAME : (i + 1) * FRAME]], axis=1)
        probability, state = session.run(None, {"input": x, "state": state, **rate})
        context, state = x[:, -CONTEXT:], np.array(state)
        found.append(float(np.asarray(probability).reshape(-1)[0]))
    _check(name, found, expected)


@pytest.mark.parametrize(
    "shapes", [None, {"input": ("batch", "samples"), "state": (2, "batch", 128)}], ids=["file", "given"]
)
def test_both_sample_rates_in_one_session(shapes: object, models: Path) -> None:
    """The branches take different sizes: neither may be refused for the sizes of the other."""
    onnxruntime = pytest.importorskip("onnxruntime")
    path = models / "silero_vad" / "silero_vad.onnx"
    session = edgec.Session(edgec.convert(path, shapes=shapes))
    reference = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    random = np.random.default_rng(0)
    for batch, samples, rate in [(1, 288, 8000), (2, 576, 16000), (3, 288, 8000), (1, 576, 16000)]:
        feeds = {
            "input": random.standard_normal((batch, samples)).astype(np.float32) * np.float32(0.1),
            "state": random.standard_normal((2, batch, 128)).astype(np.float32),
            "sr": np.array(rate),
        }
        for got, expected in zip(session.run(None, feeds), reference.run(None, feeds), strict=True):
            np.testing.assert_allclose(got, expected, rtol=0, atol=1e-5)
    with pytest.raises(edgec.Error, match="Conv2d|Reshape|LSTM"):  # what onnxruntime refuses, too
        session.run(None, {**feeds, "sr": np.array(8000)})


def test_torchscript_with_state_inside(models: Path) -> None:
    """Context and recurrent state leave the module's attributes; the stream keeps them."""
    pytest.importorskip("torch")
    folder = models / "silero_vad"
    model = edgec.convert(folder / "silero_vad.jit", shapes=[(1, FRAME)], fixed={"sr": 16000})
    stream = edgec.Session(model).stream()
    assert set(stream.states) == {"state", "context"}
    audio, expected = _audio(folder), _expected(folder, "probs_jit")
    for _ in range(2):
        found = [float(stream(audio[None, i * FRAME : (i + 1) * FRAME]).item()) for i in range(len(expected))]
        _check("silero_vad.jit", found, expected)
        stream.reset()
