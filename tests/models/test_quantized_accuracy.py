"""8-bit models of trained networks on real data: what the quantizer promises (quantized_cases.py has the data and the splits)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest

import edgec

from . import quantized_cases as cases

pytestmark = [pytest.mark.slow, pytest.mark.models]

SILERO = {"shapes": {"input": (1, 576), "state": (2, 1, 128)}, "fixed": {"sr": 16000}}


class Quantizer:
    """Quantizes with the defaults and remembers the largest file and the smallest share of integer work."""

    def __init__(self) -> None:
        self.bytes = 0
        self.share = 1.0

    def __call__(self, model: edgec.Model, samples: Sequence[Any]) -> edgec.Model:
        small = edgec.quantize(model, samples)
        self.bytes = max(self.bytes, len(small.to_bytes()))
        self.share = min(self.share, small.report["quantization"]["macs"]["share"])
        return small


@pytest.fixture
def measured(models: Path, converted: Callable[..., edgec.Model]) -> Callable[..., tuple[dict[str, float], Quantizer]]:
    """measured("vit", "vit_mnist/vit_mnist.pt2"): the case's figures, and the quantizer that made the models."""

    def run(case: str, file: str, **options: Any) -> tuple[dict[str, float], Quantizer]:
        if case in ("ultraface", "fastestdet", "espnet", "fsrcnn"):
            pytest.importorskip("cv2")
        if case == "squeezenet":
            pytest.importorskip("PIL.Image")
        quantizer = Quantizer()
        figures = getattr(cases, case)(models, converted(file, **options), quantizer)
        print(case, figures, f"{quantizer.bytes} bytes, {quantizer.share:.1%} of the work in 8 bits")
        return figures, quantizer

    return run


Measured = Callable[..., tuple[dict[str, float], Quantizer]]


def test_squeezenet(measured: Measured) -> None:
    figures, quantizer = measured("squeezenet", "squeezenet1_1/squeezenet1_1.pt2")
    assert figures["float"] - figures["int8"] <= 1.0
    assert figures["agreement"] >= 95
    assert quantizer.bytes <= 1_350_000
    assert quantizer.share >= 0.9


def test_resnet20(measured: Measured) -> None:
    figures, quantizer = measured("resnet20", "resnet20_cifar10/resnet20_cifar10.pt2")
    assert figures["float"] - figures["int8"] <= 0.5
    assert quantizer.bytes <= 310_000
    assert quantizer.share >= 0.9


def test_vit(measured: Measured) -> None:
    figures, _ = measured("vit", "vit_mnist/vit_mnist.pt2")
    assert figures["float"] - figures["int8"] <= 0.5


@pytest.mark.parametrize(
    "case, file, peers",
    [
        # The accuracy of the int8 file that MLPerf Tiny ships, on the same samples.
        ("resnet8", "mlperf_tiny/ic_resnet8/pretrainedResnet.tflite", 79.2),
        ("ds_cnn", "mlperf_tiny/kws/kws_ref_model_float32.tflite", 89.8),
        ("vww", "mlperf_tiny/vww/vww_96_float.tflite", 94.59),
    ],
)
def test_mlperf_tiny_from_float(measured: Measured, case: str, file: str, peers: float) -> None:
    pytest.importorskip("tflite")
    figures, quantizer = measured(case, file)
    assert round(figures["int8"], 2) >= peers
    assert quantizer.share >= 0.9


def test_faces(measured: Measured) -> None:
    figures, _ = measured("ultraface", "ultraface_rfb320/rfb320.onnx")
    assert figures["expected"] == 280
    assert figures["found"] >= 275
    assert figures["new"] <= 5


def test_detections(measured: Measured) -> None:
    figures, _ = measured("fastestdet", "fastestdet/fastestdet.pt2")
    assert figures["found"] == figures["expected"] == figures["found_float"]


def test_street_scenes(measured: Measured) -> None:
    figures, quantizer = measured("espnet", "espnet_cityscapes/espnet_p2_q8.pt2")
    assert figures["agreement"] >= 97
    assert quantizer.share >= 0.9


def test_speech(measured: Measured) -> None:
    figures, _ = measured("silero", "silero_vad/silero_vad_16k_op15.onnx", **SILERO)
    assert figures["same"] >= 99


def test_super_resolution(measured: Measured) -> None:
    pytest.importorskip("tensorflow")
    figures, _ = measured("fsrcnn", "fsrcnn/FSRCNN_x2.pb", shapes="1xhxwx1")
    assert figures["loss"] <= 0.2
