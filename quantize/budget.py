"""Layers return to floating point until the loss is within the budget, those first that harm the outputs most for their work."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from edgec.quantize.placement import data_inputs

if TYPE_CHECKING:
    from edgec.quantize.probe import Probe
    from edgec.quantize.quantizer import Quantizer

# What makes at least this share of the remaining error stays in floating point, while all of that does at most this share of
# the multiply-adds.
BARGAIN_ERROR, BARGAIN_WORK = 0.1, 0.025
# Errors below 50 dB trouble nobody.
NOTHING = 1e-5


def ranking(q: Quantizer, probe: Probe, macs: Mapping[str, int]) -> list[list[str]]:
    """Groups of nodes that read tensors of one scale, worst first: error of that scale alone per square root of work.

    A tensor returns to floating point only when everything that reads it does, so the unit is the scale, not the layer.
    """
    rows = [(error / (1 + work) ** 0.5, names) for error, work, names in _costs(q, probe, macs)]
    return [names for _, names in sorted(rows, key=lambda r: -r[0])]


def bargains(q: Quantizer, probe: Probe, macs: Mapping[str, int]) -> dict[str, str]:
    """Nodes that cost much accuracy and hardly any time, and why each is better kept in floating point."""
    total = max(1, sum(macs.values()))
    rows = sorted(_costs(q, probe, macs), key=lambda r: -r[0])
    rest, spent = sum(r[0] for r in rows), 0.0
    found: dict[str, str] = {}
    for error, work, names in rows:
        share = error / rest if rest > 0 else 0.0
        if share < BARGAIN_ERROR:
            break
        if spent + work / total > BARGAIN_WORK or error < NOTHING:
            continue
        spent += work / total
        rest -= error
        text = f"in 8 bits it makes {share:.0%} of the error and does {work / total:.1%} of the work"
        found |= dict.fromkeys(names, text)
    return found


def _costs(q: Quantizer, probe: Probe, macs: Mapping[str, int]) -> list[tuple[float, int, list[str]]]:
    """Per scale: the outputs' error from it alone, and multiply-adds and names of the nodes that read its tensors."""
    rows = []
    for leader in q.placement.leaders:
        members = set(q.placement.members(leader))
        nodes = [n for n in q.graph.nodes if n in q.placement.nodes and any(v in members for v in data_inputs(n))]
        work = sum(macs.get(n.name, 0) for n in nodes)
        rows.append((probe.error({leader.name: q.scales[leader.name]}), work, [n.name for n in nodes]))
    return rows


def search(
    candidates: Sequence[Sequence[str]],
    evaluate: Callable[[Sequence[str]], float],
    perfect: float,
    max_drop: float,
    progress: Callable[[int, int], None],
) -> tuple[list[str], list[dict[str, Any]]]:
    """Names to keep in floating point so that the score drops by at most `max_drop`, and the trials.

    The shortest prefix of `candidates` that suffices: it is doubled until it does, then the step is halved.
    """
    log: list[dict[str, Any]] = []

    def names(count: int) -> list[str]:
        return [n for group in candidates[:count] for n in group]

    def suffices(count: int) -> bool:
        score = evaluate(names(count))
        text = (
            "everything in 8 bits"
            if not count
            else f"{count} tensors in floating point, last: {', '.join(candidates[count - 1])}"
        )
        log.append({"layer": text, "kept": count, "score": score, "drop": perfect - score})
        progress(len(log), 2 * len(candidates).bit_length() + 1)
        return perfect - score <= max_drop

    if suffices(0):
        return [], log
    low, high = 0, 1
    while high < len(candidates) and not suffices(high):
        low, high = high, min(2 * high, len(candidates))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return names(high), log
