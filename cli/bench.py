"""`edgec bench`: latency, load time, first run, memory; several files take turns."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from edgec.cli.common import SETTINGS, Ui, bytes_text, common_options, seconds_text, table
from edgec.cli.data import ImageOptions, concrete_shapes, make_feeds
from edgec.errors import UsageError


@click.command("bench", context_settings=SETTINGS, short_help="Measure latency, load time and memory.")
@click.argument("models", nargs=-1, required=True, type=click.Path(dir_okay=False, path_type=Path))
@click.option("--threads", default="1", show_default=True, help="Thread counts, e.g. 1,2,4 (0 = all usable CPUs).")
@click.option("--runs", type=click.IntRange(1), default=50, show_default=True, help="Timed runs of each.")
@click.option("--warmup", type=click.IntRange(0), default=5, show_default=True, help="Untimed runs before.")
@click.option("--min-time", type=click.FloatRange(0), default=0.0, help="Go on until each ran so many seconds.")
@click.option("-i", "--input", "inputs", multiple=True, metavar="[NAME=]FILE", help="As for `run`; default: random.")
@click.option("--shape", "shapes", multiple=True, help="Sizes of symbolic dimensions: 1x3x224x224 or x:[1,3,224,224].")
@click.option(
    "--compare-to",
    metavar="FILE|float",
    help="How much faster than FILE; float: than the file that the first model was quantized from.",
)
@common_options
def command(
    models: tuple[Path, ...],
    threads: str,
    runs: int,
    warmup: int,
    min_time: float,
    inputs: tuple[str, ...],
    shapes: tuple[str, ...],
    compare_to: str | None,
    ui: Ui,
) -> None:
    """Measure how fast MODELS run. Besides .edge also .onnx (onnxruntime) and .pt, .pt2 (torch); ncnn's .param and
    Caffe's .prototxt are converted first, with random weights where theirs are not beside them.

    All models and thread counts take turns, so that a machine that slows down slows all of them.

    \b
    Example:
      edgec bench net.edge net.onnx --threads 1,2 --runs 100
      edgec bench net-int8.edge --compare-to float
    """
    try:
        counts = [int(t) for t in threads.split(",")]
    except ValueError:
        raise UsageError(f"--threads: got '{threads}', expected numbers, e.g. 1,2,4") from None
    if any(c < 0 for c in counts):
        raise UsageError("--threads: a negative number")

    base = None if compare_to is None else _float_of(models[0]) if compare_to == "float" else Path(compare_to)
    sources = [(path, _openable(path, shapes, ui)) for path in (*models, *([base] if base is not None else []))]
    cases = [_Case(path, source, count, inputs, shapes, ui.seed) for path, source in sources for count in counts]
    with ui.bar("warm up", len(cases)) as bar:
        for case in cases:
            case.start(warmup)
            bar.advance()
    with ui.bar("bench", runs) as bar:
        done = 0
        while done < runs or (min_time and min(sum(c.seconds) for c in cases) < min_time):
            for case in cases:
                case.turn()
            done += 1
            bar.advance()
    results = [case.result() for case in cases]
    if base is not None:
        bases = results[-len(counts) :]
        for result, reference in zip(results, bases * (len(models) + 1)):
            result["speedup"] = reference["median"] / result["median"]
    ui.result({"results": results, "seed": ui.seed, "inputs": list(inputs) or "random"})
    _print(ui, results)


def _float_of(path: Path) -> Path:
    """The file that `path` was quantized from, which lies beside it."""
    import edgec

    name = edgec.load(path).metadata.get("quantized_from")
    if name is None:
        raise UsageError(
            f"--compare-to float: {path.name} does not say what it was quantized from", hint="--compare-to FILE"
        )
    found = path.with_name(Path(name).name)
    if not found.is_file():
        raise UsageError(
            f"--compare-to float: {path.name} was quantized from {name}, which is not in {path.parent}",
            hint="--compare-to FILE names another place",
        )
    return found


def _openable(path: Path, shapes: tuple[str, ...], ui: Ui) -> Any:
    """The path, or the model converted from it where only edgec runs the format."""
    from edgec.converter.frontends.layers import files as layer_files

    if not layer_files.is_definition(path):
        return path
    import edgec

    missing = layer_files.lacks_weights(path)
    model = edgec.convert(path, shapes=list(shapes) or None, check=False, random_weights=missing, seed=ui.seed)
    if missing:
        ui.note(f"{path.name}: its weights are random")
    return model


class _Case:
    """One model with one thread count; `source` is the path or a model."""

    def __init__(
        self, path: Path, source: Any, threads: int, inputs: tuple[str, ...], shapes: tuple[str, ...], seed: int
    ) -> None:
        self.path, self.source, self.threads = path, source, threads
        self._inputs, self._shapes, self._seed = inputs, shapes, seed
        self.seconds: list[float] = []
        self.load = self.first = 0.0
        self.resident: int | None = None
        self.planned: int | None = None
        self.arena: int | None = None
        self.isa = ""
        self._call: Callable[[], Any] = lambda: None

    def start(self, warmup: int) -> None:
        """Loads, runs once, warms up; measures memory meanwhile."""
        from edgec.runners import EdgeRunner, open_runner

        feeds = self._feeds()
        high_water = _reset_peak()
        before = time.perf_counter()
        runner = open_runner(self.source, self.threads)
        if isinstance(runner, EdgeRunner):
            runner.session.prepare([v.shape for v in feeds.values()])
        self.load = time.perf_counter() - before
        self._call = runner.prepare_call(feeds)
        before = time.perf_counter()
        self._call()
        self.first = time.perf_counter() - before
        for _ in range(warmup):
            self._call()
        peak = _peak()
        if high_water is not None and peak is not None:
            self.resident = max(0, peak - high_water)
        if isinstance(runner, EdgeRunner):
            stats = runner.session.stats
            self.arena = stats["arena_bytes"]
            self.planned = stats["arena_bytes"] + stats["packed_bytes"] + stats["mapped_weight_bytes"]
            self.threads, self.isa = runner.session.threads, runner.session.isa

    def _feeds(self) -> dict[str, Any]:
        from edgec.converter.frontends.shapes import parse_shape
        from edgec.model import TensorSpec
        from edgec.runners import open_runner

        runner = open_runner(self.source, 1)
        if runner.inputs is not None:
            sizes = concrete_shapes(runner.inputs, self._shapes, runner.default_shapes)
            return make_feeds(runner.inputs, sizes, self._inputs, ImageOptions(), self._seed)
        if not self._shapes:
            raise UsageError(f"{self.path.name} does not say what its inputs are", hint="give --shape 1x3x224x224")
        import numpy as np

        given = [parse_shape(s) for s in self._shapes]
        specs = [
            TensorSpec(
                g.name or f"input{i}", tuple(d if isinstance(d, int) else 1 for d in g.dims), np.dtype("float32")
            )
            for i, g in enumerate(given)
        ]
        return make_feeds(specs, [[int(d) for d in s.shape] for s in specs], self._inputs, ImageOptions(), self._seed)

    def turn(self) -> None:
        before = time.perf_counter()
        self._call()
        self.seconds.append(time.perf_counter() - before)

    def result(self) -> dict[str, Any]:
        ordered = sorted(self.seconds)
        return {
            "model": str(self.path),
            "threads": self.threads,
            "isa": self.isa,
            "runs": len(ordered),
            "min": ordered[0],
            "median": statistics.median(ordered),
            "p95": percentile(ordered, 0.95),
            "mean": statistics.fmean(ordered),
            "load": self.load,
            "first_run": self.first,
            "activation_bytes": self.arena,
            "planned_bytes": self.planned,
            "resident_bytes": self.resident,
        }


def percentile(ordered: list[float], fraction: float) -> float:
    """The smallest value that at least this fraction of the sorted values does not exceed."""
    import math

    return ordered[max(0, math.ceil(fraction * len(ordered)) - 1)]


def _status(key: str) -> int | None:
    try:
        for line in Path("/proc/self/status").read_text().splitlines():
            if line.startswith(key):
                return int(line.split()[1]) * 1024
    except (OSError, ValueError, IndexError):
        pass
    return None


def _reset_peak() -> int | None:
    """Resident bytes now, with the kernel's high-water mark set back to them; None where that does not exist."""
    try:
        Path("/proc/self/clear_refs").write_text("5")
    except OSError:
        return None
    return _status("VmRSS:")


def _peak() -> int | None:
    return _status("VmHWM:")


def _print(ui: Ui, results: list[dict[str, Any]]) -> None:
    if not ui.talks:
        return
    compared = ["speedup"] if "speedup" in results[0] else []
    columns = (">threads", ">min", ">median", ">p95", ">load", ">first run", ">activations", ">resident")
    rows = table("model", *columns, *(f">{c}" for c in compared))
    for r in results:
        rows.add_row(
            Path(r["model"]).name,
            str(r["threads"]),
            *(seconds_text(r[k]) for k in ("min", "median", "p95", "load", "first_run")),
            *("-" if r[k] is None else bytes_text(r[k]) for k in ("activation_bytes", "resident_bytes")),
            *(f"x{r[c]:.2f}" for c in compared),
        )
    ui.print(rows)
    fastest = min(results, key=lambda r: r["median"])
    if len(results) > 1:
        slowest = max(results, key=lambda r: r["median"])
        ui.print(
            f"\nfastest: {Path(fastest['model']).name} with {fastest['threads']} thread(s), "
            f"x{slowest['median'] / fastest['median']:.2f} of the slowest"
        )
    ui.detail(f"{results[0]['runs']} runs each, random input unless --input is given")
