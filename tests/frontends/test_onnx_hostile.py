"""ONNX files that are damaged, too new, or built to reach outside their folder: an error, never a hang or a crash."""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

import edgec
from edgec.errors import BadFileError, Error, UnsafeFileError, UnsupportedError


def model_of(nodes: list[Any], inputs: list[Any], outputs: list[Any], **kw: Any) -> onnx.ModelProto:
    opset = kw.pop("opset", 17)
    graph = helper.make_graph(nodes, "g", inputs, outputs, kw.pop("initializers", []))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], **kw)


def value(name: str, shape: list[Any] | None = None, kind: int = TensorProto.FLOAT) -> Any:
    return helper.make_tensor_value_info(name, kind, shape)


def external(
    location: str, offset: int | None = None, length: int | None = None, dims: tuple[int, ...] = (4,)
) -> onnx.ModelProto:
    weight = TensorProto(name="w", data_type=TensorProto.FLOAT, dims=dims, data_location=TensorProto.EXTERNAL)
    for key, v in (("location", location), ("offset", offset), ("length", length)):
        if v is not None:
            weight.external_data.add(key=key, value=str(v))
    return model_of(
        [helper.make_node("Add", ["x", "w"], ["y"])], [value("x", [4])], [value("y", [4])], initializers=[weight]
    )


def save(path: Path, model: onnx.ModelProto) -> Path:
    path.write_bytes(model.SerializeToString())
    return path


def test_external_data_beside_the_model(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "sub" / "w.bin").write_bytes(bytes(16) + np.arange(4, dtype=np.float32).tobytes())
    model = edgec.convert(save(tmp_path / "m.onnx", external("sub/w.bin", 16, 16)), check=False)
    np.testing.assert_array_equal(edgec.Session(model)(np.ones(4, np.float32)), [1, 2, 3, 4])


@pytest.mark.parametrize(
    "location", ["../w.bin", "/etc/passwd", "sub/../../w.bin", "", "a\0b", "..\\w.bin", "/dev/zero"]
)
def test_external_data_outside_the_folder(location: str, tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))
    folder = tmp_path / "model"
    folder.mkdir()
    with pytest.raises(UnsafeFileError):
        edgec.convert(save(folder / "m.onnx", external(location)), check=False)


@pytest.mark.parametrize("kind", ["symlink", "folder symlink", "hard link", "fifo", "missing", "directory", "empty"])
def test_external_data_that_is_no_plain_file(kind: str, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_bytes(bytes(16))
    folder = tmp_path / "model"
    folder.mkdir()
    name = "w.bin"
    if kind == "symlink":
        (folder / name).symlink_to(secret)
    elif kind == "folder symlink":
        (folder / "sub").symlink_to(tmp_path)
        name = "sub/secret"
    elif kind == "hard link":
        os.link(secret, folder / name)
    elif kind == "fifo":
        os.mkfifo(folder / name)
    elif kind == "directory":
        (folder / name).mkdir()
    elif kind == "empty":
        (folder / name).write_bytes(b"")
    with pytest.raises(BadFileError):
        edgec.convert(save(folder / "m.onnx", external(name)), check=False)


@pytest.mark.parametrize(
    ("offset", "length", "dims"),
    [
        (8, 16, (4,)),
        (-8, 16, (4,)),
        (0, 8, (4,)),
        (0, 2**62, (4,)),
        (2**62, 16, (4,)),
        (0, 16, (2**40,)),
        (0, 16, (-1, 4)),
    ],
)
def test_external_data_beyond_its_file(offset: int, length: int, dims: tuple[int, ...], tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))
    with pytest.raises(BadFileError):
        edgec.convert(save(tmp_path / "m.onnx", external("w.bin", offset, length, dims)), check=False)


def test_strange_external_keys_are_ignored(tmp_path: Path) -> None:
    (tmp_path / "w.bin").write_bytes(bytes(16))
    model = external("w.bin")
    model.graph.initializer[0].external_data.add(key="__class__", value="os")
    edgec.convert(save(tmp_path / "m.onnx", model), check=False)


@pytest.mark.parametrize("opset", [0, 9999, 2**40])
def test_unknown_opsets(opset: int) -> None:
    model = model_of([helper.make_node("Relu", ["x"], ["y"])], [value("x", [4])], [value("y", [4])], opset=opset)
    with pytest.raises(Error):
        edgec.convert(model, check=False)


def test_unknown_domain_is_named() -> None:
    node = helper.make_node("Warp", ["x"], ["y"], domain="my.company")
    model = model_of([node], [value("x", [4])], [value("y", [4])])
    model.opset_import.add(domain="my.company", version=1)
    with pytest.raises(UnsupportedError, match="my.company::Warp"):
        edgec.convert(model, check=False)


def test_a_function_that_calls_itself() -> None:
    body = helper.make_function(
        "f", "loop", ["a"], ["b"], [helper.make_node("loop", ["a"], ["b"], domain="f")], [helper.make_opsetid("f", 1)]
    )
    model = model_of([helper.make_node("loop", ["x"], ["y"], domain="f")], [value("x", [4])], [value("y", [4])])
    model.opset_import.add(domain="f", version=1)
    model.functions.append(body)
    with pytest.raises(UnsupportedError, match="nested"):
        edgec.convert(model, check=False)


def test_functions_that_double_each_other() -> None:
    """2^40 operators from forty small functions."""
    functions = []
    for i in range(40):
        inner = f"f{i + 1}" if i < 39 else "Relu"
        domain = "f" if i < 39 else ""
        nodes = [
            helper.make_node(inner, ["a"], ["t"], domain=domain),
            helper.make_node(inner, ["t"], ["b"], domain=domain),
        ]
        functions.append(
            helper.make_function(
                "f", f"f{i}", ["a"], ["b"], nodes, [helper.make_opsetid("", 17), helper.make_opsetid("f", 1)]
            )
        )
    model = model_of([helper.make_node("f0", ["x"], ["y"], domain="f")], [value("x", [4])], [value("y", [4])])
    model.opset_import.add(domain="f", version=1)
    model.functions.extend(functions)
    with pytest.raises(UnsupportedError, match="operators when it is expanded"):
        edgec.convert(model, check=False)


def test_cycles_and_missing_tensors() -> None:
    nodes = [helper.make_node("Add", ["x", "b"], ["a"]), helper.make_node("Relu", ["a"], ["b"])]
    with pytest.raises(BadFileError, match="'b', which nothing before it writes"):
        edgec.convert(model_of(nodes, [value("x", [4])], [value("b", [4])]), check=False)


@pytest.mark.parametrize("count", [2, 8, 1000])
def test_data_that_does_not_fit_its_shape(count: int) -> None:
    weight = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    weight.dims[0] = count
    model = model_of(
        [helper.make_node("Add", ["x", "w"], ["y"])],
        [value("x", [count])],
        [value("y", [count])],
        initializers=[weight],
    )
    with pytest.raises(BadFileError, match="'w'"):
        edgec.convert(model, check=False)


@pytest.mark.parametrize("op", ["ConstantOfShape", "Expand", "Tile", "Range"])
def test_petabytes_from_constants(op: str) -> None:
    """Nothing of that size may be built while constants are folded."""
    big = numpy_helper.from_array(np.array([2**17, 2**17, 2**16], np.int64), "s")
    one = numpy_helper.from_array(np.ones((1, 1, 1), np.float32), "one")
    scalars = [numpy_helper.from_array(np.array(v, np.float32), f"v{v}") for v in (0, 1)]
    top = numpy_helper.from_array(np.array(1e15, np.float32), "top")
    inputs = {"ConstantOfShape": ["s"], "Expand": ["one", "s"], "Tile": ["one", "s"], "Range": ["v0", "top", "v1"]}[op]
    nodes = [
        helper.make_node(op, inputs, ["big"]),
        helper.make_node("ReduceSum", ["big"], ["r"], keepdims=0),
        helper.make_node("Add", ["x", "r"], ["y"]),
    ]
    model = model_of(nodes, [value("x", [1])], [value("y", [1])], initializers=[big, one, top, *scalars])
    start = time.perf_counter()
    with pytest.raises(Error):
        edgec.Session(edgec.convert(model, check=False), max_memory=1 << 30)
    assert time.perf_counter() - start < 60


def test_a_loop_with_a_huge_trip_count() -> None:
    body = helper.make_graph(
        [helper.make_node("Identity", ["c"], ["c2"]), helper.make_node("Add", ["v", "v"], ["v2"])],
        "body",
        [value("i", [], TensorProto.INT64), value("c", [], TensorProto.BOOL), value("v", [4])],
        [value("c2", [], TensorProto.BOOL), value("v2", [4])],
    )
    trips = numpy_helper.from_array(np.array(2**62, np.int64), "n")
    go = numpy_helper.from_array(np.array(True), "go")
    model = model_of(
        [helper.make_node("Loop", ["n", "go", "x"], ["y"], body=body)],
        [value("x", [4])],
        [value("y", [4])],
        initializers=[trips, go],
    )
    start = time.perf_counter()
    converted = edgec.convert(model, check=False)  # kept as a loop, not unrolled
    assert any(n["op"] == "Loop" for n in converted.native.nodes())
    assert time.perf_counter() - start < 60


def test_any_damage_to_the_bytes(rng: np.random.Generator) -> None:
    weight = numpy_helper.from_array(np.ones((4, 4), np.float32), "w")
    nodes = [helper.make_node("MatMul", ["x", "w"], ["t"]), helper.make_node("Softmax", ["t"], ["y"], axis=-1)]
    data = model_of(nodes, [value("x", [1, 4])], [value("y", [1, 4])], initializers=[weight]).SerializeToString()
    for end in range(len(data)):
        try:
            edgec.convert(data[:end], check=False)
        except Error:
            continue
    for at in range(len(data)):
        changed = bytearray(data)
        changed[at] ^= int(rng.integers(1, 256))
        try:
            edgec.convert(bytes(changed), check=False)
        except Error:
            continue
