"""The score of the ONNX backend suite: edgec beside onnxruntime, the same cases in the same call.

python -m benchmarks.scoreboard [--json FILE] [--failures] [--match TEXT] [--only edgec]
"""

from __future__ import annotations

import argparse
import json
import sys
import warnings
from collections import Counter
from pathlib import Path

import onnx

from tests.onnx_backend import suite


def reason(error: BaseException) -> str:
    """One line: class and the first line of the message."""
    lines = [line for line in str(error).splitlines() if line.strip()]
    return f"{type(error).__name__}: {lines[0].strip() if lines else ''}"[:200]


def score(cases: list[suite.Case], engine: suite.Engine) -> dict[str, str]:
    """Case name -> reason of its failure; cases that pass are not in it."""
    failures = {}
    for i, case in enumerate(cases):
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                suite.run_case(case, engine)
        except Exception as error:
            failures[case.name] = reason(error)
        if sys.stderr.isatty():
            print(f"\r{i + 1}/{len(cases)}", end="", file=sys.stderr)
    return failures


def main() -> None:
    """Runs the suite and prints the table."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", type=Path, help="write scores and failures to this file")
    parser.add_argument("--failures", action="store_true", help="print every failure of edgec")
    parser.add_argument("--match", default="", help="only cases whose name contains this text")
    parser.add_argument("--only", choices=["edgec", "onnxruntime"], help="run one engine only")
    arguments = parser.parse_args()

    groups = {"node": suite.node_cases(), "light": suite.light_cases()}
    groups = {g: [c for c in cases if arguments.match in c.name] for g, cases in groups.items()}
    engines = {"edgec": suite.edgec_engine, "onnxruntime": suite.onnxruntime_engine}
    if arguments.only:
        engines = {arguments.only: engines[arguments.only]}
    failures = {e: {g: score(cases, run) for g, cases in groups.items()} for e, run in engines.items()}

    print(f"onnx {onnx.__version__}, backend suite")
    for g, cases in groups.items():
        row = "  ".join(
            f"{e} {len(cases) - len(failures[e][g])}/{len(cases)}"
            f" ({100 * (1 - len(failures[e][g]) / max(1, len(cases))):.1f} %)"
            for e in engines
        )
        print(f"{g:6s}{row}")
    if arguments.failures and "edgec" in failures:
        merged = {**failures["edgec"]["node"], **failures["edgec"]["light"]}
        print()
        for text, count in Counter(merged.values()).most_common():
            print(f"{count:5d}  {text}")
        print()
        for name, text in sorted(merged.items()):
            print(f"{name}: {text}")
    if arguments.json:
        sizes = {g: len(cases) for g, cases in groups.items()}
        arguments.json.write_text(
            json.dumps({"onnx": onnx.__version__, "cases": sizes, "failures": failures}, indent=1)
        )


if __name__ == "__main__":
    main()
