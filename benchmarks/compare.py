"""Times edgec beside other runtimes, interleaved and pinned: `python -m benchmarks.compare --help`."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import statistics
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.peers import PEERS, peer
from benchmarks.report import write_report

HERE = Path(__file__).resolve().parent
ROOT = HERE.parent
MODELS = ("mobilenet_v2", "resnet18", "resnet50", "squeezenet", "vit_tiny")
OUTPUT_LIMIT = 1e-4  # relative L2 against torch; peers reorder f32 sums, and some use Winograd


def installed_peers(wanted: list[str] | None) -> dict[str, str]:
    """Name -> version of the peers to time; without a wish, those that are installed."""
    found = {}
    for name in wanted or PEERS:
        try:
            found[name] = peer(name).version()
        except ImportError as error:
            if wanted:
                sys.exit(f"peer '{name}' is not installed: {error}")
    return found


class Worker:
    """A started benchmarks.worker process, stopped whenever it is not its turn."""

    def __init__(self, name: str, file: Path, inputs: Path, threads: int, outputs: Path) -> None:
        command = [sys.executable, "-m", "benchmarks.worker", name, file, inputs, str(threads), outputs]
        self.log = outputs.with_suffix(".log")
        with self.log.open("w") as log:
            self.process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=log, text=True, cwd=ROOT
            )
        self.facts = self._answer()
        self.rounds: list[list[float]] = []
        with np.load(outputs) as archive:
            self.outputs = [archive[k] for k in archive.files]
        self._signal(signal.SIGSTOP)

    def _answer(self) -> dict[str, Any]:
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        if not line:
            raise RuntimeError(self.log.read_text()[-2000:] or f"ended with {self.process.wait()}")
        return dict(json.loads(line))

    def _signal(self, number: int) -> None:
        os.kill(self.process.pid, number)

    def turn(self, seconds: float) -> None:
        assert self.process.stdin is not None
        self._signal(signal.SIGCONT)
        self.process.stdin.write(f"{seconds}\n")
        self.process.stdin.flush()
        self.rounds.append(self._answer()["times_ms"])
        self._signal(signal.SIGSTOP)

    def close(self) -> None:
        self._signal(signal.SIGCONT)
        self.process.communicate()

    def summary(self) -> dict[str, float]:
        every = [t for times in self.rounds for t in times]
        low, _, high = statistics.quantiles([statistics.median(times) for times in self.rounds], n=4)
        return {
            "median_ms": statistics.median(every),
            "low_ms": low,
            "high_ms": high,
            "min_ms": min(every),
            "runs": len(every),
            **self.facts,
        }


def relative_l2(got: list[np.ndarray], expected: list[np.ndarray]) -> float:
    """The largest relative L2 difference over the outputs; infinite when their number or sizes differ."""
    if [g.size for g in got] != [e.size for e in expected]:
        return float("inf")
    pairs = zip(got, expected, strict=True)
    return max(float(np.linalg.norm(g.ravel() - e.ravel()) / np.linalg.norm(e.ravel())) for g, e in pairs)


def prepare_files(model: str, names: list[str], folder: Path) -> tuple[dict[str, Path], Path, list[np.ndarray]]:
    """Converts one network for every peer; a peer that cannot convert it is reported and left out."""
    import torch

    from tests.zoo import build

    folder.mkdir(parents=True, exist_ok=True)
    module, example = build(model)
    with torch.inference_mode():
        out = module(*example)
    expected = [y.numpy() for y in (out if isinstance(out, tuple) else (out,))]
    inputs = folder / "inputs.npz"
    np.savez(inputs, **{f"x{i}": x.numpy() for i, x in enumerate(example)})
    files = {}
    for name in names:
        try:
            files[name] = peer(name).prepare(module, example, folder / model)
        except Exception as error:
            print(f"  {name} cannot convert {model}: {type(error).__name__}: {str(error)[:300]}", file=sys.stderr)
    return files, inputs, expected


def time_row(model: str, threads: int, names: list[str], options: argparse.Namespace) -> dict[str, Any]:
    """Times every peer on one network; peer name -> numbers."""
    folder = options.work / model
    files, inputs, expected = prepare_files(model, names, folder)
    workers: dict[str, Worker] = {}
    try:
        for name, file in files.items():
            try:
                workers[name] = Worker(name, file, inputs, threads, folder / f"{name}.npz")
            except RuntimeError as error:
                print(f"  {name} cannot run {model}: {error}", file=sys.stderr)
        shuffled = list(workers.values())
        order = random.Random(0)
        for _ in range(options.rounds):
            order.shuffle(shuffled)
            for worker in shuffled:
                worker.turn(options.turn)
    finally:
        for worker in workers.values():
            worker.close()
    row = {}
    for name, worker in workers.items():
        error = relative_l2(worker.outputs, expected)
        row[name] = {**worker.summary(), "relative_l2": error, "correct": error <= OUTPUT_LIMIT}
        print(f"  {name:12s} {row[name]['median_ms']:9.3f} ms   relative L2 {error:.1e}")
    return row


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--models", default=",".join(MODELS), help="comma separated names of tests/zoo, or 'all'")
    parser.add_argument("--peers", help=f"comma separated, of {', '.join(PEERS)} (default: those installed)")
    parser.add_argument("--threads", default="1,2", help="comma separated thread counts")
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--turn", type=float, default=0.25, help="seconds of timed runs per peer and round")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "latency", help="path without suffix")
    parser.add_argument("--work", type=Path, default=ROOT / "build" / "benchmarks", help="where converted models go")
    options = parser.parse_args()

    from tests.zoo import ZOO

    models = list(ZOO) if options.models == "all" else options.models.split(",")
    unknown = [m for m in models if m not in ZOO]
    if unknown:
        sys.exit(f"unknown network {', '.join(unknown)}; known: {', '.join(ZOO)}")
    versions = installed_peers(options.peers.split(",") if options.peers else None)
    rows = []
    for threads in (int(t) for t in options.threads.split(",")):
        for model in models:
            print(f"{model}, {threads} thread{'s' if threads > 1 else ''}", flush=True)
            rows.append(
                {"model": model, "threads": threads, "peers": time_row(model, threads, list(versions), options)}
            )
    write_report(options.output, rows, versions)


if __name__ == "__main__":
    main()
