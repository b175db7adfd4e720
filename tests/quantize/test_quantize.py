"""The quantizer as users call it: accuracy on small networks, equalization, explanation, budget, weight-only storage."""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest

import edgec
from edgec.converter.ir.graph import Graph
from edgec.converter.writer import to_bytes
from edgec.quantize.html import page

from .networks import mobile, outputs, pictures, sqnr

# An 8-bit tensor that uses its range has about 6.02 * 8 - 1.25 - (peak to rms) = 35 dB or more at a peak of 4 sigma; the seven
# layers of the network add up, minus 10 log10(7), and some room for luck.
GOOD_DB = 25.0


def test_a_network_with_tame_ranges(rng):
    model, data = mobile(rng), pictures(rng, 64)
    small = edgec.quantize(model, data[:32])
    assert sqnr(outputs(model, data[32:]), outputs(small, data[32:])) > GOOD_DB
    report = small.report["quantization"]
    assert report["macs"]["share"] > 0.9
    assert small.native.weight_bytes < model.native.weight_bytes
    operators = Counter(n["op"] for n in small.native.nodes())
    assert operators["QuantizedConv2d"] >= 5
    assert report["outputs"][0]["agreement"] > 0.9


def test_hostile_ranges_are_equalized(rng):
    state = rng.bit_generator.state
    tame = mobile(rng)
    rng.bit_generator.state = state
    hostile = mobile(rng, largest=1000.0)
    data = pictures(rng, 96)
    wanted = outputs(hostile, data[32:])
    np.testing.assert_allclose(outputs(tame, data[32:]), wanted, rtol=0, atol=1e-4 * np.abs(wanted).max())
    plain = edgec.quantize(hostile, data[:32], equalize=False)
    equal = edgec.quantize(hostile, data[:32])
    before, after = sqnr(wanted, outputs(plain, data[32:])), sqnr(wanted, outputs(equal, data[32:]))
    print(f"{before:.1f} dB -> {after:.1f} dB")
    assert before < GOOD_DB < after
    same = np.mean(outputs(equal, data[32:]).argmax(1) == wanted.argmax(1))
    assert same >= 0.95
    report = equal.report["quantization"]
    causes = [r for r in report["layers"] if r.get("kind") == "few channels hold the range"]
    assert causes, "the explanation names the layers and the cause"
    assert all("equalised" in r["action"] for r in causes)
    worst = plain.report["quantization"]["layers"][0]
    assert worst["sqnr_db"] < 30
    assert worst["cause"]


def test_equalization_changes_no_output(rng):
    from edgec.converter.ir.reader import read
    from edgec.quantize.algorithms.cross_layer_equalization import equalize
    from edgec.quantize.statistics import collect

    model, data = mobile(rng, largest=1000.0), pictures(rng, 4)
    graph = read(model)
    assert equalize(graph, collect(model, [{"x": d} for d in data]))
    wanted, got = outputs(model, data), outputs(edgec.Model.from_bytes(to_bytes(graph)), data)
    # Factors are powers of the root of 2: every weight is rounded once more, k of them per output and 7 layers.
    bound = 7 * 16 * 9 * np.finfo(np.float32).eps * np.abs(wanted).max()
    np.testing.assert_allclose(got, wanted, rtol=0, atol=bound)


def test_keep_float(rng):
    model, data = mobile(rng), pictures(rng, 8)
    small = edgec.quantize(model, data, keep_float="conv_*", equalize=False)
    assert small.report["quantization"]["macs"]["int8"] == 0
    np.testing.assert_array_equal(outputs(small, data), outputs(model, data))
    reasons = {f["name"]: f["reason"] for f in small.report["quantization"]["float"]}
    assert all("on request" in reasons[n] for n in reasons if n.startswith("conv_"))


def test_the_budget_is_kept(rng):
    model, data = mobile(rng), pictures(rng, 32)
    loose = edgec.quantize(model, data, max_drop=1.0, metric="sqnr").report["quantization"]
    assert [t["kept"] for t in loose["search"]] == [0]
    drop = 0.2 * loose["search"][0]["drop"]
    tight = edgec.quantize(model, data, max_drop=drop, metric="sqnr").report["quantization"]
    assert tight["macs"]["share"] < loose["macs"]["share"]
    assert min(t["drop"] for t in tight["search"]) <= drop
    assert any("--max-drop" in f["reason"] for f in tight["float"])


def test_own_metric_and_labels(rng):
    model, data = mobile(rng), pictures(rng, 12)
    seen = []

    def metric(exact, rounded, labels):
        seen.append(list(labels))
        return 1.0

    edgec.quantize(model, data[:4], max_drop=0.0, metric=metric, evaluation=(data[4:], range(8)))
    assert seen[0] == list(range(8))
    with pytest.raises(edgec.UsageError, match="needs labels"):
        edgec.quantize(model, data, max_drop=0.1, metric="top1")


@pytest.mark.parametrize("form, limit", [("int8", 35.0), ("int4", 12.0), ("f16", 60.0)])
def test_weight_only(rng, form, limit):
    model, data = mobile(rng, channels=24), pictures(rng, 8)
    small = edgec.quantize(model, weights=form)
    assert sqnr(outputs(model, data), outputs(small, data)) > limit
    sizes = small.report["quantization"]["weight_bytes"]
    assert sizes["after"] < sizes["before"]


@pytest.mark.parametrize("method", ["minmax", "percentile", "kl", "mse"])
def test_methods(rng, method):
    model, data = mobile(rng), pictures(rng, 24)
    small = edgec.quantize(model, data[:16], method=method)
    assert sqnr(outputs(model, data), outputs(small, data)) > 15
    assert small.report["quantization"]["method"] == method


def test_activations_that_are_tables_and_residuals(rng):
    g = Graph("functions")
    x = g.add_input("x", "f32", ("n", 8, 8, 8))
    w = [g.constant("w", rng.standard_normal((8, 3, 3, 8)).astype(np.float32) / 8) for _ in range(3)]
    same = {"pads": [1, 1, 1, 1]}
    (a,) = g.add("Conv2d", [x, w[0]], {**same, "activation": "hardswish"}, name="a")
    (b,) = g.add("Conv2d", [a, w[1], None, a], {**same, "activation": "relu", "residual_mode": "after"}, name="b")
    slope = g.constant("slope", np.linspace(0.1, 0.5, 8, dtype=np.float32))
    (c,) = g.add("Conv2d", [b, w[2], None, None, slope], {**same, "activation": "prelu"}, name="c")
    (d,) = g.add("MaxPool2d", [c], {"kernel": [2, 2], "strides": [2, 2]}, name="d")
    (e,) = g.add("Concat", [d, d], {"axis": -1}, name="e")
    last = g.constant("w", rng.standard_normal((16, 5)).astype(np.float32))
    g.set_outputs(g.add("MatMul", [e, last], name="out"))
    model = edgec.Model.from_bytes(to_bytes(g))
    data = [rng.standard_normal((1, 8, 8, 8)).astype(np.float32) for _ in range(24)]
    small = edgec.quantize(model, data[:16])
    assert small.report["quantization"]["macs"]["share"] > 0.9
    assert sqnr(outputs(model, data[16:]), outputs(small, data[16:])) > 20
    # A symbolic batch stays symbolic.
    two = np.concatenate(data[:2])
    np.testing.assert_array_equal(outputs(small, [two]), outputs(small, data[:2]))


def test_the_html_page_is_whole_and_escaped(rng):
    model, data = mobile(rng), pictures(rng, 8)
    report = edgec.quantize(model, data).report["quantization"]
    text = page(report, "<script>alert(1)</script>")
    assert text.startswith("<!doctype html>")
    assert "<script>" not in text
    assert text.count("<svg") == 1 + sum("histogram" in r for r in report["layers"])
    assert "http" not in text, "nothing is loaded from elsewhere"
