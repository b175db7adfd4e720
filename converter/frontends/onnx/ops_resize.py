"""Resize and Upsample."""

from __future__ import annotations

from typing import Any

import numpy as np

from edgec.converter.frontends.onnx.context import Context
from edgec.converter.frontends.onnx.registry import Unsupported, onnx_op
from edgec.converter.ir.graph import Value


def emit_resize(c: Context, x: Value, sizes: Any, scales: Any, attrs: dict[str, Any]) -> Value:
    """`sizes` or `scales`: a full-rank list, or an i64 / f32 Value; images run channels-last."""
    rank = x.rank
    perm = [0, 2, 3, 1]
    images = rank in (3, 4)
    last = c.to_nhwc(x) if images else x

    def permuted(v: Any, fill: Any) -> Any:
        if not images:
            return v
        if isinstance(v, Value):
            if rank == 3:
                one = c.const(np.asarray([fill], np.float32 if isinstance(fill, float) else np.int64))
                v = c.emit("Concat", [c.slice(v, [0], [2], [0]), one, c.slice(v, [2], [3], [0])], {"axis": 0})
            return c.emit("Gather", [v, c.i64(perm)], {"axis": 0})
        full = v if rank == 4 else [v[0], v[1], fill, v[2]]
        return [full[p] for p in perm]

    inputs: list[Value | None] = [last, None, None]
    if sizes is not None:
        sizes = permuted(sizes, 1)
        if isinstance(sizes, Value):
            inputs[1] = sizes
        else:
            attrs = {**attrs, "sizes": [int(s) for s in sizes]}
    if scales is not None:
        scales = permuted(scales, 1.0)
        if isinstance(scales, Value):
            inputs[2] = scales
        else:
            attrs = {**attrs, "scales": [float(s) for s in scales]}
    y = c.emit("Resize", inputs, attrs)
    return c.from_nhwc(y, rank) if images else y


@onnx_op("Upsample")
def upsample(c: Context) -> Value:
    x = c.need(0)
    scales: Any = c.attr("scales")
    if scales is None:
        known = c.static(c.input(1))
        scales = c.need(1) if known is None else known.reshape(-1).tolist()
    mode = {"nearest": "nearest", "linear": "linear", "bilinear": "linear"}.get(c.attr("mode", "nearest"))
    if mode is None:
        raise Unsupported(f"Upsample mode {c.attr('mode')}")
    return emit_resize(c, x, None, scales, {"mode": mode, "coordinate": "asymmetric", "nearest_mode": "floor"})


@onnx_op("Resize")
def resize(c: Context) -> Value:
    x = c.need(0)
    if c.opset < 11:
        return upsample(c)
    coordinate = c.attr("coordinate_transformation_mode", "half_pixel")
    mode = c.attr("mode", "nearest")
    if coordinate == "tf_half_pixel_for_nn":
        # floor((i + 0.5) * scale): round half up of the half-pixel coordinate.
        coordinate, nearest = "half_pixel", "round_prefer_ceil"
    else:
        nearest = c.attr("nearest_mode", "round_prefer_floor")
    attrs: dict[str, Any] = {
        "mode": mode,
        "coordinate": coordinate,
        "nearest_mode": nearest,
        "cubic_coeff": float(c.attr("cubic_coeff_a", -0.75)),
        "exclude_outside": int(c.attr("exclude_outside", 0)),
        "extrapolation": float(c.attr("extrapolation_value", 0.0)),
        "antialias": int(c.attr("antialias", 0)),
    }
    axes = [c.axis(a, x) for a in c.attr("axes", list(range(x.rank)))]
    crop = coordinate == "tf_crop_and_resize"
    read = [c.input(3), c.input(2), c.input(1) if crop else None]
    if any(v is not None and v.shape != (0,) and c.static(v) is None for v in read):
        return _computed(c, x, axes, attrs, crop)
    if crop:
        return _crop_and_resize(c, x, axes, attrs)
    sizes, scales = c.input(3), c.input(2)
    if sizes is not None and sizes.shape != (0,):
        known = c.need_ints(sizes, "sizes")
        full, ratio = _full_sizes(c, x, axes, known)
        return emit_resize(c, x, full, ratio, attrs)
    if scales is None or scales.shape == (0,):
        raise Unsupported("Resize without sizes and scales")
    factors = c.static(scales)
    assert factors is not None
    all_scales = [1.0] * x.rank
    for axis, factor in zip(axes, factors.reshape(-1).tolist()):
        all_scales[axis] = float(factor)
    return emit_resize(c, x, None, all_scales, attrs)


def _computed(c: Context, x: Value, axes: list[int], attrs: dict[str, Any], crop: bool) -> Value:
    """Sizes, scales or region that the model computes: the operator takes them as they are."""
    policy = c.attr("keep_aspect_ratio_policy", "stretch")
    sizes, scales = c.input(3), c.input(2)
    if sizes is not None and sizes.shape == (0,):
        sizes = None
    if scales is not None and scales.shape == (0,):
        scales = None
    if len(axes) == x.rank and policy == "stretch" and not crop:
        return emit_resize(c, x, c.as_i64(sizes), None if sizes is not None else scales, attrs)
    inputs = [x, c.as_i64(sizes), scales if sizes is None else None, c.input(1) if crop else None]
    return c.emit("Resize", inputs, {**attrs, "axes": axes, "keep_aspect": policy})


def _full_sizes(c: Context, x: Value, axes: list[int], known: list[int]) -> tuple[Any, list[float] | None]:
    """Sizes of every axis; with a keep-aspect policy also the common scale, which stays exact."""
    policy = c.attr("keep_aspect_ratio_policy", "stretch")
    dims = c.dims(x)
    sizes = list(dims)
    if policy == "stretch":
        for axis, size in zip(axes, known):
            sizes[axis] = size
        if all(isinstance(s, int) for s in sizes):
            return sizes, None
        return c.shape_vector(sizes), None
    if any(not isinstance(dims[a], int) for a in axes):
        raise Unsupported("Resize that keeps the aspect ratio of symbolic sizes", "give fixed sizes with --shape")
    ratios = [size / dims[a] for a, size in zip(axes, known)]
    ratio = min(ratios) if policy == "not_larger" else max(ratios)
    scales = [1.0] * x.rank
    for axis in axes:
        scales[axis] = ratio
        sizes[axis] = int(np.floor(dims[axis] * ratio + 0.5))
    return sizes, scales


def _crop_and_resize(c: Context, x: Value, axes: list[int], attrs: dict[str, Any]) -> Value:
    """Samples a constant region of interest: one interpolation matrix per axis, applied by MatMul."""
    roi = c.static(c.input(1))
    if roi is None or attrs["antialias"] or any(x.shape[a] is None for a in axes):
        raise Unsupported("tf_crop_and_resize with a region computed while the model runs")
    box = [float(v) for v in roi.reshape(-1)]
    sizes, scales = c.input(3), c.static(c.input(2))
    y = x
    for i, axis in enumerate(axes):
        size = int(x.shape[axis])  # type: ignore[arg-type]
        start, end = box[i], box[i + len(axes)]
        if sizes is not None and sizes.shape != (0,):
            out = c.need_ints(sizes, "sizes")[i]
        else:
            assert scales is not None
            out = int(np.floor(size * (end - start) * float(scales.reshape(-1)[i])))
        if out == size and start == 0.0 and end == 1.0:
            continue
        position = np.arange(out, dtype=np.float64)
        span = (end - start) * (size - 1) / (out - 1) if out > 1 else 0.0
        at = start * (size - 1) + position * span if out > 1 else np.array([0.5 * (start + end) * (size - 1)])
        matrix, outside = _interpolation(at, size, attrs)
        order = [a for a in range(x.rank) if a != axis] + [axis]
        moved = c.emit("MatMul", [c.transpose(y, order), c.like(matrix.T, x)])
        if outside.any():
            moved = c.emit("Where", [c.const(outside), c.like(attrs["extrapolation"], x), moved])
        back = [0] * x.rank
        for j, a in enumerate(order):
            back[a] = j
        y = c.transpose(moved, back)
    return y if y is not x else c.emit("Identity", [x])


def _interpolation(at: np.ndarray, size: int, attrs: dict[str, Any]) -> tuple[np.ndarray, np.ndarray]:
    """[out, size] weights for positions `at`, and which positions lie outside the image."""
    outside = (at < 0) | (at > size - 1)
    matrix = np.zeros((len(at), size))
    for row, position in enumerate(at):
        if attrs["mode"] == "nearest":
            floor = np.floor(position)
            half = position - floor
            mode = attrs["nearest_mode"]
            up = {"floor": False, "ceil": half > 0, "round_prefer_floor": half > 0.5, "round_prefer_ceil": half >= 0.5}[
                mode
            ]
            matrix[row, int(np.clip(floor + up, 0, size - 1))] = 1.0
        elif attrs["mode"] == "linear":
            low = int(np.floor(position))
            part = position - low
            for tap, weight in ((low, 1 - part), (low + 1, part)):
                matrix[row, int(np.clip(tap, 0, size - 1))] += weight
        else:
            low, a = int(np.floor(position)), attrs["cubic_coeff"]
            t = position - low
            weights = [
                ((a * (t + 1) - 5 * a) * (t + 1) + 8 * a) * (t + 1) - 4 * a,
                ((a + 2) * t - (a + 3)) * t * t + 1,
                ((a + 2) * (1 - t) - (a + 3)) * (1 - t) ** 2 + 1,
                ((a * (2 - t) - 5 * a) * (2 - t) + 8 * a) * (2 - t) - 4 * a,
            ]
            taps = range(low - 1, low + 3)
            if attrs["exclude_outside"]:
                weights = [w if 0 <= k < size else 0.0 for k, w in zip(taps, weights)]
                weights = [w / sum(weights) for w in weights]
            for tap, weight in zip(taps, weights):
                matrix[row, int(np.clip(tap, 0, size - 1))] += weight
    return matrix, outside
