"""Only the weights become smaller: int8 and int4 in groups with a scale each, or f16. Activations stay as they are.

The file holds the small constants and a DequantizeLinear or Cast in front of their reader; a session expands them when it
prepares.
"""

from __future__ import annotations

import json
from typing import Any

import numpy as np

from edgec.converter.ir.graph import Graph, Node, Value
from edgec.converter.ir.reader import read
from edgec.converter.writer import to_bytes
from edgec.errors import UsageError
from edgec.model import Model
from edgec.quantize.separate import DOT

Array = np.ndarray[Any, Any]

FORMS = ("int8", "int4", "f16")
# Constants with fewer elements save nothing that is worth an operator.
LEAST_ELEMENTS = 256
# Operator -> inputs that hold weights.
_WEIGHTS = {**dict.fromkeys(DOT, (1,)), "LSTM": (1, 2), "GRU": (1, 2), "RNN": (1, 2), "Gather": (0,)}


def shrink_weights(model: Model, form: str, group: int = 32, origin: str | None = None) -> Model:
    """A model whose weights are stored as `form`; `group` elements along the inner dimension share a scale.

    origin: name of the file that the model came from, for the metadata.
    Raises UsageError for a form that does not exist, UnsupportedError for models with control flow.
    """
    if form not in FORMS:
        raise UsageError(f"weights: got '{form}', expected {', '.join(FORMS)}")
    if group < 1:
        raise UsageError(f"group: got {group}, expected at least 1")
    graph = read(model)
    if origin is not None:
        graph.metadata["quantized_from"] = origin
    before = model.native.weight_bytes
    done: dict[Value, Value] = {}
    noise: list[dict[str, Any]] = []
    for node in graph.nodes:
        for i in _WEIGHTS.get(node.op, ()):
            v = node.input(i)
            if v is None or v.data is None or v.dtype != "f32" or v.data.size < LEAST_ELEMENTS:
                continue
            if v not in done:
                done[v], real = _half(graph, node, v) if form == "f16" else _groups(graph, node, v, form, group)
                error = float(np.sum((real - v.data) ** 2, dtype=np.float64))
                power = float(np.sum(v.data.astype(np.float64) ** 2))
                noise.append(
                    {"name": v.name, "sqnr_db": round(float(10 * np.log10(max(power, 1e-60) / max(error, 1e-60))), 1)}
                )
            graph.set_inputs(node, [done[v] if k == i else old for k, old in enumerate(node.inputs)])
    noise.sort(key=lambda r: float(r["sqnr_db"]))
    report: dict[str, Any] = {"weights": form, "group": group, "tensors": noise}
    document = {**model.report, "quantization": report}
    graph.metadata["report"] = json.dumps({"quantization": {**report, "tensors": noise[:8]}}, separators=(",", ":"))
    result = Model.from_bytes(to_bytes(graph), report=document)
    report["weight_bytes"] = {"before": before, "after": result.native.weight_bytes}
    return result


def _half(graph: Graph, node: Node, v: Value) -> tuple[Value, Array]:
    assert v.data is not None
    limit = np.float32(np.finfo(np.float16).max)
    small = np.clip(v.data, -limit, limit).astype(np.float16)
    (made,) = graph.add(
        "Cast", [graph.constant(f"{v.name}:f16", small)], {"to": "f32"}, name=f"{v.name}:cast", before=node
    )
    return made, small.astype(np.float32)


def _groups(graph: Graph, node: Node, v: Value, form: str, group: int) -> tuple[Value, Array]:
    """Groups along the last dimension (the inner one of convolutions); along the first of two for products [K, N]."""
    assert v.data is not None
    axis = v.data.ndim - 1
    if node.op == "MatMul" and not node.attr("transpose_b"):
        axis = v.data.ndim - 2
    length = v.data.shape[axis]
    block = min(group, length)
    count = -(-length // block)
    x = np.moveaxis(v.data, axis, -1)
    padded = np.zeros((*x.shape[:-1], count * block), np.float32)
    padded[..., :length] = x
    blocks = padded.reshape(*x.shape[:-1], count, block)
    most = 127 if form == "int8" else 7
    scales = np.maximum(np.abs(blocks).max(axis=-1) / np.float32(most), np.float32(2.0**-100)).astype(np.float32)
    steps = np.clip(np.rint(blocks / scales[..., None]), -most, most)
    real = (steps * scales[..., None]).reshape(padded.shape)[..., :length].astype(np.float32)
    stored = np.moveaxis(steps.reshape(padded.shape)[..., :length], -1, axis).astype(np.int8)
    held = np.ascontiguousarray(stored)
    if form == "int8":
        weights = graph.constant(f"{v.name}:int8", held)
    else:
        weights = _unpacked(graph, node, f"{v.name}:int4", held)
    scale = graph.constant(f"{v.name}:scale", np.ascontiguousarray(np.moveaxis(scales, -1, axis)))
    (made,) = graph.add(
        "DequantizeLinear", [weights, scale], {"axis": axis, "block_size": block}, name=f"{v.name}:expand", before=node
    )
    return made, np.moveaxis(real, -1, axis)


def _unpacked(graph: Graph, node: Node, name: str, values: Array) -> Value:
    """Values in [-7, 7] stored two to a byte (v + 8; the low halves hold the first half of the tensor), and their expansion."""
    flat = (values.reshape(-1) + 8).astype(np.uint8)
    flat = np.append(flat, np.zeros(flat.size % 2, np.uint8))
    middle = flat.size // 2
    packed = graph.constant(name, flat[:middle] | (flat[middle:] << 4))
    low = graph.add("BitwiseAnd", [packed, graph.constant(f"{name}:mask", np.uint8(15))], before=node)
    shift = graph.constant(f"{name}:shift", np.uint8(4))
    high = graph.add("BitShift", [packed, shift], {"direction": "RIGHT"}, before=node)
    (both,) = graph.add("Concat", [*low, *high], {"axis": 0}, before=node)
    if flat.size != values.size:
        ends = [graph.constant(f"{name}:{k}", np.array([v], np.int64)) for k, v in (("start", 0), ("end", values.size))]
        (both,) = graph.add("Slice", [both, *ends], before=node)
    (signed,) = graph.add("Cast", [both], {"to": "i8"}, before=node)
    (centered,) = graph.add("Sub", [signed, graph.constant(f"{name}:middle", np.int8(8))], before=node)
    shape = graph.constant(f"{name}:shape", np.array(values.shape, np.int64))
    return graph.add("Reshape", [centered, shape], before=node)[0]
