"""`edgec ops`: the operators of this build."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from edgec.cli.common import SETTINGS, Ui, common_options, table
from edgec.errors import UsageError

if TYPE_CHECKING:
    from edgec._core import Port, Schema
    from edgec.errors import UnsupportedOp


@click.command("ops", context_settings=SETTINGS, short_help="List the operators, or what a model needs of them.")
@click.argument("operator", required=False, metavar="[OPERATOR|MODEL]")
@click.option("--missing", is_flag=True, help="Only what edgec cannot convert of MODEL; exit code 3 if there is any.")
@click.option("--shape", "shapes", multiple=True, help="Input shapes of MODEL, as in convert.")
@click.option("--markdown", is_flag=True, help="The page docs/operators.md.")
@common_options
def command(operator: str | None, missing: bool, shapes: tuple[str, ...], markdown: bool, ui: Ui) -> None:
    """List the operators of the runtime, describe one, or say what of a MODEL can be converted.

    \b
    Example:
      edgec ops Conv2d
      edgec ops model.onnx --missing
    """
    from edgec import _core

    if markdown:
        from edgec.cli.operators_page import page

        click.echo(page(), nl=False)
        return
    if operator is not None and Path(operator).exists():
        _coverage(Path(operator), missing, list(shapes), ui)
        return
    if missing:
        raise UsageError("--missing wants the file of a model", hint="edgec ops model.onnx --missing")

    schemas = {s["name"]: s for s in _core.registry()}
    if operator is not None:
        found = {name.lower(): s for name, s in schemas.items()}.get(operator.lower())
        if found is None:
            import difflib

            near = difflib.get_close_matches(operator, schemas, 3)
            raise UsageError(
                f"there is no operator '{operator}'", hint=f"near: {', '.join(near)}" if near else "list: edgec ops"
            )
        ui.result(dict(found))
        if ui.talks:
            _describe(ui, found)
        return
    ui.result({"operators": list(schemas.values())})
    rows = table("operator", ">version", "inputs", "outputs", "attributes")
    for s in schemas.values():
        rows.add_row(
            s["name"],
            str(s["version"]),
            _ports(s["inputs"]),
            _ports(s["outputs"]),
            " ".join(a["name"] for a in s["attrs"]),
        )
    ui.print(rows)
    ui.print(f"\n{len(schemas)} operators")


def _coverage(source: Path, missing: bool, shapes: list[str], ui: Ui) -> None:
    """Imports the model without writing anything and lists what stands in the way."""
    import edgec
    from edgec.converter.frontends.layers import files as layer_files
    from edgec.errors import UnsupportedError

    gaps: tuple[UnsupportedOp, ...] = ()
    operators: dict[str, int] = {}
    try:
        options: dict[str, Any] = {"shapes": shapes} if shapes else {}
        if layer_files.lacks_weights(source):
            options["random_weights"] = True  # they change no operator
        model = edgec.convert(source, check=False, **options)
        for row in model.report.get("ops", []):
            operators[row["op"]] = row["edgec"]
    except UnsupportedError as e:
        if not e.ops:
            raise
        gaps = e.ops
    document = {"source": str(source), "convertible": not gaps, "missing": [asdict(o) for o in gaps]}
    ui.result(document if missing else {**document, "operators": operators})
    if ui.talks:
        if gaps:
            rows = table("operator", ">times", "where", "what to do")
            for o in gaps:
                rows.add_row(o.op, str(o.count), o.where, o.advice)
            ui.print(rows)
        else:
            ui.print(f"{source}: every operator can be converted")
            if not missing:
                rows = table("operator", ">times")
                for name, count in operators.items():
                    rows.add_row(name, str(count))
                ui.print(rows)
    if gaps:
        click.get_current_context().exit(UnsupportedError.exit_code)


def _ports(ports: list[Port]) -> str:
    return " ".join(f"{p['name']}{'...' if p['variadic'] else '?' if p['optional'] else ''}" for p in ports)


def _describe(ui: Ui, schema: Schema) -> None:
    ui.print(f"{schema['name']} (version {schema['version']})\n{schema['doc']}\n")
    for kind, ports in (("inputs", schema["inputs"]), ("outputs", schema["outputs"])):
        rows = table(kind, "", "")
        for p in ports:
            rows.add_row(p["name"], "variadic" if p["variadic"] else "optional" if p["optional"] else "", p["doc"])
        ui.print(rows)
    if schema["attrs"]:
        rows = table("attribute", "type", "default", "choices", "")
        for a in schema["attrs"]:
            default = "required" if a["required"] else str(a["default"])
            rows.add_row(a["name"], a["type"], default, "|".join(a["choices"]), a["doc"])
        ui.print(rows)
