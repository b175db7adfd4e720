"""LSTM, RNN and SVDF. Gate order of the IR's LSTM: input, output, forget, cell.

The plain forms become the IR's LSTM and RNN. Projections, layer normalisation and clipped cells are written out step
by step. State lasts from call to call in TFLite: layers that see one step at a time get it as inputs and outputs of the
model; layers over a whole sequence begin with zeros.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.frontends.tflite.context import ACTIVATIONS, TfliteContext
from edgec.converter.frontends.tflite.file import Tensor
from edgec.converter.frontends.tflite.registry import tflite_op
from edgec.converter.ir.graph import Value

MAX_STEPS = 512  # of a layer that is written out


@dataclass
class Cell:
    """Inputs of an LSTM, all real; gates in the file's order: input, forget, cell, output. None: not there."""

    w: list[Value | None]
    r: list[Value | None]
    peephole: list[Value | None]
    bias: list[Value | None]
    projection: Value | None
    projection_bias: Value | None
    norm: list[Value | None]
    auxiliary: list[Value | None]
    kept: tuple[Tensor | None, Tensor | None] = (None, None)  # how an integer layer stores h and its cell

    @property
    def coupled(self) -> bool:
        """The input gate is 1 - the forget gate."""
        return self.w[0] is None


def _cell(c: TfliteContext, first: int, norm: int = -1, auxiliary: int = -1) -> Cell:
    """The cell whose weights begin at input `first`."""

    def some(at: int, n: int) -> list[Value | None]:
        return [c.input(at + i) if at >= 0 else None for i in range(n)]

    def biases(at: int) -> list[Value | None]:
        found: list[Value | None] = []
        for i in range(4):
            tensor = c.tensor(at + i)
            integer = tensor is not None and tensor.dtype == "i32" and tensor.quantization is not None
            # The integers of a quantized LSTM's biases count in steps of their own scale.
            found.append(c.dequantize(c.raw(at + i), tensor.quantization) if integer else c.input(at + i))  # type: ignore[union-attr, arg-type]
        return found

    return Cell(
        some(first, 4), some(first + 4, 4), some(first + 8, 3), biases(first + 11), c.input(first + 15),
        c.input(first + 16), biases(norm) if norm >= 0 and c.count > norm else [None] * 4, some(auxiliary, 4),
    )  # fmt: skip


def _stacked(c: TfliteContext, parts: list[Value]) -> Value:
    return c.emit("Concat", parts, {"axis": 0})


def _need(c: TfliteContext, value: Value | None, what: str) -> Value:
    if value is None:
        raise BadFileError(f"{c.op} ({c.source}): {what} is missing")
    return value


def _plain_lstm(
    c: TfliteContext,
    x: Value,
    cell: Cell,
    start: tuple[Value, Value] | None,
    activation: str,
    clip: float,
    reverse: bool,
) -> list[Value]:
    """The IR's LSTM over x [T, B, I]: output [T, B, H], last h and c [B, H]."""
    order = (0, 3, 1, 2)  # of the file's gates

    def gates(values: list[Value | None], what: str) -> list[Value]:
        found = list(values)
        if cell.coupled:
            # i = 1 - f = sigmoid(-z_f), and with input_forget the IR's f is 1 - i.
            found[0] = c.emit("Neg", [_need(c, found[1], what)])
        return [_need(c, found[g], what) for g in order]

    w = c.unsqueeze(_stacked(c, gates(cell.w, "a weight")), [0])
    r = c.unsqueeze(_stacked(c, gates(cell.r, "a recurrent weight")), [0])
    hidden = r.shape[-1]
    if not hidden:
        raise BadFileError(f"{c.op} ({c.source}): recurrent weights of shape {list(r.shape)}")
    zeros = c.const(np.zeros(hidden, np.float32))
    bias = _stacked(c, [*gates([b or zeros for b in cell.bias], "a bias"), c.const(np.zeros(4 * hidden, np.float32))])
    peepholes = None
    if any(p is not None for p in cell.peephole):
        i, f, o = cell.peephole
        f, o = _need(c, f, "a peephole weight"), _need(c, o, "a peephole weight")
        i = c.emit("Neg", [f]) if cell.coupled else _need(c, i, "a peephole weight")
        peepholes = c.unsqueeze(_stacked(c, [i, o, f]), [0])
    states = [c.unsqueeze(s, [0]) for s in start] if start is not None else [None, None]
    inner = {"TANH": "Tanh", "RELU": "Relu"}.get(activation)
    if inner is None:
        raise Unsupported(f"an LSTM with the activation {activation}")
    attrs = {
        "hidden_size": hidden, "direction": "reverse" if reverse else "forward", "input_forget": int(cell.coupled),
        "activations": f"Sigmoid,{inner},{inner}", "cell_clip": max(clip, 0.0),
    }  # fmt: skip
    y, h, state = c.emit_many("LSTM", [x, w, r, c.unsqueeze(bias, [0]), None, *states, peepholes], attrs, 3)
    return [c.squeeze(y, [1]), c.squeeze(h, [0]), c.squeeze(state, [0])]


def _product(c: TfliteContext, x: Value, w: Value, bias: Value | None = None) -> Value:
    return c.emit("MatMul", [x, w, bias], {"transpose_b": 1})


def _sum(c: TfliteContext, *parts: Value | None) -> Value:
    found = [p for p in parts if p is not None]
    total = found[0]
    for p in found[1:]:
        total = c.emit("Add", [total, p])
    return total


def _step(
    c: TfliteContext, x: Value, cell: Cell, h: Value, state: Value, activation: int, clips: tuple[float, float],
    aux: Value | None = None,
) -> tuple[Value, Value]:  # fmt: skip
    """One step of any cell: x [B, I] -> h [B, projected], state [B, H]."""

    def gate(g: int, peephole: int | None, memory: Value) -> Value:
        w, r = _need(c, cell.w[g], "a weight"), _need(c, cell.r[g], "a recurrent weight")
        z = _sum(c, _product(c, x, w), _product(c, h, r))
        if aux is not None and cell.auxiliary[g] is not None:
            z = _sum(c, z, _product(c, aux, _need(c, cell.auxiliary[g], "a weight")))
        p = cell.peephole[peephole] if peephole is not None else None
        if p is not None:
            z = _sum(c, z, c.emit("Mul", [memory, p]))
        scale = cell.norm[g]
        if scale is not None:  # mean 0 and variance 1 over the gate, then a scale; the bias comes behind
            return c.emit("LayerNorm", [z, scale, cell.bias[g]], {"axis": -1, "epsilon": 1e-8})
        return _sum(c, z, cell.bias[g])

    forget = c.emit("Sigmoid", [gate(1, 1, state)])
    if cell.coupled:
        take = c.emit("Sub", [c.const(np.float32(1)), forget])
    else:
        take = c.emit("Sigmoid", [gate(0, 0, state)])
    new = c.fused(gate(2, None, state), activation)
    state = _sum(c, c.emit("Mul", [forget, state]), c.emit("Mul", [take, new]))
    if clips[0] > 0:
        state = c.emit("Clip", [state], {"min": -clips[0], "max": clips[0]})
    state = _rounded(c, state, cell.kept[1])
    give = c.emit("Sigmoid", [gate(3, 2, state)])
    h = c.emit("Mul", [give, c.fused(state, activation)])
    if cell.projection is not None:
        h = _product(c, h, cell.projection, cell.projection_bias)
        if clips[1] > 0:
            h = c.emit("Clip", [h], {"min": -clips[1], "max": clips[1]})
    return _rounded(c, h, cell.kept[0]), state


def _rounded(c: TfliteContext, value: Value, tensor: Tensor | None) -> Value:
    """`value` as an integer layer hands it on to the next step: in steps, and not beyond their range."""
    if tensor is None or tensor.quantization is None:
        return value
    return c.dequantize(c.quantize(value, tensor.quantization, tensor.dtype), tensor.quantization)


def _lstm(
    c: TfliteContext, x: Value, cell: Cell, start: tuple[Value, Value] | None, activation: int,
    clips: tuple[float, float], reverse: bool = False, aux: Value | None = None,
) -> list[Value]:  # fmt: skip
    """[output [T, B, H], last h, last state] of x [T, B, I]."""
    simple = cell.projection is None and all(n is None for n in cell.norm) and aux is None
    steps = x.shape[0]
    integers = any(k is not None for k in cell.kept) and steps is not None and steps <= MAX_STEPS
    if simple and not integers and ACTIVATIONS.get(activation) in ("TANH", "RELU"):
        return _plain_lstm(c, x, cell, start, ACTIVATIONS[activation], clips[0], reverse)
    if steps is None or steps > MAX_STEPS:
        raise Unsupported(f"an LSTM with projection or normalisation over {steps or 'an open number of'} steps")
    hidden = _need(c, cell.w[1], "a weight").shape[0]
    width = hidden if cell.projection is None else cell.projection.shape[0]
    batch = c.dim(x, 1)
    if start is None:
        zero = c.const(np.float32(0))
        start = tuple(c.emit("Expand", [zero, c.shape_vector([batch, n])]) for n in (width, hidden))  # type: ignore[assignment]
    assert start is not None
    h, state = start
    results: list[Value] = []
    for t in range(steps - 1, -1, -1) if reverse else range(steps):
        one = c.squeeze(c.slice(x, [t], [t + 1], [0]), [0])
        beside = None if aux is None else c.squeeze(c.slice(aux, [t], [t + 1], [0]), [0])
        h, state = _step(c, one, cell, h, state, activation, clips, beside)
        results.append(c.unsqueeze(h, [0]))
    if reverse:
        results.reverse()
    return [c.emit("Concat", results, {"axis": 0}), h, state]


def _state(c: TfliteContext, i: int) -> Value:
    """The real value of a variable that lasts from call to call, as an input of the model."""
    tensor = c.need_tensor(i)
    if not tensor.is_variable:
        return c.need(i)
    return c.tflite.tensor_state(c.frame, tensor)


def _keep(c: TfliteContext, i: int, value: Value) -> None:
    tensor = c.need_tensor(i)
    if tensor.is_variable:
        c.tflite.new_state(tensor.name, _rounded(c, value, tensor if tensor.quantized else None))


def _kept(c: TfliteContext) -> tuple[Tensor | None, Tensor | None]:
    """The variables of an integer layer."""
    found = [c.tensor(i) for i in (18, 19)]
    h, cell = (t if t is not None and t.quantized else None for t in found)
    return h, cell


def _time_first(c: TfliteContext, x: Value, time_major: bool) -> Value:
    c.ranked(x, 3)
    return x if time_major else c.transpose(x, [1, 0, 2])


def _streams(c: TfliteContext, x: Value) -> bool:
    """One step at a time, at the top of the model: its state is what it is for."""
    return x.shape[0] == 1 and c.graph is c.tflite.outermost


@tflite_op("UNIDIRECTIONAL_SEQUENCE_LSTM")
def unidirectional_sequence_lstm(c: TfliteContext) -> Value:
    o = c.options("UnidirectionalSequenceLSTMOptions")
    x = _time_first(c, c.need(0), o.TimeMajor())
    streams = _streams(c, x)
    start = (_state(c, 18), _state(c, 19)) if streams else None
    clips = (float(o.CellClip()), float(o.ProjClip()))
    cell = _cell(c, 1, norm=20)
    cell.kept = _kept(c)
    y, h, state = _lstm(c, x, cell, start, o.FusedActivationFunction(), clips)
    if streams:
        _keep(c, 18, h)
        _keep(c, 19, state)
    return _time_first(c, y, o.TimeMajor())


@tflite_op("BIDIRECTIONAL_SEQUENCE_LSTM")
def bidirectional_sequence_lstm(c: TfliteContext) -> list[Value]:
    o = c.options("BidirectionalSequenceLSTMOptions")
    x = _time_first(c, c.need(0), o.TimeMajor())
    aux = None if c.any(39) is None else _time_first(c, c.need(39), o.TimeMajor())
    clips = (float(o.CellClip()), float(o.ProjClip()))
    # Without weights of its own the auxiliary input is what the backward cell reads (stacked layers).
    backward_x = x
    if aux is not None and c.any(40) is None and c.any(44) is None:
        backward_x, aux = aux, None
    results = []
    for first, auxiliary, source, reverse in ((1, 40, x, False), (18, 44, backward_x, True)):
        cell = _cell(c, first, auxiliary=auxiliary if aux is not None else -1)
        y = _lstm(c, source, cell, None, o.FusedActivationFunction(), clips, reverse, aux)[0]
        results.append(_time_first(c, y, o.TimeMajor()))
    return [c.emit("Concat", results, {"axis": 2})] if o.MergeOutputs() else results


@tflite_op("LSTM")
def lstm(c: TfliteContext) -> list[Value | None]:
    """One step. The full kernel has the inputs of the sequence layer, the basic one stacked weights."""
    o = c.options("LSTMOptions")
    if o.KernelType() == 0:
        h, state = _state(c, 18), _state(c, 19)
        clips = (float(o.CellClip()), float(o.ProjClip()))
        cell = _cell(c, 1, norm=20)
        cell.kept = _kept(c)
        h, state = _step(c, c.need(0), cell, h, state, o.FusedActivationFunction(), clips)
        _keep(c, 18, h)
        _keep(c, 19, state)
        return [h]
    x, previous, weights, memory = c.need(0), c.need(1), c.need(2), c.need(4)
    tensor = c.need_tensor(3)
    bias = c.bias(3, 0, 2) if tensor.dtype == "i32" else c.need(3)
    z = c.emit("MatMul", [c.emit("Concat", [x, previous], {"axis": -1}), weights, bias], {"transpose_b": 1})
    take, new, forget, give = c.emit_many("Split", [z], {"axis": 1}, 4)
    state = _sum(
        c,
        c.emit("Mul", [c.emit("Sigmoid", [take]), c.emit("Tanh", [new])]),
        c.emit("Mul", [c.emit("Sigmoid", [forget]), memory]),
    )
    h = c.emit("Mul", [c.emit("Sigmoid", [give]), c.emit("Tanh", [state])])
    return [h, state, c.emit("Concat", [x, previous], {"axis": -1}), z]


# -- simple recurrent layers ----------------------------------------------------------------------
def _rnn(c: TfliteContext, x: Value, first: int, activation: int, reverse: bool, h: Value | None) -> list[Value]:
    name = {"TANH": "Tanh", "RELU": "Relu"}.get(ACTIVATIONS.get(activation, ""))
    if name is None:
        raise Unsupported(f"a recurrent layer with the activation {ACTIVATIONS.get(activation, activation)}")
    w, r, bias = c.unsqueeze(c.need(first), [0]), c.unsqueeze(c.need(first + 1), [0]), c.need(first + 2)
    hidden = r.shape[-1]
    both = c.emit("Concat", [bias, c.const(np.zeros(hidden or 0, np.float32))], {"axis": 0})
    attrs = {"hidden_size": hidden, "direction": "reverse" if reverse else "forward", "activations": name}
    start = None if h is None else c.unsqueeze(h, [0])
    y, last = c.emit_many("RNN", [x, w, r, c.unsqueeze(both, [0]), None, start], attrs, 2)
    return [c.squeeze(y, [1]), c.squeeze(last, [0])]


@tflite_op("RNN")
def rnn(c: TfliteContext) -> Value:
    x = c.unsqueeze(c.ranked(c.need(0), 2), [0])
    y, last = _rnn(c, x, 1, c.options("RNNOptions").FusedActivationFunction(), False, _state(c, 4))
    _keep(c, 4, last)
    return c.squeeze(y, [0])


@tflite_op("UNIDIRECTIONAL_SEQUENCE_RNN")
def unidirectional_sequence_rnn(c: TfliteContext) -> Value:
    o = c.options("SequenceRNNOptions")
    x = _time_first(c, c.need(0), o.TimeMajor())
    streams = _streams(c, x)
    y, last = _rnn(c, x, 1, o.FusedActivationFunction(), False, _state(c, 4) if streams else None)
    if streams:
        _keep(c, 4, last)
    return _time_first(c, y, o.TimeMajor())


@tflite_op("BIDIRECTIONAL_SEQUENCE_RNN")
def bidirectional_sequence_rnn(c: TfliteContext) -> list[Value]:
    o = c.options("BidirectionalSequenceRNNOptions")
    if any(c.any(i) is not None for i in (9, 10, 11)):
        raise Unsupported("a bidirectional recurrent layer with an auxiliary input")
    x = _time_first(c, c.need(0), o.TimeMajor())
    results = [
        _time_first(c, _rnn(c, x, first, o.FusedActivationFunction(), back, None)[0], o.TimeMajor())
        for first, back in ((1, False), (5, True))
    ]
    return [c.emit("Concat", results, {"axis": 2})] if o.MergeOutputs() else results


@tflite_op("SVDF")
def svdf(c: TfliteContext) -> Value:
    """A filter over time for each feature of x [B, I]; the state holds the last features [B, filters * memory]."""
    o = c.options("SVDFOptions")
    x, features, times = c.ranked(c.need(0), 2), c.need(1), c.need(2)
    filters, memory = c.sizes(times, "SVDF")
    rank = o.Rank()
    if rank < 1 or filters % rank:
        raise BadFileError(f"{c.op} ({c.source}): {filters} filters of rank {rank}")
    batch = c.dim(x, 0)
    state = c.reshape(_state(c, 4), [batch, filters, memory])
    now = c.unsqueeze(_product(c, x, features), [2])
    state = c.emit("Concat", [c.slice(state, [1], [memory], [2]), now], {"axis": 2}) if memory > 1 else now
    _keep(c, 4, c.reshape(state, [batch, filters * memory]))
    y = c.emit("ReduceSum", [c.emit("Mul", [state, times])], {"axes": [2], "keepdims": 0})
    y = c.emit("ReduceSum", [c.reshape(y, [batch, filters // rank, rank])], {"axes": [2], "keepdims": 0})
    tensor = c.tensor(3)
    if tensor is not None:
        integer = tensor.dtype == "i32" and tensor.quantization is not None
        bias = c.dequantize(c.raw(3), tensor.quantization) if integer else c.need(3)  # type: ignore[arg-type]
        y = c.emit("Add", [y, bias])
    return c.fused(y, o.FusedActivationFunction())
