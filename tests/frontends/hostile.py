"""Converts files that mean harm in a child process with limits: 5 seconds of CPU each, and 1 GiB more than it starts with."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

SECONDS = 5
BYTES = 1 << 30

_CHILD = """
import json, resource, signal, sys, time
import edgec, edgec.converter.convert, edgec.converter.passes.pipeline, edgec.converter.writer, edgec.converter.check
from edgec.converter.frontends.caffe import importer as caffe_import
from edgec.converter.frontends.layers import files as layer_files
from edgec.converter.frontends.ncnn import importer as ncnn_import
caffe_import.caffe_registry.load_all(); ncnn_import.ncnn_registry.load_all()
pages = int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()
resource.setrlimit(resource.RLIMIT_AS, (pages + BYTES, pages + BYTES))
def late(*_):
    raise TimeoutError
signal.signal(signal.SIGPROF, late)
for line in sys.stdin:
    source, weights, shape = json.loads(line)
    begin = time.process_time()
    signal.setitimer(signal.ITIMER_PROF, SECONDS)
    try:
        edgec.convert(source, weights=weights, shapes=shape)
        kind, text = "", ""
    except edgec.Error as e:
        kind, text = "edgec", str(e)
    except BaseException as e:
        kind, text = type(e).__name__, str(e)
    signal.setitimer(signal.ITIMER_PROF, 0)
    print(json.dumps([kind, text[:2000], time.process_time() - begin]), flush=True)
""".replace("BYTES", str(BYTES)).replace("SECONDS", str(SECONDS))


@dataclass(frozen=True)
class Outcome:
    """`kind`: "" converted, "edgec" a clean error, else the name of an exception that should not be."""

    kind: str
    text: str
    seconds: float

    @property
    def clean(self) -> bool:
        return self.kind in ("", "edgec")


def convert_all(cases: Sequence[tuple[Path, Path | None, str | None]]) -> list[Outcome]:
    """(source, weights, shape) -> outcomes, in order; an assertion fails where the child dies."""
    lines = [json.dumps([str(source), None if w is None else str(w), shape]) for source, w, shape in cases]
    done = subprocess.run(
        [sys.executable, "-c", _CHILD], input="\n".join(lines), capture_output=True, text=True, timeout=600, check=False
    )
    results = [Outcome(*json.loads(line)) for line in done.stdout.splitlines()]
    assert len(results) == len(cases), f"died at case {len(results)} ({done.returncode}): {done.stderr[-2000:]}"
    return results


def damaged(data: bytes, count: int, seed: int) -> list[bytes]:
    """Copies with changed bytes, cut ends, and pieces taken out or repeated."""
    import random

    rng = random.Random(seed)
    copies = []
    for i in range(count):
        copy = bytearray(data)
        at = rng.randrange(len(copy))
        if i % 4 == 0:
            copy[at] ^= 1 << rng.randrange(8)
        elif i % 4 == 1:
            for _ in range(8):
                copy[rng.randrange(len(copy))] = rng.choice((0, 1, 0x7F, 0x80, 0xFF, rng.randrange(256)))
        elif i % 4 == 2:
            del copy[at : at + rng.choice((1, 4, 100, len(copy)))]
        else:
            piece = copy[at : at + rng.randrange(1, 64)]
            copy[at:at] = piece * rng.randrange(1, 4)
        copies.append(bytes(copy))
    return copies
