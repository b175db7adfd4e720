"""edgec run: inputs, pictures, outputs."""

from __future__ import annotations

import numpy as np
import pytest


def saved(path):
    with np.load(path) as archive:
        return {k: archive[k] for k in archive.files}


def test_arrays_in_every_form(edgec_cli, network, rng):
    path, made = network("two_by_two")
    a, b = rng.standard_normal((2, 2, 3)).astype(np.float32)
    total, difference = made.oracle(a, b)
    np.save("a.npy", a)
    np.save("b.npy", b)
    np.savez("both.npz", a=a, b=b)
    np.savez("one.npz", anything=b)
    forms = [
        ["-i", "a.npy", "-i", "b.npy"],
        ["--input", "b=b.npy", "--input", "a=a.npy"],
        ["--input", "b=b.npy", "--input", "a.npy"],
        ["--input", "both.npz"],
        ["--input", "a=both.npz:a", "--input", "b=both.npz:b"],
        ["--input", "a=both.npz", "--input", "b=one.npz"],
    ]
    for form in forms:
        edgec_cli("run", path, *form, "-o", "out.npz", "-f")
        outputs = saved("out.npz")
        np.testing.assert_array_equal(outputs["sum"], total)
        np.testing.assert_array_equal(outputs["difference"], difference)


def test_statistics_and_top(edgec_cli, network):
    path, _ = network("scaled")
    np.save("x.npy", np.array([[1, 5, 2, 1]], np.float32))
    document = edgec_cli.json("run", path, "--input", "x.npy", "--top", "2")
    output = document["outputs"]["y"]
    assert output["shape"] == [1, 4]
    assert (output["min"], output["max"], output["mean"]) == (0, 5, 3)
    assert [(t["index"], t["value"]) for t in output["top"][0]] == [(1, 5), (2, 4)]


def test_labels_come_from_the_option_or_the_file(edgec_cli, network):
    path, _ = network("scaled", labels="zero\none\ntwo\nthree")
    np.save("x.npy", np.array([[1, 5, 2, 1]], np.float32))
    assert "one" in edgec_cli("run", path, "--input", "x.npy", "--top", "1").stdout
    with open("labels.txt", "w") as f:  # noqa: PTH123
        f.write("null\neins\n")
    ranking = edgec_cli.json("run", path, "--input", "x.npy", "--top", "2", "--labels", "labels.txt")
    first, second = ranking["outputs"]["y"]["top"][0]
    assert first["label"] == "eins"
    assert "label" not in second


def test_random_inputs_follow_the_seed(edgec_cli, network):
    path, _ = network("scaled")

    def outputs(*options):
        edgec_cli("run", path, "-o", "o.npz", "-f", *options)
        return saved("o.npz")["y"]

    np.testing.assert_array_equal(outputs(), outputs("--seed", "0"))
    assert not np.array_equal(outputs(), outputs("--seed", "1"))
    assert not outputs("--input", "zeros").any()
    assert outputs("--shape", "5x4").shape == (5, 4)
    assert outputs("--shape", "x:[6,4]").shape == (6, 4)


def test_outputs_are_not_overwritten(edgec_cli, network, tmp_path):
    path, _ = network("scaled")
    (tmp_path / "o.npz").write_text("precious")
    result = edgec_cli("run", path, "-o", "o.npz", code=2)
    assert "-f" in result.stderr
    assert (tmp_path / "o.npz").read_text() == "precious"
    edgec_cli("run", path, "-o", "o.npz", "--force")
    assert saved("o.npz").keys() == {"y"}


@pytest.mark.parametrize(
    "options, text",
    [
        (["--input", "nope.npy"], "no file 'nope.npy'"),
        (["--input", "y=zeros"], "no input 'y'"),
        (["--input", "=zeros"], "NAME=FILE"),
        (["--input", "zeros", "--input", "zeros"], "only 1 inputs"),
        (["--input", "text.txt"], "expected .npy"),
        (["--input", "wrong_type.npy"], "got float64, expected float32"),
        (["--input", "wrong_shape.npy"], "expected (batch,4)"),
        (["--input", "other.npz"], "holds none of the inputs x"),
        (["--input", "other.npz:nope"], "no array 'nope'"),
        (["--shape", "1x2x3"], "input 'x'"),
        (["--shape", "what"], "what"),
        (["--mean", "a"], "--mean"),
        (["--std", "0"], "--std"),
        (["--size", "axb"], "--size"),
        (["--threads", "-1"], "--threads"),
        (["--max-memory", "much"], "max_memory"),
    ],
)
def test_wrong_usage_is_named(edgec_cli, network, tmp_path, options, text):
    path, _ = network("scaled")
    (tmp_path / "text.txt").write_text("text")
    np.save("wrong_type.npy", np.zeros((1, 4)))
    np.save("wrong_shape.npy", np.zeros((1, 5), np.float32))
    np.savez("other.npz", p=np.zeros(1), q=np.zeros(1))
    assert text in edgec_cli("run", path, *options, code=2).stderr


def test_pickled_and_broken_arrays_are_refused(edgec_cli, network, tmp_path):
    path, _ = network("scaled")
    np.save("objects.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    np.savez("objects.npz", x=np.array([{"a": 1}], dtype=object))
    (tmp_path / "broken.npy").write_bytes(b"\x93NUMPY")
    (tmp_path / "broken.npz").write_bytes(b"PK\3\4")
    (tmp_path / "empty.npy").write_bytes(b"")
    for name in ("objects.npy", "objects.npz", "broken.npy", "broken.npz", "empty.npy"):
        edgec_cli("run", path, "--input", f"x={name}", code=4)


@pytest.fixture
def picture(tmp_path, rng):
    image = pytest.importorskip("PIL.Image")
    pixels = rng.integers(0, 256, (8, 8, 3)).astype(np.uint8)
    image.fromarray(pixels).save(tmp_path / "cat.png")
    return pixels


@pytest.mark.parametrize("layout", ["nchw", "nhwc"])
def test_pictures(edgec_cli, network, picture, layout):
    path, _ = network("image_net", layout)
    mean, std = [0.1, 0.2, 0.3], [0.5, 0.25, 2]
    want = ((picture / 255 - mean) / std).mean(axis=(0, 1))
    options = ["--input", "cat.png", "--mean", "0.1,0.2,0.3", "--std", "0.5,0.25,2", "-o", "o.npz", "-f"]
    # float32 input of 64 pixels, each at most 8, summed: 64 + a few roundings
    tolerance = 80 * np.finfo(np.float32).eps * 8
    for extra in ([], ["--layout", layout], ["--size", "8x8"], ["--size", "8"]):
        edgec_cli("run", path, *options, *extra)
        np.testing.assert_allclose(saved("o.npz")["mean"][0], want, rtol=0, atol=tolerance)
    edgec_cli("run", path, *options, "--color", "bgr")
    swapped = ((picture[..., ::-1] / 255 - mean) / std).mean(axis=(0, 1))
    np.testing.assert_allclose(saved("o.npz")["mean"][0], swapped, rtol=0, atol=tolerance)


def test_pictures_are_resized(edgec_cli, network, tmp_path):
    image = pytest.importorskip("PIL.Image")
    image.new("L", (31, 17), 51).save(tmp_path / "gray.png")
    path, _ = network("image_net")
    edgec_cli("run", path, "--input", "gray.png", "-o", "o.npz")
    np.testing.assert_allclose(saved("o.npz")["mean"], np.full((1, 3), 0.2), rtol=64 * np.finfo(np.float32).eps)


def test_broken_and_misplaced_pictures(edgec_cli, network, picture, tmp_path):
    path, _ = network("image_net")
    (tmp_path / "broken.png").write_bytes((tmp_path / "cat.png").read_bytes()[:40])
    (tmp_path / "text.jpg").write_text("no")
    for name in ("broken.png", "text.jpg"):
        edgec_cli("run", path, "--input", name, code=4)
    assert "--layout" in edgec_cli("run", path, "--input", "cat.png", "--layout", "nhwc", code=2).stderr
    assert "--mean has 2 values" in edgec_cli("run", path, "--input", "cat.png", "--mean", "1,2", code=2).stderr
    flat, _ = network("scaled")
    assert "a picture has" in edgec_cli("run", flat, "--input", "cat.png", code=2).stderr


def test_pictures_without_pillow(edgec_cli, network, picture, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "PIL", None)
    path, _ = network("image_net")
    assert "pip install" in edgec_cli("run", path, "--input", "cat.png", code=6).stderr
