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


def run_all(node: Any, feeds: dict[str, np.ndarray], constants: dict[str, np.ndarray] | None = None) -> None:
    """Every output of the node against onnxruntime."""
    kinds = {"float32": TensorProto.FLOAT, "int32": TensorProto.INT32, "int64": TensorProto.INT64}
    inputs = [value(k, list(v.shape), kinds[v.dtype.name]) for k, v in feeds.items()]
    stored = [numpy_helper.from_array(v, k) for k, v in (constants or {}).items()]
    outputs = [value(o, None) for o in node.output]
    model = model_of([node], inputs, outputs, initializers=stored, ir_version=10)
    model.opset_import.add(domain="com.microsoft", version=1)
    expected = ort.InferenceSession(model.SerializeToString()).run(None, feeds)
    session = edgec.Session(edgec.convert(model, check=False))
    got = session.run(None, {i.name: feeds[i.name] for i in session.inputs})
    for g, e in zip(got, expected, strict=True):
        assert relative_l2(g, e) <= LIMIT


@pytest.mark.parametrize("causal", [0, 1])
@pytest.mark.parametrize("past", [0, 3])
def test_attention_with_a_cache(causal: int, past: int, rng: np.random.Generator) -> None:
    feeds = {"x": floats(rng, 2, STEPS, WIDTH), "p": floats(rng, 2, 2, HEADS, past, WIDTH // HEADS)}
    weights = {"w": floats(rng, WIDTH, 3 * WIDTH), "b": floats(rng, 3 * WIDTH)}
    node = helper.make_node(
        "Attention",
        ["x", "w", "b", "", "p"],
        ["y", "next"],
        domain="com.microsoft",
        num_heads=HEADS,
        unidirectional=causal,
    )
    run_all(node, feeds, weights)


@pytest.mark.parametrize("causal", [0, 1])
def test_multi_head_attention_with_a_cache(causal: int, rng: np.random.Generator) -> None:
    feeds = {n: floats(rng, 2, STEPS, WIDTH) for n in "qkv"}
    feeds |= {n: floats(rng, 2, HEADS, 3, WIDTH // HEADS) for n in ("pk", "pv")}
    names = ["q", "k", "v", "", "", "", "pk", "pv"]
    node = helper.make_node(
        "MultiHeadAttention", names, ["y", "nk", "nv"], domain="com.microsoft", num_heads=HEADS, unidirectional=causal
    )
    run_all(node, feeds)


@pytest.mark.parametrize("interleaved", [0, 1])
@pytest.mark.parametrize("form", ["flat", "heads", "offset", "partial"])
def test_rotary_embedding(form: str, interleaved: int, rng: np.random.Generator) -> None:
    size = 8
    half = 2 if form == "partial" else size // 2
    angles = np.outer(np.arange(20), 1.0 / 10 ** np.arange(half)).astype(np.float32)
    x = floats(rng, 2, HEADS, STEPS, size) if form == "heads" else floats(rng, 2, STEPS, HEADS * size)
    places = np.array([4], np.int64) if form == "offset" else rng.integers(0, 20, (2, STEPS)).astype(np.int64)
    options = {"num_heads": HEADS, "rotary_embedding_dim": 2 * half} if form == "partial" else {}
    node = helper.make_node(
        "RotaryEmbedding",
        ["x", "places", "cos", "sin"],
        ["y"],
        domain="com.microsoft",
        interleaved=interleaved,
        **options,
    )
    run_all(node, {"x": x, "places": places}, {"cos": np.cos(angles), "sin": np.sin(angles)})


@pytest.mark.parametrize("packed", [False, True])
@pytest.mark.parametrize("rotary", [0, 1])
@pytest.mark.parametrize("past, steps, window", [(0, 5, -1), (3, 1, -1), (6, 1, 4), (0, 5, 2)])
def test_group_query_attention(
    packed: bool, rotary: int, past: int, steps: int, window: int, rng: np.random.Generator
) -> None:
    count, groups, size = 4, 2, 16
    widths = (count * size, groups * size, groups * size)
    feeds = dict(zip("qkv", (floats(rng, 1, steps, w) for w in widths), strict=True))
    if packed:
        feeds = {"q": np.concatenate(list(feeds.values()), 2)}
    feeds |= {n: floats(rng, 1, groups, past, size) for n in ("pk", "pv")}
    feeds |= {"lengths": np.array([past + steps - 1], np.int32), "total": np.array(past + steps, np.int32)}
    angles = np.outer(np.arange(20), 1.0 / 10 ** np.arange(size // 2)).astype(np.float32)
    names = ["q", *(["", ""] if packed else "kv"), "pk", "pv", "lengths", "total", *(["cos", "sin"] if rotary else [])]
    node = helper.make_node(
        "GroupQueryAttention", names, ["y", "nk", "nv"], domain="com.microsoft", num_heads=count, kv_num_heads=groups,
        do_rotary=rotary, local_window_size=window,
    )  # fmt: skip
    run_all(node, feeds, {"cos": np.cos(angles), "sin": np.sin(angles)} if rotary else {})


def test_shared_buffers_are_refused_in_words() -> None:
    names = ["q", "k", "v", "", "", "", "p", "p", "n"]
    node = helper.make_node("MultiHeadAttention", names, ["y"], domain="com.microsoft", num_heads=HEADS)
    inputs = [value(n, [2, STEPS, WIDTH]) for n in "qkv"] + [value("p", [2, HEADS, 3, WIDTH // HEADS])]
    inputs.append(value("n", [1], TensorProto.INT32))
    model = model_of([node], inputs, [value("y", None)])
    model.opset_import.add(domain="com.microsoft", version=1)
    with pytest.raises(UnsupportedError, match="shared buffer"):
        edgec.convert(model)
