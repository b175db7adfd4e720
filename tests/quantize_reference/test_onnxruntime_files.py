"""Files of onnxruntime's static and dynamic quantizers run on integers: at least 95 % of the multiply-adds."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch")
pytest.importorskip("onnxruntime")

import torch
from onnxruntime.quantization import (
    CalibrationDataReader,
    QuantFormat,
    QuantType,
    quant_pre_process,
    quantize_dynamic,
    quantize_static,
)

import edgec
from edgec.cost import integer_share
from tests.zoo import build

LEAST_SHARE = 0.95
U8, S8 = QuantType.QUInt8, QuantType.QInt8
NETWORKS = ("resnet8", "keyword_dscnn", "squeezenet", "mobilenet_v2", "mobilenet_v3_large", "bert_mini")


class Example(CalibrationDataReader):
    """One batch."""

    def __init__(self, feeds: dict[str, np.ndarray]) -> None:
        self._rest: Iterator[Any] = iter([feeds])

    def get_next(self) -> Any:
        return next(self._rest, None)


@pytest.fixture(scope="module")
def exported(tmp_path_factory: pytest.TempPathFactory) -> Any:
    """name -> (onnx file of the float network, feeds), made once."""
    folder = tmp_path_factory.mktemp("float")
    made: dict[str, tuple[Path, dict[str, np.ndarray]]] = {}

    def make(name: str) -> tuple[Path, dict[str, np.ndarray]]:
        if name not in made:
            module, example = build(name)
            names = [f"x{i}" for i in range(len(example))]
            plain, ready = folder / f"{name}.onnx", folder / f"{name}.ready.onnx"
            with torch.no_grad(), warnings.catch_warnings():
                warnings.simplefilter("ignore")
                torch.onnx.export(module.eval(), example, plain, input_names=names, opset_version=17, dynamo=False)
            quant_pre_process(str(plain), str(ready), skip_symbolic_shape=True)
            made[name] = ready, {n: x.numpy() for n, x in zip(names, example)}
        return made[name]

    logging.disable(logging.WARNING)
    yield make
    logging.disable(logging.NOTSET)


def share(path: Path) -> float:
    """Converts (and so compares with onnxruntime); the share of multiply-adds on integers."""
    model = edgec.convert(path)
    assert model.report["check"] and not model.report["refused"] and not model.report["repeating"]
    found = integer_share(edgec.Session(model).steps)
    assert found is not None
    return found


@pytest.mark.parametrize("name", NETWORKS)
def test_static_per_channel(name: str, exported: Any, tmp_path: Path) -> None:
    source, feeds = exported(name)
    target = tmp_path / "q.onnx"
    quantize_static(source, target, Example(feeds), activation_type=U8, weight_type=S8, per_channel=True)
    assert share(target) >= LEAST_SHARE


@pytest.mark.parametrize("activations", [U8, S8])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("style", [QuantFormat.QDQ, QuantFormat.QOperator])
def test_static_of_every_kind(style: Any, per_channel: bool, activations: Any, exported: Any, tmp_path: Path) -> None:
    source, feeds = exported("resnet8")
    target = tmp_path / "q.onnx"
    quantize_static(
        source, target, Example(feeds), quant_format=style, activation_type=activations, weight_type=S8,
        per_channel=per_channel,
    )  # fmt: skip
    assert share(target) >= LEAST_SHARE


@pytest.mark.parametrize("name", ["resnet8", "bert_mini"])
def test_dynamic(name: str, exported: Any, tmp_path: Path) -> None:
    source, _ = exported(name)
    target = tmp_path / "q.onnx"
    quantize_dynamic(source, target, weight_type=S8)
    assert share(target) >= LEAST_SHARE
