"""The writer against an independent reading of docs/format.md, against the runtime, and against a bad file system."""

from __future__ import annotations

import os
import stat
import struct
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from edgec import Session, _core
from edgec.converter import writer
from edgec.converter.ir.graph import Graph, Quantization
from edgec.errors import Error


class Cursor:
    """Little-endian fields one after the other, as the specification lists them."""

    def __init__(self, data: bytes) -> None:
        self.data, self.at = data, 0

    def take(self, form: str) -> Any:
        values = struct.unpack_from("<" + form, self.data, self.at)
        self.at += struct.calcsize("<" + form)
        return values[0] if len(values) == 1 else values

    def text(self) -> str:
        size = self.take("I")
        self.at += size
        return self.data[self.at - size : self.at].decode()

    def numbers(self, form: str) -> list[Any]:
        count = self.take("I")
        return [self.take(form) for _ in range(count)]


DTYPES = ["f32", "f16", "bf16", "i8", "u8", "i32", "i64", "bool", "f64", "i16", "u16", "u32", "u64"]


def sections(data: bytes) -> dict[str, bytes]:
    c = Cursor(data)
    assert data[:8] == b"\x89EDGE\r\n\x1a"
    c.at = 8
    major, minor, mark, count, crc, size = c.take("HHIIIQ")
    assert (major, minor, mark, size) == (1, 0, 0x01020304, len(data))
    table = data[64 : 64 + 32 * count]
    assert crc == zlib.crc32(data[:20] + bytes(4) + data[24:64] + table)
    found, previous_end = {}, 64 + 32 * count
    for i in range(count):
        kind, section_crc, offset, length, zero = struct.unpack_from("<4sIQQQ", table, 32 * i)
        assert offset % (4096 if kind == b"WGHT" else 64) == 0
        assert zero == 0
        assert offset >= previous_end
        assert not any(data[previous_end:offset])
        part = data[offset : offset + length]
        assert section_crc == zlib.crc32(part)
        found[kind.decode()] = part
        previous_end = offset + length
    assert previous_end == len(data)
    return found


def parse(data: bytes) -> dict[str, Any]:
    parts = sections(data)
    c = Cursor(parts["GRPH"])
    model: dict[str, Any] = {"operators": [(c.text(), c.take("I")) for _ in range(c.take("I"))]}
    model["symbols"] = [(c.text(), *c.take("qq")) for _ in range(c.take("I"))]
    assert c.take("I") == 1
    model["name"] = c.text()
    tensors = []
    for _ in range(c.take("I")):
        t: dict[str, Any] = {"name": c.text()}
        t["kind"], flags = c.take("BB")
        if t["kind"]:
            dtype, rank = c.take("BB")
            t["dtype"] = DTYPES[dtype - 1]
            t["shape"] = [c.take("q") for _ in range(rank)]
        if t["kind"] == 1:
            offset, size = c.take("QQ")
            assert offset % 64 == 0
            t["offset"], t["data"] = offset, parts["WGHT"][offset : offset + size]
        if flags & 1:
            t["axis"] = c.take("i")
            count = c.take("I")
            t["scale"] = [c.take("f") for _ in range(count)]
            t["zero_point"] = [c.take("i") for _ in range(count)]
        tensors.append(t)
    model["tensors"] = tensors
    model["inputs"], model["outputs"] = c.numbers("I"), c.numbers("I")
    nodes = []
    for _ in range(c.take("I")):
        n: dict[str, Any] = {"op": model["operators"][c.take("I")][0], "name": c.text()}
        n["inputs"], n["outputs"], n["attrs"] = c.numbers("I"), c.numbers("I"), {}
        for _ in range(c.take("I")):
            name, kind = c.text(), c.take("B")
            read = {
                1: lambda: c.take("q"),
                2: lambda: c.take("d"),
                3: c.text,
                4: lambda: c.numbers("q"),
                5: lambda: c.numbers("d"),
            }
            n["attrs"][name] = read[kind]()
        nodes.append(n)
    model["nodes"] = nodes
    assert c.at == len(parts["GRPH"])
    meta = Cursor(parts["META"])
    model["metadata"] = {meta.text(): meta.text() for _ in range(meta.take("I"))}
    return model


def example() -> Graph:
    graph = Graph("net")
    graph.add_symbol("n", 1, 8)
    x = graph.add_input("x", "f32", ("n", 6, 6, 2))
    weight = np.arange(18, dtype=np.float32).reshape(1, 3, 3, 2)
    attrs = {
        "pads": [1, 1, 1, 1],
        "strides": [1, 1],
        "activation": "clip",
        "activation_alpha": -1.5,
        "activation_beta": 6.0,
    }
    (y,) = graph.add("Conv2d", [x, graph.constant("w", weight), None, None], attrs, name="conv")
    (z,) = graph.add("Conv2d", [x, graph.constant("w2", weight.copy())], name="conv2")
    graph.add("TopK", [y, graph.constant("k", np.array([1]))], outputs=["values", "indices"])
    graph.set_outputs([z, graph.nodes[-1].outputs[1]])
    graph.metadata.update({"source": "net.pt", "producer": "test"})
    return graph


def test_file_says_what_the_graph_says() -> None:
    model = parse(writer.to_bytes(example()))
    assert [op for op, _ in model["operators"]] == ["Conv2d", "TopK"]
    assert all(version == _core.schema(op)["version"] for op, version in model["operators"])
    assert model["symbols"] == [("n", 1, 8)]
    tensors = {t["name"]: t for t in model["tensors"]}
    assert tensors["x"]["shape"] == [-1, 6, 6, 2]
    assert tensors["x"]["dtype"] == "f32"
    np.testing.assert_array_equal(np.frombuffer(tensors["w"]["data"], np.float32), np.arange(18))
    conv, conv2, topk = model["nodes"]
    index = [t["name"] for t in model["tensors"]]
    assert [index[i] for i in conv["inputs"]] == ["x", "w"]  # trailing omitted inputs are not written
    assert conv["attrs"] == {
        "pads": [1, 1, 1, 1],
        "activation": "clip",
        "activation_alpha": -1.5,
        "activation_beta": 6.0,
    }
    assert conv2["attrs"] == {}
    assert [index[i] for i in topk["outputs"]] == ["values", "indices"]
    assert [index[i] for i in model["outputs"]] == ["conv2", "indices"]
    assert model["metadata"] == {"source": "net.pt", "producer": "test"}


def test_equal_constants_share_their_bytes() -> None:
    tensors = {t["name"]: t for t in parse(writer.to_bytes(example()))["tensors"]}
    assert tensors["w"]["offset"] == tensors["w2"]["offset"]
    assert tensors["k"]["offset"] != tensors["w"]["offset"]


def test_same_graph_same_bytes() -> None:
    assert writer.to_bytes(example()) == writer.to_bytes(example())


def test_runtime_reads_and_runs_it() -> None:
    graph = example()
    session = Session(writer.to_bytes(graph))
    x = np.random.default_rng(0).standard_normal((3, 6, 6, 2)).astype(np.float32)
    got = session.run(None, {"x": x})
    assert got[0].shape == (3, 4, 4, 1)
    assert got[1].shape == (3, 6, 6, 1)
    assert not got[1].any()


def test_quantization_is_stored() -> None:
    graph = Graph()
    x = graph.add_input("x", "i8", (2, 3))
    x.quantization = Quantization((0.5,), (-3,))
    w = graph.constant("w", np.ones((2, 3), np.int8))
    w.quantization = Quantization((0.25, 0.125, 1.0), (0, 0, 0), 1)
    (y,) = graph.add("Add", [x, w])
    graph.set_outputs([y])
    tensors = {t["name"]: t for t in parse(writer.to_bytes(graph))["tensors"]}
    assert (tensors["x"]["axis"], tensors["x"]["scale"], tensors["x"]["zero_point"]) == (-1, [0.5], [-3])
    assert (tensors["w"]["axis"], tensors["w"]["scale"]) == (1, [0.25, 0.125, 1.0])
    assert "scale" not in tensors["Add"]


def test_optional_output_that_nobody_reads_is_omitted() -> None:
    graph = Graph()
    x = graph.add_input("x", "f32", (5, 1, 3))
    w, r = (graph.constant(n, np.zeros((1, 16, k), np.float32)) for n, k in (("W", 3), ("R", 4)))
    values = graph.add("LSTM", [x, w, r], {"hidden_size": 4}, outputs=["y", "h", "c"])
    graph.set_outputs([values[1]])
    model = parse(writer.to_bytes(graph))
    index = [t["name"] for t in model["tensors"]]
    outputs = model["nodes"][0]["outputs"]
    assert outputs[0] == 0xFFFFFFFF
    assert index[outputs[1]] == "h"
    assert len(outputs) == 2
    assert Session(writer.to_bytes(graph)).run(None, {"x": np.ones((5, 1, 3), np.float32)})[0].shape == (1, 1, 4)


@pytest.mark.parametrize("dtype", [np.float16, np.int8, np.uint8, np.int32, np.int64, np.bool_, np.float64, np.uint16])
def test_constants_of_every_type(dtype: Any) -> None:
    graph = Graph()
    data = np.array([[0, 1], [2, 3]]).astype(dtype)
    c = graph.constant("c", data)
    (y,) = graph.add("Identity", [c])
    graph.set_outputs([y])
    (tensor,) = [t for t in parse(writer.to_bytes(graph))["tensors"] if t["name"] == "c"]
    np.testing.assert_array_equal(np.frombuffer(tensor["data"], dtype).reshape(2, 2), data)


def test_non_contiguous_and_big_endian_constants() -> None:
    graph = Graph()
    base = np.arange(12, dtype=np.float32).reshape(3, 4)
    c = graph.constant("c", base.T)
    c.data = base.T.astype(">f4")
    (y,) = graph.add("Identity", [c])
    graph.set_outputs([y])
    (tensor,) = [t for t in parse(writer.to_bytes(graph))["tensors"] if t["name"] == "c"]
    np.testing.assert_array_equal(np.frombuffer(tensor["data"], "<f4").reshape(4, 3), base.T)


@pytest.mark.parametrize("name", ["", "a\0b", "x" * 5000])
def test_names_that_the_format_forbids(name: str) -> None:
    graph = example()
    graph.nodes[0].outputs[0].name = name
    with pytest.raises(Error, match="name"):
        writer.to_bytes(graph)


def test_two_tensors_of_one_name() -> None:
    graph = example()
    graph.nodes[0].outputs[0].name = "conv2"
    with pytest.raises(Error, match="two tensors"):
        writer.to_bytes(graph)


def test_unknown_attribute() -> None:
    graph = example()
    graph.nodes[0].attrs["colour"] = 3
    with pytest.raises(Error, match="colour"):
        writer.to_bytes(graph)


def test_write_is_atomic_and_careful(tmp_path: Path) -> None:
    graph, path = example(), tmp_path / "net.edge"
    size = writer.write(graph, path)
    assert path.read_bytes() == writer.to_bytes(graph)
    assert size == path.stat().st_size
    assert [p.name for p in tmp_path.iterdir()] == ["net.edge"]
    with pytest.raises(Error, match="exists"):
        writer.write(graph, path)
    path.write_bytes(b"old")
    writer.write(graph, path, overwrite=True)
    assert path.stat().st_size == size


def test_write_honours_the_umask(tmp_path: Path) -> None:
    old = os.umask(0o027)
    try:
        writer.write(example(), tmp_path / "net.edge")
    finally:
        os.umask(old)
    assert stat.S_IMODE((tmp_path / "net.edge").stat().st_mode) == 0o640


def test_write_does_not_follow_a_link(tmp_path: Path) -> None:
    target = tmp_path / "precious"
    target.write_bytes(b"precious")
    (tmp_path / "net.edge").symlink_to(target)
    for overwrite in (False, True):
        with pytest.raises(Error, match="link"):
            writer.write(example(), tmp_path / "net.edge", overwrite=overwrite)
    assert target.read_bytes() == b"precious"


def test_failed_write_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "net.edge").write_bytes(b"old")

    def full(_: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(Error):
        writer.write(example(), tmp_path / "net.edge", overwrite=True)
    assert [p.name for p in tmp_path.iterdir()] == ["net.edge"]
    assert (tmp_path / "net.edge").read_bytes() == b"old"
