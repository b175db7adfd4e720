"""The speech detector: state carried by hand over the whole recording, and one clear line where it cannot convert."""

from __future__ import annotations

import wave
from pathlib import Path

import numpy as np
import pytest

import edgec
from edgec.errors import UnsupportedError

FRAME, CONTEXT = 512, 64
SHAPES = {"input": (1, FRAME + CONTEXT), "state": (2, 1, 128)}
LIMIT = 1e-4  # on probabilities, after 468 steps that feed their state back


@pytest.mark.parametrize("name", ["silero_vad.onnx", "silero_vad_16k_op15.onnx"])
def test_whole_recording(name: str, models: Path) -> None:
    folder = models / "silero_vad"
    session = edgec.Session(edgec.convert(folder / name, shapes=SHAPES, fixed={"sr": 16000}))
    with wave.open(str(folder / "speech_15s_16k.wav")) as f:
        audio = np.frombuffer(f.readframes(f.getnframes()), np.int16).astype(np.float32) / np.float32(32768)
    with np.load(folder / "reference.npz") as stored:
        expected = stored["probs_onnx"]
    state, context, found = np.zeros((2, 1, 128), np.float32), np.zeros((1, CONTEXT), np.float32), []
    for i in range(len(expected)):
        x = np.concatenate([context, audio[None, i * FRAME : (i + 1) * FRAME]], axis=1)
        probability, state = session.run(None, {"input": x, "state": state})
        context, state = x[:, -CONTEXT:], np.array(state)
        found.append(float(np.asarray(probability).reshape(-1)[0]))
    error = float(np.abs(np.array(found) - expected).max())
    print(f"{name}: largest error {error:.2e}, speech in {np.mean(np.array(found) > 0.5):.1%} of the frames")
    assert error <= LIMIT


def test_state_inside_torchscript_says_what_to_do(models: Path) -> None:
    pytest.importorskip("torch")
    with pytest.raises(UnsupportedError, match="keeps state in its attributes") as raised:
        edgec.convert(models / "silero_vad" / "silero_vad.jit", shapes="1x512")
    assert ".onnx" in raised.value.hint
