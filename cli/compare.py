"""`edgec compare`: do two models compute the same, and if not, where does it begin?"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgec.cli.common import SETTINGS, Ui, common_options, exit_with, shape_text, table
from edgec.cli.data import ImageOptions, concrete_shapes, image_options, make_feeds, parse_image_options
from edgec.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from edgec.comparison import Comparison


@click.command("compare", context_settings=SETTINGS, short_help="Compare two models on the same input.")
@click.argument("a", type=click.Path(dir_okay=False, path_type=Path))
@click.argument("b", type=click.Path(dir_okay=False, path_type=Path))
@click.option("-i", "--input", "--data", "inputs", multiple=True, metavar="[NAME=]FILE", help="As for `run`.")
@click.option("--shape", "shapes", multiple=True, help="Sizes of inputs: 1x3x224x224 or x:[1,3,224,224].")
@click.option("--mark", type=click.Choice(["outputs", "all"]), default="outputs", show_default=True)
@click.option("--atol", type=float, help="Absolute tolerance; default: 3e-5 of each tensor's largest magnitude.")
@click.option("--rtol", type=float, default=1e-3, show_default=True, help="Tolerance relative to B.")
@click.option("--fail-fast", is_flag=True, help="Print the first difference only.")
@click.option("--threads", type=click.IntRange(0), default=1, show_default=True)
@image_options
@common_options
def command(
    a: Path,
    b: Path,
    inputs: tuple[str, ...],
    shapes: tuple[str, ...],
    mark: str,
    atol: float | None,
    rtol: float,
    fail_fast: bool,
    threads: int,
    mean: str,
    std: str,
    size: str | None,
    layout: str,
    color: str,
    ui: Ui,
) -> None:
    """Run A and B (the reference) on the same input and compare their outputs.

    Each is a .edge file, an .onnx (onnxruntime), a .pt or .pt2 (torch), or an .npz with saved results.
    `--mark all` compares every tensor that both sides know by name and names the first that differs.
    Exit code 1 when something differs.

    \b
    Example:
      edgec compare net.edge net.onnx --mark all --atol 1e-4 --rtol 1e-3
    """
    from edgec.comparison import compare
    from edgec.runners import open_runner

    left, right = open_runner(a, threads), open_runner(b, threads)
    options = parse_image_options(mean, std, size, layout, color)
    data, sizes = _data(left, right, inputs, shapes, options, ui.seed)
    result = compare(
        left, right, data, mark_all=mark == "all", atol=atol, rtol=rtol, seed=ui.seed, shapes=sizes, threads=threads
    )
    ui.result({**result.to_dict(), "atol": atol, "rtol": rtol})
    _print(ui, result, fail_fast)
    exit_with(ExitCode.OK if result.ok else ExitCode.DIFFERS)


def _data(
    left: Any, right: Any, inputs: tuple[str, ...], shapes: tuple[str, ...], options: ImageOptions, seed: int
) -> tuple[dict[str, Any] | None, list[list[int]] | None]:
    side = left if left.inputs is not None else right
    if side.inputs is not None:
        sizes = concrete_shapes(side.inputs, shapes, side.default_shapes)
        return make_feeds(side.inputs, sizes, inputs, options, seed), None
    if inputs:
        raise UsageError("--input needs a side that says what its inputs are (.edge or .onnx)")
    if not shapes:
        return None, None
    from edgec.converter.frontends.shapes import parse_shape

    return None, [[d for d in parse_shape(s).dims if isinstance(d, int)] for s in shapes]


def _print(ui: Ui, result: Comparison, fail_fast: bool) -> None:
    if not ui.talks:
        return
    rows = table("tensor", "shape", ">max abs", ">rel L2", ">cosine", ">SQNR", ">wrong", "verdict")
    first = result.first_bad
    for r in [first] if fail_fast and first else result.rows:
        rows.add_row(
            r.name,
            shape_text(r.shape_a) if r.note != "shapes" else f"{shape_text(r.shape_a)} / {shape_text(r.shape_b)}",
            f"{r.max_abs:.2e}",
            f"{r.relative_l2:.2e}",
            f"{r.cosine:.6f}",
            f"{r.sqnr_db:.1f} dB",
            f"{r.wrong}" if r.wrong else "",
            "same" if r.ok else "DIFFERS",
        )
    ui.print(rows)
    ui.print(f"\na: {result.a}\nb: {result.b}")
    if result.only_a or result.only_b:
        ui.print(f"known to one side only: {result.only_a} in a, {result.only_b} in b")
    if first is None:
        ui.print(f"same within the tolerance ({len(result.rows)} tensor{'s' if len(result.rows) != 1 else ''})")
    else:
        ui.print(f"first that differs: {first.name}")
