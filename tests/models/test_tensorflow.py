"""SavedModel, Keras files and frozen graphs of the shared folder compute what their references say."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import edgec
from tests.conftest import relative_l2

pytest.importorskip("tensorflow")
LIMIT = 1e-5  # the project's promise for f32


def run(model: edgec.Model, samples: np.ndarray) -> np.ndarray:
    session = edgec.Session(model)
    name = session.inputs[0].name
    return np.concatenate([np.array(session.run(None, {name: s[None]})[0]) for s in samples])


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    return round(100 * float(np.mean(scores.argmax(1) == labels)), 1)


@pytest.mark.parametrize("file", ["pretrainedResnet.h5", "pretrainedResnet.keras"])
def test_resnet8(file: str, models: Path) -> None:
    folder = models / "mlperf_tiny" / "ic_resnet8"
    model = edgec.convert(folder / file)
    assert model.inputs[0].shape == ("batch", 32, 32, 3)
    with np.load(folder / "reference.npz") as stored:
        reference, labels = stored["ref_keras_h5_output"], stored["labels"]
    with np.load(models / "data" / "cifar10_500.npz") as stored:
        pictures = stored["images_u8_nhwc"].astype(np.float32)
    scores = run(model, pictures)
    assert relative_l2(scores, reference) <= LIMIT
    assert accuracy(scores, labels) == 79.2


def test_visual_wake_words_of_keras_2(models: Path) -> None:
    """Keras 3 refuses the file for the `groups` key of DepthwiseConv2D; the report says that it was left out."""
    folder = models / "mlperf_tiny" / "vww"
    model = edgec.convert(folder / "vww_96.h5")
    assert any("DepthwiseConv2D.groups left out (13 times)" in w for w in model.report["warnings"])
    with np.load(folder / "reference.npz") as stored:
        photos, labels, reference = stored["images_u8_nhwc"], stored["label_person"], stored["ref_keras_h5_output"]
    scores = run(model, photos.astype(np.float32) / np.float32(255))
    assert relative_l2(scores, reference) <= LIMIT
    assert accuracy(scores, labels) == 94.6


def test_anomaly_detection(models: Path) -> None:
    folder = models / "mlperf_tiny" / "ad"
    model = edgec.convert(folder / "ad01.h5")
    with np.load(folder / "reference.npz") as stored:
        windows, reference = stored["windows_f32"], stored["ref_keras_h5_output"]
    got = run(model, windows)
    assert relative_l2(got, reference) <= LIMIT
    error = float(np.mean(np.square(got.astype(np.float64) - windows)))
    assert round(error, 3) == 9.491


def test_keyword_spotting_saved_model(models: Path) -> None:
    """tf.saved_model.load fails on this one: its optimizer slots are of an old version."""
    folder = models / "mlperf_tiny" / "kws"
    model = edgec.convert(folder / "kws_ref_model")
    with np.load(folder / "kws01_mfcc_500.npz") as stored:
        samples, labels, reference = stored["mfcc_float32"], stored["labels"], stored["ref_savedmodel_output"]
    scores = run(model, samples)
    assert relative_l2(scores, reference) <= LIMIT
    assert accuracy(scores, labels) == 91.2


@pytest.mark.parametrize(
    ("file", "name", "decibels"),
    [
        ("FSRCNN_x2.pb", "FSRCNN_x2", 28.47),
        ("FSRCNN-small_x2.pb", "FSRCNN_small_x2", 28.44),
        ("FSRCNN_x3.pb", "FSRCNN_x3", 23.56),
        ("FSRCNN-small_x3.pb", "FSRCNN_small_x3", 23.31),
    ],
)
def test_super_resolution(file: str, name: str, decibels: float, models: Path) -> None:
    """The graph has an iterator where its input is; height and width stay open."""
    model = edgec.convert(models / "fsrcnn" / file)
    assert [isinstance(d, str) for d in model.inputs[0].shape] == [True, True, True, False]
    with np.load(models / "fsrcnn" / "reference.npz") as stored:
        x, reference, sharp = stored[f"{name}_in"], stored[f"{name}_out"], stored["hr_y"]
    got = edgec.Session(model).run(None, {model.inputs[0].name: x})[0].reshape(reference.shape)
    assert relative_l2(got, reference) <= LIMIT
    inner = slice(4, -4)  # the stated numbers leave out a border of four pixels, where the network knows only zeros
    difference = got[0, inner, inner, 0].astype(np.float64) - sharp[inner, inner]
    psnr = float(-10 * np.log10(np.mean(np.square(difference))))
    print(f"PSNR {psnr:.3f} dB")
    assert round(psnr, 2) == decibels
