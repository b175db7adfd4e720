"""Scores of quantized outputs: larger is better, and the float model's own score is the yardstick."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from edgec.errors import UsageError

Array = np.ndarray[Any, Any]
# (outputs of the float model, outputs of the quantized model, labels or None) -> score; outputs[sample][output].
Metric = Callable[[Sequence[Sequence[Array]], Sequence[Sequence[Array]], "Sequence[Any] | None"], float]


def metric(name: str | Metric) -> Metric:
    """The metric of that name, `module:function`, or the function itself. Raises UsageError."""
    if callable(name):
        return name
    if name in METRICS:
        return METRICS[name]
    if ":" in name:
        from edgec.quantize.data import function

        return function(name)  # type: ignore[no-any-return]
    raise UsageError(f"metric '{name}': expected {', '.join(METRICS)} or module:function")


def top1(exact: Sequence[Sequence[Array]], rounded: Sequence[Sequence[Array]], labels: Sequence[Any] | None) -> float:
    """Share of samples whose largest value is at the label. Needs labels."""
    if labels is None:
        raise UsageError("metric top1 needs labels", hint="use --metric agreement, or give labels with the data")
    return float(np.mean([int(np.argmax(o[0])) == int(y) for o, y in zip(rounded, labels, strict=True)]))


def agreement(
    exact: Sequence[Sequence[Array]], rounded: Sequence[Sequence[Array]], labels: Sequence[Any] | None
) -> float:
    """Share of decisions (largest value along the last dimension of the first output) that stay the same."""
    votes = [np.argmax(a[0], -1) == np.argmax(b[0], -1) for a, b in zip(exact, rounded, strict=True)]
    return float(np.mean(np.concatenate([np.reshape(v, -1) for v in votes])))


def cosine(exact: Sequence[Sequence[Array]], rounded: Sequence[Sequence[Array]], labels: Sequence[Any] | None) -> float:
    """Mean cosine between the outputs, worst output."""
    means = []
    for i in range(len(exact[0])):
        pairs = [(np.ravel(a[i]).astype(np.float64), np.ravel(b[i]).astype(np.float64)) for a, b in zip(exact, rounded)]
        means.append(np.mean([x @ y / max(np.linalg.norm(x) * np.linalg.norm(y), 1e-30) for x, y in pairs]))
    return float(min(means))


def sqnr(exact: Sequence[Sequence[Array]], rounded: Sequence[Sequence[Array]], labels: Sequence[Any] | None) -> float:
    """1 - error power / signal power, worst output: 0.99 is 20 dB, 0.999 is 30 dB."""
    shares = []
    for i in range(len(exact[0])):
        error = sum(float(np.sum((np.asarray(a[i], np.float64) - b[i]) ** 2)) for a, b in zip(exact, rounded))
        power = sum(float(np.sum(np.asarray(a[i], np.float64) ** 2)) for a in exact)
        shares.append(1 - error / max(power, 1e-30))
    return float(min(shares))


METRICS: dict[str, Metric] = {"top1": top1, "agreement": agreement, "sqnr": sqnr, "cosine": cosine}
