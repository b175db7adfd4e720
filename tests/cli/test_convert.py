"""edgec convert: what is written, what is not, what is said. The conversion itself is tested with the converter."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgec

onnx = pytest.importorskip("onnx")
from onnx import helper  # noqa: E402


def save_onnx(path: Path, *ops: str, shape: tuple[int | str, ...] = (1, 4)) -> Path:
    """x -> op -> op -> ... -> y, with a product by [0, 1, 2, 3] at the end."""
    names = ["x", *(f"t{i}" for i in range(len(ops)))]
    nodes = [helper.make_node(op, [a], [b]) for op, a, b in zip(ops, names, names[1:])]
    nodes.append(helper.make_node("Mul", [names[-1], "factors"], ["y"]))
    factors = helper.make_tensor("factors", 1, [4], [0.0, 1.0, 2.0, 3.0])
    info = [helper.make_tensor_value_info(n, 1, list(shape)) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:], [factors])
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8), path)
    return path


def test_writes_a_file_that_runs(edgec_cli, rng):
    save_onnx(Path("net.onnx"), "Relu")
    text = edgec_cli("convert", "net.onnx").stdout
    assert "wrote  net.edge" in text
    assert "matches" in text
    x = rng.standard_normal((1, 4)).astype(np.float32)
    np.testing.assert_array_equal(edgec.Session("net.edge")(x), np.maximum(x, 0) * np.arange(4, dtype=np.float32))


def test_json(edgec_cli):
    save_onnx(Path("net.onnx"), "Relu")
    document = edgec_cli.json("convert", "net.onnx", "-o", "other.edge")
    assert document["output"] == "other.edge"
    assert document["bytes"] == Path("other.edge").stat().st_size
    assert document["parameters"] == 4
    assert document["inputs"] == [{"name": "x", "shape": [1, 4], "dtype": "float32"}]
    assert document["activation_bytes"] == edgec.Session("other.edge").stats["arena_bytes"]
    assert document["report"]["check"][0]["ok"] is True


def test_the_numbers_are_those_of_inspect(edgec_cli):
    save_onnx(Path("net.onnx"), "Relu", "Sigmoid")
    converted = edgec_cli.json("convert", "net.onnx")
    inspected = edgec_cli.json("inspect", "net.edge")
    assert converted["activation_bytes"] == inspected["memory"]["arena_bytes"]
    for key in ("parameters", "macs", "weight_bytes", "inputs", "outputs"):
        assert converted[key] == inspected[key]


def test_nothing_is_overwritten_without_force(edgec_cli):
    save_onnx(Path("net.onnx"))
    Path("net.edge").write_text("precious")
    assert "-f" in edgec_cli("convert", "net.onnx", code=2).stderr
    assert Path("net.edge").read_text() == "precious"
    edgec_cli("convert", "net.onnx", "-f")
    assert edgec.load("net.edge").inputs[0].name == "x"


def test_dry_run_writes_nothing(edgec_cli):
    save_onnx(Path("net.onnx"))
    assert "would write  net.edge" in edgec_cli("convert", "net.onnx", "--dry-run").stdout
    assert [p.name for p in Path.cwd().iterdir()] == ["net.onnx"]


def test_unsupported_operators_are_listed_and_nothing_is_written(edgec_cli):
    nodes = [
        helper.make_node("Frobnicate", ["x"], ["a"], domain="com.example", name="first"),
        helper.make_node("Frobnicate", ["a"], ["b"], domain="com.example", name="second"),
        helper.make_node("Wobble", ["b"], ["y"], domain="com.example"),
    ]
    info = [helper.make_tensor_value_info(n, 1, [1, 4]) for n in ("x", "y")]
    graph = helper.make_graph(nodes, "g", info[:1], info[1:])
    opsets = [helper.make_opsetid("", 17), helper.make_opsetid("com.example", 1)]
    onnx.save(helper.make_model(graph, opset_imports=opsets, ir_version=8), "net.onnx")
    result = edgec_cli("convert", "net.onnx", code=3)
    assert "Frobnicate" in result.stderr
    assert "Wobble" in result.stderr
    assert "nothing was written" in result.stderr
    assert result.stdout == ""
    document = edgec_cli.json("convert", "net.onnx", code=3)
    counts = {o["op"].rpartition("::")[2].rpartition(".")[2]: o["count"] for o in document["ops"]}
    assert counts == {"Frobnicate": 2, "Wobble": 1}
    assert all(o["advice"] for o in document["ops"])
    assert [p.name for p in Path.cwd().iterdir()] == ["net.onnx"]


def test_a_difference_from_the_source_is_an_error(edgec_cli, monkeypatch):
    from edgec.converter import check

    save_onnx(Path("net.onnx"), "Relu")
    run = check.OnnxReference.run
    monkeypatch.setattr(check.OnnxReference, "run", lambda self, feeds: [v + 1 for v in run(self, feeds)])
    edgec_cli("convert", "net.onnx", code=1)
    assert not Path("net.edge").exists()
    edgec_cli("convert", "net.onnx", "--no-check")
    assert Path("net.edge").exists()


def test_labels_are_stored(edgec_cli):
    save_onnx(Path("net.onnx"))
    Path("labels.txt").write_text("null\neins\nzwei\ndrei\n")
    edgec_cli("convert", "net.onnx", "--labels", "labels.txt")
    assert edgec.load("net.edge").metadata["labels"].split() == ["null", "eins", "zwei", "drei"]
    np.save("x.npy", np.array([[1, 1, 5, 1]], np.float32))
    assert "zwei" in edgec_cli("run", "net.edge", "--input", "x.npy", "--top", "1").stdout


def test_shapes(edgec_cli):
    save_onnx(Path("net.onnx"), "Relu", shape=("batch", 4))
    edgec_cli("convert", "net.onnx")
    assert edgec.load("net.edge").inputs[0].shape == ("batch", 4)
    edgec_cli("convert", "net.onnx", "-f", "--shape", "x:[3,4]")
    assert edgec.load("net.edge").inputs[0].shape == (3, 4)
    edgec_cli("convert", "net.onnx", "-f", "--shape", "3x5", code=2)
    edgec_cli("convert", "net.onnx", "-f", "--shape", "nope:3x4", code=2)


def test_check_data(edgec_cli, rng):
    save_onnx(Path("net.onnx"), "Sqrt")
    np.savez("data.npz", x=np.abs(rng.standard_normal((1, 4))).astype(np.float32))
    edgec_cli("convert", "net.onnx", "--check-data", "data.npz")
    Path("bad.npz").write_bytes(b"PK")
    edgec_cli("convert", "net.onnx", "-f", "--check-data", "bad.npz", code=4)


def test_what_cannot_be_read(edgec_cli):
    Path("text.onnx").write_text("hello")
    Path("empty.onnx").write_bytes(b"")
    for name in ("text.onnx", "empty.onnx", "missing.onnx"):
        document = edgec_cli.json("convert", name, code=4)
        assert document["exit_code"] == 4
        assert not Path(name).with_suffix(".edge").exists()


def test_missing_torch_is_named(edgec_cli, monkeypatch, shared_models):
    import sys

    for name in [n for n in sys.modules if n == "torch" or n.startswith("torch.")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "torch", None)
    source = shared_models / "resnet20_cifar10" / "resnet20_cifar10.pt"
    document = edgec_cli.json("convert", source, "--shape", "1x3x32x32", code=6)
    assert "pip install" in document["pip"]


def test_a_real_network_end_to_end(edgec_cli, shared_models):
    """Convert, inspect, run, bench, compare: the path a first user takes."""
    pytest.importorskip("torch")
    source = shared_models / "resnet20_cifar10" / "resnet20_cifar10.pt"
    edgec_cli("convert", source, "--shape", "1x3x32x32", "-o", "net.edge")
    with np.load(source.parent / "reference.npz") as archive:
        images, logits = archive["input_nchw"], archive["output"]
    np.save("x.npy", images[:1])
    edgec_cli("run", "net.edge", "--input", "x.npy", "-o", "out.npz", "--top", "3")
    with np.load("out.npz") as archive:
        (got,) = (archive[n] for n in archive.files)
    assert np.linalg.norm(got - logits[:1]) <= 1e-5 * np.linalg.norm(logits[:1])
    assert edgec_cli.json("inspect", "net.edge")["macs"] > 40e6
    edgec_cli("compare", "net.edge", source, "--input", "x.npy")
    edgec_cli("bench", "net.edge", "--runs", "2", "--warmup", "1")
