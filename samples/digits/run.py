"""From a trained checkpoint to a small file that runs: converts digits.pt, checks accuracy, times it beside PyTorch.

Run: python samples/digits/run.py        (writes build/digits.edge; exit code 1 when a check fails)
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from net import DigitsNet, load_split

import edgec

HERE = Path(__file__).resolve().parent
OUTPUT = HERE.parent.parent / "build" / "digits.edge"


def edgec_command(*arguments: str | Path) -> None:
    """Runs the command line tool of this environment and shows what was typed."""
    tool = Path(sys.executable).with_name("edgec")
    print("\n$ edgec", *(str(a) for a in arguments), flush=True)
    subprocess.run([tool, *arguments], check=True, cwd=HERE)


def interleaved_medians(runs: dict[str, Callable[[], object]], rounds: int = 40, calls: int = 50) -> dict[str, float]:
    """Median seconds per call; the candidates take turns, so that a slow moment of the machine hits all of them."""
    times: dict[str, list[float]] = {name: [] for name in runs}
    for _ in range(rounds):
        for name, call in runs.items():
            call()  # warm the caches again after the other candidate
            start = time.perf_counter()
            for _ in range(calls):
                call()
            times[name].append((time.perf_counter() - start) / calls)
    return {name: statistics.median(t) for name, t in times.items()}


def main() -> int:
    torch.set_num_threads(1)
    OUTPUT.parent.mkdir(exist_ok=True)

    print("1. The command line: a checkpoint that holds only weights, plus the class that they belong to")
    checkpoint = HERE / "digits.pt"
    edgec_command("convert", checkpoint, "--model", "net:DigitsNet", "--shape", "1x1x8x8", "-o", OUTPUT, "-f")
    edgec_command("inspect", OUTPUT)

    print("\n2. Python: the same from the module itself, and running it")
    module = DigitsNet().eval()
    module.load_state_dict(torch.load(checkpoint, weights_only=True))
    *_, images, labels = load_split()
    model = edgec.convert(module, (torch.from_numpy(images[:1]),))
    sessions = {"python": edgec.Session(model, threads=1), "file": edgec.Session(OUTPUT, threads=1)}
    print("inputs ", [(i.name, i.shape, i.dtype) for i in model.inputs])
    print("outputs", [(o.name, o.shape, o.dtype) for o in model.outputs])

    with torch.no_grad():
        expected = module(torch.from_numpy(images)).numpy()
    results = {name: np.concatenate([session(x[None]) for x in images]) for name, session in sessions.items()}
    accuracy = float((expected.argmax(1) == labels).mean())
    failures = []
    print(f"\n3. Accuracy on {len(labels)} test images\n   torch          {accuracy:.2%}")
    for name, got in results.items():
        error = float(np.linalg.norm(got - expected) / np.linalg.norm(expected))
        print(f"   edgec ({name:6s}) {(got.argmax(1) == labels).mean():.2%}   relative L2 error {error:.1e}")
        if error > 1e-5 or (got.argmax(1) != expected.argmax(1)).any():
            failures.append(name)

    array, tensor = images[:1], torch.from_numpy(images[:1])
    with torch.inference_mode():
        seconds = interleaved_medians({"torch": lambda: module(tensor), "edgec": lambda: sessions["file"](array)})
    print("\n4. Latency of one image, one thread, median of interleaved rounds")
    for name, value in seconds.items():
        print(f"   {name}  {value * 1e6:8.1f} us")
    print(
        f"   edgec is {seconds['torch'] / seconds['edgec']:.1f}x faster; {OUTPUT.stat().st_size / 1024:.0f} KB on disk"
    )

    if failures:
        print(f"FAILED: edgec ({', '.join(failures)}) differs from torch", file=sys.stderr)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
