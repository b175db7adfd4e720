"""Caffe's LSTM, over sequences that begin with the first step."""

from __future__ import annotations

import numpy as np

from edgec.converter.frontends.caffe.context import CaffeContext
from edgec.converter.frontends.caffe.registry import CAFFE
from edgec.converter.frontends.layers.ops import lstm_outputs, positive
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value


@CAFFE.layer("LSTM")
def lstm(c: CaffeContext) -> Value:
    """Inputs x [T, N, ...] and continuation flags [T, N], which are taken as 0 at first and 1 from then on."""
    if len(c.inputs) != 2 or len(c.output_names) != 1:
        raise Unsupported("an LSTM with a static input or exposed states")
    x, p = c.need(0), c.param("recurrent_param")
    hidden = p.integer("num_output")
    positive(c, "num_output", [hidden])
    if x.rank < 3:
        raise c.bad(f"its input has shape {list(x.shape)}, expected [T, N, ...]")
    steps, batch, *rest = c.dims(x)
    width = c.mul(1, *rest)
    if not isinstance(width, int):
        raise Unsupported("an LSTM over symbolic sizes", "give fixed sizes with --shape")
    order = np.concatenate([np.arange(hidden) + g * hidden for g in (0, 2, 1, 3)])  # i f o g -> i o f g
    w = c.weight(0, [4 * hidden, width], "input weight")[order][None]
    bias = c.weight(1, [4 * hidden], "bias")[order]
    r = c.weight(2, [4 * hidden, hidden], "hidden weight")[order][None]
    both = np.concatenate([bias, np.zeros_like(bias)])[None]
    inputs = [c.reshape(x, [steps, batch, width]), c.const(w), c.const(r), c.const(both)]
    y = c.emit_many("LSTM", inputs, {"hidden_size": hidden}, 3)[0]
    c.layers.notes.append(f"{c.source}: the continuation flags count as 0 at the first step and 1 behind it")
    return lstm_outputs(c, y)
