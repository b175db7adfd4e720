"""Everything that is missing is listed at once, with count, place and advice; nothing is written."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgec
from edgec.errors import ShapeError, UnsupportedError
from tests.frontends.test_onnx_hostile import model_of, value


def test_all_rows_with_counts_and_places(tmp_path: Path) -> None:
    nodes = [
        helper.make_node("StringNormalizer", ["x"], ["a"], name="first"),
        helper.make_node("Relu", ["a"], ["b"]),
        helper.make_node("StringNormalizer", ["b"], ["c"], name="second"),
        helper.make_node("Thing", ["c"], ["d"], name="third", domain="com.example"),
        helper.make_node("If", ["d"], ["y"], name="choice",
                         then_branch=helper.make_graph([], "t", [], [value("x")]),
                         else_branch=helper.make_graph([], "e", [], [value("x")])),
    ]  # fmt: skip
    model = model_of(nodes, [value("x", [4])], [value("y", [4])])
    model.opset_import.add(domain="com.example", version=1)
    with pytest.raises(UnsupportedError) as raised:
        edgec.convert(model)
    rows = {o.op: o for o in raised.value.ops}
    assert rows["StringNormalizer"].count == 2
    assert "first" in rows["StringNormalizer"].where and "second" in rows["StringNormalizer"].where
    assert rows["com.example::Thing"].count == 1
    assert "Relu" not in rows
    assert raised.value.exit_code == 3
    assert all(o.advice for o in raised.value.ops)
    assert raised.value.message.startswith("3 of 5 operators")


def test_the_users_own_source_line_is_named() -> None:
    node = helper.make_node("Thing", ["x"], ["y"], name="node_thing", domain="d")
    trace = 'File "/home/me/net.py", line 88, in forward\n  File "/venv/torch/nn/modules/conv.py", line 3, in forward'
    node.metadata_props.add(key="pkg.torch.onnx.stack_trace", value=trace)
    model = model_of([node], [value("x", [4])], [value("y", [4])])
    model.opset_import.add(domain="d", version=1)
    with pytest.raises(UnsupportedError) as raised:
        edgec.convert(model)
    assert raised.value.ops[0].where == "net.py:88 forward()"


def test_a_form_that_is_missing_says_what_to_do() -> None:
    ratio = numpy_helper.from_array(np.array(0.5, np.float32), "ratio")
    training = numpy_helper.from_array(np.array(True), "training")
    node = helper.make_node("Dropout", ["x", "ratio", "training"], ["y"])
    model = model_of([node], [value("x", [4])], [value("y", [4])], initializers=[ratio, training])
    with pytest.raises(UnsupportedError) as raised:
        edgec.convert(model)
    assert raised.value.ops[0].op == "Dropout"
    assert "model.eval()" in raised.value.ops[0].advice


def test_shapes_that_depend_on_data_keep_their_rank() -> None:
    """Positions of the positive elements: Transpose and Gather behind NonZero need to know that it has two dimensions."""
    zero = numpy_helper.from_array(np.array(0, np.float32), "zero")
    nodes = [
        helper.make_node("Greater", ["x", "zero"], ["m"]),
        helper.make_node("NonZero", ["m"], ["p"]),
        helper.make_node("Transpose", ["p"], ["t"]),
        helper.make_node("GatherND", ["x", "t"], ["y"]),
    ]
    outputs = [value("y", None), value("t", None, TensorProto.INT64)]
    model = model_of(nodes, [value("x", [4, 5])], outputs, initializers=[zero])
    session = edgec.Session(edgec.convert(model))
    rng = np.random.default_rng(0)
    for _ in range(3):  # another number of positions in each run
        x = rng.standard_normal((4, 5)).astype(np.float32)
        values, places = session.run(None, {"x": x})
        np.testing.assert_array_equal(values, x[x > 0])
        np.testing.assert_array_equal(places, np.argwhere(x > 0))


def test_a_shape_that_does_not_fit_is_a_shape_error() -> None:
    shape = numpy_helper.from_array(np.array([2, 8], np.int64), "s")
    model = model_of(
        [helper.make_node("Reshape", ["x", "s"], ["y"])],
        [value("x", ["n", 4])],
        [value("y", [2, 8])],
        initializers=[shape],
    )
    with pytest.raises(ShapeError, match="n?"):
        edgec.convert(model, shapes="3x4")
    got = edgec.Session(edgec.convert(model, shapes="4x4"))(np.zeros((4, 4), np.float32))
    assert got.shape == (2, 8)


def test_a_strategy_for_symbols_that_only_some_sizes_fit() -> None:
    """Four halvings, then a concatenation: only multiples of 16 work; the probes find one."""
    nodes, last = [], "x"
    for i in range(4):
        nodes.append(helper.make_node("MaxPool", [last], [f"p{i}"], kernel_shape=[2, 2], strides=[2, 2]))
        last = f"p{i}"
    scales = numpy_helper.from_array(np.array([1, 1, 16, 16], np.float32), "scales")
    nodes.append(helper.make_node("Resize", [last, "", "scales"], ["up"], mode="nearest"))
    nodes.append(helper.make_node("Concat", ["x", "up"], ["y"], axis=1))
    model = model_of(nodes, [value("x", ["n", 3, "h", "w"])], [value("y", ["n", 6, "h", "w"])], initializers=[scales])
    converted = edgec.convert(model)
    session = edgec.Session(converted)
    for shape in ((1, 3, 16, 48), (2, 3, 64, 32)):
        assert session(np.zeros(shape, np.float32)).shape == (shape[0], 6, *shape[2:])
