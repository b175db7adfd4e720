"""Every Caffe layer against NumPy."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from tests.frontends import layer_oracles as oracle
from tests.frontends.caffe.writer import net, outputs

Array = np.ndarray


@dataclass(frozen=True)
class Case:
    """`layer`: type and parameters in the text format; oracle(inputs..., weights...) -> output."""

    layer: str
    inputs: Sequence[Sequence[int]]
    oracle: Callable[..., Array]
    weights: Sequence[Sequence[int]] = ()
    terms: int = 16  # of the longest sum
    positive: bool = False  # inputs and weights
    name: str = ""


def spatial(c: Array, rank: int = 4) -> Array:
    return c.reshape([1, -1] + [1] * (rank - 2))


def _pool_caffe(x: Array, average: bool, k: int, s: int, p: int) -> Array:
    """Rounded up; a window that would begin in the padding behind the image is left out."""
    outs = []
    for size in x.shape[2:]:
        out = -(-(size + 2 * p - k) // s) + 1
        outs.append(out - 1 if p and (out - 1) * s >= size + p else out)
    return oracle.pool2d(x, average, [k, k], [s, s], outs, [p, p], [n + p for n in x.shape[2:]])


def _batch_norm(x: Array, mean: Array, variance: Array, factor: Array) -> Array:
    return (x - spatial(mean / factor)) / np.sqrt(spatial(variance / factor) + 1e-3)


def _axis_scale(x: Array, s: Array, b: Array) -> Array:
    return x * s[None, None] + b[None, None]


def _mvn(x: Array, axes: tuple[int, ...], eps: float) -> Array:
    y = x - x.mean(axes, keepdims=True)
    return y / (np.sqrt((y**2).mean(axes, keepdims=True)) + eps)


def _reorg(x: Array, s: int) -> Array:
    """Darknet's index arithmetic: the memory is read as an image of a quarter of the channels, twice as high and wide."""
    n, c, h, w = x.shape
    source, y = x.reshape(n, -1), np.zeros((n, c * h * w))
    few = c // (s * s)
    for k in range(c):
        for i in range(h):
            for j in range(w):
                row, column = i * s + k // few // s, j * s + k // few % s
                y[:, (k * h + i) * w + j] = source[:, ((k % few) * h * s + row) * w * s + column]
    return y.reshape(n, c * s * s, h // s, w // s)


def _within(x: Array) -> Array:
    mean = oracle.pool2d(x**2, True, [3, 3], [1, 1], x.shape[2:], [1, 1], [n + 1 for n in x.shape[2:]])
    return x * (1 + 0.5 * mean) ** -0.75


CASES = [
    Case(
        "Convolution convolution_param { num_output: 6 kernel_size: 3 pad: 1 stride: 2 group: 2 }",
        [(2, 4, 7, 6)],
        lambda x, w, b: oracle.conv2d(x, w, b, (2, 2), (1, 1, 1, 1), (1, 1), 2),
        [(6, 2, 3, 3), (6,)],
        terms=19,
        name="conv_groups",
    ),
    Case(
        "Convolution convolution_param { num_output: 3 kernel_h: 3 kernel_w: 2 pad_h: 2 pad_w: 0 stride_h: 1 stride_w: 2 "
        "dilation: 2 bias_term: false }",
        [(1, 5, 9, 8)],
        lambda x, w: oracle.conv2d(x, w, None, (1, 2), (2, 0, 2, 0), (2, 2)),
        [(3, 5, 3, 2)],
        terms=30,
        name="conv_sides",
    ),
    Case(
        "Convolution convolution_param { num_output: 2 kernel_size: 3 kernel_size: 1 pad: 1 pad: 0 stride: 2 stride: 1 }",
        [(1, 3, 8, 5)],
        lambda x, w, b: oracle.conv2d(x, w, b, (2, 1), (1, 0, 1, 0)),
        [(2, 3, 3, 1), (2,)],
        name="conv_repeated",
    ),
    Case(
        "ConvolutionDepthwise convolution_param { num_output: 5 kernel_size: 3 pad: 1 bias_term: false }",
        [(1, 5, 6, 7)],
        lambda x, w: oracle.conv2d(x, w, None, (1, 1), (1, 1, 1, 1), (1, 1), 5),
        [(5, 1, 3, 3)],
        name="depthwise",
    ),
    Case(
        "Deconvolution convolution_param { num_output: 4 kernel_size: 4 pad: 1 stride: 2 group: 2 }",
        [(1, 6, 3, 5)],
        lambda x, w, b: oracle.deconv2d(x, w, b, (2, 2), (1, 1, 1, 1), (1, 1), 2),
        [(6, 2, 4, 4), (4,)],
        terms=48,
        name="deconv",
    ),
    Case(
        "InnerProduct inner_product_param { num_output: 7 }",
        [(3, 2, 4, 5)],
        lambda x, w, b: x.reshape(3, 40) @ w.T + b,
        [(7, 40), (7,)],
        terms=41,
        name="inner_product",
    ),
    Case(
        "InnerProduct inner_product_param { num_output: 7 axis: 2 transpose: true bias_term: false }",
        [(3, 2, 4, 5)],
        lambda x, w: x.reshape(3, 2, 20) @ w,
        [(20, 7)],
        terms=20,
        name="inner_product_transposed",
    ),
    Case(
        "Pooling pooling_param { kernel_size: 3 stride: 2 }", [(1, 3, 8, 7)], lambda x: _pool_caffe(x, False, 3, 2, 0)
    ),
    Case(
        "Pooling pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }",
        [(1, 3, 8, 7)],
        lambda x: _pool_caffe(x, True, 3, 2, 1),
        name="pool_average_padded",
    ),
    Case(
        "Pooling pooling_param { pool: AVE kernel_size: 2 stride: 2 pad: 1 }",
        [(1, 3, 6, 6)],
        lambda x: _pool_caffe(x, True, 2, 2, 1),
        name="pool_clipped",
    ),
    Case(
        "Pooling pooling_param { pool: AVE global_pooling: true }",
        [(2, 3, 5, 4)],
        lambda x: x.mean((2, 3), keepdims=True),
        terms=20,
        name="pool_global",
    ),
    Case(
        "Pooling pooling_param { kernel_size: 3 stride: 2 round_mode: FLOOR }",
        [(1, 3, 8, 8)],
        lambda x: oracle.pool2d(x, False, [3, 3], [2, 2], [3, 3], [0, 0]),
        name="pool_floor",
    ),
    Case(
        "SPP spp_param { pyramid_height: 2 }",
        [(1, 2, 6, 8)],
        lambda x: np.concatenate(
            [x.max((2, 3)).reshape(1, -1), oracle.pool2d(x, False, [3, 4], [3, 4], [2, 2], [0, 0]).reshape(1, -1)], 1
        ),
    ),
    Case(
        "LRN lrn_param { local_size: 3 alpha: 0.5 beta: 0.75 k: 2 }",
        [(1, 7, 4, 3)],
        lambda x: oracle.lrn_across(x, 3, 0.5, 0.75, 2.0),
        name="lrn_across",
    ),
    Case(
        "LRN lrn_param { local_size: 3 alpha: 0.5 norm_region: WITHIN_CHANNEL }",
        [(1, 3, 6, 5)],
        _within,
        name="lrn_within",
    ),
    Case(
        "BatchNorm batch_norm_param { eps: 0.001 }",
        [(2, 4, 3, 5)],
        _batch_norm,
        [(4,), (4,), (1,)],
        positive=True,
    ),
    Case(
        "BatchNorm batch_norm_param { eps: 0.001 scale_bias: true }",
        [(2, 4, 3, 5)],
        lambda x, m, v, f, g, b: _batch_norm(x, m, v, f) * spatial(g) + spatial(b),
        [(4,), (4,), (1,), (4,), (4,)],
        positive=True,
        name="batch_norm_scale",
    ),
    Case(
        "BN",
        [(2, 4, 3, 5)],
        lambda x, g, b: x * spatial(g) + spatial(b),
        [(1, 4, 1, 1)] * 2,
        name="bn_folded",
    ),
    Case(
        "BN bn_param { eps: 0.001 }",
        [(2, 4, 3, 5)],
        lambda x, g, b, m, v: (x - spatial(m)) / np.sqrt(spatial(v) + 1e-3) * spatial(g) + spatial(b),
        [(1, 4, 1, 1)] * 4,
        positive=True,
    ),
    Case(
        "Scale scale_param { bias_term: true }",
        [(2, 3, 4, 5)],
        lambda x, s, b: x * spatial(s) + spatial(b),
        [(3,), (3,)],
        name="scale",
    ),
    Case(
        "Scale scale_param { axis: 2 num_axes: 2 bias_term: true }",
        [(2, 3, 4, 5)],
        _axis_scale,
        [(4, 5), (4, 5)],
        name="scale_axes",
    ),
    Case(
        "Scale scale_param { axis: 0 }", [(2, 3, 4, 5), (2, 3)], lambda x, s: x * s[:, :, None, None], name="scale_two"
    ),
    Case("Bias bias_param { axis: 3 }", [(2, 3, 4, 5)], lambda x, b: x + b, [(5,)]),
    Case("ReLU", [(2, 3, 4)], lambda x: np.maximum(x, 0)),
    Case("ReLU relu_param { negative_slope: 0.1 }", [(2, 3)], lambda x: np.where(x > 0, x, 0.1 * x), name="leaky"),
    Case("ReLU6", [(2, 30)], lambda x: np.clip(x, 0, 6)),
    Case("PReLU", [(2, 3, 4, 4)], lambda x, s: np.where(x > 0, x, spatial(s) * x), [(3,)]),
    Case(
        "PReLU prelu_param { channel_shared: true }",
        [(2, 3, 4, 4)],
        lambda x, s: np.where(x > 0, x, s * x),
        [(1,)],
        name="prelu_shared",
    ),
    Case("ELU elu_param { alpha: 0.7 }", [(2, 9)], lambda x: np.where(x > 0, x, 0.7 * (np.exp(x) - 1))),
    Case("Sigmoid", [(2, 9)], oracle.sigmoid),
    Case("TanH", [(2, 9)], np.tanh),
    Case("AbsVal", [(2, 9)], np.abs),
    Case("BNLL", [(2, 9)], lambda x: np.log1p(np.exp(x))),
    Case("Swish swish_param { beta: 1.5 }", [(2, 9)], lambda x: x * oracle.sigmoid(1.5 * x)),
    Case("Clip clip_param { min: -0.5 max: 0.25 }", [(2, 9)], lambda x: np.clip(x, -0.5, 0.25)),
    Case("Power power_param { power: 3 scale: 2 shift: 1 }", [(2, 9)], lambda x: (1 + 2 * x) ** 3, positive=True),
    Case("Exp exp_param { base: 2 scale: 3 shift: 1 }", [(2, 9)], lambda x: 2.0 ** (1 + 3 * x)),
    Case(
        "Log log_param { base: 10 scale: 3 shift: 1 }",
        [(2, 9)],
        lambda x: np.log10(1 + 3 * x),
        positive=True,
        name="log",
    ),
    Case("Threshold threshold_param { threshold: 0.1 }", [(2, 9)], lambda x: (x > 0.1).astype(float)),
    Case("Dropout", [(2, 9)], lambda x: x),
    Case("HSwish", [(2, 9)], lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    Case("Eltwise eltwise_param { operation: PROD }", [(2, 9)] * 3, lambda a, b, c: a * b * c, name="product"),
    Case("Eltwise eltwise_param { coeff: 1 coeff: -0.5 }", [(2, 9)] * 2, lambda a, b: a - 0.5 * b, name="sum"),
    Case("Eltwise eltwise_param { operation: MAX }", [(2, 9)] * 2, np.maximum, name="maximum"),
    Case("Axpy", [(1, 3, 1, 1), (1, 3, 4, 5), (1, 3, 4, 5)], lambda a, x, y: a * x + y),
    Case("Concat", [(1, 3, 4, 5), (1, 2, 4, 5)], lambda a, b: np.concatenate([a, b], 1)),
    Case(
        "Concat concat_param { axis: -1 }",
        [(1, 3, 5), (1, 3, 2)],
        lambda a, b: np.concatenate([a, b], 2),
        name="concat_axis",
    ),
    Case(
        "Concat concat_param { concat_dim: 0 }",
        [(1, 3), (2, 3)],
        lambda a, b: np.concatenate([a, b], 0),
        name="concat_dim",
    ),
    Case("Flatten", [(2, 3, 4, 5)], lambda x: x.reshape(2, 60)),
    Case(
        "Flatten flatten_param { axis: 1 end_axis: 2 }",
        [(2, 3, 4, 5)],
        lambda x: x.reshape(2, 12, 5),
        name="flatten_part",
    ),
    Case("Reshape reshape_param { shape { dim: 0 dim: -1 dim: 4 } }", [(2, 3, 4, 5)], lambda x: x.reshape(2, 15, 4)),
    Case(
        "Reshape reshape_param { shape { dim: 2 dim: -1 } axis: 1 num_axes: 2 }",
        [(2, 4, 6, 5)],
        lambda x: x.reshape(2, 2, 12, 5),
        name="reshape_axes",
    ),
    Case(
        "Permute permute_param { order: 0 order: 2 order: 3 order: 1 }",
        [(2, 3, 4, 5)],
        lambda x: x.transpose(0, 2, 3, 1),
    ),
    Case("Softmax", [(2, 5, 3)], lambda x: oracle.softmax(x, 1)),
    Case("Softmax softmax_param { axis: -1 }", [(2, 5, 3)], lambda x: oracle.softmax(x, 2), name="softmax_axis"),
    Case(
        "Crop crop_param { axis: 2 offset: 1 offset: 2 }",
        [(1, 3, 8, 9), (1, 7, 4, 5)],
        lambda x, r: x[:, :, 1:5, 2:7],
    ),
    Case("Tile tile_param { axis: 1 tiles: 3 }", [(2, 3, 4)], lambda x: np.tile(x, (1, 3, 1))),
    Case(
        "Embed embed_param { input_dim: 6 num_output: 4 }",
        [(2, 3)],
        lambda x, w, b: w[x.astype(int)] + b,
        [(6, 4), (4,)],
        positive=True,
    ),
    Case("Reorg reorg_param { stride: 2 }", [(1, 8, 4, 6)], lambda x: _reorg(x, 2)),
    Case(
        "ShuffleChannel shuffle_channel_param { group: 2 }",
        [(1, 6, 3, 4)],
        lambda x: x.reshape(1, 2, 3, 3, 4).swapaxes(1, 2).reshape(1, 6, 3, 4),
    ),
    Case("Interp interp_param { height: 7 width: 9 }", [(1, 2, 4, 5)], lambda x: oracle.resize_corners(x, 7, 9)),
    Case(
        "Interp interp_param { zoom_factor: 2 }",
        [(1, 2, 4, 5)],
        lambda x: oracle.resize_corners(x, 7, 9),
        name="interp_zoom",
    ),
    Case("Upsample upsample_param { scale: 2 }", [(1, 2, 3, 4)], lambda x: x.repeat(2, 2).repeat(2, 3)),
    Case(
        "Normalize norm_param { across_spatial: false channel_shared: false }",
        [(1, 4, 3, 5)],
        lambda x, s: x / np.sqrt((x**2).sum(1, keepdims=True) + 1e-10) * spatial(s),
        [(4,)],
    ),
    Case(
        "Normalize",
        [(2, 4, 3, 5)],
        lambda x, s: x / np.sqrt((x**2).sum((1, 2, 3), keepdims=True) + 1e-10) * s,
        [(1,)],
        terms=60,
        name="normalize_all",
    ),
    Case("MVN", [(2, 3, 4, 5)], lambda x: _mvn(x, (2, 3), 1e-9), terms=40),
    Case(
        "MVN mvn_param { across_channels: true eps: 0.1 }",
        [(2, 3, 4, 5)],
        lambda x: _mvn(x, (1, 2, 3), 0.1),
        terms=120,
        name="mvn_across",
    ),
    Case(
        "Reduction reduction_param { axis: 1 coeff: 0.5 }", [(2, 3, 4)], lambda x: 0.5 * x.sum((1, 2)), name="reduction"
    ),
    Case(
        "Reduction reduction_param { operation: ASUM axis: -1 }", [(2, 3, 4)], lambda x: np.abs(x).sum(2), name="asum"
    ),
    Case("Reduction reduction_param { operation: SUMSQ }", [(2, 3, 4)], lambda x: (x**2).sum(), name="sumsq"),
    Case("Reduction reduction_param { operation: MEAN axis: 1 }", [(2, 3, 4)], lambda x: x.mean((1, 2)), name="mean"),
    Case(
        "ArgMax argmax_param { axis: 1 }", [(2, 5, 3)], lambda x: x.argmax(1)[:, None].astype(float), name="argmax_axis"
    ),
    Case(
        "ArgMax argmax_param { top_k: 2 out_max_val: true }",
        [(2, 7)],
        lambda x: np.stack([np.argsort(-x, 1)[:, :2], -np.sort(-x, 1)[:, :2]], 1).astype(float),
        name="argmax_values",
    ),
    Case(
        "LSTM recurrent_param { num_output: 4 }",
        [(5, 2, 3), (5, 2)],
        lambda x, cont, w, b, r: oracle.lstm(x, w, r, b),
        [(16, 3), (16,), (16, 4)],
        terms=64,
    ),
    Case("Parameter parameter_param { shape { dim: 2 dim: 3 } }", [], lambda w: w, [(2, 3)]),
]


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name or c.layer.split()[0])
def test_layer(case: Case, tmp_path: Path, rng: np.random.Generator) -> None:
    def draw(shape: Sequence[int]) -> Array:
        values = rng.standard_normal(shape).astype(np.float32)
        return np.abs(values) + np.float32(0.5) if case.positive else values

    arrays, weights = [draw(s) for s in case.inputs], [draw(s) for s in case.weights]
    kind, _, parameters = case.layer.partition(" ")
    bottoms = " ".join(f'bottom: "x{i}"' for i in range(len(arrays)))
    text = net(f'layer {{ name: "op" type: "{kind}" {bottoms} top: "y" {parameters} }}', *case.inputs)
    (got,) = outputs(tmp_path, text, {"op": weights}, *arrays)
    expected = np.asarray(
        case.oracle(*(a.astype(np.float64) for a in arrays), *(w.astype(np.float64) for w in weights))
    )
    largest = [float(np.abs(v).max()) for v in (*arrays, *weights)]
    assert_scale = float(np.prod([max(v, 1.0) for v in largest]))
    oracle.assert_close(got, expected, case.terms, assert_scale)


def test_slice(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 7, 3)).astype(np.float32)
    tops = 'top: "a" top: "b" top: "c"'
    text = net(
        f'layer {{ name: "s" type: "Slice" bottom: "x0" {tops} slice_param {{ slice_point: 2 slice_point: 3 }} }}',
        x.shape,
    )
    for got, expected in zip(outputs(tmp_path, text, None, x), (x[:, :2], x[:, 2:3], x[:, 3:])):
        np.testing.assert_array_equal(got, expected)
    text = net(f'layer {{ name: "s" type: "Slice" bottom: "x0" {tops} slice_param {{ axis: 2 }} }}', x.shape)
    for i, got in enumerate(outputs(tmp_path, text, None, x)):
        np.testing.assert_array_equal(got, x[:, :, i : i + 1])


def test_upsampling_with_the_positions_of_pooling(tmp_path: Path, rng: np.random.Generator) -> None:
    x = rng.standard_normal((2, 3, 6, 8)).astype(np.float32)
    text = net(
        """layer { name: "p" type: "Pooling" bottom: "x0" top: "p" top: "mask" pooling_param { kernel_size: 2 stride: 2 } }
        layer { name: "d" type: "Power" bottom: "p" top: "d" power_param { scale: 2 } }
        layer { name: "u" type: "Upsample" bottom: "d" bottom: "mask" top: "u" upsample_param { scale: 2 } }""",
        x.shape,
    )
    (got,) = outputs(tmp_path, text, None, x)
    largest = x.reshape(2, 3, 3, 2, 4, 2).max((3, 5), keepdims=True)
    expected = np.where(x.reshape(2, 3, 3, 2, 4, 2) == largest, 2 * largest, 0).reshape(x.shape)
    np.testing.assert_array_equal(got, expected)


def test_split_in_place_and_order_of_outputs(tmp_path: Path, rng: np.random.Generator) -> None:
    """Layers that write what they read; outputs in the order in which they are written last."""
    x = rng.standard_normal((1, 4)).astype(np.float32)
    text = net(
        """
        layer { name: "s" type: "Split" bottom: "x0" top: "a" top: "b" }
        layer { name: "p" type: "Power" bottom: "a" top: "a" power_param { scale: 2 } }
        layer { name: "t" type: "Power" bottom: "b" top: "b" power_param { shift: 1 } }
        layer { name: "r" type: "ReLU" bottom: "a" top: "a" }
        """,
        x.shape,
    )
    b, a = outputs(tmp_path, text, None, x)
    np.testing.assert_array_equal(b, x + np.float32(1))
    np.testing.assert_array_equal(a, np.maximum(2 * x, 0))
