"""`edgec convert`: a trained model becomes a `.edge` file."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgec.cli.common import (
    SETTINGS,
    Ui,
    bytes_text,
    common_options,
    count_text,
    refuse_overwrite,
    shape_text,
    show,
    table,
)
from edgec.errors import UnsupportedError, UsageError

if TYPE_CHECKING:
    from edgec.model import Model


@click.command("convert", context_settings=SETTINGS, short_help="Make a .edge file from a trained model.")
@click.argument("source", type=click.Path(path_type=Path))
@click.argument("second", required=False, type=click.Path(dir_okay=False, path_type=Path))
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: SOURCE with .edge.")
@click.option("-f", "--force", is_flag=True, help="Overwrite the output.")
@click.option("--shape", "shapes", multiple=True, help="1x3x224x224, x:[1,3,224,224], x:1x3x(224..640)x640, x:[n,4].")
@click.option(
    "--fix",
    "fixes",
    multiple=True,
    metavar="NAME=VALUE",
    help="Make an input a constant, e.g. sr=16000; may be repeated.",
)
@click.option(
    "--model", "factory", metavar="MODULE:FACTORY", help="Builds the network of a state_dict; imports your code."
)
@click.option(
    "--weights", type=click.Path(dir_okay=False, path_type=Path), help="The second file, where a format has two."
)
@click.option("--random-weights", is_flag=True, help="A Caffe or ncnn network without its weights, to measure speed.")
@click.option("--signature", metavar="NAME", help="SavedModel: the part to convert. Default: serving_default.")
@click.option("--inputs", metavar="NODE,...", help="TensorFlow graph: where the network begins.")
@click.option("--outputs", metavar="NODE,...", help="TensorFlow graph: where the network ends.")
@click.option(
    "--trust", is_flag=True, help="Let code inside a Keras file run (Lambda layers). Only for files you made."
)
@click.option("--check/--no-check", default=True, show_default=True, help="Compare with the source framework.")
@click.option(
    "--check-data", type=click.Path(dir_okay=False, path_type=Path), help="An .npz with the inputs to check with."
)
@click.option(
    "--disable-pass", "disabled", multiple=True, metavar="NAME", help="Switch a rewrite off; may be repeated."
)
@click.option(
    "--labels", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="Labels to store, one per line."
)
@click.option("--input-layout", type=click.Choice(["nchw", "nhwc"]), help="Of image inputs; default: as in the source.")
@click.option(
    "--output-layout", type=click.Choice(["nchw", "nhwc"]), help="Of image outputs; default: as in the source."
)
@click.option("--dry-run", is_flag=True, help="Do everything but write the file.")
@common_options
def command(
    source: Path,
    second: Path | None,
    output: Path | None,
    force: bool,
    shapes: tuple[str, ...],
    fixes: tuple[str, ...],
    factory: str | None,
    weights: Path | None,
    random_weights: bool,
    signature: str | None,
    inputs: str | None,
    outputs: str | None,
    trust: bool,
    check: bool,
    check_data: Path | None,
    disabled: tuple[str, ...],
    labels: Path | None,
    input_layout: str | None,
    output_layout: str | None,
    dry_run: bool,
    ui: Ui,
) -> None:
    """Convert SOURCE (.onnx, .pt, .jit, .pt2, a checkpoint with --model) into a .edge file and check it.

    Nothing is written when an operator is not supported (exit code 3) or when the result differs from the source
    framework's (exit code 1). No code of the model file is executed.

    Caffe and ncnn models are two files: SOURCE and SECOND, in any order; SECOND may be left out when it has the same
    name as SOURCE.

    \b
    Example:
      edgec convert net.onnx --shape 1x3x224x224 -o net.edge
      edgec convert net.prototxt net.caffemodel -o net.edge
    """
    import edgec

    target = output or Path(source.name).with_suffix(".edge") if source.name else output
    assert target is not None
    if not dry_run:
        refuse_overwrite(target, force)
    options: dict[str, Any] = {"check": check, "seed": ui.seed}
    if shapes:
        options["shapes"] = list(shapes)
    if fixes:
        options["fixed"] = dict(_fixed(text) for text in fixes)
    if second is not None and weights is not None:
        raise UsageError(f"{second} and --weights {weights} are both given", hint="one file with weights is enough")
    if second is not None or weights is not None:
        options["weights"] = second or weights
    if random_weights:
        options["random_weights"] = True
    if factory is not None:
        options["model"] = factory
    if disabled:
        options["disable"] = list(disabled)
    if signature is not None:
        options["signature"] = signature
    for name, nodes in (("inputs", inputs), ("outputs", outputs)):
        if nodes:
            options[name] = [n.strip() for n in nodes.split(",") if n.strip()]
    if trust:
        options["trust"] = True
    if check_data is not None:
        from edgec.cli.data import read_npz

        options["check_data"] = read_npz(check_data)
    if labels is not None:
        options["labels"] = labels.read_text(encoding="utf-8").splitlines()
    if input_layout is not None:
        options["input_layout"] = input_layout
    if output_layout is not None:
        options["output_layout"] = output_layout
    try:
        with ui.bar("convert") as bar:
            model = edgec.convert(source, progress=bar.stage, **options)
    except UnsupportedError as e:
        if not e.ops or ui.json:
            raise
        _unsupported(e)
        click.get_current_context().exit(e.exit_code)
    document = summarise(model, source)
    if not dry_run:
        model.save(target, overwrite=force)
        document["output"] = str(target)
        document["bytes"] = target.stat().st_size
    ui.result(document)
    if ui.talks:
        _print(ui, document, target)


def _fixed(text: str) -> tuple[str, Any]:
    """("sr", array(16000)) from "sr=16000"; lists with commas."""
    import numpy as np

    name, equals, value = text.partition("=")
    try:
        numbers = [float(v) if any(c in v for c in ".eE") else int(v) for v in value.split(",")]
    except ValueError:
        numbers = []
    if not name or not equals or not numbers:
        raise UsageError(f"--fix: got '{text}', expected NAME=NUMBER or NAME=NUMBER,NUMBER,...")
    dtype = np.float32 if any(isinstance(n, float) for n in numbers) else np.int64
    return name, np.array(numbers if "," in value else numbers[0], dtype)


def summarise(model: Model, source: Path) -> dict[str, Any]:
    """Report, sizes and costs of a fresh model."""
    from edgec.cost import integer_share, macs, parameters
    from edgec.session import Session

    session = Session(model)
    layouts = model.report.get("layouts", {})

    def tensors(kind: str, specs: Sequence[Any]) -> list[dict[str, Any]]:
        known = layouts.get(kind, {})
        return [
            {
                "name": s.name, "shape": list(s.shape), "dtype": str(s.dtype),
                **({"layout": known[s.name]} if s.name in known else {}),
            }
            for s in specs
        ]  # fmt: skip

    return {
        "source": str(source),
        "inputs": tensors("inputs", model.inputs),
        "outputs": tensors("outputs", model.outputs),
        "parameters": parameters(model),
        "macs": macs(session.steps),
        "integer_share": integer_share(session.steps),
        "activation_bytes": session.stats["arena_bytes"],
        "weight_bytes": model.native.weight_bytes,
        "report": model.report,
    }


def _unsupported(e: UnsupportedError) -> None:
    """The list goes to stderr: stdout belongs to results."""
    show(f"error: {e.message}", stderr=True)
    rows = table("operator", ">times", "where", "what to do")
    for o in e.ops:
        rows.add_row(o.op, str(o.count), o.where, o.advice)
    show(rows, stderr=True)
    show("nothing was written" + (f"; {e.hint}" if e.hint else ""), stderr=True)


def _print(ui: Ui, d: dict[str, Any], target: Path) -> None:
    report = d["report"]
    _operators(ui, report)
    checks = report.get("check") or []
    if checks:
        rows = table("output", "shape", ">max abs", ">rel L2", ">SQNR", "verdict")
        for c in checks:
            against = c.get("against", "the source")
            rows.add_row(
                str(c.get("output", "")),
                shape_text(c.get("shape", [])),
                f"{c['max_abs']:.2e}",
                f"{c['relative_l2']:.2e}",
                f"{c['sqnr_db']:.1f} dB" if c.get("sqnr_db") is not None else "exact",
                f"matches {against}" if c.get("ok", True) else f"DIFFERS from {against}",
            )
        ui.print(rows)
        ui.print()
    for warning in report.get("warnings", []):
        ui.note(f"warning: {warning}")
    for kind in ("inputs", "outputs"):
        shown = [
            f"{t['name']} {shape_text(t['shape'])} {t['dtype']}{' ' + t['layout'].upper() if 'layout' in t else ''}"
            for t in d[kind]
        ]
        ui.print(f"{kind:8}{', '.join(shown)}")
    if d["integer_share"]:
        ui.print(f"{100 * d['integer_share']:.1f} % of the MACs run on 8-bit integers")
        for f in report.get("float_fallbacks", []):
            ui.note(f"in floats: {f['op']} {f['name']}: {f['reason']}")
    size = f"   {bytes_text(d['bytes'])}" if "bytes" in d else ""
    verb = "wrote" if "output" in d else "would write"
    ui.print(
        f"{verb}  {target}{size}   params {count_text(d['parameters'])}   MACs {count_text(d['macs'])}   "
        f"peak activations {bytes_text(d['activation_bytes'])} (1 thread)"
    )
    if "output" in d:
        ui.print(f"next   edgec run {target}      edgec bench {target}")


def _operators(ui: Ui, report: dict[str, Any]) -> None:
    """Operators before and after on the left, fusions on the right."""
    counts = report.get("operators", {})
    before, after = counts.get("before", {}), counts.get("after", {})
    names = sorted({*before, *after}, key=lambda n: (-after.get(n, 0), -before.get(n, 0), n))
    fused = list(report.get("fused", {}).items())
    if not names and not fused:
        return
    rows = table("operator", ">imported", ">in the file", "fused and folded", ">count")
    for i in range(max(len(names), len(fused))):
        left = (
            ("", "", "") if i >= len(names) else (names[i], str(before.get(names[i], 0)), str(after.get(names[i], 0)))
        )
        right = ("", "") if i >= len(fused) else (fused[i][0], str(fused[i][1]))
        rows.add_row(*left, *right)
    ui.print(rows)
    ui.print()
