"""com.microsoft operators against onnxruntime, which defines them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgec
from edgec.errors import UnsupportedError
from tests.conftest import relative_l2
from tests.frontends.test_onnx_hostile import model_of, value

ort = pytest.importorskip("onnxruntime")
LIMIT = 1e-5
HEADS, WIDTH, STEPS = 2, 8, 5


def run_both(node: Any, feeds: dict[str, np.ndarray], constants: dict[str, np.ndarray]) -> None:
    kinds = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32}
    inputs = [value(k, list(v.shape), kinds[v.dtype.name]) for k, v in feeds.items()]
    stored = [numpy_helper.from_array(v, k) for k, v in constants.items()]
    model = model_of([node], inputs, [value("y", None)], initializers=stored, ir_version=10)
    model.opset_import.add(domain="com.microsoft", version=1)
    expected = ort.InferenceSession(model.SerializeToString()).run(["y"], feeds)[0]
    got = edgec.Session(edgec.convert(model)).run(None, feeds)[0]
    assert relative_l2(got, expected) <= LIMIT


def floats(rng: np.random.Generator, *shape: int) -> np.ndarray:
    return rng.standard_normal(shape).astype(np.float32)


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("masked", [False, True])
def test_attention(causal: int, masked: bool, rng: np.random.Generator) -> None:
    feeds = {"x": floats(rng, 2, STEPS, WIDTH)}
    if masked:
        feeds["m"] = np.array([[1, 1, 1, 1, 1], [1, 1, 1, 0, 0]], np.int32)
    names = ["x", "w", "b", *(["m"] if masked else [])]
    node = helper.make_node("Attention", names, ["y"], domain="com.microsoft", num_heads=HEADS, unidirectional=causal)
    run_both(node, feeds, {"w": floats(rng, WIDTH, 3 * WIDTH), "b": floats(rng, 3 * WIDTH)})


@pytest.mark.parametrize("bias", [False, True])
def test_multi_head_attention(bias: bool, rng: np.random.Generator) -> None:
    feeds = {n: floats(rng, 2, STEPS, WIDTH) for n in "qkv"}
    names = ["q", "k", "v", *(["b"] if bias else [])]
    node = helper.make_node("MultiHeadAttention", names, ["y"], domain="com.microsoft", num_heads=HEADS)
    run_both(node, feeds, {"b": floats(rng, 3 * WIDTH)} if bias else {})


def test_embedding_with_normalisation(rng: np.random.Generator) -> None:
    feeds = {
        "ids": rng.integers(0, 9, (2, STEPS)).astype(np.int32),
        "seg": rng.integers(0, 2, (2, STEPS)).astype(np.int32),
    }
    tables = {"words": floats(rng, 9, WIDTH), "places": floats(rng, 16, WIDTH), "types": floats(rng, 2, WIDTH)}
    node = helper.make_node(
        "EmbedLayerNormalization", ["ids", "seg", *tables, "g", "s"], ["y", ""], domain="com.microsoft", epsilon=1e-6
    )
    run_both(node, feeds, {**tables, "g": floats(rng, WIDTH), "s": floats(rng, WIDTH)})


def test_past_keys_are_refused_in_words(rng: np.random.Generator) -> None:
    names = ["q", "k", "v", "", "", "", "p", "p"]
    node = helper.make_node("MultiHeadAttention", names, ["y"], domain="com.microsoft", num_heads=HEADS)
    inputs = [value(n, [2, STEPS, WIDTH]) for n in "qkv"] + [value("p", [2, HEADS, 3, WIDTH // HEADS])]
    model = model_of([node], inputs, [value("y", None)])
    model.opset_import.add(domain="com.microsoft", version=1)
    with pytest.raises(UnsupportedError, match="past keys"):
        edgec.convert(model)
