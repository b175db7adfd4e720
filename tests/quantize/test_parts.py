"""Statistics, observers, rounding and calibration data, each against NumPy."""

from __future__ import annotations

import numpy as np
import pytest

import edgec
from edgec.quantize.algorithms.adaround import round_rows, second_moments
from edgec.quantize.algorithms.bias_correction import corrected
from edgec.quantize.algorithms.per_channel import channel_scales, round_nearest, with_room_for_bias
from edgec.quantize.data import read_samples
from edgec.quantize.observers import OBSERVERS
from edgec.quantize.parameters import BIAS_LIMIT, Range, Scale
from edgec.quantize.preprocess import Preprocess, parse, picture
from edgec.quantize.statistics import BINS, TensorStatistics

from .networks import mobile


def gathered(*parts):
    s = TensorStatistics("t")
    for p in parts:
        s.add(np.asarray(p, np.float32))
    return s


def test_histograms_grow_and_lose_nothing(rng):
    parts = [rng.standard_normal((4, 7)) * scale for scale in (1, 0.1, 50, 3)]
    s = gathered(*parts)
    everything = np.concatenate([p.reshape(-1) for p in parts]).astype(np.float32)
    assert s.counts.sum() == everything.size == s.elements
    assert s.minimum == everything.min()
    assert s.maximum == everything.max()
    assert s.low <= s.minimum
    assert s.high >= s.maximum
    width = (s.high - s.low) / BINS
    expected = np.histogram(everything, bins=BINS, range=(s.low, s.high))[0]
    # Values at the edge of a bin may fall on either side: sums over neighbours agree within the bin.
    assert np.abs(np.cumsum(s.counts) - np.cumsum(expected)).max() <= np.histogram(everything, BINS)[0].max()
    assert width > 0
    rows = np.concatenate(parts).astype(np.float32)
    np.testing.assert_array_equal(s.channel_maximum, rows.max(0))
    np.testing.assert_allclose(s.channel_variance, rows.astype(np.float64).var(0), rtol=1e-5)


def test_values_that_are_not_finite_are_counted():
    s = gathered([[1.0, np.nan], [np.inf, -2.0]])
    assert s.not_finite == 2
    assert (s.minimum, s.maximum) == (-2.0, 1.0)


def test_constant_and_empty_tensors():
    s = gathered(np.zeros((3, 2)), np.zeros((0, 2)), np.full((1, 2), 5.0))
    assert (s.minimum, s.maximum, s.elements) == (0.0, 5.0, 8)
    for observer in OBSERVERS.values():
        r = observer(s)
        assert r.low <= 0 <= r.high


@pytest.mark.parametrize("name", OBSERVERS)
def test_ranges_hold_zero_and_stay_inside_what_was_seen(rng, name):
    s = gathered(rng.standard_normal((50, 40)) + 0.5)
    r = OBSERVERS[name](s)
    assert s.minimum <= r.low < 0 < r.high <= s.maximum


def test_mse_clips_an_outlier_and_min_max_does_not(rng):
    # Clipped at 6 the outlier costs 24^2 = 576; kept, a million values cost (34 / 255)^2 / 12 each, 1,480 in all.
    values = rng.standard_normal(1_000_000)
    values[0] = 30.0
    s = gathered(values[None])
    assert OBSERVERS["minmax"](s).high == 30.0
    assert OBSERVERS["mse"](s).high < 15


def test_scale_reaches_both_ends_and_zero_is_exact(rng):
    for low, high in [(-1.0, 3.0), (0.0, 6.0), (-5.0, 0.0), (2.0, 4.0), (0.0, 0.0)]:
        s = Scale.of(Range(low, high))
        assert -128 <= s.zero_point <= 127
        assert s.round_trip(np.zeros(1, np.float32))[0] == 0
        ends = np.array([min(low, 0), max(high, 0)], np.float32)
        # Half a step for the value, half a step for the zero point.
        assert np.abs(s.round_trip(ends) - ends).max() <= s.scale * 1.001


def test_rounding_never_loses_to_nearest_on_its_objective(rng):
    inputs = (rng.standard_normal((500, 24)) @ rng.standard_normal((24, 24))).astype(np.float32)
    weight = rng.standard_normal((7, 24)).astype(np.float32)
    scales = channel_scales(weight, 0)
    moments = second_moments(inputs)
    nearest = round_nearest(weight, scales, 0).values
    learnt = round_rows(weight, scales, moments)

    def loss(values):
        error = values.astype(np.float64) * scales[:, None] - weight
        return np.einsum("ok,kj,oj->o", error, moments, error)

    assert (loss(learnt) <= loss(nearest) * (1 + 1e-5)).all()
    assert loss(learnt).sum() < 0.8 * loss(nearest).sum()
    assert np.abs(learnt.astype(int) - weight / scales[:, None]).max() < 1.001
    per_row = round_rows(weight, scales, np.broadcast_to(moments, (7, 24, 24)))
    np.testing.assert_array_equal(per_row, learnt)


def test_corrected_bias_restores_the_mean(rng):
    x, y = rng.standard_normal((100, 6)), rng.standard_normal((100, 6))
    weight, rounded = rng.standard_normal((3, 6)), rng.standard_normal((3, 6))
    bias = rng.standard_normal(3).astype(np.float32)
    new = corrected(bias, weight, x.mean(0), rounded, y.mean(0))
    np.testing.assert_allclose((y @ rounded.T + new).mean(0), (x @ weight.T + bias).mean(0), atol=1e-5)


def test_weights_of_zero_and_large_biases():
    weight = np.zeros((2, 3), np.float32)
    scales = with_room_for_bias(channel_scales(weight, 0), np.array([1e4, 0.0], np.float32), 0.01)
    assert 1e4 / (scales[0] * 0.01) <= BIAS_LIMIT
    assert np.isfinite(scales).all()
    assert (scales > 0).all()


def test_preprocess_texts():
    got = parse("bgr,resize=256,crop=224x200,mean=0.485,0.456,0.406,std=0.2")
    assert got == Preprocess("bgr", 256, (224, 200), 255.0, (0.485, 0.456, 0.406), (0.2,))
    for bad in ("rbg", "resize=0", "crop=a", "mean=x", "std=0", "size=3", "mean"):
        with pytest.raises(edgec.UsageError, match="--preprocess"):
            parse(bad)


def test_pictures(tmp_path):
    image = pytest.importorskip("PIL.Image")
    pixels = np.arange(8 * 8 * 3, dtype=np.uint8).reshape(8, 8, 3)
    image.fromarray(pixels).save(tmp_path / "a.png")
    got = picture(tmp_path / "a.png", (1, 3, 4, 4), np.dtype(np.float32), parse("bgr,crop=4,mean=0.5,std=2"))
    wanted = (pixels[2:6, 2:6, ::-1].astype(np.float32) / np.float32(255) - np.float32(0.5)) / np.float32(2)
    np.testing.assert_array_equal(got[0], wanted.transpose(2, 0, 1))
    assert picture(tmp_path / "a.png", (8, 8, 3), np.dtype(np.int8), Preprocess())[0, 0, 0] == -128
    (tmp_path / "b.png").write_bytes((tmp_path / "a.png").read_bytes()[:40])
    with pytest.raises(edgec.BadFileError, match=r"b\.png"):
        picture(tmp_path / "b.png", (1, 3, 4, 4), np.dtype(np.float32), Preprocess())


def test_a_bomb_is_refused_before_it_is_decoded(tmp_path):
    pytest.importorskip("PIL.Image")
    import struct
    import zlib

    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", 60_000, 60_000, 8, 2, 0, 0, 0)
    data = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")
    (tmp_path / "bomb.png").write_bytes(data)
    with pytest.raises(edgec.BadFileError):
        picture(tmp_path / "bomb.png", (1, 3, 4, 4), np.dtype(np.float32), Preprocess())


def test_forms_of_calibration_data(rng, tmp_path, monkeypatch):
    model = mobile(rng)
    many = rng.standard_normal((10, 16, 16, 3)).astype(np.float32)
    np.save(tmp_path / "many.npy", many)
    np.savez(tmp_path / "many.npz", x=many[:, None])
    (tmp_path / "folder").mkdir()
    for i in range(3):
        np.save(tmp_path / "folder" / f"{i}.npy", many[i : i + 1])
    (tmp_path / "my_data.py").write_text(
        "import numpy as np\ndef batches():\n    return [np.zeros((16, 16, 3), 'f')] * 2\n"
    )
    monkeypatch.chdir(tmp_path)
    forms = {
        "many.npy": 10, "many.npz": 10, "folder": 3, "my_data:batches": 2,
    }  # fmt: skip
    for data, count in forms.items():
        got = read_samples(model, data)
        assert len(got) == count
        assert got[0]["x"].shape == (1, 16, 16, 3)
    assert len(read_samples(model, many)) == 10
    assert len(read_samples(model, {"x": many})) == 10
    assert len(read_samples(model, [(m, 3) for m in many])) == 10
    assert len(read_samples(model, iter(many), limit=4)) == 4
    spread = read_samples(model, "many.npy", limit=5)
    np.testing.assert_array_equal(spread[1]["x"][0], many[2])


def test_calibration_data_that_does_not_fit(rng, tmp_path):
    model = mobile(rng)
    with pytest.raises(edgec.UsageError, match="nothing"):
        read_samples(model, str(tmp_path / "nothing"))
    with pytest.raises(edgec.UsageError, match="no pictures"):
        read_samples(model, tmp_path)
    with pytest.raises(edgec.ShapeError):
        read_samples(model, np.zeros((4, 5), np.float32))
    with pytest.raises(edgec.ShapeError):
        read_samples(model, np.zeros((4, 16, 16, 4), np.float32))
    with pytest.raises(edgec.InvalidArgumentError, match="float32"):
        read_samples(model, np.zeros((4, 16, 16, 3), np.int64))
    with pytest.raises(edgec.UsageError, match="calibration"):
        edgec.quantize(model)
    (tmp_path / "bad.npz").write_bytes(b"PK nonsense")
    with pytest.raises(edgec.BadFileError):
        read_samples(model, tmp_path / "bad.npz")
    with pytest.raises(edgec.InvalidArgumentError, match="not a single sample"):
        edgec.quantize(model, [])
