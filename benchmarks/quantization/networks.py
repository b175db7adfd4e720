"""The trained networks of tests/models/quantized_cases.py as the peers can read them.

    python -m benchmarks.quantization.networks torch ../shared/models build/quantization
    python -m benchmarks.quantization.networks tensorflow ../shared/models build/quantization

write the ONNX files that have to be made first; the first needs torch and onnxruntime, the second tensorflow and tf2onnx.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np


@dataclass(frozen=True)
class Source:
    """Where a network is, relative to the models folder."""

    file: str  # TorchScript, ONNX, TFLite or a frozen graph
    shape: tuple[int, ...] | None = None  # of the input
    tensorflow: str = ""  # Keras, SavedModel or frozen graph: what TensorFlow's converter reads
    made: bool = False  # nobody reads the file itself, only the ONNX file made from it

    def readable(self, models: Path, work: Path) -> Path:
        return self.onnx(models, work) if self.made else models / self.file

    def onnx(self, models: Path, work: Path) -> Path:
        given = self.file.endswith(".onnx") and not self.made
        return models / self.file if given else work / f"{Path(self.file).stem}.onnx"


RESNET8, KWS, VWW = "mlperf_tiny/ic_resnet8", "mlperf_tiny/kws", "mlperf_tiny/vww"
SOURCES = {
    "squeezenet": Source("squeezenet1_1/squeezenet1_1.pt", (1, 3, 224, 224), made=True),
    "resnet20": Source("resnet20_cifar10/resnet20_cifar10.pt", (1, 3, 32, 32), made=True),
    "vit": Source("vit_mnist/vit_mnist.pt", (1, 1, 28, 28), made=True),
    "ultraface": Source("ultraface_rfb320/rfb320.onnx"),
    "fastestdet": Source("fastestdet/fastestdet.onnx"),
    "espnet": Source("espnet_cityscapes/espnet_p2_q8.pt", (1, 3, 256, 512), made=True),
    "fsrcnn": Source("fsrcnn/FSRCNN_x2.pb", (1, 126, 126, 1), "fsrcnn/FSRCNN_x2.pb"),
    "silero": Source("silero_vad/silero_vad_16k_op15.onnx", made=True),
    "resnet8": Source(f"{RESNET8}/pretrainedResnet.tflite", (1, 32, 32, 3), f"{RESNET8}/pretrainedResnet.h5"),
    "ds_cnn": Source(f"{KWS}/kws_ref_model_float32.tflite", (1, 49, 10, 1)),
    "ds_cnn_saved": Source(f"{KWS}/kws_ref_model", (1, 49, 10, 1), f"{KWS}/kws_ref_model"),  # trained differently
    "vww": Source(f"{VWW}/vww_96_float.tflite", (1, 96, 96, 3), f"{VWW}/vww_96.h5"),
}


def fix_silero(source: Path, target: Path) -> None:
    """The network for 16 kHz with fixed shapes: onnxruntime folds what depends on the rate, branches included."""
    import onnx
    import onnxruntime
    from onnxruntime.tools.onnx_model_utils import make_input_shape_fixed

    model = onnx.load(source)
    (rate,) = (i for i in model.graph.input if i.name == "sr")
    model.graph.input.remove(rate)
    model.graph.initializer.append(onnx.numpy_helper.from_array(np.array(16000, np.int64), "sr"))
    make_input_shape_fixed(model.graph, "input", (1, 576))
    make_input_shape_fixed(model.graph, "state", (2, 1, 128))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_BASIC
    options.optimized_model_filepath = str(target)
    onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def export_torch(models: Path, work: Path) -> None:
    import torch

    for source in SOURCES.values():
        path = source.onnx(models, work)
        if source.file.endswith(".pt"):
            module = torch.jit.load(models / source.file, map_location="cpu").eval()
            example = (torch.zeros(source.shape),)
            torch.onnx.export(module, example, path, opset_version=17, input_names=["x"], dynamo=False)
        elif source.made:
            fix_silero(models / source.file, path)


def export_tensorflow(models: Path, work: Path) -> None:
    ends = ["--inputs", "IteratorGetNext:0[1,126,126,1]", "--outputs", "NCHW_output:0"]
    kinds = {".tflite": ["--tflite"], ".pb": [*ends, "--graphdef"], "": ["--saved-model"]}
    for source in SOURCES.values():
        file = models / source.file
        if file.suffix in kinds:
            options = [*kinds[file.suffix], file, "--opset", "17", "--output", source.onnx(models, work)]
            subprocess.run([sys.executable, "-m", "tf2onnx.convert", *options], check=True)


if __name__ == "__main__":
    Path(sys.argv[3]).mkdir(parents=True, exist_ok=True)
    {"torch": export_torch, "tensorflow": export_tensorflow}[sys.argv[1]](Path(sys.argv[2]), Path(sys.argv[3]))
