"""What quantization did and what it cost: plain data for --json, the file's metadata, the table and the HTML page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from edgec.cost import step_macs
from edgec.model import Model
from edgec.quantize.causes import cause_of
from edgec.quantize.placement import shares_scale
from edgec.quantize.separate import DOT
from edgec.session import Session

if TYPE_CHECKING:
    from edgec.quantize.quantizer import Quantizer

Array = np.ndarray[Any, Any]
Feeds = Mapping[str, Array]

# Tensors better than this need no explanation: classifiers do not notice them.
FINE_DB = 30.0
_BARS = 64  # of the histograms in the report


def document(q: Quantizer, final: Model, samples: Sequence[Feeds], evaluated_on: str) -> dict[str, Any]:
    """The report of a quantized model; `samples` are what the outputs are compared on."""
    macs = macs_by_node(q.float_model)
    total = sum(macs.values())
    integer = sum(macs.get(n.name, 0) for n in q.dots())
    return {
        "method": q.options.method,
        "samples": len(q.samples),
        "macs": {"int8": integer, "total": total, "share": round(integer / total, 4) if total else 0.0},
        "bytes": len(final.to_bytes()),
        "outputs": compare_outputs(q.float_model, final, samples),
        "evaluated_on": evaluated_on,
        "layers": layers(q, macs),
        "float": [
            {"name": name, "reason": reason, "macs": macs.get(name, 0)} for name, reason in q.placement.reasons.items()
        ],
        "equalized": [
            {"tensor": c.tensor, "factor": c.factor, "ratio": c.ratio, "gain_db": round(c.gain_db, 1)}
            for c in q.changes
        ],
    }


def macs_by_node(model: Model) -> dict[str, int]:
    """Multiply-adds by node name."""
    return {s["name"]: step_macs(s) for s in Session(model).steps if step_macs(s)}


def layers(q: Quantizer, macs: Mapping[str, int]) -> list[dict[str, Any]]:
    """One row per computed 8-bit tensor or integer product, worst first."""
    sqnr = {name: q.fit.sqnr(name) for name in q.fit.errors}
    scaled = {c.tensor: c for c in q.changes}
    chosen = set(q.placement.tensors)
    rows = []
    for order, node in enumerate(q.graph.nodes):
        v = node.outputs[0]
        if node not in q.placement.nodes or v.name not in sqnr or shares_scale(node):
            continue
        if v not in chosen and node.op not in DOT:
            continue
        ratio = sqnr[v.name]
        row: dict[str, Any] = {"name": node.name, "op": node.op, "tensor": v.name, "order": order}
        row["sqnr_db"] = round(min(ratio, 200.0), 1)
        s = q.statistics.get(v.name)
        if s is not None:
            row["range"] = [round(s.minimum, 6), round(s.maximum, 6)]
            row["histogram"] = {
                "low": s.low,
                "high": s.high,
                "counts": s.counts.reshape(_BARS, -1).sum(axis=1).tolist(),
            }
        if v.name in q.scales:
            row |= {"scale": float(q.scales[v.name].scale), "zero_point": q.scales[v.name].zero_point}
        row["action"] = "int8" + (f", {q.methods[v.name]} range" if v.name in q.methods else ", f32 result")
        row["macs"] = macs.get(node.name, 0)
        if v.name in scaled:
            change = scaled[v.name]
            row["cause"] = f"few channels held the range: they differed {change.ratio:.0f} : 1"
            row["kind"] = "few channels hold the range"
            row["action"] = f"equalised (factors up to {change.factor:.0f}), " + row["action"]
        elif node.name in q.saturated:
            row["kind"], row["cause"] = "saturated bias", "the bias is too large for its 32-bit scale"
            row["action"] = "weight scale widened, " + row["action"]
        elif ratio < FINE_DB:
            cause = cause_of(node, v, q.placement, q.statistics, sqnr)
            row |= {"kind": cause.kind, "cause": cause.text, "advice": cause.advice}
        rows.append(row)
    return sorted(rows, key=lambda r: float(r["sqnr_db"]))


def compare_outputs(before: Model, after: Model, samples: Sequence[Feeds]) -> list[dict[str, Any]]:
    """Per output: SQNR, cosine and how often the largest value is at the same place."""
    first, second = Session(before), Session(after)
    names = [s.name for s in first.outputs]
    error, power, product, other = (np.zeros(len(names)) for _ in range(4))
    agree, votes = np.zeros(len(names)), np.zeros(len(names))
    for feeds in samples:
        for i, (a, b) in enumerate(zip(first.run(None, feeds), second.run(None, feeds), strict=True)):
            x, y = np.asarray(a, np.float64), np.asarray(b, np.float64)
            if x.shape != y.shape:
                continue
            error[i] += np.sum((x - y) ** 2)
            power[i] += np.sum(x * x)
            other[i] += np.sum(y * y)
            product[i] += np.sum(x * y)
            if x.ndim and x.shape[-1] > 1:
                agree[i] += np.sum(x.argmax(-1) == y.argmax(-1))
                votes[i] += x.size // x.shape[-1]
    rows = []
    for i, name in enumerate(names):
        row: dict[str, Any] = {
            "name": name,
            "sqnr_db": round(float(10 * np.log10(max(power[i], 1e-60) / max(error[i], 1e-60))), 2),
            "cosine": round(float(product[i] / max(np.sqrt(power[i] * other[i]), 1e-60)), 6),
        }
        if votes[i]:
            row["agreement"] = round(float(agree[i] / votes[i]), 4)
        rows.append(row)
    return rows
