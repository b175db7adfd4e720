"""Recurrent layers of Keras 3 as one operator each, where the plain trace would be a loop over the steps.

TensorFlow's converter writes such a loop for a fixed batch only, and unrolled it is hundreds of small operators. While
a network is traced for conversion, the layers are therefore replaced by TensorFlow's operator CudnnRNNV3, which the converter
does not know and keeps as a custom operator. It never runs: the weights in it are packed in Keras' own order, for
tflite_ops_tensorflow.py to read. What edgec compares with is the plain trace.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

CARRIER = "CudnnRNNV3"
# Stands in the attribute `seed` of a GRU whose reset gate comes before the product.
RESET_BEFORE = 1


@contextlib.contextmanager
def fused_layers() -> Iterator[None]:
    """Inside, LSTM and GRU layers with the usual activations trace to one operator."""
    from keras.src import backend

    kept = backend.lstm, backend.gru
    backend.lstm, backend.gru = _lstm, _gru
    try:
        yield
    finally:
        backend.lstm, backend.gru = kept


def _lstm(
    inputs: Any, state_h: Any, state_c: Any, mask: Any, kernel: Any, recurrent_kernel: Any, bias: Any,
    activation: Any, recurrent_activation: Any, return_sequences: bool = False, go_backwards: bool = False,
    unroll: bool = False, time_major: bool = False,
) -> Any:  # fmt: skip
    """keras.src.backend.lstm: (last output, outputs, [h, c]). Raises NotImplementedError for what stays a loop."""
    _only_usual(mask, activation, recurrent_activation, time_major)
    weights = kernel, recurrent_kernel, bias
    outputs, h, c = _carrier("lstm", inputs, state_h, state_c, weights, go_backwards, 0)
    return _results(outputs, [h, c], return_sequences)


def _gru(
    inputs: Any, state: Any, mask: Any, kernel: Any, recurrent_kernel: Any, bias: Any,
    activation: Any, recurrent_activation: Any, return_sequences: bool = False, go_backwards: bool = False,
    unroll: bool = False, time_major: bool = False, reset_after: bool = True,
) -> Any:  # fmt: skip
    """keras.src.backend.gru: (last output, outputs, [h])."""
    _only_usual(mask, activation, recurrent_activation, time_major)
    weights = kernel, recurrent_kernel, bias
    seed = 0 if reset_after else RESET_BEFORE
    outputs, h, _ = _carrier("gru", inputs, state, None, weights, go_backwards, seed)
    return _results(outputs, [h], return_sequences)


def _only_usual(mask: Any, activation: Any, recurrent_activation: Any, time_major: bool) -> None:
    from keras import activations

    if (
        mask is not None
        or time_major
        or activation is not activations.tanh
        or recurrent_activation is not activations.sigmoid
    ):
        raise NotImplementedError


def _carrier(
    mode: str, inputs: Any, state_h: Any, state_c: Any, weights: Any, go_backwards: bool, seed: int
) -> tuple[Any, Any, Any]:
    import tensorflow as tf

    kernel, recurrent_kernel, bias = weights
    x = tf.transpose(tf.convert_to_tensor(inputs), [1, 0, 2])
    if go_backwards:
        x = tf.reverse(x, [0])
    if bias is None:
        bias = tf.zeros([kernel.shape[1]], x.dtype)
    packed = tf.concat([tf.reshape(tf.convert_to_tensor(w), [-1]) for w in (kernel, recurrent_kernel, bias)], 0)
    h = tf.expand_dims(tf.convert_to_tensor(state_h), 0)
    c = h if state_c is None else tf.expand_dims(tf.convert_to_tensor(state_c), 0)
    lengths = tf.fill([tf.shape(x)[1]], tf.shape(x)[0])
    y, last_h, last_c, _, _ = tf.raw_ops.CudnnRNNV3(
        input=x, input_h=h, input_c=c, params=packed, sequence_lengths=lengths, rnn_mode=mode, seed=seed,
        is_training=False, time_major=True,
    )  # fmt: skip
    return tf.transpose(y, [1, 0, 2]), last_h[0], last_h[0] if state_c is None else last_c[0]


def _results(outputs: Any, states: list[Any], return_sequences: bool) -> Any:
    last = states[0]
    return last, outputs if return_sequences else last[:, None], states
