"""LSTM, GRU and RNN: the IR operators have ONNX's own inputs, gate order and outputs."""

from __future__ import annotations

from typing import Any

from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.registry import onnx_op
from edgec.converter.ir import schema
from edgec.converter.ir.graph import Value

_INPUTS = {"LSTM": 8, "GRU": 6, "RNN": 6}


@onnx_op("LSTM", "GRU", "RNN")
def recurrent(c: Context) -> list[Value | None]:
    inputs = [c.input(i) for i in range(_INPUTS[c.op])]
    if inputs[4] is not None:
        inputs[4] = c.cast(inputs[4], "i32")
    known = {a["name"]: a for a in schema.of(c.op)["attrs"]}
    attrs: dict[str, Any] = {}
    for name, value in c.attributes.items():
        if name == "activations":
            # One text: the IR has no list of strings.
            value = ",".join(value)
        if name in known:
            attrs[name] = value
    weights = inputs[2]
    if weights is not None and "hidden_size" in known and "hidden_size" not in attrs and weights.shape[-1] is not None:
        attrs["hidden_size"] = weights.shape[-1]
    outputs = c.emit_many(c.op, inputs, attrs, 3 if c.op == "LSTM" else 2)
    return list(outputs)
