"""`edgec inspect`: what is in a file."""

from __future__ import annotations

from collections import Counter
from math import prod
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgec.cli.common import SETTINGS, Ui, bytes_text, common_options, count_text, shape_text, table
from edgec.cli.data import concrete_shapes

if TYPE_CHECKING:
    from edgec._core import ModelNode


@click.command("inspect", context_settings=SETTINGS, short_help="Show what a .edge file holds.")
@click.argument("model", type=click.Path(dir_okay=False, path_type=Path))
@click.option("--layers", is_flag=True, help="Every step with its shape, weights and multiply-adds.")
@click.option("--plan", is_flag=True, help="Every step with its kernel, as prepared for this CPU.")
@click.option("--verify", is_flag=True, help="Also check the checksum of the weights.")
@click.option("--shape", "shapes", multiple=True, help="Sizes of symbolic dimensions: 1x3x224x224 or x:[1,3,224,224].")
@click.option("--threads", type=click.IntRange(0), default=1, show_default=True, help="Plan for so many threads.")
@common_options
def command(model: Path, layers: bool, plan: bool, verify: bool, shapes: tuple[str, ...], threads: int, ui: Ui) -> None:
    """Show what MODEL holds: inputs, outputs, parameters, multiply-adds, exact peak memory, operators, fusions.

    \b
    Example:
      edgec inspect net.edge --layers
    """
    document = examine(model, shapes, threads, verify)
    ui.result(document)
    if ui.talks:
        _summary(ui, document)
        if layers or plan:
            _steps(ui, document, plan)


def examine(path: Path, shapes: tuple[str, ...] = (), threads: int = 1, verify: bool = False) -> dict[str, Any]:
    """Everything that `inspect` prints. Raises what opening and preparing the model raise."""
    from edgec.cost import PARAMETER_TYPES, integer_share, macs, parameters, step_macs
    from edgec.model import Model
    from edgec.session import Session

    model = Model.open(path, verify=verify)
    sizes = concrete_shapes(model.inputs, shapes, lambda: model.example_shapes)
    session = Session(model, threads=threads, shapes=sizes)
    steps = session.steps
    constants = model.native.constants()
    by_node = {n["name"]: n for n in model.native.nodes()}
    weights = {name: prod(shape) for name, dtype, shape, _ in constants if dtype in PARAMETER_TYPES}
    weight_types: Counter[str] = Counter()
    for _, dtype, shape, _ in constants:
        weight_types[dtype] += prod(shape)
    report = model.report
    return {
        "file": str(path),
        "file_bytes": path.stat().st_size,
        "format": ".".join(map(str, model.native.format_version)),
        "verified": verify,
        "inputs": [{"name": s.name, "shape": list(s.shape), "dtype": str(s.dtype)} for s in model.inputs],
        "outputs": [{"name": s.name, "shape": list(s.shape), "dtype": str(s.dtype)} for s in model.outputs],
        "symbols": {name: {"min": low, "max": high or None} for name, (low, high) in model.symbols.items()},
        "prepared_for": {s.name: list(s.shape) for s in session.prepared_inputs},
        "parameters": parameters(model),
        "weight_bytes": model.native.weight_bytes,
        "weight_types": dict(weight_types),
        "macs": macs(steps),
        "integer_share": integer_share(steps),
        "float_fallbacks": report.get("float_fallbacks", []),
        "memory": {**session.stats, "threads": session.threads, "isa": session.isa},
        "nodes": len(by_node),
        "steps": len(steps),
        "operators": dict(Counter(n["op"] for n in by_node.values()).most_common()),
        "fused": report.get("fused", {}),
        "metadata": {k: v for k, v in model.metadata.items() if k != "report"},
        "layers": [
            {
                "name": s["name"],
                "op": s["op"],
                "kernel": s["kernel"],
                "is_view": s["is_view"],
                "outputs": [{"dtype": d, "shape": list(shape)} for d, shape in s["outputs"]],
                "parameters": sum(weights.get(i, 0) for i in _inputs(by_node.get(s["name"]))),
                "macs": step_macs(s),
                "activation": _activation(by_node.get(s["name"])),
            }
            for s in steps
        ],
    }


def _inputs(node: ModelNode | None) -> list[str]:
    return [] if node is None else [i for i in node["inputs"] if i is not None]


def _activation(node: ModelNode | None) -> str:
    return "" if node is None else str(node["attrs"].get("activation", ""))


def _summary(ui: Ui, d: dict[str, Any]) -> None:
    memory = d["memory"]
    facts = table("", "")
    facts.add_row("file", f"{d['file']}   {bytes_text(d['file_bytes'])}   format {d['format']}" + _verified(d))
    for key in ("source", "source_framework", "producer"):
        if d["metadata"].get(key):
            facts.add_row(key, d["metadata"][key])
    for kind in ("inputs", "outputs"):
        for t in d[kind]:
            facts.add_row(kind[:-1], f"{t['name']}   {t['dtype']}   {shape_text(t['shape'])}")
    if d["symbols"]:
        sizes = "   ".join(f"{n} {s['min']}..{s['max'] or ''}" for n, s in d["symbols"].items())
        facts.add_row("dynamic", sizes)
        facts.add_row("shown for", "   ".join(f"{n} {shape_text(s)}" for n, s in d["prepared_for"].items()))
    types = "  ".join(f"{dtype} {count_text(n)}" for dtype, n in d["weight_types"].items())
    facts.add_row("parameters", f"{count_text(d['parameters'])}   ({d['parameters']:,})   {types}")
    share = f"   {100 * d['integer_share']:.1f} % of them on 8-bit integers" if d["integer_share"] else ""
    facts.add_row("MACs", f"{count_text(d['macs'])}   ({d['macs']:,}){share}")
    for f in d["float_fallbacks"]:
        facts.add_row("in floats", f"{f['op']} {f['name']}: {f['reason']}")
    facts.add_row("activations", f"{bytes_text(memory['arena_bytes'])} peak   ({memory['arena_bytes']:,} bytes, exact)")
    facts.add_row(
        "weights",
        f"{bytes_text(d['weight_bytes'])} in the file   "
        f"{bytes_text(memory['mapped_weight_bytes'])} used where mapped   "
        f"{bytes_text(memory['packed_bytes'])} packed   {bytes_text(memory['folded_bytes'])} folded",
    )
    facts.add_row("planned for", f"{memory['threads']} thread(s)   {memory['isa']}")
    facts.add_row("operators", f"{d['nodes']} nodes   " + "  ".join(f"{k} {v}" for k, v in d["operators"].items()))
    if d["fused"]:
        facts.add_row("fused", "  ".join(f"{k} {v}" for k, v in d["fused"].items()))
    ui.print(facts)


def _verified(d: dict[str, Any]) -> str:
    return "   weights verified" if d["verified"] else ""


def _steps(ui: Ui, d: dict[str, Any], plan: bool) -> None:
    rows = table(
        ">#", "operator", "output", "activation", ">parameters", ">MACs", ">%", *(["kernel"] if plan else []), "name"
    )
    for i, s in enumerate(d["layers"]):
        first = s["outputs"][0] if s["outputs"] else {"dtype": "", "shape": []}
        share = 100 * s["macs"] / d["macs"] if d["macs"] else 0
        rows.add_row(
            str(i),
            s["op"],
            f"{first['dtype']} {shape_text(first['shape'])}",
            "" if s["activation"] == "none" else s["activation"],
            f"{s['parameters']:,}" if s["parameters"] else "",
            f"{s['macs']:,}" if s["macs"] else "",
            f"{share:.1f}" if s["macs"] else "",
            *([("view" if s["is_view"] else s["kernel"])] if plan else []),
            s["name"],
        )
    ui.print()
    ui.print(rows)
