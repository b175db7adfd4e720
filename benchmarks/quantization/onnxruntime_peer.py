"""onnxruntime's static quantization: Q/DQ, per channel, u8 activations, i8 weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnxruntime import quantization
from onnxruntime.quantization.shape_inference import quant_pre_process

from benchmarks.quantization.networks import SOURCES

OPTIONS: dict[str, dict[str, Any]] = {
    "min-max": {"calibrate_method": quantization.CalibrationMethod.MinMax},
    "percentile": {"calibrate_method": quantization.CalibrationMethod.Percentile},
}


def version() -> str:
    return f"onnxruntime {onnxruntime.__version__}"


class Network:
    """A file and its session in one."""

    def __init__(self, path: Path) -> None:
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(path, options, providers=["CPUExecutionProvider"])
        self.path, self.inputs = path, self.session.get_inputs()

    def run(self, _: None, feeds: dict[str, Any]) -> list[np.ndarray]:
        return self.session.run(None, feeds)


def load(case: str, models: Path, work: Path) -> Network:
    path = SOURCES[case].onnx(models, work)
    model = onnx.load(path)
    if model.opset_import[0].version < 13:  # per channel needs 13
        model = onnx.version_converter.convert_version(model, 17)
    prepared = work / f"{case}-prepared.onnx"
    quant_pre_process(model, prepared)
    return Network(prepared)


def quantize(network: Network, samples: Sequence[Any], **options: Any) -> Network:
    feeds = [s if isinstance(s, dict) else {network.inputs[0].name: s} for s in samples]

    class Reader(quantization.CalibrationDataReader):
        rest = iter(feeds)

        def get_next(self) -> dict[str, Any] | None:
            return next(self.rest, None)

    path = network.path.with_name("quantized.onnx")
    quantization.quantize_static(
        network.path,
        path,
        Reader(),
        quant_format=quantization.QuantFormat.QDQ,
        per_channel=True,
        activation_type=quantization.QuantType.QUInt8,
        weight_type=quantization.QuantType.QInt8,
        **options,
    )
    return Network(path)
