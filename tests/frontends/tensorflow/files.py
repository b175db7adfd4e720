"""Writes SavedModels, Keras files and frozen graphs for the tests: `python -m tests.frontends.tensorflow.files FOLDER`."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

import h5py
import keras
import numpy as np
import tensorflow as tf

layers = keras.layers


def small(*parts: Any, shape: tuple[int | None, ...] = (8,)) -> keras.Model:
    return keras.Sequential([keras.Input(shape, name="x"), *parts])


def network() -> keras.Model:
    """What old files hold: convolutions, normalisation, a recurrent layer."""
    x = keras.Input((12, 10, 3), name="image")
    y = layers.DepthwiseConv2D(3, padding="same")(x)
    y = layers.BatchNormalization()(y)
    y = layers.LeakyReLU(0.2)(layers.Conv2D(4, 3)(y))
    y = layers.Reshape((10, 32))(y)
    y = layers.Dense(3, "softmax")(layers.LSTM(6)(y))
    return keras.Model(x, y)


def keras_files(folder: Path) -> None:
    model = network()
    model.save(folder / "new.keras")
    model.save(folder / "old.h5")
    model.export(folder / "exported", verbose=False)
    with h5py.File(folder / "old.h5", "r+") as f:  # as Keras 2.4 wrote it
        config = json.loads(f.attrs["model_config"])
        for layer in config["config"]["layers"]:
            inner = layer["config"]
            if layer["class_name"] == "DepthwiseConv2D":
                inner["groups"] = 1
            if layer["class_name"] == "LSTM":
                inner.update(time_major=False, implementation=2)
            if layer["class_name"] == "BatchNormalization":
                inner["axis"] = [3]
            if layer["class_name"] == "LeakyReLU":
                inner["alpha"] = inner.pop("negative_slope")
        f.attrs["model_config"] = json.dumps(config)
    rng = np.random.default_rng(3)
    x = rng.normal(size=(1, 12, 10, 3)).astype(np.float32)
    np.savez(folder / "network.npz", x=x, y=np.asarray(model(x)))
    model.save_weights(folder / "only.weights.h5")
    small(layers.Lambda(lambda x: x * 2 + 1)).save(folder / "lambda.keras")
    small(layers.Lambda(lambda x: x * 2 + 1)).save(folder / "lambda.h5")
    marker = str(folder / "marker")
    writes = layers.Lambda(lambda x: (open(marker, "w").close(), x)[1], output_shape=(8,))  # noqa: PTH123
    x = keras.Input((8,))
    model = keras.Model(x, writes(x))
    model.save(folder / "writes.keras")
    Path(marker).unlink(missing_ok=True)
    two = [keras.Input((4,), name="left"), keras.Input((4,), name="right")]
    both = layers.Subtract()(two)
    keras.Model(two, [layers.Dense(3, name="first")(both), layers.Dense(2, name="second")(both)]).save(
        folder / "two.keras"
    )


class Several(tf.Module):
    def __init__(self) -> None:
        self.scale = tf.Variable([1.0, 2, 3])

    @tf.function(input_signature=[tf.TensorSpec([None, 3], name="a")])
    def twice(self, a: Any) -> Any:
        return {"doubled": a * self.scale * 2}

    @tf.function(input_signature=[tf.TensorSpec([None, 3], name="b"), tf.TensorSpec([3], name="c")])
    def plus(self, b: Any, c: Any) -> Any:
        return {"sum": b + c}


class Counts(tf.Module):
    def __init__(self) -> None:
        self.count = tf.Variable(0.0)

    @tf.function(input_signature=[tf.TensorSpec([None, 3], name="x")])
    def call(self, x: Any) -> Any:
        self.count.assign_add(1.0)
        return {"y": x + self.count}


class Table(tf.Module):
    def __init__(self) -> None:
        values = tf.lookup.KeyValueTensorInitializer([1, 2], [10, 20], tf.int64, tf.int64)
        self.lookup = tf.lookup.StaticHashTable(values, -1)

    @tf.function(input_signature=[tf.TensorSpec([3], tf.int64, name="x")])
    def call(self, x: Any) -> Any:
        return {"y": self.lookup.lookup(x)}


def writes(x: Any) -> Any:
    tf.io.write_file("/tmp/edgec-marker", "x")
    return {"y": x}


def decomposition(x: Any) -> Any:
    return {"y": tf.linalg.svd(x, compute_uv=False)}


def words(x: Any) -> Any:
    return {"y": tf.strings.length(x)}


def aware(x: Any) -> Any:
    """Trained with simulated quantization."""
    weights = tf.constant(np.random.default_rng(1).uniform(-2, 2, (3, 3, 3, 4)).astype(np.float32))
    x = tf.quantization.fake_quant_with_min_max_vars(x, -2.0, 2.0)
    weights = tf.quantization.fake_quant_with_min_max_vars_per_channel(
        weights, [-2.0] * 4, [2.0] * 4, narrow_range=True
    )
    y = tf.nn.relu(tf.nn.conv2d(x, weights, 1, "SAME"))
    y = tf.quantization.fake_quant_with_min_max_vars(y, 0.0, 6.0)
    return {"y": tf.quantization.fake_quant_with_min_max_vars(tf.reduce_mean(y, [1, 2]), 0.0, 6.0)}


def saved_models(folder: Path) -> None:
    several = Several()
    tf.saved_model.save(several, folder / "several", signatures={"twice": several.twice, "plus": several.plus})
    for name, module in (("counts", Counts()), ("table", Table())):
        tf.saved_model.save(module, folder / name, signatures=module.call)
    for function, spec in (
        (writes, tf.TensorSpec([None, 3], name="x")),
        (decomposition, tf.TensorSpec([None, 4, 4], name="x")),
        (words, tf.TensorSpec([None], tf.string, name="x")),
        (aware, tf.TensorSpec([None, 8, 8, 3], name="x")),
    ):
        module = tf.Module()
        module.call = tf.function(function, input_signature=[spec])
        tf.saved_model.save(module, folder / function.__name__, signatures=module.call)
    tf.saved_model.save(tf.Module(), folder / "empty")


def frozen_graphs(folder: Path) -> None:
    v1 = tf.compat.v1

    def write(name: str) -> None:
        (folder / name).write_bytes(v1.get_default_graph().as_graph_def().SerializeToString())

    weights = np.random.default_rng(5).normal(size=(6, 4)).astype(np.float32)
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, None, name="x")
        keep = v1.placeholder_with_default(1.0, [], name="keep_prob")
        hidden = tf.nn.relu(tf.matmul(x * keep, weights), name="hidden")
        tf.nn.softmax(hidden, name="scores")
        tf.reduce_max(hidden, 1, name="best")
        write("plain.pb")
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, None, name="x")
        tf.add(x, 1.0, name="y")
        write("rankless.pb")
    with tf.Graph().as_default():
        v1.disable_control_flow_v2()
        x = v1.placeholder(tf.float32, [1, 4], name="x")
        count = v1.placeholder(tf.int32, [], name="count")
        v1.while_loop(lambda i, a: i < count, lambda i, a: (i + 1, a * 2.0), [tf.constant(0), x], name="loop")
        write("loop.pb")
    with tf.Graph().as_default():
        x = v1.placeholder(tf.float32, [1, 4], name="x")
        v1.while_loop(lambda i, a: i < 1.0, lambda i, a: (i * 0.5, a + 1.0), [tf.constant(0.5), x], name="loop")
        write("endless.pb")
        v1.enable_control_flow_v2()
    np.savez(folder / "plain.npz", weights=weights)


def hostile_h5(folder: Path) -> None:
    source = folder / "old.h5"
    for name in ("external", "virtual", "huge", "soft"):
        (folder / f"{name}.h5").write_bytes(source.read_bytes())
    with h5py.File(folder / "external.h5", "r+") as f:
        f["model_weights/extra"] = h5py.ExternalLink("/etc/passwd", "/x")
    with h5py.File(folder / "soft.h5", "r+") as f:
        f["model_weights/extra"] = h5py.SoftLink("/model_weights")
    with h5py.File(folder / "virtual.h5", "r+") as f:
        layout = h5py.VirtualLayout(shape=(4,), dtype="f4")
        layout[:] = h5py.VirtualSource("/tmp/other.h5", "x", shape=(4,))
        f["model_weights"].create_virtual_dataset("extra", layout)
    with h5py.File(folder / "huge.h5", "r+") as f:
        f["model_weights"].create_dataset("extra", shape=(10**6, 10**6), chunks=(1024, 1024), dtype="f4")
    with h5py.File(source) as f:
        config = json.loads(f.attrs["model_config"])
    (folder / "wants.h5").write_bytes(source.read_bytes())
    next(x for x in config["config"]["layers"] if x["class_name"] == "Dense")["config"]["units"] = 10**9
    with h5py.File(folder / "wants.h5", "r+") as f:
        f.attrs["model_config"] = json.dumps(config)
    data = source.read_bytes()
    for part in (1, 2, 3):
        (folder / f"cut{part}.h5").write_bytes(data[: len(data) * part // 4])


def live_objects(folder: Path) -> None:
    import edgec

    module = Several()
    model = network()
    x = np.random.default_rng(4).normal(size=(1, 12, 10, 3)).astype(np.float32)
    edgec.convert(model).save(folder / "live_model.edge")
    np.savez(folder / "live_model.npz", x=x, y=np.asarray(model(x)))
    edgec.convert(module.twice).save(folder / "live_function.edge")
    concrete = tf.function(lambda q: tf.nn.relu(q) - 1).get_concrete_function(tf.TensorSpec([None, 5], name="q"))
    edgec.convert(concrete).save(folder / "live_concrete.edge")
    edgec.convert(tf.function(lambda q: q * 3), shapes="q:2x5").save(folder / "live_shapes.edge")


def main(folder: Path) -> None:
    keras_files(folder)
    saved_models(folder)
    frozen_graphs(folder)
    hostile_h5(folder)
    live_objects(folder)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
