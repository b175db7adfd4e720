"""Sub-graphs, variables, signatures, open batches, detection, sparse and packed weights."""

from __future__ import annotations

import struct

import numpy as np
import pytest

import edgec
from edgec.errors import UnsupportedError
from edgec.session import Session
from tests.frontends.tflite.build import Model
from tests.frontends.tflite.common import litert, run

f32, i32 = np.float32, np.int32


def branches(m: Model) -> None:
    then, otherwise = m.subgraph("then"), m.subgraph("else")
    x = then.input([2, 3])
    then.outputs = then.op("MUL", [x, then.const(f32(2))], [then.tensor([2, 3])], "MulOptions")
    x = otherwise.input([2, 3])
    otherwise.outputs = otherwise.op("NEG", [x], [otherwise.tensor([2, 3])])


@pytest.mark.parametrize("known", [True, False])
def test_if(known: bool) -> None:
    for choice in (True, False):
        m = Model()
        g = m.main
        condition = g.const(np.array(choice)) if known else g.input([], "bool")
        x = g.input([2, 3])
        g.outputs = g.op(
            "IF", [condition, x], [g.tensor([2, 3])], "IfOptions", ThenSubgraphIndex=1, ElseSubgraphIndex=2
        )
        branches(m)
        value = np.arange(6, dtype=f32).reshape(2, 3)
        feeds = [value] if known else [np.array(choice), value]
        np.testing.assert_array_equal(run(m, *feeds)[0], value * 2 if choice else -value)


@pytest.mark.parametrize("rounds", [5, None])
def test_while(rounds: int | None) -> None:
    """Doubles until a count (known) or a limit (from data) is reached."""
    m = Model()
    g = m.main
    condition, body = m.subgraph("condition"), m.subgraph("body")
    for part in (condition, body):
        part.input([], "int32")
        part.input([2])
    if rounds is None:
        total = condition.op("SUM", [1, condition.const(np.array([0], i32))], [condition.tensor([])], "ReducerOptions")
        condition.outputs = condition.op("LESS", [*total, condition.const(f32(100))], [condition.tensor([], "bool")])
    else:
        condition.outputs = condition.op("LESS", [0, condition.const(i32(rounds))], [condition.tensor([], "bool")])
    body.outputs = [
        *body.op("ADD", [0, body.const(i32(1))], [body.tensor([], "int32")], "AddOptions"),
        *body.op("ADD", [1, 1], [body.tensor([2])], "AddOptions"),
    ]
    start, x = g.const(i32(0)), g.input([2])
    g.outputs = g.op(
        "WHILE",
        [start, x],
        [g.tensor([], "int32"), g.tensor([2])],
        "WhileOptions",
        CondSubgraphIndex=1,
        BodySubgraphIndex=2,
    )
    value = np.array([1, 2.5], f32)
    count, expected = 0, value
    while count < rounds if rounds is not None else expected.sum() < 100:
        count, expected = count + 1, expected * 2
    got = run(m, value)
    assert got[0] == count
    np.testing.assert_array_equal(got[1], expected)


def counter(start: float) -> Model:
    """A variable that sums its inputs up; CALL_ONCE sets it before the first run."""
    m = Model()
    g, init = m.main, m.subgraph("init")
    for graph in (init, g):
        handle = graph.tensor([], "resource")
        graph.op("VAR_HANDLE", [], [handle], "VarHandleOptions")
    init.op("ASSIGN_VARIABLE", [0, init.const(np.full(3, start, f32))], [], "AssignVariableOptions")
    g.op("CALL_ONCE", [], [], "CallOnceOptions", InitSubgraphIndex=1)
    x, old, new = g.input([3]), g.tensor([3]), g.tensor([3])
    g.op("READ_VARIABLE", [0], [old], "ReadVariableOptions")
    g.outputs = g.op("ADD", [old, x], [new], "AddOptions")
    g.op("ASSIGN_VARIABLE", [0, new], [], "AssignVariableOptions")
    return m


@pytest.mark.parametrize("start", [0.0, 10.0])
def test_variables_become_state(start: float) -> None:
    stream = Session(edgec.convert(counter(start).finish(), check=False)).stream()
    for i in range(1, 4):
        result = stream(np.ones(3, f32))
        got = result[0] if isinstance(result, (list, tuple)) else result
        np.testing.assert_array_equal(got, np.full(3, start + i, f32))


def test_a_variable_that_only_is_read_is_a_constant() -> None:
    m = counter(4)
    m.main.operators.pop()
    made = edgec.convert(m.finish(), check=False)
    assert len(made.inputs) == 1
    np.testing.assert_array_equal(
        Session(made).run(None, {made.inputs[0].name: np.ones(3, f32)})[0], np.full(3, 5, f32)
    )


def test_a_variable_without_a_value() -> None:
    m = counter(4)
    del m.main.operators[1], m.main.operators[-1]
    m.graphs[1].operators.clear()
    with pytest.raises(UnsupportedError) as caught:
        edgec.convert(m.finish(), check=False)
    assert "has no value in the file" in str(caught.value.ops)


def test_signature_names() -> None:
    m = Model()
    g = m.main
    a, b = g.input([2], name="serving_default_a:0"), g.input([2], name="serving_default_b:0")
    g.outputs = g.op("SUB", [a, b], [g.tensor([2], name="StatefulPartitionedCall:0")], "SubOptions")
    m.signatures.append(("serving_default", 0, {"left": a, "right": b}, {"difference": g.outputs[0]}))
    made = edgec.convert(m.finish(), check=False)
    assert [s.name for s in made.inputs] == ["left", "right"] and [s.name for s in made.outputs] == ["difference"]


def test_open_batch() -> None:
    m = Model()
    g = m.main
    x = g.input([1, 4, 4, 2], signature=[-1, 4, 4, 2])
    y = g.tensor([1, 2, 2, 2], signature=[-1, 2, 2, 2])
    g.op("MAX_POOL_2D", [x], [y], "Pool2DOptions", Padding=1, StrideW=2, StrideH=2, FilterWidth=2, FilterHeight=2)
    g.outputs = g.op("RESHAPE", [y, g.const(np.array([-1, 8], i32))], [g.tensor([1, 8])], "ReshapeOptions")
    made = edgec.convert(m.finish(), check=False)
    assert made.inputs[0].shape[0] == "batch"
    for batch in (1, 3):
        value = np.random.default_rng(batch).standard_normal((batch, 4, 4, 2)).astype(f32)
        (got,) = Session(made).run(None, {made.inputs[0].name: value})
        np.testing.assert_array_equal(got, value.reshape(batch, 2, 2, 2, 2, 2).max((2, 4)).reshape(batch, 8))


def test_a_batch_that_the_network_fixes() -> None:
    m = Model()
    g = m.main
    x = g.input([1, 4], signature=[-1, 4])
    g.outputs = g.op("RESHAPE", [x, g.const(np.array([2, 2], i32))], [g.tensor([2, 2])], "ReshapeOptions")
    made = edgec.convert(m.finish(), check=False)
    assert list(made.inputs[0].shape) == [1, 4]
    assert "fixed to the sizes of the file" in made.report["warnings"][0]


def test_a_sandwich_of_a_dilated_convolution() -> None:
    """SPACE_TO_BATCH_ND, CONV_2D, BATCH_TO_SPACE_ND: how old converters write dilations."""
    rng = np.random.default_rng(2)
    x, w = rng.standard_normal((1, 8, 8, 3)).astype(f32), rng.standard_normal((4, 3, 3, 3)).astype(f32)
    m = Model()
    g = m.main
    block = g.const(np.array([2, 2], i32))
    s, c, y = g.tensor([4, 6, 6, 3]), g.tensor([4, 4, 4, 4]), g.tensor([1, 8, 8, 4])
    g.op("SPACE_TO_BATCH_ND", [g.input(x.shape), block, g.const(np.full((2, 2), 2, i32))], [s])
    g.op("CONV_2D", [s, g.const(w), -1], [c], "Conv2DOptions", Padding=1, StrideW=1, StrideH=1)
    g.outputs = g.op("BATCH_TO_SPACE_ND", [c, block, g.const(np.zeros((2, 2), i32))], [y])
    made = edgec.convert(m.finish(), check=False)
    padded = np.pad(x, ((0, 0), (2, 2), (2, 2), (0, 0))).astype(np.float64)
    expected = sum(padded[:, 2 * i : 2 * i + 8, 2 * j : 2 * j + 8] @ w[:, i, j].T for i in range(3) for j in range(3))
    (got,) = Session(made).run(None, {made.inputs[0].name: x})
    np.testing.assert_allclose(got, expected, rtol=0, atol=27 * np.finfo(f32).eps * 16)
    assert made.report["operators"]["after"] == {"Conv2d": 1}


def test_four_bit_weights() -> None:
    values = np.array([[-8, 7, 3], [1, -1, 5], [0, 2, -4], [6, -7, 4]], np.int8)
    nibbles = (values.reshape(-1, 2) & 15).astype(np.uint8)
    m = Model()
    g = m.main
    w = g.tensor([4, 3], "int4", (nibbles[:, 0] | nibbles[:, 1] << 4).tobytes(), scale=[0.5, 1, 2, 0.25], axis=0)
    table = g.op("DEQUANTIZE", [w], [g.tensor([4, 3])])
    g.outputs = g.op("GATHER", [*table, g.input([2], "int32")], [g.tensor([2, 3])], "GatherOptions", Axis=0)
    (got,) = run(m, np.array([3, 0], i32))
    np.testing.assert_array_equal(got, values[[3, 0]] * np.array([[0.25], [0.5]], f32))


def detection(regular: bool, per_box: int = 1) -> tuple[Model, list[np.ndarray]]:
    from flatbuffers import flexbuffers

    rng = np.random.default_rng(11)
    n, classes = 40, 3
    anchors = np.concatenate([rng.random((n, 2)), rng.random((n, 2)) * 0.3 + 0.1], 1).astype(f32)
    options = {
        "max_detections": 6, "max_classes_per_detection": per_box, "detections_per_class": 10, "num_classes": classes,
        "nms_score_threshold": 0.3, "nms_iou_threshold": 0.4, "use_regular_nms": regular,
        "y_scale": 10.0, "x_scale": 10.0, "h_scale": 5.0, "w_scale": 5.0,
    }  # fmt: skip
    m = Model()
    g = m.main
    inputs = [g.input([1, n, 4]), g.input([1, n, classes + 1]), g.const(anchors)]
    count = 6 * per_box
    g.outputs = [g.tensor(s) for s in ([1, count, 4], [1, count], [1, count], [1])]
    g.op("TFLite_Detection_PostProcess", inputs, g.outputs, custom_options=bytes(flexbuffers.Dumps(options)))
    scores = rng.random((1, n, classes + 1)).astype(f32) * f32(0.9)
    return m, [rng.standard_normal((1, n, 4)).astype(f32), scores]


@pytest.mark.parametrize(("regular", "per_box"), [(False, 1), (False, 2), (True, 1)])
def test_detection_post_processing(regular: bool, per_box: int) -> None:
    pytest.importorskip("ai_edge_litert")
    m, feeds = detection(regular, per_box)
    got, expected = run(m, *feeds), litert(m.finish(), *feeds)
    assert expected[3] > 0
    for a, b in zip(got, expected):
        assert a.shape == b.shape
        np.testing.assert_allclose(a, b, rtol=0, atol=64 * np.finfo(f32).eps)


@pytest.mark.parametrize(("kernel", "stride"), [(2, 2), (3, 2), (4, 2), (3, 1)])
def test_transposed_convolution_of_mediapipe(kernel: int, stride: int) -> None:
    """The same as TRANSPOSE_CONV with the output size of SAME padding, and a bias."""
    rng = np.random.default_rng(13)
    x, w = rng.standard_normal((1, 4, 5, 3)).astype(f32), rng.standard_normal((6, kernel, kernel, 3)).astype(f32)
    b, out = rng.standard_normal(6).astype(f32), [1, 4 * stride, 5 * stride, 6]
    results = []
    for custom in (True, False):
        m = Model()
        g = m.main
        place, weight, bias, y = g.input(x.shape), g.const(w), g.const(b), g.tensor(out)
        if custom:
            raw = struct.pack("<iii", 1, stride, stride)
            g.outputs = g.op("Convolution2DTransposeBias", [place, weight, bias], [y], custom_options=raw)
        else:
            inputs = [g.const(np.array(out, i32)), weight, place, bias]
            options = {"Padding": 0, "StrideW": stride, "StrideH": stride}
            g.outputs = g.op("TRANSPOSE_CONV", inputs, [y], "TransposeConvOptions", **options)
        results.append(run(m, x)[0])
    np.testing.assert_array_equal(results[0], results[1])
