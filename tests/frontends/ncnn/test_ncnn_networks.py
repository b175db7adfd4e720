"""Whole .param files: stored weights, int8, detectors, outputs, and the ways to ask for a conversion."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

import edgec
from edgec.cli.main import cli
from edgec.converter.ir.run import run
from edgec.errors import BadFileError, ShapeError, UnsupportedError
from tests.frontends import layer_oracles as oracle
from tests.frontends.ncnn.writer import graph, outputs, param, raw, table, tagged

Array = np.ndarray


@pytest.mark.parametrize("form", ["f32", "f16", "table"])
def test_stored_weights(form: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """7 x 5 weights: f16 and table do not end on 4 bytes, what follows must still be found."""
    w, b = rng.standard_normal((7, 5)).astype(np.float32), rng.standard_normal(7).astype(np.float32)
    if form == "f16":
        w = w.astype(np.float16)
        data = tagged(w)
    elif form == "table":
        values, index = rng.standard_normal(256).astype(np.float32), rng.integers(0, 256, (7, 5))
        w, data = values[index], table(index, values)
    else:
        data = tagged(w)
    x = rng.standard_normal((1, 5)).astype(np.float32)
    (got,) = outputs(tmp_path, param(["InnerProduct ip 1 1 x0 y 0=7 1=1 2=35"], (5,)), data + raw(b), x)
    oracle.assert_close(got, x.astype(np.float64) @ w.T.astype(np.float64) + b, 6, 16.0)


def _quantized(x: Array, scale: Array | float) -> Array:
    """Symmetric int8 values as reals; ncnn multiplies by the scale."""
    return np.clip(np.rint(x * scale), -128, 127) / scale


@pytest.mark.parametrize("kind", ["conv", "floats", "depthwise", "depthwise_shared", "requantized", "inner"])
def test_int8_layers(kind: str, tmp_path: Path, rng: np.random.Generator) -> None:
    """The dequantized network, with ncnn's own scales; bias in units of the products."""
    x = rng.standard_normal((1, 4, 5, 6)).astype(np.float32)
    group = 4 if kind.startswith("depthwise") else 1
    shape = (4, 120) if kind == "inner" else (4, 4 // group, 3, 3)
    q = rng.integers(-127, 128, shape, np.int8)
    scales = rng.uniform(50, 200, 1 if kind == "depthwise_shared" else 4).astype(np.float32)
    bias, x_scale, y_scale = rng.standard_normal(4).astype(np.float32), np.float32(40), np.float32(3)
    stored = (q / scales.reshape(-1, 1, 1, 1)).astype(np.float32) if kind == "floats" else q
    data = tagged(stored) + raw(bias) + raw(scales) + raw(x_scale[None])
    w = q / scales.astype(np.float64).reshape(-1, *[1] * (q.ndim - 1))
    unit = float(x_scale) * np.broadcast_to(scales.astype(np.float64), 4)
    rounded = np.rint(bias * unit) / unit
    real = _quantized(x.astype(np.float64), float(x_scale))
    if kind == "inner":
        text, expected = (
            "InnerProduct op 1 1 x0 y 0=4 1=1 2=480 8=1 9=1",
            np.maximum(real.reshape(1, -1) @ w.T + rounded, 0),
        )
    else:
        term = {"depthwise_shared": 2, "requantized": 101}.get(kind, 1)
        name = "ConvolutionDepthWise" if group > 1 else "Convolution"
        text = f"{name} op 1 1 x0 y 0=4 1=3 4=1 5=1 6={q.size} 7={group} 8={term} 9=1"
        expected = np.maximum(oracle.conv2d(real, w, rounded, (1, 1), (1, 1, 1, 1), (1, 1), group), 0)
    if kind == "requantized":
        data += raw(y_scale[None])
        (got,) = outputs(tmp_path, param([text], x.shape[1:]), data, x)
        # A product that lies between two integers may be rounded to either.
        near = np.abs(expected * y_scale - np.floor(expected * y_scale) - 0.5) < 1e-4
        assert near.mean() < 0.05
        oracle.assert_close(np.where(near, 0, got), np.where(near, 0, _quantized(expected, float(y_scale))), 64)
        return
    g = graph(tmp_path, param([text], x.shape[1:]), data)
    assert [n.op for n in g.nodes].count("DequantizeLinear") == 3  # input, weight and bias
    oracle.assert_close(run(g, {"x0": x})["y"], expected, 130, float(np.abs(real).max() * np.abs(w).max()))


# -- detection -----------------------------------------------------------------------------------
def _priors(height: int, width: int, image: tuple[int, int]) -> Array:
    rows = []
    shapes = [(10, 10), (160**0.5, 160**0.5), (10 * 2**0.5, 10 / 2**0.5), (10 / 2**0.5, 10 * 2**0.5)]
    for y in range(height):
        for x in range(width):
            cx, cy = (x + 0.5) * image[1] / width, (y + 0.5) * image[0] / height
            for w, h in shapes:
                rows.append(
                    [(cx - w / 2) / image[1], (cy - h / 2) / image[0], (cx + w / 2) / image[1], (cy + h / 2) / image[0]]
                )
    return np.array(rows)


PRIOR = "PriorBox p 2 1 x0 x1 priors -23300=1,1.000000e+01 -23301=1,1.600000e+01 -23302=1,2.000000e+00 9=-233 10=-233 13=5.0e-01"


def test_ssd_end(tmp_path: Path, rng: np.random.Generator) -> None:
    boxes, classes = 48, 4
    text = param(
        [PRIOR, f"DetectionOutput d 3 1 x2 x3 priors found 0={classes} 1=0.4 2=20 3=9 4=0.3"],
        (2, 3, 4),
        (3, 24, 40),
        (boxes * 4,),
        (boxes * classes,),
    )
    location = rng.standard_normal((boxes, 4)).astype(np.float32)
    scores = oracle.softmax(2 * rng.standard_normal((boxes, classes)), 1).astype(np.float32)
    feeds = [np.zeros((1, 2, 3, 4), np.float32), np.zeros((1, 3, 24, 40), np.float32)]
    (got,) = outputs(tmp_path, text, b"", *feeds, location.reshape(1, -1), scores.reshape(1, -1))
    corners = oracle.decode_ssd(location, _priors(3, 4, (24, 40)), np.array([0.1, 0.1, 0.2, 0.2]))
    rows = []
    for label in range(1, classes):
        kept = oracle.suppress(corners, scores[:, label], 0.3, 0.4, 20)
        rows += [[label, scores[k, label], *corners[k]] for k in kept]
    rows = sorted(rows, key=lambda r: -r[1])
    assert len(rows) > 9  # so that the limit counts
    oracle.assert_close(got, np.array(rows[:9])[None], 16, 4.0)


@pytest.mark.parametrize("third", [True, False])
def test_yolo_end(third: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    """Two outputs; boxes of all classes suppress each other. Version 3 has a formula of its own for the score."""
    classes, boxes = 3, 2
    sizes = [(3, 4), (2, 3)]
    biases = [4, 6, 8, 12, 16, 10, 20, 24]
    common = f"0={classes} 1={boxes} 2=0.3 3=0.45 -23304=8," + ",".join(f"{b:.6e}" for b in biases)
    # ncnn writes the masks as the bits of floats: 1 2, 3 0.
    masks = ",".join(str(int(np.float32(v).view(np.int32))) for v in (1, 2, 3, 0))
    line = f"Yolov3DetectionOutput d 2 1 x0 x1 found {common} -23305=4,{masks} -23306=2,8.0,16.0"
    if not third:
        line = f"YoloDetectionOutput d 2 1 x0 x1 found {common}"
    arrays = [rng.standard_normal((1, boxes * (5 + classes), *s)).astype(np.float32) for s in sizes]
    (got,) = outputs(tmp_path, param([line], *(a.shape[1:] for a in arrays)), b"", *arrays)
    corners, scores, labels = [], [], []
    for n, (a, (height, width)) in enumerate(zip(arrays, sizes)):
        cells = a.reshape(boxes, 5 + classes, height, width).astype(np.float64)
        for b in range(boxes):
            place = [1, 2, 3, 0][2 * n + b] if third else b
            scale = (8, 16)[n] if third else 1
            w, h = biases[2 * place] / (scale * width), biases[2 * place + 1] / (scale * height)
            for i in range(height):
                for j in range(width):
                    c = cells[b, :, i, j]
                    x, y = (j + oracle.sigmoid(c[0])) / width, (i + oracle.sigmoid(c[1])) / height
                    half = np.array([np.exp(c[2]) * w, np.exp(c[3]) * h]) / 2
                    corners.append([x - half[0], y - half[1], x + half[0], y + half[1]])
                    best = int(c[5:].argmax())
                    labels.append(best + 1)
                    if third:
                        scores.append(1 / (1 + np.exp(-c[4]) * (1 + np.exp(-c[5 + best]))))
                    else:
                        scores.append(oracle.sigmoid(c[4]) * oracle.softmax(c[5:], 0)[best])
    kept = oracle.suppress(np.array(corners), np.array(scores), 0.3, 0.45, -1)
    assert 3 < len(kept) < len(scores)
    expected = np.array([[labels[k], scores[k], *corners[k]] for k in kept])[None]
    oracle.assert_close(got, expected, 32, 4.0)


# -- blobs ---------------------------------------------------------------------------------------
def test_constants_splits_and_outputs(tmp_path: Path, rng: np.random.Generator) -> None:
    """Blobs that nobody reads are outputs; a Noop at the end only gathers them."""
    constant = rng.standard_normal((3, 1, 4)).astype(np.float32)
    text = param(
        [
            "MemoryData m 0 1 m 0=4 1=1 2=3",
            "Split s 1 2 x0 a b",
            "BinaryOp add 2 1 a m sum 0=0",
            "Slice cut 1 2 b c d -23300=2,2,-233 1=1",
            "Noop end 3 1 sum c d all",
        ],
        (3, 5, 4),
    )
    x = rng.standard_normal((1, 3, 5, 4)).astype(np.float32)
    g = graph(tmp_path, text, raw(constant))
    assert [v.name for v in g.outputs] == ["sum", "c", "d"]
    total, c, d = outputs(tmp_path, text, raw(constant), x)
    np.testing.assert_array_equal(total, x + constant)
    np.testing.assert_array_equal(c, x[:, :, :2])
    np.testing.assert_array_equal(d, x[:, :, 2:])


def test_input_without_a_size(tmp_path: Path) -> None:
    text = "7767517\n2 2\nInput in0 0 1 in0\nReLU r 1 1 in0 out0\n"
    with pytest.raises(ShapeError, match="shape of the input 'in0'"):
        graph(tmp_path, text)
    assert graph(tmp_path, text, b"", "1x3xhx8").outputs[0].shape == (1, 3, None, 8)


def test_batches_larger_than_one(tmp_path: Path, rng: np.random.Generator) -> None:
    text = param(["Pooling p 1 1 x0 a 0=1 4=1", "InnerProduct ip 1 1 a y 0=2 2=6"], (3, 4, 4))
    w, x = rng.standard_normal((2, 3)).astype(np.float32), rng.standard_normal((5, 3, 4, 4)).astype(np.float32)
    g = graph(tmp_path, text, tagged(w), "5x3x4x4")
    oracle.assert_close(run(g, {"x0": x})["y"], x.astype(np.float64).mean((2, 3)) @ w.T, 20, 16.0)


def test_symbolic_sizes_give_what_fixed_ones_give(tmp_path: Path, rng: np.random.Generator) -> None:
    constant, w = rng.standard_normal((3, 1, 1)).astype(np.float32), rng.standard_normal((2, 4)).astype(np.float32)
    layers = [
        "Pooling p 1 1 x0 a 0=0 1=3 2=2",
        "Interp i 1 1 a b 0=2 1=2.0 2=2.0",
        "Split s 1 3 b b1 b2 b3",
        "Reduction r 1 1 b1 mean 0=3 1=0 -23303=2,1,2 4=1 5=1",
        "MemoryData m 0 1 m 0=1 1=1 2=3",
        "Concat c 2 1 mean m both 0=2",
        "Crop k 1 1 b2 d -23309=1,1 -23310=1,-233 -23311=1,0",
        "Reshape f 1 1 b3 e 0=-1 1=3",
        "Gemm g 1 1 z h 3=1 5=1 8=2 9=4",
    ]
    data = raw(constant) + tagged(w)
    text = param(layers, (3, 9, 11)).replace("\nPooling", "\nInput z 0 1 z 0=4 1=5\nPooling").replace("10 18", "11 18")
    symbolic = graph(tmp_path, text, data, ["x0:nx3xheightxwidth", "z:nxrowsx4"])
    for n, height, width, rows in ((1, 9, 11, 5), (2, 16, 13, 3)):
        fixed = graph(tmp_path, text, data, [f"x0:{n}x3x{height}x{width}", f"z:{n}x{rows}x4"])
        feeds = {
            "x0": rng.standard_normal((n, 3, height, width)).astype(np.float32),
            "z": rng.standard_normal((n, rows, 4)).astype(np.float32),
        }
        expected, got = run(fixed, feeds), run(symbolic, feeds)
        assert list(got) == ["both", "d", "e", "h"]
        for name, value in got.items():
            oracle.assert_close(value, expected[name].astype(np.float64), 4, 8.0)


# -- the ways in ---------------------------------------------------------------------------------
NETWORK = param(["Convolution c 1 1 x0 a 0=4 1=3 5=1 6=108 9=1", "InnerProduct ip 1 1 a y 0=2 2=72"], (3, 5, 5))


def test_convert_both_ways_and_the_remark_about_a_wrong_bin(tmp_path: Path, rng: np.random.Generator) -> None:
    w, b = rng.standard_normal((4, 3, 3, 3)).astype(np.float32), rng.standard_normal(4).astype(np.float32)
    w2 = rng.standard_normal((2, 36)).astype(np.float32)
    x = rng.standard_normal((1, 3, 5, 5)).astype(np.float32)
    (tmp_path / "net.ncnn.param").write_text(NETWORK)
    (tmp_path / "net.ncnn.bin").write_bytes(tagged(w) + raw(b) + tagged(w2))
    expected = np.maximum(oracle.conv2d(x, w, b), 0).reshape(1, -1) @ w2.T
    for source in ("net.ncnn.param", "net.ncnn.bin"):
        model = edgec.convert(tmp_path / source)
        assert model.report["source"]["framework"] == "ncnn"
        assert not model.report["warnings"]
        oracle.assert_close(edgec.Session(model).run(None, {"x0": x})[0], expected, 80, 16.0)
    (tmp_path / "net.ncnn.bin").write_bytes(tagged(w) + raw(b) + tagged(w2) + bytes(12))
    (warning,) = edgec.convert(tmp_path / "net.ncnn.param").report["warnings"]
    assert "12 bytes more" in warning


def test_random_weights_and_bench(tmp_path: Path) -> None:
    path = tmp_path / "net.param"
    path.write_text(NETWORK)
    with pytest.raises(BadFileError, match=r"net\.bin does not exist"):
        edgec.convert(path)
    model = edgec.convert(path, random_weights=True)
    assert "random" in model.report["warnings"][0]
    runner = CliRunner()
    result = runner.invoke(
        cli, ["convert", str(path), "--random-weights", "-o", str(tmp_path / "x.edge")], prog_name="edgec"
    )
    assert result.exit_code == 0, result.output
    result = runner.invoke(cli, ["bench", str(path), "--runs", "2", "--warmup", "0", "--json"], prog_name="edgec")
    assert result.exit_code == 0, result.output
    assert json.loads(result.stdout)["results"][0]["runs"] == 2


def test_second_file_on_the_command_line(tmp_path: Path, rng: np.random.Generator) -> None:
    (tmp_path / "a.param").write_text(NETWORK)
    data = (
        tagged(rng.standard_normal((4, 3, 3, 3)).astype(np.float32))
        + raw(np.zeros(4))
        + tagged(np.zeros((2, 36), np.float32))
    )
    (tmp_path / "b.bin").write_bytes(data)
    runner = CliRunner()
    for files in (["a.param", "b.bin"], ["b.bin", "a.param"]):
        command = ["convert", *(str(tmp_path / f) for f in files), "-f", "-o", str(tmp_path / "x.edge")]
        result = runner.invoke(cli, command, prog_name="edgec")
        assert result.exit_code == 0, result.output


def test_everything_missing_is_listed_behind_an_unknown_layer(tmp_path: Path) -> None:
    """Its weights have a size that nobody knows: what follows is checked against the table only."""
    text = param(
        ["Warp a 1 1 x0 b 0=1", "Convolution c 1 1 b d 0=4 1=3 6=108", "Fold e 1 1 d f", "Gemm g 1 1 x0 h 18=1"],
        (3, 5, 5),
    )
    with pytest.raises(UnsupportedError) as error:
        graph(tmp_path, text)
    assert [o.op for o in error.value.ops] == ["Warp", "Fold", "Gemm"]
