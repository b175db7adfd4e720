"""Runs small models in edgec, and in TFLite's interpreter where that is installed."""

from __future__ import annotations

from typing import Any

import numpy as np

import edgec
from edgec.session import Session
from tests.frontends.tflite.build import Model


def run(model: Model | bytes, *inputs: Any, **options: Any) -> list[np.ndarray]:
    """All outputs of the model for these inputs, in order."""
    content = model if isinstance(model, bytes) else model.finish()
    made = edgec.convert(content, check=False, **options)
    feeds = {s.name: np.array(a, order="C") for s, a in zip(made.inputs, inputs)}
    return Session(made).run(None, feeds)


def one_op(name: str, inputs: list[Any], outputs: list[tuple[Any, str]], options: str = "", **fields: Any) -> Model:
    """A model of one operator. An input is an array (a constant), a (shape, dtype) pair or None; arrays wrapped in
    `Feed` are inputs of the model."""
    m = Model()
    g = m.main
    places = []
    for item in inputs:
        if item is None:
            places.append(-1)
        elif isinstance(item, Fixed):
            places.append(g.const(item.array, **item.more))
        elif isinstance(item, Feed):
            places.append(g.input(item.array.shape, item.array.dtype.name, **item.more))
        else:
            places.append(g.const(np.asarray(item)))
    g.outputs = [g.tensor(o[0], o[1], **(o[2] if len(o) > 2 else {})) for o in outputs]
    g.op(name, places, g.outputs, options, **fields)
    return m


class Feed:
    """An input of the model with its value; `more` as SubGraph.tensor takes."""

    def __init__(self, array: Any, **more: Any) -> None:
        self.array, self.more = np.asarray(array), more


class Fixed(Feed):
    """A constant with a scale."""


def litert(content: bytes, *inputs: np.ndarray) -> list[np.ndarray]:
    """The same in TFLite's own interpreter."""
    from ai_edge_litert.interpreter import Interpreter

    it = Interpreter(model_content=content, num_threads=1)
    for d, x in zip(it.get_input_details(), inputs):
        if list(d["shape"]) != list(x.shape):
            it.resize_tensor_input(d["index"], x.shape)
    it.allocate_tensors()
    for d, x in zip(it.get_input_details(), inputs):
        it.set_tensor(d["index"], x)
    it.invoke()
    return [it.get_tensor(d["index"]).copy() for d in it.get_output_details()]
