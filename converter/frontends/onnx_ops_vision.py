"""Sampling, boxes and patches."""

from __future__ import annotations

from edgec.converter.frontends.onnx_context import Context
from edgec.converter.frontends.onnx_registry import onnx_op
from edgec.converter.ir.graph import Value


@onnx_op("GridSample")
def grid_sample(c: Context) -> Value:
    mode = {"bilinear": "linear", "bicubic": "cubic"}.get(str(c.attr("mode", "linear")), str(c.attr("mode", "linear")))
    attrs = {
        "mode": mode,
        "padding_mode": c.attr("padding_mode", "zeros"),
        "align_corners": int(c.attr("align_corners", 0)),
    }
    return c.emit("GridSample", [c.need(0), c.need(1)], attrs)


@onnx_op("NonMaxSuppression")
def non_max_suppression(c: Context) -> Value:
    limit = None if c.input(2) is None else c.as_i64(c.input(2))
    inputs = [c.need(0), c.need(1), limit, c.input(3), c.input(4)]
    return c.emit("NonMaxSuppression", inputs, {"center_point_box": int(c.attr("center_point_box", 0))})


@onnx_op("RoiAlign")
def roi_align(c: Context) -> Value:
    default = "output_half_pixel" if c.opset < 16 else "half_pixel"
    attrs = {
        "mode": c.attr("mode", "avg"),
        "output_height": int(c.attr("output_height", 1)),
        "output_width": int(c.attr("output_width", 1)),
        "sampling_ratio": int(c.attr("sampling_ratio", 0)),
        "spatial_scale": float(c.attr("spatial_scale", 1.0)),
        "coordinate": c.attr("coordinate_transformation_mode", default),
    }
    return c.emit("RoiAlign", [c.need(0), c.need(1), c.as_i64(c.need(2))], attrs)
