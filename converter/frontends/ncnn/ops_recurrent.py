"""LSTM, GRU and RNN of ncnn, in terms of ONNX's operators (which have another order of gates)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from edgec.converter.frontends.layers.ops import lstm_outputs, positive
from edgec.converter.frontends.ncnn.context import NcnnContext
from edgec.converter.frontends.ncnn.registry import NCNN
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value

_DIRECTIONS = ("forward", "reverse", "bidirectional")


def _weights(c: NcnnContext, hidden: int, gates: int, rows: int) -> tuple[str, int, np.ndarray, np.ndarray, np.ndarray]:
    """direction, directions, W [D, gates * H, I], R [D, gates * H, H], bias [D, rows, H] in ncnn's order."""
    size, direction, term = c.p.integer(1, 0), c.p.integer(2, 0), c.p.integer(8, 0)
    positive(c, "its number of outputs", [hidden])
    if direction not in (0, 1, 2):
        raise c.bad(f"there is no direction {direction}")
    count = 2 if direction == 2 else 1
    if size < 1 or size % (count * hidden * gates):
        raise c.bad(f"{size} weights for {hidden} outputs")
    w = c.tagged([count, gates * hidden, size // (count * hidden * gates)], "input weight", bool(term))
    bias = c.floats([count, rows, hidden], "bias")
    r = c.tagged([count, gates * hidden, hidden], "hidden weight", bool(term))
    if term:
        scales = [c.raw([count, gates * hidden, 1], what, 127.0) for what in ("input scales", "hidden scales")]
        w, r = (v.astype(np.float32) / s for v, s in zip((w, r), scales))
    return _DIRECTIONS[direction], count, w.astype(np.float32), r.astype(np.float32), bias


def _reordered(values: np.ndarray, order: Sequence[int], hidden: int) -> np.ndarray:
    """Blocks of `hidden` rows in another order."""
    rows = np.concatenate([np.arange(hidden) + g * hidden for g in order])
    return np.ascontiguousarray(values[:, rows])


def _run(
    c: NcnnContext, op: str, hidden: int, arrays: Sequence[np.ndarray], attrs: dict[str, object], states: int
) -> list[Value]:
    """Inputs x [T, I] and, if given, the states [D, H]; outputs [T, D * H] and as many states as are wanted."""
    inputs = c.many()
    x = c.ranked(inputs[0], 3)
    if x.shape[2] != arrays[0].shape[2]:
        raise c.bad(f"its weight is for {arrays[0].shape[2]} values, its input is {list(x.shape)}")
    if len(inputs) not in (1, 1 + states) or len(c.output_names) not in (1, 1 + states):
        raise c.bad(f"{len(inputs)} inputs and {len(c.output_names)} outputs, expected 1 or {1 + states}")
    initial = [c.transpose(v, [1, 0, 2]) for v in inputs[1:]]
    values: list[Value | None] = [c.transpose(x, [1, 0, 2]), *(c.const(a) for a in arrays), None, *initial]
    results = c.emit_many(op, values, {"hidden_size": hidden, **attrs}, 1 + states)
    y = c.transpose(lstm_outputs(c, results[0]), [1, 0, 2])
    return [y, *(c.transpose(v, [1, 0, 2]) for v in results[1:])][: len(c.output_names)]


@NCNN.layer("LSTM")
def lstm(c: NcnnContext) -> list[Value]:
    outputs = c.p.integer(0, 0)
    hidden = c.p.integer(3, outputs)
    if hidden != outputs:
        raise Unsupported("an LSTM with a projection")
    direction, _, w, r, bias = _weights(c, hidden, 4, 4)
    order = (0, 2, 1, 3)  # i f o g -> i o f g
    flat = _reordered(bias.reshape(len(bias), -1), order, hidden)
    arrays = [
        _reordered(w, order, hidden),
        _reordered(r, order, hidden),
        np.concatenate([flat, np.zeros_like(flat)], 1),
    ]
    return _run(c, "LSTM", hidden, arrays, {"direction": direction}, 2)


@NCNN.layer("GRU")
def gru(c: NcnnContext) -> list[Value]:
    hidden = c.p.integer(0, 0)
    direction, _, w, r, bias = _weights(c, hidden, 3, 4)
    order = (1, 0, 2)  # r u n -> u r n
    zero = np.zeros_like(bias[:, 0])
    reset, update, new_input, new_hidden = (bias[:, i] for i in range(4))
    both = np.concatenate([update, reset, new_input, zero, zero, new_hidden], 1)
    arrays = [_reordered(w, order, hidden), _reordered(r, order, hidden), both]
    return _run(c, "GRU", hidden, arrays, {"direction": direction, "linear_before_reset": 1}, 1)


@NCNN.layer("RNN")
def rnn(c: NcnnContext) -> list[Value]:
    hidden = c.p.integer(0, 0)
    direction, _, w, r, bias = _weights(c, hidden, 1, 1)
    both = np.concatenate([bias[:, 0], np.zeros_like(bias[:, 0])], 1)
    return _run(c, "RNN", hidden, [w, r, both], {"direction": direction}, 1)
