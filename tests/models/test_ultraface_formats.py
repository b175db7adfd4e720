"""UltraFace RFB-320 from five formats: every one finds the same faces in the same photos."""

from __future__ import annotations

import csv
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

import edgec

FOLDER = "ultraface_rfb320"
FACES = 280  # in the 14 photos, as the original finds them
# Stride of each feature map, and the sizes of its boxes in pixels of a 320 x 240 image.
BOXES = ((8, (10, 16, 24)), (16, (32, 48)), (32, (64, 96)), (64, (128, 192, 256)))


@dataclass(frozen=True)
class Format:
    file: str
    shape: str | None = None
    channels_last: bool = False
    softmax: bool = True  # the network ends in scores, not in logits
    decoded: bool = False  # the network ends in boxes, not in offsets from the prior boxes
    package: str = ""
    limit: float = 1.3e-5  # of scores and relative boxes, from torch's; the README gives it for Caffe


FORMATS = {
    "onnx": Format("rfb320.onnx", decoded=True),
    "torch": Format("rfb320_raw.pt", softmax=False, package="torch"),
    "caffe": Format("rfb320.prototxt"),
    "ncnn": Format("rfb320.ncnn.param", shape="1x3x240x320"),
    # LiteRT itself lies up to 2.2e-4 from torch here.
    "tflite": Format("rfb320_without_postprocessing.tflite", channels_last=True, package="tflite", limit=2.5e-4),
}


def prior_boxes() -> np.ndarray:
    """[4420, 4]: centre x, y, width, height, relative."""
    rows = []
    for stride, sizes in BOXES:
        down, across = -(-240 // stride), -(-320 // stride)
        for y in range(down):
            for x in range(across):
                rows += [((x + 0.5) / across, (y + 0.5) / down, s / 320, s / 240) for s in sizes]
    return np.clip(np.array(rows), 0, 1)


def decode(offsets: np.ndarray) -> np.ndarray:
    """Corners from offsets, variances 0.1 and 0.2."""
    prior = prior_boxes()
    centre = offsets[:, :2] * 0.1 * prior[:, 2:] + prior[:, :2]
    half = np.exp(offsets[:, 2:] * 0.2) * prior[:, 2:] / 2
    return np.concatenate([centre - half, centre + half], 1)


def suppress(boxes: np.ndarray, scores: np.ndarray, limit: float) -> list[int]:
    """Indices of the boxes that greedy suppression keeps."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        size = boxes[i, 2:] - boxes[i, :2]
        free = True
        for k in kept:
            side = np.minimum(boxes[i, 2:], boxes[k, 2:]) - np.maximum(boxes[i, :2], boxes[k, :2])
            both = float(np.prod(np.maximum(side, 0)))
            if both / (float(np.prod(size)) + float(np.prod(boxes[k, 2:] - boxes[k, :2])) - both) > limit:
                free = False
                break
        if free:
            kept.append(int(i))
    return kept


@pytest.fixture(scope="module")
def photos(models: Path) -> dict[str, np.ndarray]:
    """The images as the network wants them, NCHW."""
    cv2 = pytest.importorskip("cv2")
    folder = models / FOLDER / "images"
    result = {}
    for path in sorted(folder.glob("*.jpg")):
        image = cv2.resize(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), (320, 240))
        result[path.name] = ((image.astype(np.float32) - 127) / 128).transpose(2, 0, 1)[None]
    return result


@pytest.fixture(scope="module")
def faces(models: Path) -> dict[str, np.ndarray]:
    """Per photo the expected [n, 5]: corners and score, with 4 decimals."""
    result = {}
    with (models / FOLDER / "faces.csv").open(newline="") as f:
        for name, count, boxes in list(csv.reader(f))[1:]:
            rows = [[float(v) for v in box.split()] for box in boxes.split(";")] if boxes else []
            assert len(rows) == int(count)
            result[name] = np.array(rows).reshape(-1, 5)
    assert sum(len(v) for v in result.values()) == FACES
    return result


def outputs(form: Format, session: edgec.Session, image: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """scores [4420] of the class face, and boxes [4420, 4]"""
    feed = np.ascontiguousarray(image.transpose(0, 2, 3, 1)) if form.channels_last else image
    results = [v.reshape(4420, -1).astype(np.float64) for v in session.run(None, {session.inputs[0].name: feed})]
    scores = next(v for v in results if v.shape[1] == 2)
    boxes = next(v for v in results if v.shape[1] == 4)
    if not form.softmax:
        scores = np.exp(scores - scores.max(1, keepdims=True))
        scores /= scores.sum(1, keepdims=True)
    return scores[:, 1], boxes if form.decoded else decode(boxes)


@pytest.fixture(scope="module")
def sessions(models: Path) -> Callable[[str], edgec.Session]:
    cache: dict[str, edgec.Session] = {}

    def session(name: str) -> edgec.Session:
        form = FORMATS[name]
        if form.package:
            pytest.importorskip(form.package)
        if name not in cache:
            try:
                model = edgec.convert(models / FOLDER / form.file, shapes=form.shape)
            except edgec.errors.UnsupportedError as e:
                if "does not read it" not in str(e):
                    raise
                pytest.skip(str(e).splitlines()[0])
            cache[name] = edgec.Session(model)
        return cache[name]

    return session


@pytest.mark.parametrize("name", FORMATS)
def test_same_faces(
    name: str, sessions: Callable[[str], edgec.Session], photos: dict[str, np.ndarray], faces: dict[str, np.ndarray]
) -> None:
    assert sorted(photos) == sorted(faces)
    found = 0
    for photo, image in photos.items():
        scores, boxes = outputs(FORMATS[name], sessions(name), image)
        likely = np.flatnonzero(scores > 0.7)
        kept = likely[suppress(boxes[likely], scores[likely], 0.3)]
        got = np.concatenate([boxes[kept], scores[kept, None]], 1)
        assert len(got) == len(faces[photo]), photo
        # The file has four decimals; faces with the same four decimals of score may change places.
        for row in faces[photo]:
            assert np.abs(got - row).max(1).min() <= 1e-4, (photo, row)
        found += len(got)
    assert found == FACES


@pytest.mark.parametrize("name", FORMATS)
def test_reference_outputs(name: str, sessions: Callable[[str], edgec.Session], models: Path) -> None:
    """Scores and boxes for the stored inputs against torch's."""
    with np.load(models / FOLDER / "reference.npz") as data:
        for i in range(len(data["input_nchw"])):
            scores, boxes = outputs(FORMATS[name], sessions(name), data["input_nchw"][i : i + 1])
            assert np.abs(scores - data["scores"][i, :, 1]).max() <= FORMATS[name].limit
            assert np.abs(boxes - data["boxes"][i]).max() <= FORMATS[name].limit
