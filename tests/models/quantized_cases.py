"""Accuracy of quantized models on real data. Calibration never sees what is evaluated: where there is one data set only,
it is split in two, and each half is evaluated by the model that was calibrated on the other.

Every case is a function (models folder, float model, quantize) -> figures; `quantize(model, samples)` returns a model.
"""

from __future__ import annotations

import csv
import wave
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

import edgec

Array = np.ndarray[Any, Any]
Quantize = Callable[[edgec.Model, Sequence[Any]], edgec.Model]
Figures = dict[str, float]

CALIBRATION = 48  # samples per model at most
MEAN = np.array([0.485, 0.456, 0.406], np.float32).reshape(3, 1, 1)
STD = np.array([0.229, 0.224, 0.225], np.float32).reshape(3, 1, 1)


def run(model: edgec.Model, samples: Iterable[Array]) -> list[list[Array]]:
    """All outputs for each sample."""
    session = edgec.Session(model)
    name = session.inputs[0].name
    return [[np.array(o) for o in session.run(None, {name: s})] for s in samples]


def spread(items: Sequence[Any], count: int) -> list[Any]:
    """At most `count` of the items, evenly."""
    count = min(count, len(items))
    return [items[i * len(items) // count] for i in range(count)]


def crossed(model: edgec.Model, quantize: Quantize, samples: Sequence[Array]) -> list[list[Array]]:
    """Outputs for all samples, each from a model that was calibrated on the other half."""
    halves = [list(range(0, len(samples), 2)), list(range(1, len(samples), 2))]
    found: list[Any] = [None] * len(samples)
    for own, other in (halves, halves[::-1]):
        quantized = quantize(model, [samples[i] for i in spread(other, CALIBRATION)])
        for i, outputs in zip(own, run(quantized, [samples[i] for i in own]), strict=True):
            found[i] = outputs
    return found


def classifier(model: edgec.Model, quantize: Quantize, samples: Sequence[Array], labels: Array) -> Figures:
    """Accuracies in percent of the float and of the quantized model, and how often both say the same."""
    exact = np.concatenate([o[0] for o in run(model, samples)]).argmax(1)
    rounded = np.concatenate([o[0] for o in crossed(model, quantize, samples)]).argmax(1)
    return {
        "float": 100 * float(np.mean(exact == labels)),
        "int8": 100 * float(np.mean(rounded == labels)),
        "agreement": 100 * float(np.mean(exact == rounded)),
    }


def photos(models: Path) -> list[Path]:
    """The ImageNet photos."""
    return sorted((models / "data" / "imagenet_300").glob("*.jpg"))


def pixels(path: Path, size: tuple[int, int]) -> Array:
    """[height, width, 3] RGB as floats, resized as OpenCV does by default (the detectors' own preprocessing)."""
    import cv2

    return cv2.resize(cv2.cvtColor(cv2.imread(str(path)), cv2.COLOR_BGR2RGB), size[::-1]).astype(np.float32)


def squeezenet(models: Path, model: edgec.Model, quantize: Quantize) -> Figures:
    from PIL import Image

    with (models / "data" / "imagenet_300" / "labels.csv").open(newline="") as f:
        truth = {row["file"]: int(row["class_index_0_999"]) for row in csv.DictReader(f)}
    samples = []
    for path in photos(models):
        picture = np.asarray(Image.open(path).convert("RGB"), np.float32)
        top, left = (picture.shape[0] - 224) // 2, (picture.shape[1] - 224) // 2
        crop = picture[top : top + 224, left : left + 224].transpose(2, 0, 1) / np.float32(255)
        samples.append(((crop - MEAN) / STD)[None])
    return classifier(model, quantize, samples, np.array([truth[p.name] for p in photos(models)]))


def cifar(models: Path) -> tuple[Array, Array]:
    with np.load(models / "data" / "cifar10_500.npz") as stored:
        return stored["images_u8_nhwc"], stored["labels"]


def resnet20(models: Path, model: edgec.Model, quantize: Quantize) -> Figures:
    images, labels = cifar(models)
    samples = (images.transpose(0, 3, 1, 2).astype(np.float32) / np.float32(255) - MEAN) / STD
    return classifier(model, quantize, list(samples[:, None]), labels)


def resnet8(models: Path, model: edgec.Model, quantize: Quantize) -> Figures:
    images, labels = cifar(models)
    return classifier(model, quantize, list(images[:, None].astype(np.float32)), labels)


def vit(models: Path, model: edgec.Model, quantize: Quantize) -> Figures:
    with np.load(models / "data" / "mnist_1000.npz") as stored:
        images, labels = stored["images_u8"], stored["labels"]
    samples = (images[:, None].astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(0.5)
    return classifier(model, quantize, list(samples[:, None]), labels)


def ds_cnn(models: Path, model: edgec.Model, quantize: Quantize) -> Figures:
    with np.load(models / "mlperf_tiny" / "kws" / "kws01_mfcc_500.npz") as stored:
        samples, labels = stored["mfcc_float32"], stored["labels"]
    return classifier(model, quantize, list(samples.reshape(-1, 1, 49, 10, 1).astype(np.float32)), labels)


def vww(models: Path, model: edgec.Model, quantize: Quantize) -> Figures:
    with np.load(models / "mlperf_tiny" / "vww" / "reference.npz") as stored:
        images, labels = stored["images_u8_nhwc"], stored["label_person"]
    return classifier(model, quantize, list(images[:, None].astype(np.float32) / np.float32(255)), labels)


def overlap(a: Array, b: Array) -> float:
    """Intersection over union of two boxes x1 y1 x2 y2."""
    side = np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2])
    both = float(np.prod(np.maximum(side, 0)))
    return both / max(float(np.prod(a[2:4] - a[:2])) + float(np.prod(b[2:4] - b[:2])) - both, 1e-12)


def suppressed(boxes: Array, scores: Array, limit: float) -> list[int]:
    """What greedy suppression keeps, best first."""
    kept: list[int] = []
    for i in np.argsort(-scores, kind="stable"):
        if all(overlap(boxes[i], boxes[k]) <= limit for k in kept):
            kept.append(int(i))
    return kept


def matched(expected: Array, found: Array, limit: float = 0.5) -> int:
    """How many expected boxes have a found box of their own."""
    free, count = list(range(len(found))), 0
    for box in expected:
        best = max(free, key=lambda k: overlap(box, found[k]), default=None)
        if best is not None and overlap(box, found[best]) >= limit:
            free.remove(best)
            count += 1
    return count


def ultraface(models: Path, model: edgec.Model, quantize: Quantize) -> Figures:
    """280 faces in 14 photos; each photo by the model that was calibrated on ImageNet and the other 7 photos."""
    folder = models / "ultraface_rfb320"
    expected = {}
    with (folder / "faces.csv").open(newline="") as f:
        for name, _, boxes in list(csv.reader(f))[1:]:
            rows = [[float(v) for v in box.split()] for box in boxes.split(";")] if boxes else []
            expected[name] = np.array(rows).reshape(-1, 5)

    def sample(path: Path) -> Array:
        return ((pixels(path, (240, 320)) - 127) / 128).transpose(2, 0, 1)[None].astype(np.float32)

    files = sorted((folder / "images").glob("*.jpg"))
    others = [sample(p) for p in spread(photos(models), 32)]
    faces = new = total = 0
    for part in (0, 1):
        quantized = quantize(model, [sample(p) for p in files[1 - part :: 2]] + others)
        for path in files[part::2]:
            outputs = [o.reshape(-1, o.shape[-1]) for o in run(quantized, [sample(path)])[0]]
            scores = next(o for o in outputs if o.shape[1] == 2)[:, 1]
            boxes = next(o for o in outputs if o.shape[1] == 4)
            likely = np.flatnonzero(scores > 0.7)
            found = boxes[likely][suppressed(boxes[likely], scores[likely], 0.3)]
            hit = matched(expected[path.name], found)
            faces, new, total = faces + hit, new + len(found) - hit, total + len(expected[path.name])
    return {"expected": total, "found": faces, "new": new}


def fastestdet(models: Path, model: edgec.Model, quantize: Quantize) -> Figures:
    """The detections of the list; calibrated on ImageNet and the photos with faces."""
    folder = models / "fastestdet"
    names = (folder / "coco.names").read_text().split("\n")

    def sample(path: Path) -> Array:
        image = pixels(path, (352, 352))[..., ::-1] / np.float32(255)
        return np.ascontiguousarray(image.transpose(2, 0, 1)[None])

    def detections(output: Array, least: float) -> list[tuple[str, float, Array]]:
        p = output[0].reshape(85, -1).astype(np.float64)
        y, x = np.divmod(np.arange(p.shape[1]), 22)
        best = p[5:].max(0)
        score = p[0] ** 0.6 * best**0.4
        centre = np.stack([(x + np.tanh(p[1])) / 22, (y + np.tanh(p[2])) / 22], 1)
        half = (1 / (1 + np.exp(-p[3:5].T))) / 2
        boxes = np.concatenate([centre - half, centre + half], 1)
        kinds = p[5:].argmax(0)
        result = []
        for kind in set(kinds[score > least].tolist()):
            own = np.flatnonzero((score > least) & (kinds == kind))
            result += [
                (names[kind], float(score[own[k]]), boxes[own[k]]) for k in suppressed(boxes[own], score[own], 0.45)
            ]
        return result

    calibration = [sample(p) for p in spread(photos(models), 32)]
    calibration += [sample(p) for p in sorted((models / "ultraface_rfb320" / "images").glob("*.jpg"))]
    quantized = quantize(model, calibration)
    expected = found = exact = new = 0
    with (folder / "detections.csv").open(newline="") as f:
        for file, text in list(csv.reader(f))[1:]:
            image = sample(folder / "images" / file)
            rounded = detections(run(quantized, [image])[0][0], 0.5)
            reference = detections(run(model, [image])[0][0], 0.65)
            used = 0
            for row in filter(None, (part.strip() for part in text.split(";"))):
                *kind, _, x1, y1, x2, y2 = row.split()
                box = np.array([float(v) for v in (x1, y1, x2, y2)])
                expected += 1
                found += any(k == " ".join(kind) and overlap(box, b) >= 0.5 for k, _, b in rounded)
                exact += any(k == " ".join(kind) and overlap(box, b) >= 0.5 for k, _, b in reference)
                used += 1
            new += max(0, len([r for r in rounded if r[1] > 0.65]) - used)
    return {"expected": expected, "found": found, "found_float": exact, "new": new}


def espnet(models: Path, model: edgec.Model, quantize: Quantize) -> Figures:
    """Pixels of two street photos with the same class; calibrated on ImageNet photos and the other street photo."""
    mean = np.array([72.3923, 82.9090, 73.1584], np.float32)
    std = np.array([45.3192, 46.1529, 44.9148], np.float32)

    def sample(path: Path) -> Array:
        bgr = pixels(path, (256, 512))[..., ::-1]
        return np.ascontiguousarray(((bgr - mean) / std / np.float32(255)).transpose(2, 0, 1)[None])

    streets = [sample(p) for p in sorted((models / "espnet_cityscapes").glob("*.png"))]
    others = [sample(p) for p in spread(photos(models), 8)]
    equal = []
    for i, image in enumerate(streets):
        quantized = quantize(model, [streets[1 - i], streets[1 - i][..., ::-1].copy(), *others])
        a, b = run(model, [image])[0][0], run(quantized, [image])[0][0]
        equal.append(100 * float(np.mean(a.argmax(1) == b.argmax(1))))
    return {"agreement": float(np.mean(equal)), "worst": min(equal)}


def fsrcnn(models: Path, model: edgec.Model, quantize: Quantize) -> Figures:
    """PSNR on the butterfly; calibrated on the brightness of ImageNet photos."""
    with np.load(models / "fsrcnn" / "reference.npz") as stored:
        low, high = stored["FSRCNN_x2_in"], stored["hr_y"].astype(np.float64)
    high = high / 255 if high.max() > 2 else high
    grey = np.array([0.299, 0.587, 0.114], np.float32)
    calibration = [
        (pixels(p, (126, 126)) @ grey / np.float32(255))[None, :, :, None] for p in spread(photos(models), 24)
    ]

    def psnr(m: edgec.Model) -> float:
        out = run(m, [low])[0][0].reshape(252, 252).astype(np.float64)
        return float(-10 * np.log10(np.mean((np.clip(out, 0, 1) - high) ** 2)))

    a, b = psnr(model), psnr(quantize(model, calibration))
    return {"float": a, "int8": b, "loss": a - b}


def silero(models: Path, model: edgec.Model, quantize: Quantize) -> Figures:
    """Frames with the same decision; each half of the recording by the model that was calibrated on the other."""
    frame, context = 512, 64
    with wave.open(str(models / "silero_vad" / "speech_15s_16k.wav")) as f:
        audio = np.frombuffer(f.readframes(f.getnframes()), np.int16).astype(np.float32) / np.float32(32768)
    count = len(audio) // frame

    def listen(m: edgec.Model, first: int, last: int) -> tuple[Array, list[dict[str, Array]]]:
        session = edgec.Session(m)
        state, before, found, fed = np.zeros((2, 1, 128), np.float32), np.zeros((1, context), np.float32), [], []
        for i in range(first, last):
            x = np.concatenate([before, audio[None, i * frame : (i + 1) * frame]], axis=1)
            fed.append({"input": x, "state": state})
            probability, state = session.run(None, fed[-1])
            before, state = x[:, -context:], np.array(state)
            found.append(float(np.asarray(probability).reshape(-1)[0]))
        return np.array(found), fed

    halves = [(0, count // 2), (count // 2, count)]
    same = []
    for own, other in (halves, halves[::-1]):
        quantized = quantize(model, spread(listen(model, *other)[1], CALIBRATION))
        same += list((listen(quantized, *own)[0] > 0.5) == (listen(model, *own)[0] > 0.5))
    return {"same": 100 * float(np.mean(same))}
