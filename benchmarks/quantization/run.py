"""Accuracy of 8-bit models on the data and splits of tests/models/quantized_cases.py; prints the cells of a table.

    python -m benchmarks.quantization.run nncf [case ...] --models ../shared/models

Results are kept in benchmarks/results/quantization.json; a peer that refuses a network leaves its reason there.
"""

from __future__ import annotations

import argparse
import functools
import importlib
import itertools
import json
import time
from pathlib import Path
from types import SimpleNamespace
from unittest import mock

from benchmarks.quantization.networks import SOURCES
from tests.models import quantized_cases as cases

RESULTS = Path(__file__).parents[1] / "results" / "quantization.json"
PEERS = ("edgec", "nncf", "tensorflow", "onnxruntime")


def cell(figures: dict[str, float]) -> str:
    """A cell of the table in docs/quantization.md."""
    if "found" in figures:
        return f"{figures['found']:.0f} ({figures['new']:.0f})"
    if "loss" in figures:
        return f"{figures['int8']:.2f} dB (float {figures['float']:.2f})"
    if "int8" in figures:
        return f"{figures['int8']:.2f} % ({figures['agreement']:.1f} %, float {figures['float']:.2f} %)"
    return f"{figures.get('same', figures.get('agreement', 0)):.1f} %"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("peer", choices=PEERS)
    parser.add_argument("cases", nargs="*", default=list(SOURCES))
    parser.add_argument("--models", type=Path, default=Path("../shared/models"))
    parser.add_argument("--work", type=Path, default=Path("build/quantization"), help="what networks.py wrote")
    arguments = parser.parse_args()
    if not (arguments.models.is_dir() and arguments.work.is_dir()):
        parser.error("the models are not there, or benchmarks.quantization.networks has not run yet")
    peer = importlib.import_module(f"benchmarks.quantization.{arguments.peer}_peer")
    for case, (label, options) in itertools.product(arguments.cases, peer.OPTIONS.items()):
        start = time.monotonic()
        try:
            network = peer.load(case, arguments.models, arguments.work)
            quantize = functools.partial(peer.quantize, **options)
            # A peer's network is its own session, so the cases run it as they run edgec's session.
            with mock.patch.object(cases, "edgec", SimpleNamespace(Session=lambda model: model)):
                figures = getattr(cases, case.removesuffix("_saved"))(arguments.models, network, quantize)
            entry = {k: round(float(v), 3) for k, v in figures.items()}
            text = cell(figures)
        except Exception as e:  # what a peer refuses is a result, whatever it raises
            text = f"{type(e).__name__}: {e}"[:400]
            entry = {"refused": text}
        stored = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
        stored.setdefault(peer.version(), {}).setdefault(case, {})[label] = entry
        RESULTS.write_text(json.dumps(stored, indent=1, sort_keys=True) + "\n")
        print(f"| {case} | {label} | {text} | {time.monotonic() - start:.0f} s", flush=True)


if __name__ == "__main__":
    main()
