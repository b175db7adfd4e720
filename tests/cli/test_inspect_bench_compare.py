"""edgec inspect, bench, compare, ops, doctor."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgec
from edgec.cli.bench import percentile
from edgec.cli.common import bytes_text, count_text, seconds_text
from tests.api.networks import convolution


def test_inspect_tells_what_a_session_allocates(edgec_cli, network):
    path, _ = network("convolution")
    for threads in (1, 2):
        document = edgec_cli.json("inspect", path, "--threads", threads)
        stats = edgec.Session(path, threads=threads).stats
        assert {k: document["memory"][k] for k in stats} == stats
        text = edgec_cli("inspect", path, "--threads", threads).stdout
        assert f"{stats['arena_bytes']:,} bytes, exact" in text


def test_inspect_counts(edgec_cli, network):
    path, _ = network("convolution")
    document = edgec_cli.json("inspect", path)
    assert document["macs"] == 16 * 16 * 8 * 27 + 5120
    assert document["parameters"] == 216 + 8 + 5120
    assert sum(layer["macs"] for layer in document["layers"]) == document["macs"]
    assert sum(layer["parameters"] for layer in document["layers"]) == document["parameters"]
    assert document["operators"] == {"Conv2d": 1, "MaxPool2d": 1, "Reshape": 1, "MatMul": 1}
    assert document["inputs"] == [{"name": "x", "shape": [1, 16, 16, 3], "dtype": "float32"}]
    assert document["outputs"] == [{"name": "scores", "shape": [1, 10], "dtype": "float32"}]
    assert document["file_bytes"] == path.stat().st_size


def test_inspect_layers_and_plan(edgec_cli, network):
    path, _ = network("convolution")
    layers = edgec_cli("inspect", path, "--layers").stdout
    assert "relu" in layers
    assert "55,296" in layers
    plan = edgec_cli("inspect", path, "--plan").stdout
    assert "kernel" in plan
    assert edgec.Session(path).steps[0]["kernel"] in plan


def test_inspect_symbols_and_shapes(edgec_cli, network):
    path, _ = network("scaled")
    document = edgec_cli.json("inspect", path, "--shape", "9x4")
    assert document["symbols"] == {"batch": {"min": 1, "max": None}}
    assert document["prepared_for"] == {"x": [9, 4]}
    assert document["inputs"][0]["shape"] == ["batch", 4]
    assert "batch" in edgec_cli("inspect", path).stdout


def test_inspect_verify(edgec_cli, network, tmp_path):
    path, _ = network("convolution")
    assert "weights verified" in edgec_cli("inspect", path, "--verify").stdout
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    (tmp_path / "bad.edge").write_bytes(data)
    edgec_cli("inspect", tmp_path / "bad.edge")
    edgec_cli("inspect", tmp_path / "bad.edge", "--verify", code=4)


def test_bench(edgec_cli, network):
    first, _ = network("scaled")
    second, _ = network("heavy", 16)
    document = edgec_cli.json("bench", first, second, "--threads", "1,2", "--runs", "7", "--warmup", "0")
    results = document["results"]
    assert [(r["model"], r["threads"]) for r in results] == [(str(p), t) for p in (first, second) for t in (1, 2)]
    for r in results:
        assert r["runs"] == 7
        assert 0 < r["min"] <= r["median"] <= r["p95"]
        assert r["load"] > 0
        assert r["first_run"] > 0
        assert r["activation_bytes"] == edgec.Session(r["model"], threads=r["threads"]).stats["arena_bytes"]
        assert r["planned_bytes"] >= r["activation_bytes"]
        assert r["resident_bytes"] is None or r["resident_bytes"] >= 0
    text = edgec_cli("bench", first, second, "--runs", "3").stdout
    for word in ("min", "median", "p95", "load", "first run", "scaled.edge", "heavy.edge", "fastest"):
        assert word in text


def test_bench_goes_on_for_the_wanted_time(edgec_cli, network):
    path, _ = network("scaled")
    (result,) = edgec_cli.json("bench", path, "--runs", "1", "--min-time", "0.05")["results"]
    assert result["runs"] > 1
    assert result["runs"] * result["mean"] >= 0.05


def test_bench_compares_with_the_float_model(edgec_cli, network, tmp_path):
    path, _ = network("convolution")
    edgec_cli("quantize", path, "--weights", "int8", "-o", tmp_path / "small.edge")
    results = edgec_cli.json("bench", tmp_path / "small.edge", "--compare-to", "float", "--threads", "1,2")["results"]
    assert [Path(r["model"]).name for r in results] == ["small.edge"] * 2 + ["convolution.edge"] * 2
    for small, large in zip(results, results[2:]):
        assert small["threads"] == large["threads"]
        assert small["speedup"] == large["median"] / small["median"]
        assert large["speedup"] == 1
    assert "speedup" in edgec_cli("bench", tmp_path / "small.edge", "--compare-to", path, "--runs", "3").stdout
    assert "--compare-to FILE" in edgec_cli("bench", path, "--compare-to", "float", code=2).stderr
    path.unlink()
    assert (
        "convolution.edge, which is not in" in edgec_cli("bench", "small.edge", "--compare-to", "float", code=2).stderr
    )


def test_bench_usage(edgec_cli, network):
    path, _ = network("scaled")
    for wrong in ("a", "1,,2", "-1"):
        edgec_cli("bench", path, "--threads", wrong, code=2)
    edgec_cli("bench", code=2)
    edgec_cli("bench", path, "--runs", "0", code=2)


def test_percentile():
    values = [float(v) for v in range(1, 101)]
    assert percentile(values, 0.95) == 95
    assert percentile(values, 1.0) == 100
    assert percentile([3.0], 0.95) == 3


def test_compare_exit_codes(edgec_cli, network, tmp_path):
    path, _ = network("convolution")
    assert "same within the tolerance" in edgec_cli("compare", path, path).stdout
    data = bytearray(convolution().data)
    weight = np.ascontiguousarray(edgec.load(path).native.constant("fc")).tobytes()
    at = convolution().data.index(weight[:64])
    data[at : at + 4] = np.float32(1e3).tobytes()
    (tmp_path / "other.edge").write_bytes(data)
    result = edgec_cli("compare", tmp_path / "other.edge", path, "--mark", "all", code=1)
    assert "first that differs: scores" in result.stdout
    document = edgec_cli.json("compare", tmp_path / "other.edge", path, "--mark", "all", code=1)
    assert document["first_bad"] == "scores"
    assert [t["name"] for t in document["tensors"]] == ["conv", "pool", "flat", "scores"]
    assert [t["ok"] for t in document["tensors"]] == [True, True, True, False]
    short = edgec_cli("compare", tmp_path / "other.edge", path, "--mark", "all", "--fail-fast", code=1).stdout
    assert "pool" not in short


def test_compare_with_saved_outputs_of_another_machine(edgec_cli, network, rng):
    path, _ = network("scaled")
    np.save("x.npy", rng.standard_normal((3, 4)).astype(np.float32))
    edgec_cli("run", path, "--input", "x.npy", "-o", "saved.npz")
    edgec_cli("compare", path, "saved.npz", "--input", "x.npy", "--atol", "0", "--rtol", "0")
    edgec_cli("compare", path, "saved.npz", "--shape", "3x4", "--seed", "1", code=1)


def test_compare_usage(edgec_cli, network):
    path, _ = network("scaled")
    edgec_cli("compare", path, code=2)
    edgec_cli("compare", path, "no.edge", code=4)
    edgec_cli("compare", path, path, "--mark", "some", code=2)


def test_ops(edgec_cli):
    from edgec import _core

    text = edgec_cli("ops").stdout
    document = edgec_cli.json("ops")
    names = [s["name"] for s in _core.registry()]
    assert [s["name"] for s in document["operators"]] == names
    assert all(f" {n} " in text for n in names)
    assert "strides" in edgec_cli("ops", "conv2d").stdout
    assert edgec_cli.json("ops", "Conv2d")["name"] == "Conv2d"
    assert "Conv2d" in edgec_cli("ops", "Conv3dd", code=2).stderr


def test_doctor(edgec_cli, monkeypatch):
    document = edgec_cli.json("doctor")
    assert document["cpu"]["isa"] == edgec.Session(convolution().data).isa
    assert document["problems"] == []
    packages = {p["package"]: p for p in document["packages"]}
    assert packages["numpy"]["version"] == np.__version__
    for p in document["packages"]:
        assert p["pip"].startswith("pip install")
    text = edgec_cli("doctor").stdout
    assert document["cpu"]["isa"] in text
    for p in document["packages"]:
        assert (p["version"] or p["pip"]) in text
    monkeypatch.setenv("EDGEC_ISA", "mmx")
    assert "EDGEC_ISA=mmx" in edgec_cli("doctor").stdout


@pytest.mark.parametrize(
    "function, value, text",
    [
        (bytes_text, 0, "0 B"),
        (bytes_text, 1023, "1023 B"),
        (bytes_text, 1024, "1 KB"),
        (bytes_text, 1000 * 1024, "1000 KB"),
        (bytes_text, 22_963_814, "21.9 MB"),
        (bytes_text, 5 << 50, "5120 TB"),
        (count_text, 0, "0"),
        (count_text, 999, "999"),
        (count_text, 5_480_000, "5.48 M"),
        (count_text, 219e6, "219 M"),
        (seconds_text, 2.0, "2 s"),
        (seconds_text, 0.0012345, "1.234 ms"),
        (seconds_text, 1.5e-6, "1.5 µs"),
        (seconds_text, 5e-7, "0.5 µs"),
        (seconds_text, 0.0, "0 µs"),
    ],
)
def test_numbers_for_people(function, value, text):
    assert function(value) == text
