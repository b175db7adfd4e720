"""TFLite_Detection_PostProcess: boxes from anchors, the best that do not overlap."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.errors import BadFileError
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.frontends.tflite.context import TfliteContext
from edgec.converter.frontends.tflite.registry import custom_op
from edgec.converter.ir.graph import Value

_LAST = 2**62


def custom_options(c: TfliteContext) -> dict[str, Any]:
    """The operator's options, a FlexBuffer map."""
    from flatbuffers import flexbuffers

    raw = c.operator.custom_options
    if not raw or len(raw) > 65536:
        raise BadFileError(f"{c.op} ({c.source}) has {len(raw)} bytes of options")
    try:
        found = flexbuffers.Loads(raw)
    except Exception as e:  # the parser raises whatever the bytes lead it to
        raise BadFileError(f"{c.op} ({c.source}): its options cannot be read ({type(e).__name__})") from e
    if not isinstance(found, dict):
        raise BadFileError(f"{c.op} ({c.source}): its options are no map")
    return found


@custom_op("TFLite_Detection_PostProcess")
def detection_post_process(c: TfliteContext) -> list[Value]:
    """boxes [1, n, 4] (top, left, bottom, right), classes [1, n], scores [1, n], number [1]; the rest is zero."""
    o = custom_options(c)
    limit, per_box = int(o["max_detections"]), int(o["max_classes_per_detection"])
    classes = int(o["num_classes"])
    if not (0 < limit <= 1 << 16 and 0 < per_box <= 1 << 10 and classes > 0):
        raise BadFileError(f"{c.op} ({c.source}): {limit} detections of {per_box} of {classes} classes")
    boxes, scores, anchors = c.ranked(c.need(0), 3), c.ranked(c.need(1), 3), c.ranked(c.need(2), 2)
    if boxes.shape[0] != 1:
        raise Unsupported("more than one image at a time")
    count, columns = scores.shape[1], scores.shape[2]
    if count is None or columns is None or columns < classes:
        raise BadFileError(f"{c.op} ({c.source}): scores of shape {list(scores.shape)} for {classes} classes")
    place = _decoded(c, c.reshape(boxes, [count, -1]), anchors, o)
    scores = c.reshape(scores, [count, columns])
    if columns > classes:  # the background comes first
        scores = c.slice(scores, [columns - classes], [_LAST], [1])
    # ">=" there, ">" here.
    threshold = np.nextafter(np.float32(o["nms_score_threshold"]), np.float32(-np.inf))
    overlap = np.float32(o["nms_iou_threshold"])
    if o.get("use_regular_nms"):
        per_class = int(o.get("detections_per_class", 100))
        return _per_class(c, place, scores, limit, per_class, overlap, threshold)
    return _best_class(c, place, scores, limit, min(per_box, classes), overlap, threshold)


def _decoded(c: TfliteContext, boxes: Value, anchors: Value, o: dict[str, Any]) -> Value:
    def part(value: Value, at: int) -> Value:
        return c.slice(value, [at], [at + 2], [1])

    centre_scale = c.const(np.array([o["y_scale"], o["x_scale"]], np.float32))
    size_scale = c.const(np.array([o["h_scale"], o["w_scale"]], np.float32))
    middle, size = part(anchors, 0), part(anchors, 2)
    moved = c.emit("Mul", [c.emit("Div", [part(boxes, 0), centre_scale]), size])
    centre = c.emit("Add", [moved, middle])
    half = c.emit("Mul", [c.emit("Exp", [c.emit("Div", [part(boxes, 2), size_scale])]), size])
    half = c.emit("Mul", [half, c.const(np.float32(0.5))])
    return c.emit("Concat", [c.emit("Sub", [centre, half]), c.emit("Add", [centre, half])], {"axis": 1})


def _select(
    c: TfliteContext, place: Value, scores: Value, limit: int, overlap: np.float32, threshold: np.float32
) -> Value:
    """[n, 3] of NonMaxSuppression; scores [classes, boxes]."""
    inputs = [
        c.unsqueeze(place, [0]), c.unsqueeze(scores, [0]), c.i64([limit]), c.const(overlap.reshape(1)),
        c.const(threshold.reshape(1)),
    ]  # fmt: skip
    return c.emit("NonMaxSuppression", inputs)


def _filled(c: TfliteContext, index: Value, limit: int) -> tuple[Value, Value]:
    """`limit` indices, zeros behind the n real ones; and which of them are real."""
    count = c.emit("Shape", [index])
    padded = c.emit("Concat", [index, c.i64([0] * limit)], {"axis": 0})
    inside = c.emit("Less", [c.i64(np.arange(limit)), c.emit("Min", [count, c.i64([limit])])])
    return c.reshape(c.slice(padded, [0], [limit], [0]), [limit]), inside


def _results(c: TfliteContext, boxes: Value, classes: Value, scores: Value, real: Value, found: Value) -> list[Value]:
    zero = c.const(np.float32(0))
    number = c.emit("ReduceSum", [c.cast(found, "f32")], {"axes": [0], "keepdims": 1})
    boxes = c.emit("Where", [c.unsqueeze(real, [1]), boxes, zero])
    rows = [c.unsqueeze(c.emit("Where", [real, v, zero]), [0]) for v in (c.cast(classes, "f32"), scores)]
    return [c.unsqueeze(boxes, [0]), *rows, number]


def _best_class(
    c: TfliteContext, place: Value, scores: Value, limit: int, per_box: int, overlap: np.float32, threshold: np.float32
) -> list[Value]:
    """One suppression over the best score of each box; then its `per_box` best classes."""
    best = c.emit("ReduceMax", [scores], {"axes": [1], "keepdims": 0})
    found = _select(c, place, c.unsqueeze(best, [0]), limit, overlap, threshold)
    index, real = _filled(c, c.squeeze(c.slice(found, [2], [3], [1]), [1]), limit)
    values, kinds = c.emit_many("TopK", [c.emit("Gather", [scores, index], {"axis": 0}), c.i64([per_box])], None, 2)
    boxes = c.emit("Gather", [place, index], {"axis": 0})
    everything = real
    if per_box > 1:
        repeated = c.i64(np.repeat(np.arange(limit), per_box))
        boxes, everything = (c.emit("Gather", [v, repeated], {"axis": 0}) for v in (boxes, real))
    total = limit * per_box
    return _results(c, boxes, c.reshape(kinds, [total]), c.reshape(values, [total]), everything, real)


def _per_class(
    c: TfliteContext,
    place: Value,
    scores: Value,
    limit: int,
    per_class: int,
    overlap: np.float32,
    threshold: np.float32,
) -> list[Value]:
    """A suppression for each class, then the best of all."""
    found = _select(c, place, c.transpose(scores, [1, 0]), per_class, overlap, threshold)
    kind, box = (c.squeeze(c.slice(found, [i], [i + 1], [1]), [1]) for i in (1, 2))
    pairs = c.emit("Concat", [c.unsqueeze(box, [1]), c.unsqueeze(kind, [1])], {"axis": 1})
    values = c.emit("GatherND", [scores, pairs])
    lowest = c.const(np.full(limit, -np.inf, np.float32))
    top, at = c.emit_many("TopK", [c.emit("Concat", [values, lowest], {"axis": 0}), c.i64([limit])], None, 2)
    real = c.emit("Greater", [c.reshape(top, [limit]), c.const(np.float32(-np.inf))])
    filler = c.i64([0] * limit)

    def chosen(v: Value) -> Value:
        picked = c.emit("Gather", [c.emit("Concat", [v, filler], {"axis": 0}), at], {"axis": 0})
        return c.reshape(picked, [limit])

    boxes = c.emit("Gather", [place, chosen(box)], {"axis": 0})
    return _results(c, boxes, chosen(kind), c.reshape(top, [limit]), real, real)
