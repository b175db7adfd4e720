"""edgec.Model, edgec.load: inputs, outputs, saving, metadata."""

from __future__ import annotations

import json
import os
import stat

import numpy as np
import pytest

import edgec
from edgec.converter.ir.graph import Graph
from edgec.converter.writer import to_bytes
from tests.api.networks import convolution, scaled, two_by_two


def test_inputs_and_outputs():
    model = edgec.Model.from_bytes(two_by_two().data)
    assert [(s.name, s.shape, s.dtype) for s in model.inputs] == [
        ("a", (2, 3), np.dtype("float32")),
        ("b", (2, 3), np.dtype("float32")),
    ]
    assert [(s.name, s.shape) for s in model.outputs] == [("sum", (2, 3)), ("difference", (2, 3))]
    assert repr(model) == "<edgec.Model (a: float32[2,3], b: float32[2,3]) -> (sum, difference)>"


def test_symbolic_dimensions_keep_their_names_and_ranges():
    graph = Graph("dynamic")
    graph.add_symbol("width", 2, 9)
    x = graph.add_input("x", "f32", ("batch", "width", 4))
    graph.set_outputs(graph.add("Relu", [x], outputs=["y"]))
    model = edgec.Model.from_bytes(to_bytes(graph))
    assert model.inputs[0].shape == ("batch", "width", 4)
    assert model.symbols == {"batch": (1, 0), "width": (2, 9)}
    assert model.outputs[0].shape == ("?", "?", 4)
    session = edgec.Session(model)
    assert session(np.zeros((3, 9, 4), np.float32)).shape == (3, 9, 4)
    for width in (1, 10):
        with pytest.raises(edgec.ShapeError):
            session(np.zeros((3, width, 4), np.float32))


def test_save_and_load_give_the_same_bytes(tmp_path):
    data = scaled().data
    model = edgec.Model.from_bytes(data)
    path = model.save(tmp_path / "net.edge")
    assert path.read_bytes() == data == model.to_bytes()
    loaded = edgec.load(path)
    assert loaded.to_bytes() == data
    assert loaded.inputs == model.inputs
    loaded.save(tmp_path / "copy.edge")
    assert (tmp_path / "copy.edge").read_bytes() == data
    assert sorted(p.name for p in tmp_path.iterdir()) == ["copy.edge", "net.edge"]


def test_bytes_of_every_kind():
    data = scaled().data
    for form in (data, bytearray(data), memoryview(data)):
        assert edgec.Model.from_bytes(form).inputs[0].name == "x"


def test_saving_replaces_only_when_allowed(tmp_path):
    model = edgec.Model.from_bytes(scaled().data)
    target = tmp_path / "net.edge"
    target.write_text("old")
    with pytest.raises(edgec.UsageError, match="exists"):
        model.save(target, overwrite=False)
    assert target.read_text() == "old"
    model.save(target)
    assert target.read_bytes() == model.to_bytes()
    with pytest.raises(edgec.UsageError):
        model.save(tmp_path / "no_such_folder" / "net.edge")
    with pytest.raises(edgec.UsageError, match="not a regular file"):
        model.save(tmp_path)


def test_saved_files_have_ordinary_permissions(tmp_path):
    mask = os.umask(0o022)
    try:
        path = edgec.Model.from_bytes(scaled().data).save(tmp_path / "net.edge")
    finally:
        os.umask(mask)
    assert stat.S_IMODE(path.stat().st_mode) == 0o644


def test_saving_over_the_mapped_file_leaves_the_open_model_whole(tmp_path):
    first, second = scaled().data, two_by_two().data
    path = edgec.Model.from_bytes(first).save(tmp_path / "net.edge")
    model = edgec.load(path)
    session = edgec.Session(model)
    edgec.Model.from_bytes(second).save(path)
    np.testing.assert_array_equal(session(np.ones((1, 4), np.float32)), [[0, 1, 2, 3]])
    np.testing.assert_array_equal(edgec.Session(model)(np.ones((1, 4), np.float32)), [[0, 1, 2, 3]])


def test_metadata_and_report():
    model = edgec.Model.from_bytes(scaled(labels="a\nb", report=json.dumps({"fused": {"x": 1}})).data)
    assert model.metadata["labels"] == "a\nb"
    assert model.report == {"fused": {"x": 1}}
    assert edgec.Model.from_bytes(scaled().data).report == {}
    assert edgec.Model.from_bytes(scaled(report="{broken").data).report == {}
    assert edgec.Model.from_bytes(scaled().data, report={"own": 1}).report == {"own": 1}


def test_verify_finds_a_changed_weight(tmp_path):
    network = convolution()
    path = edgec.Model.from_bytes(network.data, verify=True).save(tmp_path / "net.edge")
    data = bytearray(network.data)
    weight = np.ascontiguousarray(edgec.Model.from_bytes(network.data).native.constant("fc")).tobytes()
    data[network.data.index(weight[:64])] ^= 1
    path.write_bytes(data)
    edgec.load(path)  # any bits of a weight are safe
    with pytest.raises(edgec.BadFileError, match="checksum"):
        edgec.load(path, verify=True)


def test_truncated_and_changed_files_never_crash():
    data = scaled().data
    for size in range(0, len(data), 7):
        with pytest.raises(edgec.BadFileError):
            edgec.Model.from_bytes(data[:size])
    for at in range(512):
        changed = bytearray(data)
        changed[at] ^= 0xFF
        try:
            edgec.Model.from_bytes(changed)
        except edgec.Error as e:
            assert isinstance(e, edgec.BadFileError)


def test_constants_are_read_only_views_that_keep_the_model():
    import gc

    array = edgec.Model.from_bytes(scaled().data).native.constant("factors")
    gc.collect()
    np.testing.assert_array_equal(array, [0, 1, 2, 3])
    assert not array.flags.writeable
    with pytest.raises(ValueError, match="read-only"):
        array[0] = 1


def test_symbolic_sizes_that_are_too_small_are_not_insisted_on():
    """A convolution without padding and a halving need a picture of some size; nobody has to say which."""
    graph = Graph("picture")
    graph.add_symbol("height", 1, 0, example=64)
    graph.add_symbol("width", 1, 0, example=64)
    x = graph.add_input("x", "f32", ("batch", "height", "width", 2))
    weight = graph.constant("w", np.ones((3, 5, 5, 2), np.float32))
    (y,) = graph.add("Conv2d", [x, weight])
    (y,) = graph.add("MaxPool2d", [y], {"kernel": [2, 2], "strides": [2, 2]}, outputs=["y"])
    graph.set_outputs([y])
    model = edgec.Model.from_bytes(to_bytes(graph))
    (shape,) = model.example_shapes
    assert shape[0] == 1
    assert shape[1] == shape[2] > 5
    assert model.outputs[0].shape == ("?", "?", "?", 3)
    session = edgec.Session(model)
    assert session(np.zeros((2, 9, 11, 2), np.float32)).shape == (2, 2, 3, 3)
    with pytest.raises(edgec.ShapeError):
        session(np.zeros((2, 3, 3, 2), np.float32))
    assert session(np.zeros((1, 6, 6, 2), np.float32)).shape == (1, 1, 1, 3)
