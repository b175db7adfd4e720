"""PriorBox and DetectionOutput of SSD."""

from __future__ import annotations

from edgec.converter.frontends.caffe.context import CaffeContext
from edgec.converter.frontends.caffe.registry import CAFFE
from edgec.converter.frontends.caffe.text import Message
from edgec.converter.frontends.layers.boxes import Priors, Selection, column, decode_centre, decode_corner
from edgec.converter.frontends.onnx.registry import Unsupported
from edgec.converter.ir.graph import Value

MAX_BATCH = 64  # every image has a selection of its own in the graph


def _aspect_ratios(p: Message) -> list[float]:
    """Without repetition and without 1, each followed by its inverse unless `flip` is off."""
    found = [1.0]
    for ratio in p.floats("aspect_ratio"):
        if ratio > 0 and all(abs(ratio - f) >= 1e-6 for f in found):
            found += [ratio, 1 / ratio] if p.flag("flip", True) else [ratio]
    return [r for r in found if abs(r - 1) >= 1e-6]


def _sizes(c: CaffeContext, p: Message, name: str) -> tuple[float, float] | None:
    """(height, width) from <name>_h and <name>_w, or <name> for both."""
    if f"{name}_h" in p or f"{name}_w" in p:
        return p.number(f"{name}_h"), p.number(f"{name}_w")
    if name in p:
        return p.number(name), p.number(name)
    return None


@CAFFE.layer("PriorBox")
def prior_box(c: CaffeContext) -> Value:
    x, p = c.ranked(c.many()[0], 4), c.param("prior_box_param")
    height, width = c.fixed(x, 2)
    image = _sizes(c, p, "img_size") if "img_size" in p else _sizes(c, p, "img")
    if image is None:
        if len(c.inputs) < 2:
            raise c.bad("gives neither the image as second input nor its size")
        image = tuple(c.fixed(c.ranked(c.need(1), 4), 2))  # type: ignore[assignment]
    assert image is not None
    variances = p.floats("variance") or [0.1]
    priors = Priors(
        min_sizes=[float(int(s)) for s in p.floats("min_size")],  # Caffe computes with whole pixels
        max_sizes=[float(int(s)) for s in p.floats("max_size")],
        aspect_ratios=_aspect_ratios(p),
        variances=variances * 4 if len(variances) == 1 else variances,
        image=image,
        step=_sizes(c, p, "step") or (image[0] / height, image[1] / width),
        offset=(p.number("offset", 0.5),) * 2,
        clip=p.flag("clip", False),
    )
    return c.const(priors.boxes(c, height, width)[None])


@CAFFE.layer("DetectionOutput")
def detection_output(c: CaffeContext) -> Value:
    """[1, 1, M, 7]: image, label, score, corners. M depends on the data; it is 0 where Caffe gives a row of -1."""
    location, confidence, prior = c.many(3)[:3]
    p = c.param("detection_output_param")
    classes, background = p.integer("num_classes"), p.integer("background_label_id", 0)
    shared = p.flag("share_location", True)
    nms = p.message("nms_param")
    if nms.number("eta", 1.0) != 1.0:
        raise Unsupported("an adaptive overlap threshold (eta)")
    if not 1 <= classes <= 100_000:
        raise c.bad(f"num_classes {classes}")
    batch, count = c.fixed(location)[0], c.fixed(c.ranked(prior, 3))[2] // 4
    if batch > MAX_BATCH:
        raise Unsupported(f"DetectionOutput for {batch} images", f"give a batch of at most {MAX_BATCH} with --shape")
    groups = 1 if shared else classes
    boxes = _decoded(c, p, c.reshape(location, [batch, count, groups, 4]), prior, count)
    scores = c.transpose(c.reshape(confidence, [batch, count, classes]), [0, 2, 1])
    labels = [i for i in range(classes) if i != background]
    selection = Selection(
        confidence=p.number("confidence_threshold", -3.4e38),
        overlap=nms.number("nms_threshold", 0.3),
        top_k=nms.integer("top_k", -1),
        keep_top_k=p.integer("keep_top_k", -1),
        by_score=False,
    )
    rows = []
    for i in range(batch):
        own = c.emit("Gather", [c.emit("Gather", [scores, c.i64(i)], {"axis": 0}), c.i64(labels)], {"axis": 0})
        place = c.emit("Gather", [boxes, c.i64(i)], {"axis": 0})  # [G, P, 4]
        place = c.squeeze(place, [0]) if shared else c.emit("Gather", [place, c.i64(labels)], {"axis": 0})
        label, score, box = selection.rows(c, place, own, labels)
        image = c.affine(score, 0.0, float(i))
        rows.append(c.emit("Concat", [column(c, image), column(c, label), column(c, score), box], {"axis": 1}))
    found = c.emit("Concat", rows, {"axis": 0}) if batch > 1 else rows[0]
    return c.emit("Unsqueeze", [found], {"axes": [0, 1]})


def _decoded(c: CaffeContext, p: Message, location: Value, prior: Value, count: int) -> Value:
    """Corners [N, groups, P, 4]."""
    location = c.transpose(location, [0, 2, 1, 3])
    both = c.reshape(prior, [2, count, 4])
    boxes = c.emit("Gather", [both, c.i64(0)], {"axis": 0})
    variance: Value | None = c.emit("Gather", [both, c.i64(1)], {"axis": 0})
    if p.flag("variance_encoded_in_target", False):
        variance = None
    code = p.text("code_type", "CORNER")
    if code in ("CENTER_SIZE", "2"):
        corners = decode_centre(c, location, boxes, variance)
    elif code in ("CORNER", "1", "CORNER_SIZE", "3"):
        corners = decode_corner(c, location, boxes, variance, relative=code in ("CORNER_SIZE", "3"))
    else:
        raise c.bad(f"code_type '{code}', expected CORNER, CENTER_SIZE or CORNER_SIZE")
    return c.emit("Clip", [corners], {"min": 0.0, "max": 1.0}) if p.flag("clip", False) else corners
