"""The stored story of stories260k, written anew by edgec, token by token: each token goes back in, the likeliest comes out."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

torch = pytest.importorskip("torch")

import edgec  # noqa: E402
from tests.models.stories import Stories  # noqa: E402


@pytest.fixture(scope="module")
def folder(models: Path) -> Path:
    return models / "stories260k"


@pytest.fixture(scope="module")
def stored(folder: Path) -> tuple[np.ndarray, int, str]:
    """The tokens, how many of them are the prompt, the text."""
    with np.load(folder / "reference.npz") as data:
        return data["greedy_tokens"].astype(np.int64), int(data["prompt_len"]), str(data["greedy_text"])


@pytest.fixture(scope="module")
def network(folder: Path) -> Stories:
    return Stories(folder / "stories260K.bin").eval()


def _decoded(tokens: np.ndarray, vocabulary: Path) -> str:
    """llama2.c's tokenizer: per token a score, a length and bytes; token 1 begins a text."""
    data = vocabulary.read_bytes()
    pieces, at = [], 4
    while at < len(data):
        size = struct.unpack_from("<fi", data, at)[1]
        pieces.append(data[at + 8 : at + 8 + size])
        at += 8 + size
    return b"".join(pieces[t] for t in tokens if t != 1).decode()


@pytest.mark.parametrize("suffix", ["pt", "pt2"])
def test_window_of_64_tokens(
    suffix: str, stored: tuple[np.ndarray, int, str], models: Path, converted: Callable[..., edgec.Model]
) -> None:
    """The stored files see 64 tokens; as long as the story fits, padding behind it changes nothing (the mask is causal)."""
    expected, prompt, _ = stored
    session = edgec.Session(converted(f"stories260k/stories260k_seq64.{suffix}"))
    window = np.zeros((1, 64), np.int64)
    window[0, :prompt] = expected[:prompt]
    for count in range(prompt, 64):
        window[0, count] = session.run(None, {session.inputs[0].name: window})[0][0, count - 1].argmax()
    np.testing.assert_array_equal(window[0], expected[:64])


def test_whole_story_with_growing_length(network: Stories, stored: tuple[np.ndarray, int, str], folder: Path) -> None:
    """Dynamic sequence length: the whole text so far goes in with every step."""
    expected, prompt, text = stored
    example = torch.from_numpy(expected[None, :12])
    model = edgec.convert(network, (example,), shapes=[(1, "length(2..512)")])
    assert model.inputs[0].shape == (1, "length")
    session = edgec.Session(model)
    tokens = expected[:prompt].copy()
    while len(tokens) < len(expected):
        logits = session.run(None, {session.inputs[0].name: tokens[None]})[0]
        tokens = np.append(tokens, logits[0, -1].argmax())
    np.testing.assert_array_equal(tokens, expected)
    assert _decoded(tokens, folder / "tok512.bin") == text


def test_whole_story_with_a_cache(network: Stories, stored: tuple[np.ndarray, int, str]) -> None:
    """Keys and values go in and come out, as long as the past: one conversion for the prompt and for every step."""
    expected, prompt, _ = stored
    cache = (network.layers, 1, 4, network.kv_heads, network.head)
    example = (torch.from_numpy(expected[None, 4:7]), torch.randn(cache), torch.randn(cache))
    past = (network.layers, 1, "past(0..500)", network.kv_heads, network.head)
    model = edgec.convert(network, example, shapes=[(1, "new(1..12)"), past, past])
    session = edgec.Session(model)
    names = [i.name for i in session.inputs]
    keys = values = np.zeros((network.layers, 1, 0, network.kv_heads, network.head), np.float32)
    given, tokens = expected[:prompt], list(expected[:prompt])
    while len(tokens) < len(expected):
        logits, keys, values = session.run(None, dict(zip(names, (given[None], keys, values), strict=True)))
        given = logits[0, -1:].argmax(-1)
        tokens.append(int(given[0]))
    np.testing.assert_array_equal(tokens, expected)
