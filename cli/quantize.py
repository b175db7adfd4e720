"""`edgec quantize`: a float model becomes an 8-bit one, and says what that cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgec.cli.common import SETTINGS, Ui, bytes_text, common_options, count_text, refuse_overwrite, table
from edgec.errors import UsageError

# Rows of the table; --json and --report have all of them.
ROWS = 10


@click.command("quantize", context_settings=SETTINGS, short_help="Make an 8-bit model from a float one.")
@click.argument("source", type=click.Path(path_type=Path))
@click.option("--calib", metavar="DATA", help="Folder of pictures or arrays, .npy, .npz, MODULE:FUNCTION (your code).")
@click.option("-o", "--output", type=click.Path(dir_okay=False, path_type=Path), help="Default: SOURCE-int8.edge.")
@click.option("-f", "--force", is_flag=True, help="Overwrite the output.")
@click.option("--preprocess", metavar="STEPS", help="Pictures: rgb,resize=256,crop=224,mean=0.485,0.456,0.406,std=...")
@click.option("--samples", type=click.IntRange(1), default=128, show_default=True, help="Use at most so many.")
@click.option(
    "--method",
    type=click.Choice(["auto", "minmax", "percentile", "kl", "mse"]),
    default="auto",
    show_default=True,
    help="How the range of a tensor is chosen; auto: by what harms the outputs least.",
)
@click.option("--keep-float", multiple=True, metavar="PATTERN", help="Layers that stay in floating point; repeatable.")
@click.option("--max-drop", type=float, help="Layers return to floating point until --metric drops by at most this.")
@click.option("--metric", default="sqnr", show_default=True, help="sqnr, cosine, agreement, top1, or MODULE:FUNCTION.")
@click.option("--eval", "evaluation", metavar="DATA", help="Data to measure on; default: the calibration data.")
@click.option(
    "--eval-labels", type=click.Path(dir_okay=False, path_type=Path), help="An .npy with a class per sample of --eval."
)
@click.option("--equalize/--no-equalize", default=True, show_default=True, help="Scale channels to similar ranges.")
@click.option("--bias-correction/--no-bias-correction", default=True, show_default=True)
@click.option("--adaround/--no-adaround", default=True, show_default=True, help="Learn which weights to round up.")
@click.option("--weights", type=click.Choice(["int8", "int4", "f16"]), help="Only store weights smaller; no --calib.")
@click.option("--group", type=click.IntRange(1), default=32, show_default=True, help="--weights: elements per scale.")
@click.option("--report", type=click.Path(dir_okay=False, path_type=Path), help="Write the report as an HTML page.")
@click.option("--shape", "shapes", multiple=True, help="As for convert, when SOURCE is not a .edge file.")
@click.option("--threads", type=click.IntRange(0), default=1, show_default=True, help="For running the model.")
@common_options
def command(
    source: Path,
    calib: str | None,
    output: Path | None,
    force: bool,
    evaluation: str | None,
    eval_labels: Path | None,
    report: Path | None,
    shapes: tuple[str, ...],
    ui: Ui,
    **options: Any,
) -> None:
    """Quantize SOURCE (a .edge file, or anything that convert takes) to 8 bits with your own data.

    Prints what the outputs lost, the worst layers with the cause, and what runs in floating point and why.

    \b
    Example:
      edgec quantize net.edge --calib photos/ --preprocess rgb,resize=256,crop=224 -o net-int8.edge
    """
    import edgec

    target = output or Path(f"{source.stem}-{options['weights'] or 'int8'}.edge")
    refuse_overwrite(target, force)
    if report is not None:
        refuse_overwrite(report, force)
    if eval_labels is not None:
        from edgec.cli.data import read_npy

        if evaluation is None:
            raise UsageError("--eval-labels belongs to --eval")
        options["evaluation"] = (evaluation, read_npy(eval_labels).reshape(-1))
    elif evaluation is not None:
        options["evaluation"] = evaluation
    if shapes:
        options["shapes"] = list(shapes)
    with ui.bar("quantize") as bar:
        model = edgec.quantize(source, calib, progress=bar.stage, **options)
    model.save(target, overwrite=force)
    result = model.report["quantization"]
    document = {"source": str(source), "output": str(target), "bytes": target.stat().st_size, **result}
    if report is not None and "layers" in result:
        from edgec.files import write_atomically
        from edgec.quantize.html import page

        write_atomically(report, page(result, f"{source.name} in 8 bits").encode(), force)
        document["report"] = str(report)
    ui.result(document)
    if ui.talks:
        _print(ui, document)


def _print(ui: Ui, d: dict[str, Any]) -> None:
    if "layers" in d:
        _layers(ui, d)
    else:
        rows = table("weights, worst first", ">SQNR")
        for t in d["tensors"][:ROWS]:
            rows.add_row(t["name"], f"{t['sqnr_db']:.1f} dB")
        ui.print(rows)
        ui.print()
    ui.print(f"wrote  {d['output']}   {bytes_text(d['bytes'])}")
    if "layers" in d:
        ui.print(f"next   edgec bench {d['source']} {d['output']}      edgec compare {d['output']} {d['source']}")


def _layers(ui: Ui, d: dict[str, Any]) -> None:
    rows = table("layer (worst first)", ">SQNR", "cause", "action")
    for row in d["layers"][:ROWS]:
        rows.add_row(row["name"], f"{row['sqnr_db']:.1f} dB", row.get("cause", ""), row["action"])
    ui.print(rows)
    rest = d["layers"][ROWS:]
    if rest:
        ui.print(f" {len(rest)} others are at {rest[0]['sqnr_db']:.1f} dB or better")
    for advice in dict.fromkeys(row["advice"] for row in d["layers"][:ROWS] if row.get("advice")):
        ui.print(f" left to you: {advice}")
    ui.print()
    if d["float"]:
        rows = table("in floating point", ">MACs", "reason")
        for f in sorted(d["float"], key=lambda f: -f["macs"])[:ROWS]:
            rows.add_row(f["name"], count_text(f["macs"]) if f["macs"] else "", f["reason"])
        ui.print(rows)
        if len(d["float"]) > ROWS:
            ui.print(f" and {len(d['float']) - ROWS} others")
        ui.print()
    for trial in d.get("search", []):
        ui.print(f" {trial['layer']}: {trial['score']:.4f} (drop {trial['drop']:.4f})")
    rows = table("output", ">SQNR", ">cosine", ">same decision", "on")
    for o in d["outputs"]:
        same = f"{o['agreement']:.1%}" if "agreement" in o else ""
        rows.add_row(o["name"], f"{o['sqnr_db']:.1f} dB", f"{o['cosine']:.5f}", same, d["evaluated_on"])
    ui.print(rows)
    ui.print()
    macs = d["macs"]
    ui.print(f"{macs['share']:.1%} of {count_text(macs['total'])} MACs in 8 bits   {d['samples']} samples")
