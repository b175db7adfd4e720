"""Damaged and malicious files: a clean error, or a model, within seconds and without much memory."""

from __future__ import annotations

import random
import struct
from pathlib import Path

import numpy as np
import pytest

import edgec
from edgec.errors import BadFileError, Error, UnsupportedError
from tests.frontends.hostile import SECONDS, convert_all
from tests.frontends.tflite.build import Model
from tests.frontends.tflite.common import Feed, Fixed, one_op

MODELS = Path(__file__).parents[3].parent / "shared" / "models"
REAL = ["mlperf_tiny/kws/kws_ref_model.tflite", "mlperf_tiny/ic_resnet8/pretrainedResnet.tflite"]


def small() -> bytes:
    """A quantized convolution, a reshape and a softmax."""
    rng = np.random.default_rng(1)
    m = Model()
    g = m.main
    x = g.input([1, 6, 6, 2], "int8", scale=0.1, zero=3)
    w = g.const(rng.integers(-127, 128, (3, 3, 3, 2)).astype(np.int8), scale=[0.01, 0.02, 0.03], axis=0)
    b = g.const(np.array([1, 2, 3], np.int32), scale=[0.001, 0.002, 0.003])
    y, z, p = (g.tensor(s, "int8", scale=0.2) for s in ([1, 4, 4, 3], [1, 48], [1, 48]))
    g.op("CONV_2D", [x, w, b], [y], "Conv2DOptions", StrideW=1, StrideH=1, Padding=1)
    g.op("RESHAPE", [y, g.const(np.array([1, 48], np.int32))], [z], "ReshapeOptions")
    g.outputs = g.op("SOFTMAX", [z], [p], "SoftmaxOptions", Beta=1.0)
    return m.finish()


def damaged(data: bytes, places: list[int], count: int, seed: int) -> list[bytes]:
    rng = random.Random(seed)
    copies = []
    for _ in range(count):
        copy = bytearray(data)
        for _ in range(rng.choice((1, 1, 2, 8))):
            at = rng.choice(places)
            if rng.random() < 0.5:
                copy[at] ^= 1 << rng.randrange(8)
            else:
                at &= ~3
                struct.pack_into("<I", copy, at, rng.choice((0, 1, 2**32 - 1, 2**31 - 1, 2**31, rng.getrandbits(32))))
        copies.append(bytes(copy[: rng.randrange(len(copy))]) if rng.random() < 0.1 else bytes(copy))
    return copies


def structure(data: bytes) -> list[int]:
    """Bytes that are not weights: damage there changes what the file says."""
    from edgec.converter.frontends.tflite.file import TfliteFile

    keep = np.ones(len(data), bool)
    base = np.frombuffer(data, np.uint8).__array_interface__["data"][0]
    for graph in TfliteFile.parse(data).subgraphs:
        for tensor in graph.tensors:
            if tensor.data is not None and tensor.data.nbytes > 64:
                at = tensor.data.__array_interface__["data"][0] - base
                if 0 <= at < len(data):
                    keep[at : at + tensor.data.nbytes] = False
    return [int(i) for i in np.nonzero(keep)[0] if i < len(data) - 4]


@pytest.mark.parametrize("seed", range(4))
def test_damage_in_a_small_file(seed: int) -> None:
    data = small()
    for copy in damaged(data, list(range(len(data) - 4)), 150, seed):
        try:
            edgec.convert(copy, check=False)
        except Error as e:
            assert str(e)


@pytest.mark.models
@pytest.mark.parametrize("name", REAL)
def test_damage_in_real_files(name: str, tmp_path: Path) -> None:
    if not (MODELS / name).exists():
        pytest.skip(f"{name} is not there")
    data = (MODELS / name).read_bytes()
    cases = []
    for i, copy in enumerate(damaged(data, structure(data), 100, 5)):
        (tmp_path / f"{i}.tflite").write_bytes(copy)
        cases.append((tmp_path / f"{i}.tflite", None, None))
    for outcome in convert_all(cases):
        assert outcome.clean and outcome.seconds < SECONDS, outcome


def fails(content: bytes, *words: str, kind: type[Error] = BadFileError) -> None:
    with pytest.raises(kind) as caught:
        edgec.convert(content, check=False)
    for word in words:
        assert word in str(caught.value) + str(getattr(caught.value, "ops", "")), str(caught.value)


def relu(shape: list[int], dtype: str = "float32", **more: object) -> Model:
    m = Model()
    x = m.main.input(shape, dtype, **more)
    m.main.outputs = m.main.op("RELU", [x], [m.main.tensor(shape, dtype, **more)])
    return m


def test_shapes_that_no_memory_holds() -> None:
    fails(relu([1000000, 1000000]).finish(), "1000000000000 elements")
    fails(relu([1, -5]).finish(), "has the shape [1, -5]")
    fails(relu([1] * 9).finish(), "9 dimensions", kind=UnsupportedError)
    m = Model()
    shape = m.main.const(np.array([100000, 100000, 100], np.int32))
    out = m.main.tensor([100000, 100000, 100])
    m.main.outputs = m.main.op("FILL", [shape, m.main.const(np.float32(1))], [out])
    try:
        edgec.convert(m.finish(), check=False)
    except Error as e:
        assert str(e)


def test_buffers() -> None:
    m = relu([2, 3])
    m.main.tensors[0]["buffer"] = 99
    fails(m.finish(), "buffer 99", "the file has 1")
    m = one_op("ADD", [Feed(np.ones((2, 3), np.float32)), Fixed(np.ones((2, 3), np.float32))], [((2, 3), "float32")])
    m.main.tensors[1]["shape"] = [2, 4]
    fails(m.finish(), "needs 32 bytes, its buffer has 24")


def test_indices() -> None:
    m = relu([2])
    m.main.operators[0]["inputs"] = [7]
    fails(m.finish(), "names tensor 7")
    m = relu([2])
    m.main.operators[0]["inputs"] = [1]
    fails(m.finish(), "nothing before it writes")
    m = relu([2])
    m.main.operators[0]["code"] = 3
    fails(m.finish(), "operator code 3")
    m = relu([2])
    m.main.outputs = [9]
    fails(m.finish(), "names tensor 9")


@pytest.mark.parametrize("scale", [float("nan"), float("inf"), -1.0])
def test_scales(scale: float) -> None:
    fails(relu([2], "int8", scale=scale).finish(), "has the scale")
    fails(relu([2, 3], "int8", scale=[0.1, 0.2], axis=1).finish(), "2 scales along dimension 1")


def test_no_scale() -> None:
    x = Feed(np.zeros((1, 4), np.int8))
    fails(one_op("LOGISTIC", [x], [((1, 4), "int8")]).finish(), kind=Error)
    fails(one_op("QUANTIZE", [Feed(np.zeros(4, np.float32))], [((4,), "int8")]).finish(), "without a scale")


def test_subgraphs_that_call_each_other() -> None:
    m = Model()
    inner = m.subgraph("inner")
    for g, other in ((m.main, 1), (inner, 1)):
        x = g.input([2])
        g.outputs = g.op("CALL", [x], [g.tensor([2])], "CallOptions", Subgraph=other)
    fails(m.finish(), "recursion", kind=UnsupportedError)
    m = relu([2])
    m.main.operators.clear()
    m.main.op("CALL", [0], [1], "CallOptions", Subgraph=5)
    fails(m.finish(), "subgraph 5")


def test_a_loop_that_does_not_end() -> None:
    m = Model()
    condition, body = m.subgraph("condition"), m.subgraph("body")
    condition.input([2])
    condition.outputs = [condition.const(np.array(True))]
    x = body.input([2])
    body.outputs = body.op("ADD", [x, x], [body.tensor([2])], "AddOptions")
    x = m.main.input([2])
    m.main.outputs = m.main.op(
        "WHILE", [x], [m.main.tensor([2])], "WhileOptions", CondSubgraphIndex=1, BodySubgraphIndex=2
    )
    made = edgec.convert(m.finish())  # it is a loop: only a run does not end
    assert "a loop does not end" in made.report["warnings"][-1]


def test_custom_operators_are_listed() -> None:
    m = relu([2])
    y = m.main.op("MyLayer", [1], [m.main.tensor([2])])
    z = m.main.op("FlexErf", y, [m.main.tensor([2])])
    m.main.outputs = m.main.op("HASHTABLE_FIND", z, [m.main.tensor([2])])
    with pytest.raises(UnsupportedError) as caught:
        edgec.convert(m.finish(), check=False)
    assert [o.op for o in caught.value.ops] == ["custom operator MyLayer", "custom operator FlexErf", "HASHTABLE_FIND"]


def test_cut_and_empty_files(tmp_path: Path) -> None:
    data = small()
    for length in (8, 16, 40, len(data) // 2, len(data) - 64):
        path = tmp_path / f"{length}.tflite"
        path.write_bytes(data[:length])
        with pytest.raises(Error):
            edgec.convert(path, check=False)
