"""The accuracies that the models' README states, reproduced exactly on all stored samples."""

from __future__ import annotations

import csv
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

import edgec

MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)


def logits(model: edgec.Model, samples: np.ndarray) -> np.ndarray:
    session = edgec.Session(model, threads=2)
    name = session.inputs[0].name
    return np.concatenate([np.array(session.run(None, {name: s[None]})[0]) for s in samples])


@pytest.mark.parametrize("suffix", ["pt", "pt2"])
def test_squeezenet_on_300_photos(suffix: str, models: Path, converted: Callable[..., edgec.Model]) -> None:
    image = pytest.importorskip("PIL.Image")
    folder = models / "data" / "imagenet_300"
    with (folder / "labels.csv").open(newline="") as f:
        labels = {row["file"]: int(row["class_index_0_999"]) for row in csv.DictReader(f)}
    files = sorted(p for p in folder.glob("*.jpg"))
    samples, truth = [], []
    for file in files:
        picture = np.asarray(image.open(file).convert("RGB"), np.float32)
        top, left = (picture.shape[0] - 224) // 2, (picture.shape[1] - 224) // 2
        crop = picture[top : top + 224, left : left + 224].transpose(2, 0, 1) / np.float32(255)
        samples.append((crop - MEAN) / STD)
        truth.append(labels[file.name])
    scores = logits(converted(f"squeezenet1_1/squeezenet1_1.{suffix}"), np.stack(samples))
    order = np.argsort(-scores, axis=1)
    top1 = float(np.mean(order[:, 0] == truth))
    top5 = float(np.mean([t in o[:5] for t, o in zip(truth, order, strict=True)]))
    print(f"top-1 {top1:.4f}, top-5 {top5:.4f}")
    assert (round(top1 * 100, 2), round(top5 * 100, 2)) == (60.67, 85.67)
    with np.load(models / "squeezenet1_1" / "reference.npz") as stored:
        np.testing.assert_array_equal(order[:, 0], stored["all300_top1"])


@pytest.mark.parametrize("suffix", ["pt", "pt2"])
def test_resnet20_on_500_pictures(suffix: str, models: Path, converted: Callable[..., edgec.Model]) -> None:
    with np.load(models / "data" / "cifar10_500.npz") as stored:
        pictures, labels = stored["images_u8_nhwc"], stored["labels"]
    samples = (pictures.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255) - MEAN) / STD
    scores = logits(converted(f"resnet20_cifar10/resnet20_cifar10.{suffix}"), samples)
    accuracy = float(np.mean(scores.argmax(1) == labels))
    print(f"accuracy {accuracy:.4f}")
    assert round(accuracy * 100, 2) == 81.40
    with np.load(models / "resnet20_cifar10" / "reference.npz") as stored:
        reference = stored["all500_logits"]
    np.testing.assert_array_equal(scores.argmax(1), reference.argmax(1))


@pytest.mark.parametrize("suffix", ["pt", "pt2"])
def test_vit_on_1000_digits(suffix: str, models: Path, converted: Callable[..., edgec.Model]) -> None:
    with np.load(models / "data" / "mnist_1000.npz") as stored:
        pictures, labels = stored["images_u8"], stored["labels"]
    samples = (pictures[:, None].astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    scores = logits(converted(f"vit_mnist/vit_mnist.{suffix}"), samples)
    accuracy = float(np.mean(scores.argmax(1) == labels))
    print(f"accuracy {accuracy:.4f}")
    assert round(accuracy * 100, 2) == 85.90


@pytest.mark.parametrize("suffix", ["pt", "pt2"])
def test_stories_greedy_text(suffix: str, models: Path, converted: Callable[..., edgec.Model]) -> None:
    """Next-token arg max over the last 64 tokens reproduces the stored continuation, token by token."""
    with np.load(models / "stories260k" / "reference.npz") as stored:
        tokens, prompt = stored["greedy_tokens"].tolist(), int(stored["prompt_len"])
    session = edgec.Session(converted(f"stories260k/stories260k_seq64.{suffix}"), threads=2)
    name = session.inputs[0].name
    # The network has a fixed window of 64 positions starting at 0: beyond it there is nothing to compare.
    for at in range(prompt, min(len(tokens), 64)):
        window = np.zeros((1, 64), np.int64)
        window[0, :at] = tokens[:at]
        scores = session.run(None, {name: window})[0]
        assert int(np.argmax(scores[0, at - 1])) == tokens[at], f"token {at}"
