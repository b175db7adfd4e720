"""One peer, one file, one process: `python -m benchmarks.worker PEER FILE INPUTS.npz THREADS OUTPUTS.npz`.

Pins itself, loads, runs once and writes the outputs; then every line "SECONDS" on stdin is a turn. Each answer is one
line of JSON on stdout: first {"load_ms", "first_ms", "peak_mb"}, then {"times_ms": [...]} per turn.
"""

from __future__ import annotations

import json
import os
import resource
import sys
import time
from pathlib import Path

import numpy as np


def main() -> None:
    peer_name, file, inputs_file, threads_text, outputs_file = sys.argv[1:]
    threads = int(threads_text)
    cpus = sorted(os.sched_getaffinity(0))
    os.sched_setaffinity(0, cpus[-threads:])  # the last ones: interrupts tend to land on the first
    os.environ["OMP_NUM_THREADS"] = threads_text
    answers = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)  # whatever a runtime prints must not look like an answer
    from benchmarks.peers import peer  # after pinning: runtimes size their pools at import

    adapter = peer(peer_name)
    with np.load(inputs_file) as archive:
        inputs = [archive[f"x{i}"] for i in range(len(archive.files))]

    start = time.perf_counter()
    run = adapter.load(Path(file), threads)
    loaded = time.perf_counter()
    outputs = run(inputs)
    first = time.perf_counter()
    np.savez(outputs_file, *outputs)
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    facts = {"load_ms": (loaded - start) * 1e3, "first_ms": (first - loaded) * 1e3, "peak_mb": memory}
    print(json.dumps(facts), file=answers, flush=True)

    for line in sys.stdin:
        end = time.perf_counter() + float(line)
        run(inputs)
        times = []
        while len(times) < 3 or time.perf_counter() < end:
            begin = time.perf_counter()
            run(inputs)
            times.append((time.perf_counter() - begin) * 1e3)
        print(json.dumps({"times_ms": times}), file=answers, flush=True)


if __name__ == "__main__":
    main()
