"""Tables, raw numbers and a plot of what compare.py measured."""

from __future__ import annotations

import datetime
import json
import os
import platform
from pathlib import Path
from typing import Any

REFERENCE = "onnxruntime"


def cpu_name() -> str:
    """Model name of this CPU as the system gives it."""
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


def _cell(numbers: dict[str, Any] | None) -> str:
    if numbers is None:
        return "-"
    spread = (numbers["high_ms"] - numbers["low_ms"]) / numbers["median_ms"]
    return f"{numbers['median_ms']:.3f} ±{spread:.0%}{'' if numbers['correct'] else ' !'}"


def markdown(rows: list[dict[str, Any]], versions: dict[str, str], day: str) -> str:
    """One table per thread count; the last column is edgec's time over the reference's."""
    names = list(versions)
    lines = [
        "# Latency beside other runtimes",
        "",
        f"{cpu_name()}, {os.cpu_count()} CPUs, {platform.system()} {platform.machine()}, {day}. "
        + ", ".join(f"{name} {version}" for name, version in versions.items())
        + ".",
        "",
        "Median milliseconds of one inference, batch 1, f32, ± interquartile range of the round medians;",
        "`!` = output off by more than 1e-4 relative L2. How it is measured: [../README.md](../README.md).",
    ]
    for threads in sorted({row["threads"] for row in rows}):
        lines += ["", f"## {threads} thread{'s' if threads > 1 else ''}", ""]
        header = ["network", *names, f"edgec / {REFERENCE}"]
        lines += ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
        for row in (r for r in rows if r["threads"] == threads):
            cells = row["peers"]
            ratio = "-"
            if "edgec" in cells and REFERENCE in cells:
                ratio = f"{cells['edgec']['median_ms'] / cells[REFERENCE]['median_ms']:.2f}"
            lines.append("| " + " | ".join([row["model"], *(_cell(cells.get(n)) for n in names), ratio]) + " |")
    return "\n".join(lines) + "\n"


def plot(path: Path, rows: list[dict[str, Any]], names: list[str]) -> None:
    """Bars of latency relative to the reference, one panel per thread count."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    counts = sorted({row["threads"] for row in rows})
    figure, axes = pyplot.subplots(len(counts), 1, figsize=(9, 3.2 * len(counts)), squeeze=False)
    for axis, threads in zip(axes[:, 0], counts, strict=True):
        shown = [r for r in rows if r["threads"] == threads and REFERENCE in r["peers"]]
        for i, name in enumerate(names):
            heights = [
                r["peers"][name]["median_ms"] / r["peers"][REFERENCE]["median_ms"] if name in r["peers"] else 0.0
                for r in shown
            ]
            axis.bar([x + i * 0.8 / len(names) for x in range(len(shown))], heights, 0.8 / len(names), label=name)
        axis.set_xticks([x + 0.4 - 0.4 / len(names) for x in range(len(shown))], [r["model"] for r in shown])
        axis.set_ylabel(f"time / {REFERENCE}")
        axis.set_title(f"{threads} thread{'s' if threads > 1 else ''} (lower is better)")
        axis.axhline(1.0, color="grey", linewidth=0.8)
    axes[0, 0].legend()
    figure.tight_layout()
    figure.savefig(path)


def write_report(stem: Path, rows: list[dict[str, Any]], versions: dict[str, str]) -> None:
    """Writes `stem`.md, `stem`.json and, with matplotlib, `stem`.svg; prints the table."""
    day = datetime.date.today().isoformat()
    stem.parent.mkdir(parents=True, exist_ok=True)
    text = markdown(rows, versions, day)
    facts = {"cpu": cpu_name(), "cpus": os.cpu_count(), "date": day, "versions": versions, "rows": rows}
    stem.with_suffix(".json").write_text(json.dumps(facts, indent=1) + "\n")
    try:
        plot(stem.with_suffix(".svg"), rows, list(versions))
        text += f"\n![time relative to {REFERENCE}]({stem.name}.svg)\n"
    except ImportError:
        print("no plot: matplotlib is not installed (pip install matplotlib)")
    stem.with_suffix(".md").write_text(text)
    print(text)
