"""The report as one HTML page that needs nothing else: SQNR per layer, table with causes, histogram of every tensor."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

_STYLE = """
body{font:14px/1.45 system-ui,sans-serif;margin:2em auto;max-width:1100px;padding:0 1em;color:#222;background:#fff}
table{border-collapse:collapse;width:100%;margin:1em 0}td,th{text-align:left;padding:.3em .6em;border-bottom:1px solid #ddd;
vertical-align:top}th{border-bottom:2px solid #888}td.n,th.n{text-align:right;white-space:nowrap}svg{display:block}
.bad{color:#b00020}.mid{color:#9a6700}.good{color:#1a7f37}small{color:#666}code{background:#f3f3f3;padding:0 .25em}
@media(prefers-color-scheme:dark){body{background:#161616;color:#ddd}td,th{border-color:#444}code{background:#2a2a2a}}
"""


def page(report: Mapping[str, Any], title: str) -> str:
    """A whole HTML document of `report["quantization"]`."""
    layers = report["layers"]
    macs = report["macs"]
    parts = [
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{escape(title)}</title><style>{_STYLE}</style>',
        f"<h1>{escape(title)}</h1>",
        f"<p>{macs['share']:.1%} of {macs['total']:,} multiply-adds in 8 bits · {report['bytes']:,} bytes · "
        f"{report['samples']} calibration samples · outputs compared on {escape(report['evaluated_on'])}</p>",
        _table(
            ["output", "SQNR dB", "cosine", "same largest value"],
            [
                [
                    o["name"],
                    f"{o['sqnr_db']:.1f}",
                    f"{o['cosine']:.5f}",
                    f"{o['agreement']:.1%}" if "agreement" in o else "",
                ]
                for o in report["outputs"]
            ],
            (1, 2, 3),
        ),
        "<h2>Signal to error ratio per layer</h2>",
        _plot(sorted(layers, key=lambda r: r.get("order", 0))),
        "<h2>Layers, worst first</h2>",
        _layers(layers),
    ]
    if report["float"]:
        parts += [
            "<h2>In floating point</h2>",
            _table(
                ["layer", "multiply-adds", "reason"],
                [[f["name"], f"{f['macs']:,}" if f["macs"] else "", f["reason"]] for f in report["float"]],
                (1,),
            ),
        ]
    if report.get("search"):
        parts += [
            "<h2>Search</h2>",
            _table(
                ["step", "score", "drop"],
                [[s["layer"], f"{s['score']:.4f}", f"{s['drop']:.4f}"] for s in report["search"]],
                (1, 2),
            ),
        ]
    return "\n".join(parts) + "</html>\n"


def _table(head: Sequence[str], rows: Sequence[Sequence[str]], numbers: Sequence[int] = ()) -> str:
    def cell(tag: str, i: int, text: str) -> str:
        return f'<{tag} class="n">{escape(text)}</{tag}>' if i in numbers else f"<{tag}>{escape(text)}</{tag}>"

    lines = ["<table><tr>" + "".join(cell("th", i, h) for i, h in enumerate(head)) + "</tr>"]
    lines += ["<tr>" + "".join(cell("td", i, c) for i, c in enumerate(row)) + "</tr>" for row in rows]
    return "\n".join(lines) + "</table>"


def _class(ratio: float) -> str:
    return "bad" if ratio < 15 else "mid" if ratio < 25 else "good"


def _layers(layers: Sequence[Mapping[str, Any]]) -> str:
    rows = [
        '<table><tr><th>layer</th><th class="n">SQNR dB</th><th>values</th><th>cause, action, what is left</th></tr>'
    ]
    for r in layers:
        words = [escape(r["cause"])] if r.get("cause") else []
        words.append(f"<small>{escape(r['action'])}</small>")
        if r.get("advice"):
            words.append(f"<small>→ {escape(r['advice'])}</small>")
        low, high = r.get("range", (0.0, 0.0))
        rows.append(
            f"<tr><td>{escape(r['name'])}<br><small>{escape(r['op'])} → {escape(r['tensor'])}</small></td>"
            f'<td class="n {_class(r["sqnr_db"])}">{r["sqnr_db"]:.1f}</td>'
            f"<td>{_histogram(r)}<small>{low:.4g} … {high:.4g}</small></td><td>{'<br>'.join(words)}</td></tr>"
        )
    return "\n".join(rows) + "</table>"


def _histogram(row: Mapping[str, Any]) -> str:
    """Logarithmic bars, with the 8-bit range shaded: what lies outside is clipped."""
    data = row.get("histogram")
    if not data or data["high"] <= data["low"]:
        return ""
    width, height = 180, 36
    top = math.log1p(max(data["counts"]))
    step = width / len(data["counts"])
    span = data["high"] - data["low"]
    bars = []
    if "scale" in row:
        left = ((-128 - row["zero_point"]) * row["scale"] - data["low"]) / span * width
        right = ((127 - row["zero_point"]) * row["scale"] - data["low"]) / span * width
        left, right = max(0.0, left), min(float(width), right)
        bars.append(f'<rect x="{left:.1f}" y="0" width="{max(0.0, right - left):.1f}" height="{height}" fill="#8884"/>')
    for i, count in enumerate(data["counts"]):
        if count and top:
            h = height * math.log1p(count) / top
            bars.append(
                f'<rect x="{i * step:.1f}" y="{height - h:.1f}" width="{step:.1f}" height="{h:.1f}" fill="#3b7dd8"/>'
            )
    return f'<svg width="{width}" height="{height}" role="img" aria-label="histogram">{"".join(bars)}</svg>'


def _plot(layers: Sequence[Mapping[str, Any]]) -> str:
    """One bar per layer in order of computation; the lower, the worse."""
    if not layers:
        return "<p>no layer is in 8 bits</p>"
    width, height, most = 1060, 160, 60.0
    step = width / len(layers)
    bars = []
    for i, r in enumerate(layers):
        ratio = max(0.0, min(most, r["sqnr_db"]))
        h = height * ratio / most
        color = {"bad": "#b00020", "mid": "#d29922", "good": "#1a7f37"}[_class(r["sqnr_db"])]
        bars.append(
            f'<rect x="{i * step:.1f}" y="{height - h:.1f}" width="{max(1.0, step - 1):.1f}" height="{h:.1f}" fill="{color}">'
            f"<title>{escape(r['name'])}: {r['sqnr_db']:.1f} dB</title></rect>"
        )
    for level in (20, 40):
        y = height - height * level / most
        bars.append(f'<line x1="0" x2="{width}" y1="{y}" y2="{y}" stroke="#8888"/>')
        bars.append(f'<text x="2" y="{y - 2}" font-size="10" fill="#888">{level} dB</text>')
    return (
        f'<svg width="100%" viewBox="0 0 {width} {height}" role="img" aria-label="SQNR per layer">{"".join(bars)}</svg>'
    )
