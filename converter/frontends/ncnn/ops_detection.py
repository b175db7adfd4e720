"""Prior boxes and the ends of detectors in ncnn. Rows are label, score, corners; their number depends on the data."""

from __future__ import annotations

import math

import numpy as np

from edgec.converter.frontends.layers.boxes import Priors, Selection, column, decode_centre
from edgec.converter.frontends.layers.ops import positive
from edgec.converter.frontends.ncnn.context import NcnnContext
from edgec.converter.frontends.ncnn.param import NOTHING
from edgec.converter.frontends.ncnn.registry import NCNN
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value


@NCNN.layer("PriorBox")
def prior_box(c: NcnnContext) -> Value:
    p, inputs = c.p, c.many()
    x = c.ranked(inputs[0], 4)
    height, width = c.fixed(x, 2)
    image = [p.integer(10, 0), p.integer(9, 0)]
    if NOTHING in image:
        if len(inputs) < 2:
            raise Unsupported("prior boxes in the form of MXNet")
        other = c.fixed(c.ranked(inputs[1], 4), 2)
        image = [o if i == NOTHING else i for i, o in zip(image, other)]
    step = [p.number(12, NOTHING), p.number(11, NOTHING)]
    for i, (size, cells) in enumerate(zip(image, (height, width))):
        if step[i] == NOTHING:
            step[i] = size / cells
            step[i] = float(math.ceil(step[i])) if p.integer(14, 0) else step[i]
    offset = p.number(13, 0.0)
    offsets = (offset, offset)
    if p.integer(15, 0) and min(step) > 0:
        offsets = (offset * (step[0] - 1) / step[0], offset * (step[1] - 1) / step[1])
    ratios = p.numbers(2)
    if any(not r > 0 for r in ratios):
        raise c.bad(f"aspect ratios {ratios[:8]} must be positive")
    priors = Priors(
        min_sizes=p.numbers(0),
        max_sizes=p.numbers(1),
        aspect_ratios=[v for r in ratios for v in ((r, 1 / r) if p.integer(7, 1) else (r,))],
        variances=[p.number(3 + i, default) for i, default in enumerate((0.1, 0.1, 0.2, 0.2))],
        image=(image[0], image[1]),
        step=(step[0], step[1]),
        offset=offsets,
        clip=bool(p.integer(8, 0)),
    )
    return c.const(priors.boxes(c, height, width)[None])


def _result(c: NcnnContext, rows: tuple[Value, Value, Value]) -> Value:
    """[1, M, 6]"""
    label, score, box = rows
    found = c.emit("Concat", [column(c, label), column(c, score), box], {"axis": 1})
    return c.emit("Unsqueeze", [found], {"axes": [0]})


@NCNN.layer("DetectionOutput")
def detection_output(c: NcnnContext) -> Value:
    p = c.p
    location, confidence, prior = c.many(3)[:3]
    classes = p.integer(0, 0)
    if classes == NOTHING:
        raise Unsupported("a DetectionOutput in the form of MXNet")
    if not 2 <= classes <= 100_000:
        raise c.bad(f"{classes} classes, expected at least 2 (0 is the background)")
    count = c.fixed(c.ranked(prior, 3))[2] // 4
    both = c.reshape(prior, [2, count, 4])
    boxes, variance = (c.emit("Gather", [both, c.i64(i)], {"axis": 0}) for i in (0, 1))
    corners = decode_centre(c, c.reshape(location, [count, 4]), boxes, variance)
    scores = c.transpose(c.reshape(confidence, [count, classes]), [1, 0])
    scores = c.slice(scores, [1], [classes], [0])
    selection = Selection(p.number(4, 0.5), p.number(1, 0.05), p.integer(2, 300), p.integer(3, 100))
    return _result(c, selection.rows(c, corners, scores, range(1, classes)))


class _Yolo:
    """Boxes of one output of a YOLO network: [1, boxes * (5 + classes), H, W]."""

    def __init__(self, c: NcnnContext, x: Value, boxes: int, classes: int) -> None:
        _, channels, self.height, self.width = c.fixed(c.ranked(x, 4))
        positive(c, "its numbers of boxes and classes", [boxes, classes])
        if channels != boxes * (5 + classes):
            raise c.bad(f"{channels} channels, expected {boxes} x (5 + {classes})")
        self.c, self.boxes, self.classes = c, boxes, classes
        self.count = boxes * self.height * self.width
        cells = c.reshape(x, [boxes, 5 + classes, self.height, self.width])
        cells = c.reshape(c.transpose(cells, [0, 2, 3, 1]), [self.count, 5 + classes])
        self.place, self.size, self.object, self.class_ = c.emit_many(
            "Split", [cells], {"axis": 1, "sizes": [2, 2, 1, classes]}, 4
        )

    def corners(self, anchors: np.ndarray) -> Value:
        """[P, 4]; anchors [boxes, 2] as (width, height), relative to the image."""
        c = self.c
        y, x = np.meshgrid(np.arange(self.height), np.arange(self.width), indexing="ij")
        grid = np.tile(np.stack([x, y], -1).reshape(1, -1, 2), (self.boxes, 1, 1)).reshape(-1, 2)
        cells = np.array([[self.width, self.height]])
        middle = c.affine(
            c.binary("Add", c.emit("Sigmoid", [self.place]), c.const(grid.astype(np.float32))), 1.0 / cells
        )
        each = np.repeat(anchors / 2, self.height * self.width, 0)
        half = c.affine(c.emit("Exp", [self.size]), each)
        return c.emit("Concat", [c.emit("Sub", [middle, half]), c.emit("Add", [middle, half])], {"axis": 1})

    def best(self, third: bool) -> tuple[Value, Value]:
        """label and score [P]"""
        c = self.c
        label = c.cast(c.emit("ArgMax", [self.class_], {"axis": 1, "keepdims": 0}), "f32")
        scores = self.class_ if third else c.emit("Softmax", [self.class_], {"axis": 1})
        top, box = c.emit("ReduceMax", [scores], {"axes": [1], "keepdims": 0}), c.squeeze(self.object, [1])
        if not third:
            return label, c.emit("Mul", [c.emit("Sigmoid", [box]), top])
        # 1 / (1 + e^-box * (1 + e^-class)) is what ncnn computes; the product of both sigmoids is a little less.
        return label, c.emit("Sigmoid", [c.emit("Sub", [box, c.emit("Softplus", [c.emit("Neg", [top])])])])


@NCNN.layer("YoloDetectionOutput", "Yolov3DetectionOutput")
def yolo(c: NcnnContext) -> Value:
    p, inputs, third = c.p, c.many(), c.op.startswith("Yolov3")
    classes, boxes = p.integer(0, 20), p.integer(1, 5)
    biases = np.array(p.numbers(4)).reshape(-1, 2)
    masks, scales = [int(m) for m in p.numbers(5)], p.numbers(6)
    corners, labels, scores = [], [], []
    for i, x in enumerate(inputs):
        part = _Yolo(c, x, boxes, classes)
        if third:
            chosen = masks[i * boxes : (i + 1) * boxes]
            if len(chosen) < boxes or len(scales) <= i or not all(0 <= m < len(biases) for m in chosen):
                raise c.bad(f"{len(biases)} anchors and masks {masks[:12]} for {boxes} boxes at output {i}")
            net = np.array([int(scales[i] * part.width), int(scales[i] * part.height)])
            anchors = biases[chosen] / net
        else:
            if len(biases) < boxes:
                raise c.bad(f"{len(biases)} anchors for {boxes} boxes")
            anchors = biases[:boxes] / np.array([part.width, part.height])
        label, score = part.best(third)
        corners.append(part.corners(anchors))
        labels.append(label)
        scores.append(score)
    box, label, score = (c.emit("Concat", v, {"axis": 0}) if len(v) > 1 else v[0] for v in (corners, labels, scores))
    # Scores equal to the threshold count, and boxes of different classes suppress each other.
    limit = float(np.nextafter(np.float32(p.number(2, 0.01)), np.float32(-1)))
    selection = Selection(limit, p.number(3, 0.45))
    return _result(c, _agnostic(c, selection, box, score, label))


def _agnostic(
    c: NcnnContext, selection: Selection, box: Value, score: Value, label: Value
) -> tuple[Value, Value, Value]:
    """One group of boxes whose labels differ: the labels travel as a fifth column."""
    count = c.fixed(score)[0]
    limits = [
        c.i64([count]),
        c.const(np.array([selection.overlap], np.float32)),
        c.const(np.array([selection.confidence], np.float32)),
    ]
    chosen = c.emit("NonMaxSuppression", [c.unsqueeze(box, [0]), c.unsqueeze(score, [0, 1]), *limits])
    index = c.emit("Gather", [chosen, c.i64(2)], {"axis": 1})
    found = c.affine(c.emit("Gather", [label, index], {"axis": 0}), 1.0, 1.0)  # 0 is the background
    return found, *(c.emit("Gather", [v, index], {"axis": 0}) for v in (score, box))  # type: ignore[return-value]
