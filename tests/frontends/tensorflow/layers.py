"""One small Keras network per layer, and a script that converts many of them with a single start of TensorFlow.

`python -m tests.frontends.tensorflow.layers FOLDER NAME...` leaves NAME.edge, NAME.npz (inputs and what Keras
computes) or NAME.error in FOLDER.
"""

from __future__ import annotations

import sys
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

Case = Callable[[Any], tuple[Any, list[tuple[int | None, ...]]]]


def one(make: Callable[[Any], Any], *shapes: tuple[int | None, ...]) -> Case:
    """A network of one layer: `make(keras.layers)` on inputs of `shapes` (without the batch)."""
    return lambda layers: (make(layers), list(shapes))


def keras_ops() -> Any:
    import keras

    return keras.ops


def activation(name: str) -> Case:
    return one(lambda k: k.Activation(name), (5, 8))


ACTIVATIONS = (
    "celu", "elu", "exponential", "gelu", "glu", "hard_shrink", "hard_sigmoid", "hard_silu", "hard_tanh", "leaky_relu",
    "linear", "log_sigmoid", "log_softmax", "mish", "relu", "relu6", "selu", "sigmoid", "silu", "soft_shrink", "softmax",
    "softplus", "softsign", "sparse_plus", "sparsemax", "squareplus", "tanh", "tanh_shrink",
)  # fmt: skip
SEQUENCE, IMAGE, VOLUME = (12, 6), (11, 9, 6), (7, 6, 5, 4)
TOKENS = (9,)

FLOAT: dict[str, Case] = {
    "Dense": one(lambda k: k.Dense(7, activation="relu"), (13,)),
    "Dense sequence": one(lambda k: k.Dense(7, use_bias=False), SEQUENCE),
    "EinsumDense": one(lambda k: k.EinsumDense("abc,cde->abde", output_shape=(None, 3, 5), bias_axes="de"), SEQUENCE),
    "Conv1D": one(lambda k: k.Conv1D(8, 3, strides=2, padding="same"), SEQUENCE),
    "Conv1D causal": one(lambda k: k.Conv1D(8, 3, dilation_rate=2, padding="causal"), SEQUENCE),
    "Conv2D": one(lambda k: k.Conv2D(8, 3, activation="relu"), IMAGE),
    "Conv2D same stride": one(lambda k: k.Conv2D(8, (3, 5), strides=2, padding="same"), IMAGE),
    "Conv2D dilated": one(lambda k: k.Conv2D(8, 3, dilation_rate=2, padding="same"), IMAGE),
    "Conv2D groups": one(lambda k: k.Conv2D(8, 3, groups=2), IMAGE),
    "Conv3D": one(lambda k: k.Conv3D(5, 3, padding="same"), VOLUME),
    "Conv3D stride": one(lambda k: k.Conv3D(5, 3, strides=2), VOLUME),
    "SeparableConv1D": one(lambda k: k.SeparableConv1D(8, 3, padding="same"), SEQUENCE),
    "SeparableConv2D": one(lambda k: k.SeparableConv2D(8, 3, depth_multiplier=2), IMAGE),
    "DepthwiseConv1D": one(lambda k: k.DepthwiseConv1D(3, padding="same"), SEQUENCE),
    "DepthwiseConv2D": one(lambda k: k.DepthwiseConv2D(3, strides=2, padding="same"), IMAGE),
    "DepthwiseConv2D multiplier": one(lambda k: k.DepthwiseConv2D(3, depth_multiplier=3), IMAGE),
    "Conv1DTranspose": one(lambda k: k.Conv1DTranspose(8, 3, strides=2, padding="same"), SEQUENCE),
    "Conv2DTranspose": one(lambda k: k.Conv2DTranspose(8, 3, strides=2), IMAGE),
    "Conv2DTranspose same": one(lambda k: k.Conv2DTranspose(8, 4, strides=2, padding="same"), IMAGE),
    "Conv3DTranspose": one(lambda k: k.Conv3DTranspose(3, 3, strides=2), VOLUME),
    "MaxPooling1D": one(lambda k: k.MaxPooling1D(3, strides=2, padding="same"), SEQUENCE),
    "MaxPooling2D": one(lambda k: k.MaxPooling2D(2), IMAGE),
    "MaxPooling2D same": one(lambda k: k.MaxPooling2D(3, strides=2, padding="same"), IMAGE),
    "MaxPooling3D": one(lambda k: k.MaxPooling3D(2), VOLUME),
    "AveragePooling1D": one(lambda k: k.AveragePooling1D(3, strides=2, padding="same"), SEQUENCE),
    "AveragePooling2D": one(lambda k: k.AveragePooling2D(3, strides=2, padding="same"), IMAGE),
    "AveragePooling3D": one(lambda k: k.AveragePooling3D(2), VOLUME),
    "GlobalMaxPooling1D": one(lambda k: k.GlobalMaxPooling1D(), SEQUENCE),
    "GlobalMaxPooling2D": one(lambda k: k.GlobalMaxPooling2D(keepdims=True), IMAGE),
    "GlobalMaxPooling3D": one(lambda k: k.GlobalMaxPooling3D(), VOLUME),
    "GlobalAveragePooling1D": one(lambda k: k.GlobalAveragePooling1D(), SEQUENCE),
    "GlobalAveragePooling2D": one(lambda k: k.GlobalAveragePooling2D(), IMAGE),
    "GlobalAveragePooling3D": one(lambda k: k.GlobalAveragePooling3D(), VOLUME),
    "AdaptiveAveragePooling1D": one(lambda k: k.AdaptiveAveragePooling1D(4), SEQUENCE),
    "AdaptiveAveragePooling2D": one(lambda k: k.AdaptiveAveragePooling2D((4, 3)), IMAGE),
    "AdaptiveMaxPooling2D": one(lambda k: k.AdaptiveMaxPooling2D((4, 3)), IMAGE),
    "BatchNormalization": one(lambda k: k.BatchNormalization(), IMAGE),
    "BatchNormalization axis 1": one(lambda k: k.BatchNormalization(axis=1), IMAGE),
    "LayerNormalization": one(lambda k: k.LayerNormalization(), SEQUENCE),
    "LayerNormalization axes": one(lambda k: k.LayerNormalization(axis=(1, 2, 3)), IMAGE),
    "GroupNormalization": one(lambda k: k.GroupNormalization(3), IMAGE),
    "UnitNormalization": one(lambda k: k.UnitNormalization(), SEQUENCE),
    "RMSNormalization": one(lambda k: k.RMSNormalization(), SEQUENCE),
    "SpectralNormalization": one(lambda k: k.SpectralNormalization(k.Conv2D(4, 3)), IMAGE),
    "Normalization": one(lambda k: k.Normalization(mean=[1.0, 2, 3, 4, 5, 6], variance=[2.0, 1, 3, 2, 1, 4]), IMAGE),
    "Rescaling": one(lambda k: k.Rescaling(1 / 127.5, offset=-1), IMAGE),
    "Resizing": one(lambda k: k.Resizing(7, 13), IMAGE),
    "Resizing nearest": one(lambda k: k.Resizing(17, 5, interpolation="nearest"), IMAGE),
    "Resizing bicubic": one(lambda k: k.Resizing(17, 5, interpolation="bicubic"), IMAGE),
    "CenterCrop": one(lambda k: k.CenterCrop(7, 4), IMAGE),
    "ReLU": one(lambda k: k.ReLU(), IMAGE),
    "ReLU six": one(lambda k: k.ReLU(max_value=6.0), IMAGE),
    "ReLU slope": one(lambda k: k.ReLU(max_value=1.5, negative_slope=0.1, threshold=0.2), IMAGE),
    "LeakyReLU": one(lambda k: k.LeakyReLU(0.2), IMAGE),
    "PReLU": one(lambda k: k.PReLU(), IMAGE),
    "PReLU shared": one(lambda k: k.PReLU(shared_axes=[1, 2]), IMAGE),
    "ELU": one(lambda k: k.ELU(0.7), IMAGE),
    "Softmax": one(lambda k: k.Softmax(), SEQUENCE),
    "Softmax axis": one(lambda k: k.Softmax(axis=1), IMAGE),
    "LSTM": one(lambda k: k.LSTM(5), SEQUENCE),
    "LSTM sequences": one(lambda k: k.LSTM(5, return_sequences=True), SEQUENCE),
    "LSTM state": one(lambda k: k.LSTM(5, return_sequences=True, return_state=True), SEQUENCE),
    "LSTM backwards": one(lambda k: k.LSTM(5, go_backwards=True), SEQUENCE),
    "LSTM unrolled": one(lambda k: k.LSTM(5, unroll=True), SEQUENCE),
    "LSTM open length": one(lambda k: k.LSTM(5, return_sequences=True), (None, 6)),
    "LSTM without bias": one(lambda k: k.LSTM(5, use_bias=False), SEQUENCE),
    "LSTM relu": one(lambda k: k.LSTM(5, activation="relu"), SEQUENCE),
    "GRU": one(lambda k: k.GRU(5), SEQUENCE),
    "GRU sequences": one(lambda k: k.GRU(5, return_sequences=True), SEQUENCE),
    "GRU reset before": one(lambda k: k.GRU(5, reset_after=False, return_state=True), SEQUENCE),
    "SimpleRNN": one(lambda k: k.SimpleRNN(5), SEQUENCE),
    "SimpleRNN sequences": one(lambda k: k.SimpleRNN(5, return_sequences=True, return_state=True), SEQUENCE),
    "Bidirectional LSTM": one(lambda k: k.Bidirectional(k.LSTM(5, return_sequences=True)), SEQUENCE),
    "Bidirectional GRU sum": one(lambda k: k.Bidirectional(k.GRU(5), merge_mode="sum"), SEQUENCE),
    "RNN stacked cells": one(lambda k: k.RNN([k.LSTMCell(4), k.GRUCell(3)]), SEQUENCE),
    "TimeDistributed": one(lambda k: k.TimeDistributed(k.Conv2D(3, 3)), (4, 7, 8, 2)),
    "ConvLSTM1D": one(lambda k: k.ConvLSTM1D(3, 3, padding="same"), (4, 8, 2)),
    "ConvLSTM2D": one(lambda k: k.ConvLSTM2D(3, 3, padding="same", return_sequences=True), (4, 7, 6, 2)),
    "MultiHeadAttention": one(lambda k: k.MultiHeadAttention(2, 4), (6, 8), (9, 8)),
    "MultiHeadAttention causal": one(
        lambda k: lambda x: k.MultiHeadAttention(2, 4)(x, x, use_causal_mask=True), (6, 8)
    ),
    "GroupQueryAttention": one(lambda k: k.GroupQueryAttention(4, 4, 2), (6, 8), (9, 8)),
    "Attention": one(lambda k: lambda q, v: k.Attention(use_scale=True)([q, v]), (6, 8), (9, 8)),
    "AdditiveAttention": one(lambda k: lambda q, v: k.AdditiveAttention()([q, v]), (6, 8), (9, 8)),
    "Add": one(lambda k: lambda *x: k.Add()(list(x)), IMAGE, IMAGE, IMAGE),
    "Add broadcast": one(lambda k: lambda *x: k.Add()(list(x)), (5, 6), (1, 6)),
    "Subtract": one(lambda k: lambda *x: k.Subtract()(list(x)), IMAGE, IMAGE),
    "Multiply": one(lambda k: lambda *x: k.Multiply()(list(x)), IMAGE, (1, 1, 6)),
    "Average": one(lambda k: lambda *x: k.Average()(list(x)), IMAGE, IMAGE, IMAGE),
    "Maximum": one(lambda k: lambda *x: k.Maximum()(list(x)), IMAGE, IMAGE),
    "Minimum": one(lambda k: lambda *x: k.Minimum()(list(x)), IMAGE, IMAGE),
    "Concatenate": one(lambda k: lambda *x: k.Concatenate()(list(x)), IMAGE, IMAGE),
    "Concatenate axis": one(lambda k: lambda *x: k.Concatenate(axis=1)(list(x)), (3, 6), (5, 6)),
    "Dot": one(lambda k: lambda *x: k.Dot(axes=(2, 2))(list(x)), (3, 6), (5, 6)),
    "Dot normalize": one(lambda k: lambda *x: k.Dot(axes=1, normalize=True)(list(x)), (6,), (6,)),
    "Flatten": one(lambda k: k.Flatten(), IMAGE),
    "Reshape": one(lambda k: k.Reshape((9, -1, 2)), IMAGE),
    "Permute": one(lambda k: k.Permute((3, 1, 2)), IMAGE),
    "RepeatVector": one(lambda k: k.RepeatVector(4), (6,)),
    "Cropping1D": one(lambda k: k.Cropping1D((1, 2)), SEQUENCE),
    "Cropping2D": one(lambda k: k.Cropping2D(((1, 2), (3, 0))), IMAGE),
    "Cropping3D": one(lambda k: k.Cropping3D(1), VOLUME),
    "UpSampling1D": one(lambda k: k.UpSampling1D(3), SEQUENCE),
    "UpSampling2D": one(lambda k: k.UpSampling2D((2, 3)), IMAGE),
    "UpSampling2D bilinear": one(lambda k: k.UpSampling2D(2, interpolation="bilinear"), IMAGE),
    "UpSampling3D": one(lambda k: k.UpSampling3D(2), VOLUME),
    "ZeroPadding1D": one(lambda k: k.ZeroPadding1D((1, 2)), SEQUENCE),
    "ZeroPadding2D": one(lambda k: k.ZeroPadding2D(((1, 2), (3, 0))), IMAGE),
    "ZeroPadding3D": one(lambda k: k.ZeroPadding3D(1), VOLUME),
    "Masking": one(lambda k: k.Masking(0.0), SEQUENCE),
    "Masked LSTM": one(lambda k: lambda x: k.LSTM(5)(k.Masking(0.0)(x)), SEQUENCE),
    "Dropout": one(lambda k: k.Dropout(0.5), SEQUENCE),
    "AlphaDropout": one(lambda k: k.AlphaDropout(0.5), SEQUENCE),
    "GaussianDropout": one(lambda k: k.GaussianDropout(0.5), SEQUENCE),
    "GaussianNoise": one(lambda k: k.GaussianNoise(0.5), SEQUENCE),
    "SpatialDropout1D": one(lambda k: k.SpatialDropout1D(0.5), SEQUENCE),
    "SpatialDropout2D": one(lambda k: k.SpatialDropout2D(0.5), IMAGE),
    "SpatialDropout3D": one(lambda k: k.SpatialDropout3D(0.5), VOLUME),
    "ActivityRegularization": one(lambda k: k.ActivityRegularization(0.1), SEQUENCE),
    "Identity": one(lambda k: k.Identity(), SEQUENCE),
    "Discretization": one(lambda k: k.Discretization([-1.0, 0.0, 0.5]), SEQUENCE),
    "Squeeze and excite": one(
        lambda k: lambda x: k.Multiply()([x, k.Dense(6, "sigmoid")(k.GlobalAveragePooling2D(keepdims=True)(x))]), IMAGE
    ),
    "Roll": one(lambda k: lambda x: keras_ops().roll(x, (2, -1), (1, 2)), IMAGE),
    "Erf and arcs": one(lambda k: lambda x: keras_ops().erf(x) + keras_ops().arctan(x) + keras_ops().sinh(x), IMAGE),
    **{f"Activation {name}": activation(name) for name in ACTIVATIONS},
}
TOKEN: dict[str, Case] = {
    "Embedding": one(lambda k: k.Embedding(11, 5), TOKENS),
    "Embedding masked LSTM": one(lambda k: lambda x: k.LSTM(4)(k.Embedding(11, 5, mask_zero=True)(x)), TOKENS),
    "CategoryEncoding one hot": one(lambda k: k.CategoryEncoding(11, output_mode="one_hot"), (1,)),
    "CategoryEncoding multi hot": one(lambda k: k.CategoryEncoding(11, output_mode="multi_hot"), TOKENS),
    "CategoryEncoding count": one(lambda k: k.CategoryEncoding(11, output_mode="count"), TOKENS),
}
CASES = {**FLOAT, **TOKEN}


def build(name: str) -> tuple[Any, list[np.ndarray]]:
    """The Keras model with random weights, and inputs for it."""
    import keras

    rng = np.random.default_rng(zlib.crc32(name.encode()))
    layer, shapes = CASES[name](keras.layers)
    dtype = "int32" if name in TOKEN else "float32"
    inputs = [keras.Input(s, dtype=dtype, name=f"in{i}") for i, s in enumerate(shapes)]
    model = keras.Model(inputs, layer(*inputs))
    for weight in model.weights:
        if "float" in str(weight.dtype):
            values = rng.uniform(0.5, 1.5, weight.shape) if "var" in weight.path else rng.normal(0, 0.4, weight.shape)
            weight.assign(values)
    if dtype == "int32":
        return model, [rng.integers(0, 11, (1, *s)).astype(np.int32) for s in shapes]
    return model, [rng.normal(0, 1.5, (1, *(d or 7 for d in s))).astype(np.float32) for s in shapes]


def main(folder: Path, names: list[str]) -> None:
    import keras

    import edgec

    for name in names:
        keras.utils.clear_session()
        try:
            model, arrays = build(name)
            expected = keras.tree.flatten(model(arrays if len(arrays) > 1 else arrays[0], training=False))
            edgec.convert(model, check=False).save(folder / f"{name}.edge")
        except Exception as e:
            (folder / f"{name}.error").write_text(f"{type(e).__name__}: {e}", encoding="utf-8")
            continue
        stored = {f"in{i}": a for i, a in enumerate(arrays)} | {
            f"out{i}": np.asarray(a) for i, a in enumerate(expected)
        }
        np.savez(folder / f"{name}.npz", **stored)


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
