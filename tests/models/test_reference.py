"""Every trained model of the shared folder computes what its reference says, to a relative L2 error of 1e-5."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pytest

import edgec
from tests.conftest import relative_l2

LIMIT = 1e-5  # the project's promise for f32


@dataclass(frozen=True)
class Case:
    """A model file, the array to feed (one sample at a time) and the expected array per output."""

    file: str
    reference: str
    feed: str
    outputs: tuple[str, ...]
    options: dict[str, object] = field(default_factory=dict)
    limit: float = LIMIT

    def __str__(self) -> str:
        return self.file


CASES = [
    Case("squeezenet1_1/squeezenet1_1.pt", "squeezenet1_1", "input_nchw", ("output",)),
    Case("squeezenet1_1/squeezenet1_1.pt2", "squeezenet1_1", "input_nchw", ("output",)),
    Case("resnet20_cifar10/resnet20_cifar10.pt", "resnet20_cifar10", "input_nchw", ("output",)),
    Case("resnet20_cifar10/resnet20_cifar10.pt2", "resnet20_cifar10", "input_nchw", ("output",)),
    Case("vit_mnist/vit_mnist.pt", "vit_mnist", "input_nchw", ("output",)),
    Case("vit_mnist/vit_mnist.pt2", "vit_mnist", "input_nchw", ("output",)),
    Case("fastestdet/fastestdet.pt", "fastestdet", "input_nchw_bgr01", ("output",)),
    Case("fastestdet/fastestdet.pt2", "fastestdet", "input_nchw_bgr01", ("output",)),
    # The repository exported this file with batch norms folded in f32: 1.7e-4 (largest error) from torch, says the README.
    Case("fastestdet/fastestdet.onnx", "fastestdet", "input_nchw_bgr01", ("output",), limit=1.7e-4),
    Case("ultraface_rfb320/rfb320_raw.pt", "ultraface_rfb320", "input_nchw", ("raw_conf_logits", "raw_loc")),
    Case("ultraface_rfb320/rfb320_raw.pt2", "ultraface_rfb320", "input_nchw", ("raw_conf_logits", "raw_loc")),
    Case("ultraface_rfb320/rfb320.onnx", "ultraface_rfb320", "input_nchw", ("scores", "boxes")),
    Case(
        "ultraface_rfb320/rfb320_without_postprocessing.onnx", "ultraface_rfb320", "input_nchw", ("scores", "raw_loc")
    ),
    Case("stories260k/stories260k_seq64.pt", "stories260k", "input_tokens_i64", ("output_logits",)),
    Case("stories260k/stories260k_seq64.pt2", "stories260k", "input_tokens_i64", ("output_logits",)),
]


@pytest.mark.parametrize("case", CASES, ids=str)
def test_reference(case: Case, models: Path, converted: Callable[..., edgec.Model]) -> None:
    model = converted(case.file, **case.options)
    for check in model.report["check"]:
        assert check["ok"], check
    with np.load(models / case.reference / "reference.npz") as stored:
        data, expected = stored[case.feed], [stored[k] for k in case.outputs]
    sessions = [edgec.Session(model, threads=n) for n in (1, 2)]
    results = [[s.run(None, {s.inputs[0].name: data[i : i + 1]}) for i in range(len(data))] for s in sessions]
    for single, double in zip(*results, strict=True):
        for a, b in zip(single, double, strict=True):
            np.testing.assert_array_equal(a, b, err_msg="two threads give other bits than one")
    for index, want in enumerate(expected):
        got = np.concatenate([r[index] for r in results[0]])
        error = relative_l2(got, want)
        print(f"{case.file} {case.outputs[index]}: relative L2 {error:.2e}")
        assert error <= case.limit


@pytest.mark.parametrize("suffix", ["pt", "pt2"])
def test_espnet_classes(suffix: str, models: Path, converted: Callable[..., edgec.Model]) -> None:
    """The stored logits (every fourth pixel) are rounded to f16: each must be the nearest f16 of ours, give or take LIMIT."""
    model = converted(f"espnet_cityscapes/espnet_p2_q8.{suffix}")
    assert all(c["relative_l2"] <= LIMIT for c in model.report["check"]), "against torch, in full precision"
    session = edgec.Session(model, threads=2)
    with np.load(models / "espnet_cityscapes" / "reference.npz") as stored:
        data, logits, classes = stored["input_nchw"], stored["logits_image0_every4th_pixel"], stored["classmaps"][0]
    got = session.run(None, {session.inputs[0].name: data})[0]
    scale = float(np.sqrt(np.mean(np.square(logits))))
    half_ulp = np.abs(logits) * 2.0**-11 + 2.0**-25  # f16: 11 bits, and its smallest subnormal
    # The errors are not evenly spread over the picture: ten times their mean size is allowed at one pixel.
    assert np.all(np.abs(got[:, :, ::4, ::4] - logits) <= half_ulp + LIMIT * scale * 10)
    np.testing.assert_array_equal(got[0].argmax(0), classes)
