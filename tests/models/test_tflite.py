"""The .tflite files of the model set: TFLite's own outputs on all stored samples, and the accuracies of the README."""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
import pytest

import edgec

pytest.importorskip("tflite")

# Rounded activations turn the last bit of an f32 depthwise convolution into one of 255 steps now and then.
HYBRID = 5e-4


def outputs(path: Path, samples: np.ndarray) -> np.ndarray:
    session = edgec.Session(edgec.convert(path, check=False))
    name = session.inputs[0].name
    return np.concatenate([np.array(session.run(None, {name: s[None]})[0]) for s in samples])


def relative(got: np.ndarray, expected: np.ndarray) -> float:
    return float(np.linalg.norm(got - expected) / np.linalg.norm(expected))


def same_integers(got: np.ndarray, expected: np.ndarray) -> None:
    steps = np.abs(got.astype(np.int64) - expected)
    assert steps.max() <= 1 and np.mean(steps == 0) >= 0.999


def accuracy(scores: np.ndarray, labels: np.ndarray) -> float:
    return round(float(np.mean(scores.argmax(1) == labels)), 4)


def test_keyword_spotting(models: Path) -> None:
    folder = models / "mlperf_tiny" / "kws"
    with np.load(folder / "kws01_mfcc_500.npz") as r:
        got = outputs(folder / "kws_ref_model.tflite", r["mfcc_int8"])
        same_integers(got, r["ref_int8_model_output_int8"])
        assert accuracy(got, r["labels"]) == 0.898
        got = outputs(folder / "kws_ref_model_float32.tflite", r["mfcc_float32"])
        assert relative(got, r["ref_float_model_output"]) <= HYBRID
        assert accuracy(got, r["labels"]) == 0.898


def test_image_classification(models: Path) -> None:
    folder = models / "mlperf_tiny" / "ic_resnet8"
    with np.load(folder / "reference.npz") as r, np.load(models / "data" / "cifar10_500.npz") as data:
        images = data["images_u8_nhwc"]
        got = outputs(folder / "pretrainedResnet_quant.tflite", (images.astype(np.int16) - 128).astype(np.int8))
        same_integers(got, r["ref_int8_output_int8"])
        assert accuracy(got, data["labels"]) == 0.792
        got = outputs(folder / "pretrainedResnet.tflite", images.astype(np.float32))
        assert relative(got, r["ref_float_output"]) <= 1e-5
        assert accuracy(got, data["labels"]) == 0.792


def test_visual_wake_words(models: Path) -> None:
    folder = models / "mlperf_tiny" / "vww"
    with np.load(folder / "reference.npz") as r:
        images = r["images_u8_nhwc"]
        got = outputs(folder / "vww_96_int8.tflite", (images.astype(np.int16) - 128).astype(np.int8))
        same_integers(got, r["ref_int8_output_int8"])
        assert accuracy(got, r["label_person"]) == 0.9459
        got = outputs(folder / "vww_96_float.tflite", images / np.float32(255))
        assert relative(got, r["ref_float_output"]) <= 1e-5
        assert accuracy(got, r["label_person"]) == 0.9459


def test_anomaly_detection(models: Path) -> None:
    folder = models / "mlperf_tiny" / "ad"
    with np.load(folder / "reference.npz") as r:
        windows = r["windows_f32"]
        got = outputs(folder / "ad01_fp32.tflite", windows)
        assert relative(got, r["ref_float_output"]) <= 1e-5
        assert round(float(((got - windows) ** 2).mean()), 3) == 9.707
        (x, y) = scales(folder / "ad01_int8.tflite")
        stored = np.clip(np.rint(windows / x[0]) + x[1], -128, 127).astype(np.int8)
        got = outputs(folder / "ad01_int8.tflite", stored)
        real = (got.astype(np.float32) - y[1]) * y[0]
        same_integers(got, np.rint(r["ref_int8_output_dequant"] / y[0]) + y[1])
        assert round(float(((real - windows) ** 2).mean()), 3) == 10.265


def scales(path: Path) -> list[tuple[np.float32, int]]:
    """Scale and zero point of the input and the output."""
    from edgec.converter.frontends.tflite.file import TfliteFile

    graph = TfliteFile.open(path).subgraphs[0]
    found = [graph.tensors[i].quantization for i in (graph.inputs[0], graph.outputs[0])]
    return [(q.scale[0], int(q.zero_point[0])) for q in found if q is not None]


def test_mcunet_on_300_photos(models: Path) -> None:
    image = pytest.importorskip("PIL.Image")
    path = models / "mcunet_imagenet" / "mcunet_imagenet_best.tflite"
    (scale, zero), _ = scales(path)
    with np.load(path.parent / "mcunet_imagenet_best_reference.npz") as r:
        first, expected, labels = r["input0"], r["all_outputs_raw"], r["labels_1000"]
    samples = []
    with (models / "data" / "imagenet_300" / "labels.csv").open(newline="") as f:
        files = [row["file"] for row in csv.DictReader(f)]
    for file in files:
        picture = image.open(models / "data" / "imagenet_300" / file).convert("RGB")
        left, top = (picture.width - 224) // 2, (picture.height - 224) // 2
        small = picture.crop((left, top, left + 224, top + 224)).resize((144, 144), image.Resampling.BILINEAR)
        real = np.asarray(small, np.float32) / np.float32(127.5) - np.float32(1)
        samples.append(np.clip(np.rint(real / scale + np.float32(zero)), -128, 127).astype(np.int8))
    np.testing.assert_array_equal(samples[0][None], first)
    got = outputs(path, np.stack(samples))
    same_integers(got, expected)
    # Many classes share a score: the README's numbers lie between the worst and the best order of those.
    own = np.take_along_axis(got, labels[:, None], 1)
    above, level = (got > own).sum(1), (got >= own).sum(1)
    assert np.mean(level <= 1) <= 0.6567 <= np.mean(above < 1) + 1e-4
    assert np.mean(level <= 5) <= 0.8733 <= np.mean(above < 5) + 1e-4
