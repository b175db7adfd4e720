"""Whole definitions: old formats, phases, storage of weights, detection, and the ways to ask for a conversion."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgec
from edgec.converter.ir.run import run
from edgec.errors import BadFileError, InvalidArgumentError, ShapeError, UnsupportedError
from tests.frontends import layer_oracles as oracle
from tests.frontends.caffe.writer import caffemodel, graph, net, outputs

V1 = """
name: "old"
input: "data"
input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 8
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2 weight_decay: 0
  convolution_param { num_output: 4 kernel_size: 3 } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "pool" type: 17 bottom: "conv" top: "pool" pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layers { name: "ip" type: INNER_PRODUCT bottom: "pool" top: "ip" inner_product_param { num_output: 5 } }
layers { name: "prob" type: SOFTMAX bottom: "ip" top: "prob" }
"""

TRAIN_TEST = """
layer { name: "train" type: "Data" top: "data" top: "label" include { phase: TRAIN } transform_param { crop_size: 9 } }
layer { name: "test" type: "Data" top: "data" top: "label" include { phase: TEST } transform_param { crop_size: 6 } }
layer { name: "ip" type: "InnerProduct" bottom: "data" top: "ip" inner_product_param { num_output: 2 } }
layer { name: "drop" type: "Dropout" bottom: "ip" top: "ip" exclude { phase: TEST } }
layer { name: "aux" type: "ReLU" bottom: "ip" top: "aux" include { stage: "debug" } }
layer { name: "loss" type: "SoftmaxWithLoss" bottom: "ip" bottom: "label" top: "loss" }
layer { name: "acc" type: "Accuracy" bottom: "ip" bottom: "label" top: "acc" include { phase: TEST } }
"""


def v1_oracle(x: np.ndarray, w: np.ndarray, b: np.ndarray, w2: np.ndarray, b2: np.ndarray) -> np.ndarray:
    y = np.maximum(oracle.conv2d(x, w, b), 0)
    y = oracle.pool2d(y, False, [2, 2], [2, 2], [3, 3], [0, 0])
    return oracle.softmax(y.reshape(1, -1) @ w2.T + b2, 1)


@pytest.mark.parametrize("form", ["shape", "old", "double", "unpacked"])
@pytest.mark.parametrize("v1_weights", [True, False])
def test_v1_network_and_stored_forms(form: str, v1_weights: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((4, 3, 3, 3), (4,), (5, 36), (5,))]
    x = rng.standard_normal((1, 3, 8, 8)).astype(np.float32)
    data = caffemodel({"conv": arrays[:2], "ip": arrays[2:]}, v1_weights, form)
    (got,) = outputs(tmp_path, V1, data, x)
    oracle.assert_close(got, v1_oracle(x, *arrays), 64, 8.0)


def test_half_precision_blobs(tmp_path: Path, rng: np.random.Generator) -> None:
    w = rng.standard_normal((3, 4)).astype(np.float16).astype(np.float32)
    text = net(
        'layer { name: "ip" type: "InnerProduct" bottom: "x0" top: "y" '
        "inner_product_param { num_output: 3 bias_term: false } }",
        (2, 4),
    )
    x = rng.standard_normal((2, 4)).astype(np.float32)
    (got,) = outputs(tmp_path, text, caffemodel({"ip": [w]}, form="half"), x)
    oracle.assert_close(got, x.astype(np.float64) @ w.T.astype(np.float64), 4, 16.0)


def test_phases_and_training_layers(tmp_path: Path, rng: np.random.Generator) -> None:
    """The test phase's data layer names the input; losses and accuracies disappear with what only they read."""
    w, b = rng.standard_normal((2, 108)).astype(np.float32), np.zeros(2, np.float32)
    g = graph(tmp_path, TRAIN_TEST, {"ip": [w, b]})
    assert [(v.name, v.declared_shape) for v in g.inputs] == [("data", (1, 3, 6, 6))]
    assert [v.name for v in g.outputs] == ["ip"]
    x = rng.standard_normal((1, 3, 6, 6)).astype(np.float32)
    oracle.assert_close(run(g, {"data": x})["ip"], x.reshape(1, -1).astype(np.float64) @ w.T, 108, 16.0)


def test_preparation_of_images_is_named_not_applied(tmp_path: Path) -> None:
    """The size that the data layer cuts out is the input's; means and scales are the caller's business."""
    text = """layers { name: "d" type: DATA top: "data" top: "label" data_param { crop_size: 4 scale: 0.01 mean_file: "/m" } }
    layers { name: "r" type: RELU bottom: "data" top: "a" }
    layers { name: "s" type: SPLIT bottom: "a" top: "b" top: "c" }
    layers { name: "q" type: SILENCE bottom: "c" bottom: "label" }"""
    (tmp_path / "net.prototxt").write_text(text)
    (tmp_path / "net.caffemodel").write_bytes(caffemodel({"none": []}))
    model = edgec.convert(tmp_path / "net.prototxt")
    assert [(i.name, i.shape) for i in model.inputs] == [("data", (1, 3, 4, 4))]
    assert [o.name for o in model.outputs] == ["b"]  # the other half is silenced
    (warning,) = model.report["warnings"]
    assert "mean_file and scale of line 1 are not applied" in warning


def test_shape_of_the_user_goes_first(tmp_path: Path) -> None:
    text = net('layer { name: "r" type: "ReLU" bottom: "x0" top: "y" }', (10, 3, 4, 4))
    g = graph(tmp_path, text, None, "nx3x4x8")
    assert g.inputs[0].declared_shape == ("n", 3, 4, 8)
    no_shape = 'layer { name: "d" type: "Input" top: "d" } layer { name: "r" type: "ReLU" bottom: "d" top: "y" }'
    with pytest.raises(ShapeError, match="shape of the input 'd'"):
        graph(tmp_path, no_shape)
    assert graph(tmp_path, no_shape, None, "2x3").inputs[0].declared_shape == (2, 3)


def test_symbolic_sizes_give_what_fixed_ones_give(tmp_path: Path, rng: np.random.Generator) -> None:
    """The feature pyramid of RetinaFace: pooling that rounds up, doubling, and a crop to what fits."""
    text = net(
        """layer { name: "p" type: "Pooling" bottom: "x0" top: "p" pooling_param { kernel_size: 3 stride: 2 } }
        layer { name: "u" type: "Upsample" bottom: "p" top: "u" upsample_param { scale: 2 } }
        layer { name: "c" type: "Crop" bottom: "u" bottom: "x0" top: "c" crop_param { axis: 2 offset: 0 } }
        layer { name: "s" type: "Eltwise" bottom: "c" bottom: "x0" top: "s" }
        layer { name: "f" type: "Flatten" bottom: "s" top: "f" flatten_param { axis: 2 } }""",
        (1, 3, 8, 10),
    )
    symbolic = graph(tmp_path, text, None, "nx3xhxw")
    for shape in ((1, 3, 8, 10), (2, 3, 12, 14)):
        x = rng.standard_normal(shape).astype(np.float32)
        fixed = graph(tmp_path, text, None, "x".join(map(str, shape)))
        np.testing.assert_array_equal(run(symbolic, {"x0": x})["f"], run(fixed, {"x0": x})["f"])


def test_text_forms(tmp_path: Path) -> None:
    """Separators, both kinds of brackets, lists, comments, escapes, joined strings."""
    text = """
    # a comment
    input: "x" ; input_shape < dim: [1, 2, 0x3] >
    layer: { name: 'a' "b\\x63" type: "Power", bottom: "x" top: "\\171" power_param: { scale: -2.5e-1f shift: .5 } }
    """
    g = graph(tmp_path, text)
    assert [v.name for v in g.outputs] == ["y"]
    x = np.arange(6, dtype=np.float32).reshape(1, 2, 3)
    np.testing.assert_allclose(run(g, {"x": x})["y"], -0.25 * x + 0.5, rtol=2 * oracle.EPS)


# -- detection -----------------------------------------------------------------------------------
PRIOR = """layer { name: "p" type: "PriorBox" bottom: "x0" bottom: "x1" top: "priors" prior_box_param {
  min_size: 12 max_size: 20 aspect_ratio: 2 aspect_ratio: 1 clip: true variance: 0.1 variance: 0.1 variance: 0.2 variance: 0.2
} }"""


def priors(height: int, width: int, image: tuple[int, int]) -> np.ndarray:
    """[P, 4] of PRIOR."""
    rows = []
    shapes = [(12, 12), (240**0.5, 240**0.5), (12 * 2**0.5, 12 / 2**0.5), (12 / 2**0.5, 12 * 2**0.5)]
    for y in range(height):
        for x in range(width):
            cx, cy = (x + 0.5) * image[1] / width, (y + 0.5) * image[0] / height
            for w, h in shapes:
                rows.append(
                    [(cx - w / 2) / image[1], (cy - h / 2) / image[0], (cx + w / 2) / image[1], (cy + h / 2) / image[0]]
                )
    return np.clip(np.array(rows), 0, 1)


def test_prior_box(tmp_path: Path, rng: np.random.Generator) -> None:
    g = graph(tmp_path, net(PRIOR, (1, 2, 3, 4), (1, 3, 24, 40)))
    feeds = {v.name: np.zeros(v.types[0].shape, np.float32) for v in g.inputs}
    got = run(g, feeds)["priors"]
    expected = priors(3, 4, (24, 40)).reshape(-1)
    assert got.shape == (1, 2, expected.size)
    oracle.assert_close(got[0, 0], expected, 4, 1.0)
    np.testing.assert_array_equal(got[0, 1].reshape(-1, 4)[5], np.array([0.1, 0.1, 0.2, 0.2], np.float32))


@pytest.mark.parametrize("keep", [-1, 7])
@pytest.mark.parametrize("shared", [True, False])
def test_detection_output(keep: int, shared: bool, tmp_path: Path, rng: np.random.Generator) -> None:
    boxes, classes, images = 48, 4, 2
    text = net(
        PRIOR.replace("x1", "x1")
        + f"""layer {{ name: "d" type: "DetectionOutput" bottom: "x2" bottom: "x3" bottom: "priors" top: "found"
        detection_output_param {{ num_classes: {classes} share_location: {str(shared).lower()} background_label_id: 0
        nms_param {{ nms_threshold: 0.4 top_k: 20 }} code_type: CENTER_SIZE keep_top_k: {keep} confidence_threshold: 0.3 }} }}""",
        (1, 2, 3, 4),
        (1, 3, 24, 40),
        (images, boxes * 4 * (1 if shared else classes)),
        (images, boxes * classes),
    )
    g = graph(tmp_path, text)
    groups = 1 if shared else classes
    location = rng.standard_normal((images, boxes, groups, 4)).astype(np.float32)
    scores = oracle.softmax(2 * rng.standard_normal((images, boxes, classes)), 2).astype(np.float32)
    feeds = {v.name: np.zeros(v.types[0].shape, np.float32) for v in g.inputs[:2]}
    feeds |= {"x2": location.reshape(images, -1), "x3": scores.reshape(images, -1)}
    got = run(g, feeds)["found"]
    prior, variance = priors(3, 4, (24, 40)), np.array([0.1, 0.1, 0.2, 0.2])
    expected = []
    for i in range(images):
        rows = []
        for label in range(1, classes):
            corners = oracle.decode_ssd(location[i, :, 0 if shared else label], prior, variance)
            kept = oracle.suppress(corners, scores[i, :, label], 0.3, 0.4, 20)
            rows += [[i, label, scores[i, k, label], *corners[k]] for k in kept]
        if keep >= 0 and len(rows) > keep:
            best = sorted(sorted(range(len(rows)), key=lambda n: -rows[n][2])[:keep])
            rows = [rows[n] for n in best]
        expected += rows
    assert len(expected) > images  # else nothing is tested
    oracle.assert_close(got, np.array(expected)[None, None], 16, 4.0)


def test_no_detections_is_an_empty_tensor(tmp_path: Path) -> None:
    text = net(
        """layer { name: "d" type: "DetectionOutput" bottom: "x0" bottom: "x1" bottom: "x2" top: "found"
        detection_output_param { num_classes: 2 keep_top_k: 5 confidence_threshold: 0.5 } }""",
        (1, 8),
        (1, 4),
        (1, 2, 8),
    )
    feeds = [np.zeros(s, np.float32) for s in ((1, 8), (1, 4), (1, 2, 8))]
    (got,) = outputs(tmp_path, text, None, *feeds)
    assert got.shape == (1, 1, 0, 7)


# -- the ways in ---------------------------------------------------------------------------------
def test_convert_finds_the_other_file(tmp_path: Path, rng: np.random.Generator) -> None:
    arrays = [rng.standard_normal(s).astype(np.float32) for s in ((4, 3, 3, 3), (4,), (5, 36), (5,))]
    (tmp_path / "net.prototxt").write_text(V1)
    (tmp_path / "net.caffemodel").write_bytes(caffemodel({"conv": arrays[:2], "ip": arrays[2:]}))
    x = rng.standard_normal((1, 3, 8, 8)).astype(np.float32)
    for source, weights in (("net.prototxt", None), ("net.caffemodel", None), ("net.caffemodel", "net.prototxt")):
        model = edgec.convert(tmp_path / source, weights=None if weights is None else tmp_path / weights)
        assert model.report["source"]["framework"] == "caffe"
        (got,) = edgec.Session(model).run(None, {"data": x})
        oracle.assert_close(got, v1_oracle(x, *arrays), 64, 8.0)


def test_one_file_alone(tmp_path: Path) -> None:
    (tmp_path / "net.prototxt").write_text(V1)
    with pytest.raises(BadFileError, match=r"net\.caffemodel does not exist") as error:
        edgec.convert(tmp_path / "net.prototxt")
    assert "--random-weights" in error.value.hint
    first = edgec.convert(tmp_path / "net.prototxt", random_weights=True, seed=3)
    again = edgec.convert(tmp_path / "net.prototxt", random_weights=True, seed=3)
    assert any("random" in w for w in first.report["warnings"])
    x = np.ones((1, 3, 8, 8), np.float32)
    np.testing.assert_array_equal(*(edgec.Session(m).run(None, {"data": x})[0] for m in (first, again)))
    (tmp_path / "alone.caffemodel").write_bytes(caffemodel({"conv": []}))
    with pytest.raises(BadFileError, match=r"alone\.prototxt does not exist"):
        edgec.convert(tmp_path / "alone.caffemodel")
    with pytest.raises(InvalidArgumentError, match="exclude each other"):
        edgec.convert(tmp_path / "net.prototxt", weights=tmp_path / "alone.caffemodel", random_weights=True)


def test_all_missing_layers_are_listed(tmp_path: Path) -> None:
    text = net(
        """layer { name: "a" type: "Warp" bottom: "x0" top: "a" }
        layer { name: "b" type: "ReLU" bottom: "a" top: "b" }
        layer { name: "c" type: "Fold" bottom: "b" top: "c" }
        layer { name: "d" type: "Pooling" bottom: "x0" top: "d" pooling_param { pool: STOCHASTIC kernel_size: 2 } }""",
        (1, 2, 4, 4),
    )
    with pytest.raises(UnsupportedError) as error:
        graph(tmp_path, text)
    assert [o.op for o in error.value.ops] == ["Warp", "Fold", "Pooling"]
    assert "line 2" in error.value.ops[0].where
