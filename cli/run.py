"""`edgec run`: one inference."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgec.cli.common import SETTINGS, Ui, common_options, refuse_overwrite, seconds_text, shape_text, table
from edgec.cli.data import concrete_shapes, image_options, make_feeds, parse_image_options

if TYPE_CHECKING:
    import numpy as np

# Nobody reads the ranking of a thousand rows; --save-outputs has them all.
MAX_ROWS = 8


@click.command("run", context_settings=SETTINGS, short_help="Run a model once.")
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
@click.option(
    "-i",
    "--input",
    "inputs",
    multiple=True,
    metavar="[NAME=]FILE",
    help="An .npy, .npz (NAME=FILE.npz:ARRAY), picture, 'random' or 'zeros'; inputs that are not given are random.",
)
@click.option("--shape", "shapes", multiple=True, help="Sizes of symbolic dimensions: 1x3x224x224 or x:[1,3,224,224].")
@click.option("--top", type=click.IntRange(0), default=0, help="Print the N largest values of the last dimension.")
@click.option("--labels", type=click.Path(exists=True, dir_okay=False, path_type=Path), help="One label per line.")
@click.option("-o", "--save-outputs", type=click.Path(dir_okay=False, path_type=Path), help="Write outputs to an .npz.")
@click.option("-f", "--force", is_flag=True, help="Overwrite the file of --save-outputs.")
@click.option("--threads", type=click.IntRange(0), default=1, show_default=True, help="0 = all usable CPUs.")
@click.option("--max-memory", default=None, help="Refuse to need more, e.g. 8MB.")
@image_options
@common_options
def command(
    model: Path,
    inputs: tuple[str, ...],
    shapes: tuple[str, ...],
    top: int,
    labels: Path | None,
    save_outputs: Path | None,
    force: bool,
    threads: int,
    max_memory: str | None,
    mean: str,
    std: str,
    size: str | None,
    layout: str,
    color: str,
    ui: Ui,
) -> None:
    """Run MODEL once and print its outputs.

    \b
    Example:
      edgec run net.edge --input cat.jpg --mean 0.485,0.456,0.406 --std 0.229,0.224,0.225 --top 5
    """
    import time

    from edgec.files import write_atomically
    from edgec.model import load
    from edgec.session import Session

    options = parse_image_options(mean, std, size, layout, color)
    if save_outputs is not None:
        refuse_overwrite(save_outputs, force)
    loaded = load(model)
    sizes = concrete_shapes(loaded.inputs, shapes, lambda: loaded.example_shapes)
    feeds = make_feeds(loaded.inputs, sizes, inputs, options, ui.seed)
    session = Session(loaded, threads=threads, max_memory=max_memory, shapes=[v.shape for v in feeds.values()])
    start = time.perf_counter()
    values = session.run(None, feeds)
    seconds = time.perf_counter() - start
    outputs = dict(zip((o.name for o in session.outputs), values, strict=True))

    names = labels.read_text(encoding="utf-8").splitlines() if labels else _stored_labels(loaded.metadata)
    document: dict[str, Any] = {"model": str(model), "seconds": seconds, "outputs": {}}
    for name, array in outputs.items():
        entry: dict[str, Any] = {"shape": list(array.shape), "dtype": str(array.dtype), **_statistics(array)}
        if top:
            entry["top"] = _top(array, top, names)
        document["outputs"][name] = entry
    if save_outputs is not None:
        import io

        import numpy as np

        buffer = io.BytesIO()
        np.savez(buffer, **outputs)  # type: ignore[arg-type]
        write_atomically(save_outputs, buffer.getvalue(), overwrite=force)
        document["saved"] = str(save_outputs)
    _print(ui, document, top)
    ui.result(document)


def _stored_labels(metadata: dict[str, str]) -> list[str]:
    return metadata.get("labels", "").splitlines()


def _statistics(array: np.ndarray[Any, Any]) -> dict[str, float | None]:
    if array.size == 0:
        return {"min": None, "max": None, "mean": None}
    return {"min": float(array.min()), "max": float(array.max()), "mean": float(array.astype("float64").mean())}


def _top(array: np.ndarray[Any, Any], count: int, labels: list[str]) -> list[list[dict[str, Any]]]:
    """For every row of the last dimension the `count` largest values, best first."""
    if array.ndim == 0 or array.size == 0:
        return []
    rows = array.reshape(-1, array.shape[-1])
    result = []
    for row in rows[:MAX_ROWS]:
        order = (-row.astype("float64")).argsort(kind="stable")[:count]
        result.append(
            [
                {"index": int(i), "value": float(row[i]), **({"label": labels[i]} if i < len(labels) else {})}
                for i in order
            ]
        )
    return result


def _print(ui: Ui, document: dict[str, Any], top: int) -> None:
    if not ui.talks:
        return
    rows = table("output", "shape", "type", ">min", ">max", ">mean")
    for name, o in document["outputs"].items():
        numbers = ["-" if o[k] is None else f"{o[k]:.6g}" for k in ("min", "max", "mean")]
        rows.add_row(name, shape_text(o["shape"]), o["dtype"], *numbers)
    ui.print(rows)
    if top:
        for name, o in document["outputs"].items():
            for i, ranking in enumerate(o["top"]):
                ui.print(f"\n{name}" + (f" row {i}" if len(o["top"]) > 1 else ""))
                for entry in ranking:
                    ui.print(f"  {entry['value']:12.6g}  {entry['index']:6d}  {entry.get('label', '')}".rstrip())
    saved = f"   wrote {document['saved']}" if "saved" in document else ""
    ui.print(f"\n{seconds_text(document['seconds'])}{saved}")
