"""`edgec`: finds the verb, runs it, turns errors into one clear text and an exit code."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

import click

from edgec import __version__
from edgec.errors import Error, ExitCode

# Verb -> module. Modules import nothing heavy at their top, so that `edgec --help` stays fast.
VERBS = {
    "convert": "edgec.cli.convert",
    "quantize": "edgec.cli.quantize",
    "run": "edgec.cli.run",
    "inspect": "edgec.cli.inspect",
    "bench": "edgec.cli.bench",
    "compare": "edgec.cli.compare",
    "ops": "edgec.cli.ops",
    "doctor": "edgec.cli.doctor",
}


class Cli(click.Group):
    """Loads a verb's module when it is asked for, and owns the exit codes."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        if cmd_name not in VERBS:
            return None
        command = importlib.import_module(VERBS[cmd_name]).command
        assert isinstance(command, click.Command)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as e:
            import difflib

            near = difflib.get_close_matches(args[0], VERBS, 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            raise click.UsageError(e.format_message() + hint, e.ctx) from None

    def main(  # type: ignore[override]
        self,
        args: Sequence[str] | None = None,
        prog_name: str | None = None,
        complete_var: str | None = None,
        standalone_mode: bool = True,
        **extra: Any,
    ) -> Any:
        arguments = list(sys.argv[1:] if args is None else args)
        try:
            code = super().main(arguments, prog_name, complete_var, standalone_mode=False, **extra) or ExitCode.OK
        except click.UsageError as e:
            code = _usage_error(e, arguments)
        except click.ClickException as e:
            code = _fail(arguments, {"error": type(e).__name__, "message": e.format_message()}, ExitCode.USAGE)
        except (click.Abort, KeyboardInterrupt):
            code = _fail(arguments, {"error": "Interrupted", "message": "interrupted"}, ExitCode.INTERRUPTED)
        except Error as e:
            code = _fail(arguments, e.to_dict(), e.exit_code, str(e))
        except MemoryError:
            code = _fail(arguments, {"error": "MemoryError", "message": "out of memory"}, ExitCode.RESOURCES)
        except SystemExit:  # click's way to say that the reader has left: `edgec inspect net.edge | head`
            code = ExitCode.OK
        except Exception as e:  # a defect; 1 would mean "the results differ"
            if not _wants_json(arguments):
                import traceback

                traceback.print_exc()
            details = {"error": type(e).__name__, "message": f"a defect of edgec, please report it: {e!r}"}
            code = _fail(arguments, details, ExitCode.INTERNAL)
        if standalone_mode:
            sys.exit(code)
        return code


def _wants_json(arguments: list[str]) -> bool:
    return "--json" in arguments


def _usage_error(e: click.UsageError, arguments: list[str]) -> int:
    if _wants_json(arguments):
        return _fail(arguments, {"error": "UsageError", "message": e.format_message()}, ExitCode.USAGE)
    e.show()
    return ExitCode.USAGE


def _fail(arguments: list[str], details: dict[str, Any], code: int, text: str = "") -> int:
    if _wants_json(arguments):
        click.echo(json.dumps({**details, "exit_code": code}, default=str))
    else:
        from edgec.cli.common import printable

        click.echo(printable(f"error: {text or details['message']}"), err=True)
    return code


@click.group(
    cls=Cli,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110},
    epilog="Exit codes: 0 ok, 1 result differs, 2 usage, 3 unsupported model (nothing written), 4 bad or unsafe file, "
    "5 resources, 6 missing optional package.",
)
@click.version_option(__version__, "-V", "--version", prog_name="edgec", message="%(prog)s %(version)s")
def cli() -> None:
    """Trained models on edge devices: convert once, run anywhere.

    \b
    edgec convert net.onnx                 makes net.edge and checks it
    edgec run net.edge --input cat.jpg --top 5
    edgec bench net.edge --threads 1,2
    """


def main() -> NoReturn:
    """Entry point of the `edgec` script."""
    cli(prog_name="edgec")
    raise AssertionError("click always exits")
