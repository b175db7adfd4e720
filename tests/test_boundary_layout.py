"""Inputs and outputs in another layout than the source's."""

from __future__ import annotations

import numpy as np
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgec
from edgec.errors import InvalidArgumentError
from edgec.session import Session


def model() -> bytes:
    """One convolution, NCHW."""
    rng = np.random.default_rng(3)
    weight = numpy_helper.from_array(rng.standard_normal((4, 3, 3, 3)).astype(np.float32), "w")
    node = helper.make_node("Conv", ["x", "w"], ["y"], pads=[1, 1, 1, 1])
    graph = helper.make_graph(
        [node], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", 3, 5, 7])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", 4, 5, 7])],
        [weight],
    )  # fmt: skip
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()


@pytest.mark.parametrize("inputs", [None, "nchw", "nhwc"])
@pytest.mark.parametrize("outputs", [None, "nchw", "nhwc"])
def test_the_same_numbers_in_another_order(inputs, outputs):
    x = np.random.default_rng(4).standard_normal((2, 3, 5, 7)).astype(np.float32)
    source = edgec.convert(model())
    (expected,) = Session(source).run(None, {"x": x})
    made = edgec.convert(model(), input_layout=inputs, output_layout=outputs)  # compares with the source, too
    assert [s.name for s in made.inputs] == ["x"] and [s.name for s in made.outputs] == ["y"]
    feed = x.transpose(0, 2, 3, 1).copy() if inputs == "nhwc" else x
    (got,) = Session(made).run(None, {"x": feed})
    np.testing.assert_array_equal(got.transpose(0, 3, 1, 2) if outputs == "nhwc" else got, expected)
    assert made.report["layouts"] == {"inputs": {"x": inputs or "nchw"}, "outputs": {"y": outputs or "nchw"}}
    assert made.report["check"][0]["ok"]


def test_transposes_at_the_boundary_cancel():
    made = edgec.convert(model(), input_layout="nhwc", output_layout="nhwc")
    assert made.report["operators"]["after"].get("Transpose", 0) == 0


def test_nothing_to_move():
    with pytest.raises(InvalidArgumentError, match="expected nchw or nhwc"):
        edgec.convert(model(), input_layout="chwn")
    matrix = helper.make_graph(
        [helper.make_node("Relu", ["x"], ["y"])], "g",
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [2, 3])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [2, 3])],
    )  # fmt: skip
    content = helper.make_model(matrix, opset_imports=[helper.make_opsetid("", 17)], ir_version=9).SerializeToString()
    with pytest.raises(InvalidArgumentError, match="no input with 4 or 5 dimensions"):
        edgec.convert(content, input_layout="nhwc")
