"""`edgec ops`: the operators of this build."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from edgec.cli.common import SETTINGS, Ui, common_options, table
from edgec.errors import UsageError

if TYPE_CHECKING:
    from edgec._core import Port, Schema


@click.command("ops", context_settings=SETTINGS, short_help="List the operators of the runtime.")
@click.argument("operator", required=False)
@common_options
def command(operator: str | None, ui: Ui) -> None:
    """List the operators of the runtime, or describe one.

    \b
    Example:
      edgec ops Conv2d
    """
    from edgec import _core

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
