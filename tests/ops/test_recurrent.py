"""LSTM, GRU and RNN against ONNX's equations in NumPy and, where it is installed, onnxruntime."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from edgec import _core

GATES = {"LSTM": 4, "GRU": 3, "RNN": 1}
DEFAULTS = {"LSTM": ["Sigmoid", "Tanh", "Tanh"], "GRU": ["Sigmoid", "Tanh"], "RNN": ["Tanh"]}

# name: (function of x, alpha, beta; its parameters' defaults)
ACTIVATIONS: dict[str, Any] = {
    "Relu": (lambda x, a, b: np.maximum(x, 0), None, None),
    "Tanh": (lambda x, a, b: np.tanh(x), None, None),
    "Sigmoid": (lambda x, a, b: 1 / (1 + np.exp(-x)), None, None),
    "Softsign": (lambda x, a, b: x / (1 + np.abs(x)), None, None),
    "Softplus": (lambda x, a, b: np.logaddexp(0, x), None, None),
    "Affine": (lambda x, a, b: a * x + b, 1.0, 0.0),
    "LeakyRelu": (lambda x, a, b: np.where(x < 0, a * x, x), 0.01, None),
    "ThresholdedRelu": (lambda x, a, b: np.where(x > a, x, 0), 1.0, None),
    "ScaledTanh": (lambda x, a, b: a * np.tanh(b * x), 1.0, 1.0),
    "HardSigmoid": (lambda x, a, b: np.clip(a * x + b, 0, 1), 0.2, 0.5),
    "Elu": (lambda x, a, b: np.where(x < 0, a * np.expm1(x), x), 1.0, None),
}


def functions(names: list[str], alphas: list[float], betas: list[float]) -> list[Any]:
    """The functions of a list of names; each takes its parameters from the lists if it has any."""
    left_a, left_b, result = list(alphas), list(betas), []
    for name in names:
        f, alpha, beta = ACTIVATIONS[name]
        if alpha is not None and left_a:
            alpha = left_a.pop(0)
        if beta is not None and left_b:
            beta = left_b.pop(0)
        result.append(lambda x, f=f, alpha=alpha, beta=beta: f(x, alpha, beta))
    return result


def reference(op: str, case: dict[str, Any]) -> list[np.ndarray]:
    """Y, Y_h and for LSTM Y_c in float64, layout 0."""
    x, W, R = (case[k].astype(np.float64) for k in "xWR")
    steps, batch, _ = x.shape
    directions, hidden, gates = W.shape[0], R.shape[2], GATES[op]
    B = case["B"].astype(np.float64) if case["B"] is not None else np.zeros((directions, 2 * gates * hidden))
    P = case["P"].astype(np.float64) if case.get("P") is not None else np.zeros((directions, 3 * hidden))
    lens = case["lens"] if case["lens"] is not None else np.full(batch, steps)
    attrs = case["attrs"]
    clip = attrs.get("clip", 0.0)

    def limit(v: np.ndarray) -> np.ndarray:
        return np.clip(v, -clip, clip) if clip else v

    f = functions(case["activations"], attrs.get("activation_alpha", []), attrs.get("activation_beta", []))
    per = len(f) // directions
    Y = np.zeros((steps, directions, batch, hidden))
    H = np.zeros((directions, batch, hidden)) if case["h0"] is None else case["h0"].astype(np.float64)
    C = np.zeros((directions, batch, hidden)) if case.get("c0") is None else case["c0"].astype(np.float64)
    H, C = H.copy(), C.copy()
    for d, b in itertools.product(range(directions), range(batch)):
        g = f[d * per : (d + 1) * per]
        wb, rb = B[d].reshape(2, gates, hidden)
        pi, po, pf = P[d].reshape(3, hidden)
        h, c = H[d, b], C[d, b]
        times = range(lens[b])
        backwards = d == 1 or attrs.get("direction") == "reverse"
        for t in reversed(times) if backwards else times:
            xw = (W[d] @ x[t, b]).reshape(gates, hidden) + wb
            if op == "RNN":
                h = g[0](limit(xw + (R[d] @ h).reshape(gates, hidden) + rb))[0]
            elif op == "GRU":
                rz, rr, rh = R[d].reshape(gates, hidden, hidden)
                z, r = g[0](limit(xw[0] + rz @ h + rb[0])), g[0](limit(xw[1] + rr @ h + rb[1]))
                inner = r * (rh @ h + rb[2]) if attrs.get("linear_before_reset") else rh @ (r * h) + rb[2]
                h = (1 - z) * g[1](limit(xw[2] + inner)) + z * h
            else:
                i, o, forget, new = xw + (R[d] @ h).reshape(gates, hidden) + rb
                i = g[0](limit(i + pi * c))
                forget = 1 - i if attrs.get("input_forget") else g[0](limit(forget + pf * c))
                c = forget * c + i * g[1](limit(new))
                h = g[0](limit(o + po * c)) * g[2](c)
            Y[t, d, b] = h
        H[d, b], C[d, b] = h, c
    return [Y, H, C] if op == "LSTM" else [Y, H]


def make_case(op: str, rng: np.random.Generator, **options: Any) -> dict[str, Any]:
    steps, batch, inputs, hidden = options.pop("sizes")
    attrs: dict[str, Any] = options
    directions = 2 if attrs.get("direction") == "bidirectional" else 1
    gates = GATES[op]

    def random(*shape: int) -> np.ndarray:
        return rng.uniform(-0.5, 0.5, shape).astype(np.float32)

    chosen = attrs.pop("activations", DEFAULTS[op])
    parts = attrs.pop("parts", "B lens h0 c0 P").split()
    case: dict[str, Any] = {
        "x": random(steps, batch, inputs) * 2,
        "W": random(directions, gates * hidden, inputs),
        "R": random(directions, gates * hidden, hidden),
        "B": random(directions, 2 * gates * hidden) if "B" in parts else None,
        "lens": rng.integers(0, steps + 1, batch).astype(np.int32) if "lens" in parts else None,
        "h0": random(directions, batch, hidden) if "h0" in parts else None,
        "attrs": {"hidden_size": hidden, **attrs},
        "activations": chosen if len(chosen) == len(DEFAULTS[op]) * directions else chosen * directions,
    }
    if op == "LSTM":
        case["c0"] = random(directions, batch, hidden) if "c0" in parts else None
        case["P"] = random(directions, 3 * hidden) if "P" in parts else None
    return case


def run(op: str, case: dict[str, Any], layout: int = 0) -> list[np.ndarray]:
    def swap(v: np.ndarray | None, a: int, b: int) -> np.ndarray | None:
        return v if v is None or layout == 0 else np.ascontiguousarray(np.swapaxes(v, a, b))

    inputs = [swap(case["x"], 0, 1), case["W"], case["R"], case["B"], case["lens"], swap(case["h0"], 0, 1)]
    if op == "LSTM":
        inputs += [swap(case["c0"], 0, 1), case["P"]]
    attrs = {**case["attrs"], "layout": layout, "activations": ",".join(case["activations"])}
    got = _core.evaluate(op, attrs, inputs, len(inputs) - 4 if op == "GRU" else 3 if op == "LSTM" else 2)
    if layout == 1:
        got = [np.moveaxis(got[0], (0, 1, 2), (2, 0, 1)), *(np.swapaxes(v, 0, 1) for v in got[1:])]
    return got


def check(op: str, case: dict[str, Any], layout: int = 0) -> None:
    got, expected = run(op, case, layout), reference(op, case)
    eps, x, R = np.finfo(np.float32).eps, case["x"], case["R"]
    # One step adds inputs + hidden products and a few roundings of activations with a slope of at most 1 each; the
    # state carries an error on with at most the factor |R| hidden, which the gates keep below 1 here.
    products = (x.shape[2] + R.shape[2] + 8) * max(1.0, float(np.abs(x).max()))
    tolerance = products * eps * 2 * x.shape[0]
    for g, e in zip(got, expected, strict=True):
        assert g.shape == e.shape
        assert np.abs(g - e).max(initial=0) <= tolerance * max(1.0, float(np.abs(e).max(initial=0)))


SIZES = [(1, 1, 1, 1), (5, 3, 7, 4), (4, 1, 16, 32), (3, 17, 9, 33)]


@pytest.mark.parametrize("direction", ["forward", "reverse", "bidirectional"])
@pytest.mark.parametrize("parts", ["", "B", "B lens", "B h0 c0", "B lens h0 c0 P"])
@pytest.mark.parametrize("op", GATES)
def test_against_the_equations(op: str, parts: str, direction: str, rng: np.random.Generator) -> None:
    for sizes in SIZES:
        for layout in (0, 1):
            check(op, make_case(op, rng, sizes=sizes, parts=parts, direction=direction), layout)
            if op == "GRU":
                case = make_case(op, rng, sizes=sizes, parts=parts, direction=direction, linear_before_reset=1)
                check(op, case, layout)


@pytest.mark.parametrize("op", GATES)
def test_clip_and_coupled_gates(op: str, rng: np.random.Generator) -> None:
    for parts in ("B", "B h0 c0 P"):
        check(op, make_case(op, rng, sizes=(6, 2, 5, 8), parts=parts, clip=0.25))
        if op == "LSTM":
            check(op, make_case(op, rng, sizes=(6, 2, 5, 8), parts=parts, input_forget=1))


@pytest.mark.parametrize("name", ACTIVATIONS)
@pytest.mark.parametrize("op", GATES)
def test_activations(op: str, name: str, rng: np.random.Generator) -> None:
    count = len(DEFAULTS[op])
    for direction in ("forward", "bidirectional"):
        total = count * (2 if direction == "bidirectional" else 1)
        case = make_case(op, rng, sizes=(3, 2, 5, 8), parts="B", direction=direction, activations=[name] * total)
        check(op, case)
        case["attrs"]["activation_alpha"] = [0.5 + 0.05 * i for i in range(total)]
        case["attrs"]["activation_beta"] = [0.4 + 0.05 * i for i in range(total)]
        check(op, case)


@pytest.mark.parametrize("op", GATES)
def test_against_onnxruntime(op: str, rng: np.random.Generator) -> None:
    ort = pytest.importorskip("onnxruntime")
    from onnx import TensorProto, helper

    for direction, extra in itertools.product(
        ("forward", "reverse", "bidirectional"), ({}, {"clip": 0.3}, {"other": 1})
    ):
        options = dict(extra)
        parts = "B lens h0 c0"
        if options.pop("other", 0):
            # onnxruntime gives peepholes and coupled gates other meanings beside lengths; one at a time.
            options, parts = {"LSTM": ({}, "B P"), "GRU": ({"linear_before_reset": 1}, "B lens h0"), "RNN": ({}, "B")}[
                op
            ]
        case = make_case(op, rng, sizes=(5, 3, 7, 6), parts=parts, direction=direction, **options)
        if case["lens"] is not None:
            # A sequence of no steps: here its state stays the initial one, there it becomes 0. ONNX does not say.
            case["lens"] = np.array([5, 1, 3], np.int32)
        names = ["x", "W", "R", "B", "lens", "h0", *(["c0", "P"] if op == "LSTM" else [])]
        feeds = {n: case[n] for n in names if case[n] is not None}
        attrs = dict(case["attrs"]) | {"activations": case["activations"]}
        outputs = ["Y", "Y_h", *(["Y_c"] if op == "LSTM" else [])]
        node = helper.make_node(op, [n if n in feeds else "" for n in names], outputs, **attrs)
        graph = helper.make_graph(
            [node],
            "g",
            [
                helper.make_tensor_value_info(n, TensorProto.INT32 if n == "lens" else TensorProto.FLOAT, list(v.shape))
                for n, v in feeds.items()
            ],
            [helper.make_tensor_value_info(n, TensorProto.FLOAT, None) for n in outputs],
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 14)], ir_version=8)
        expected = ort.InferenceSession(model.SerializeToString()).run(None, feeds)
        for g, e in zip(run(op, case), expected, strict=True):
            # Two f32 implementations: each within the bound of `check`.
            assert np.abs(g - e).max() <= 2 * 2 * (7 + 6 + 8) * np.finfo(np.float32).eps * 2 * 5


def test_errors(rng: np.random.Generator) -> None:
    case = make_case("LSTM", rng, sizes=(5, 3, 7, 6), parts="B")
    for change, words in (
        ({"W": case["W"][:, :-1]}, ["W", "[1,23,7]", "[1,24,7]"]),
        ({"lens": np.array([1, 6, 2], np.int32)}, ["sequence_lens[1]", "6", "5"]),
        ({"activations": ["Sigmoid", "Tanh"]}, ["activations"]),
        ({"activations": ["Sigmoid", "Tanh", "Sinus"]}, ["sinus"]),
        ({"attrs": {"hidden_size": 0}}, ["hidden_size"]),
    ):
        with pytest.raises(_core.Error) as failure:
            run("LSTM", {**case, **change})
        for word in words:
            assert word in str(failure.value)
