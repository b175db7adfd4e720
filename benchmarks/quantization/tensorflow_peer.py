"""TensorFlow's TFLite converter, full-integer post-training quantization, from the network's TensorFlow source."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import h5py
import numpy as np
import tensorflow as tf

from benchmarks.quantization.networks import SOURCES

OPTIONS: dict[str, dict[str, Any]] = {"defaults": {}}


def version() -> str:
    return f"TensorFlow {tf.__version__}"


class Network:
    """The source's converter, and the session of what it made last."""

    def __init__(self, converter: Any) -> None:
        self.converter = converter
        self.interpreter: Any = None
        self.inputs = [SimpleNamespace(name="x")]

    def run(self, _: None, feeds: dict[str, Any]) -> list[np.ndarray]:
        if self.interpreter is None:
            self.interpreter = tf.lite.Interpreter(model_content=self.converter().convert(), num_threads=1)
            self.interpreter.allocate_tensors()
        (x,) = feeds.values()
        self.interpreter.set_tensor(self.interpreter.get_input_details()[0]["index"], x)
        self.interpreter.invoke()
        return [self.interpreter.get_tensor(o["index"]) for o in self.interpreter.get_output_details()]


def keras(path: Path, work: Path) -> Any:
    """The Keras file; Keras 3 refuses the `groups` that older versions wrote into DepthwiseConv2D."""
    copy = work / path.name
    copy.write_bytes(path.read_bytes())
    with h5py.File(copy, "r+") as f:
        config = json.loads(f.attrs["model_config"])
        for layer in config["config"]["layers"]:
            if layer["class_name"] == "DepthwiseConv2D":
                layer["config"].pop("groups", None)
        f.attrs["model_config"] = json.dumps(config)
    return tf.keras.models.load_model(copy, compile=False)


def load(case: str, models: Path, work: Path) -> Network:
    source = SOURCES[case]
    path = models / source.tensorflow
    if not source.tensorflow:
        raise ValueError("there is no TensorFlow source")
    if path.suffix == ".h5":
        model = keras(path, work)
        return Network(lambda: tf.lite.TFLiteConverter.from_keras_model(model))
    if path.suffix == ".pb":
        ends = ["IteratorGetNext"], ["NCHW_output"]
        shapes = {"IteratorGetNext": source.shape}
        return Network(lambda: tf.compat.v1.lite.TFLiteConverter.from_frozen_graph(str(path), *ends, shapes))
    return Network(lambda: tf.compat.v1.lite.TFLiteConverter.from_saved_model(str(path)))


def quantize(network: Network, samples: Sequence[Any]) -> Network:
    def converter() -> Any:
        made = network.converter()
        made.optimizations = [tf.lite.Optimize.DEFAULT]
        made.representative_dataset = lambda: ([s] for s in samples)
        made.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
        return made

    return Network(converter)
