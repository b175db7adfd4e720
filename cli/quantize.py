"""`edgec quantize`: a float model becomes an 8-bit one, and says what that cost."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from edgec.cli.common import SETTINGS, Ui, bytes_text, common_options, refuse_overwrite


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
@common_options
def command(
    source: Path,
    calib: str | None,
    output: Path | None,
    force: bool,
    preprocess: str | None,
    samples: int,
    method: str,
    keep_float: tuple[str, ...],
    ui: Ui,
) -> None:
    """Quantize SOURCE (a .edge file, or anything that convert takes) to 8 bits with your own data.

    \b
    Example:
      edgec quantize net.edge --calib photos/ --preprocess rgb,resize=256,crop=224 -o net-int8.edge
    """
    import edgec

    target = output or Path(f"{source.stem}-int8.edge")
    refuse_overwrite(target, force)
    options: dict[str, Any] = {"samples": samples, "method": method, "keep_float": keep_float, "preprocess": preprocess}
    with ui.bar("quantize") as bar:
        model = edgec.quantize(source, calib, progress=bar.stage, **options)
    model.save(target, overwrite=force)
    document = {"output": str(target), "bytes": target.stat().st_size, **model.report.get("quantization", {})}
    ui.result(document)
    ui.print(f"wrote  {target}   {bytes_text(document['bytes'])}")
