"""What all verbs share: the common options, where text goes, tables, numbers for people."""

from __future__ import annotations

import functools
import json
import math
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from edgec.errors import ExitCode, UsageError

if TYPE_CHECKING:
    from rich.table import Table

F = TypeVar("F", bound=Callable[..., Any])

# Hyphens are the habit, underscores are accepted.
SETTINGS = {"token_normalize_func": lambda token: token.replace("_", "-"), "help_option_names": ["-h", "--help"]}


@dataclass
class Ui:
    """Decides what is printed where: with --json, stdout carries one JSON document and nothing else."""

    json: bool = False
    quiet: bool = False
    verbose: int = 0
    progress: bool = True
    seed: int = 0

    @property
    def talks(self) -> bool:
        """True when results are to be printed as text."""
        return not self.json and not self.quiet

    def print(self, text: Any = "") -> None:
        """A line or a table of the result."""
        if self.talks:
            show(text)

    def note(self, text: str) -> None:
        """A remark beside the result, on stderr."""
        if not self.json and not self.quiet:
            click.echo(printable(text), err=True)

    def detail(self, text: str) -> None:
        """A remark that only -v shows, on stderr."""
        if self.verbose:
            click.echo(printable(text), err=True)

    def result(self, document: dict[str, Any]) -> None:
        """The machine-readable form of the whole result."""
        if self.json:
            click.echo(json.dumps(_plain(document), allow_nan=False))

    def bar(self, description: str, total: int | None = None) -> Any:
        """A progress bar on stderr (a context manager with advance(n) and update(done, total))."""
        return Bar(self, description, total)


def show(text: Any, stderr: bool = False) -> None:
    """Prints a line or a table. What a script or a file gets is neither folded nor padded: it has no width."""
    from rich.console import Console

    plain: dict[str, Any] = {"markup": False, "emoji": False, "highlight": False, "soft_wrap": True}
    if isinstance(text, str):
        click.echo(printable(text), err=stderr)
    elif (sys.stderr if stderr else sys.stdout).isatty():
        console = Console(stderr=stderr, **plain)
        # A number that is cut is worse than a line that the terminal wraps.
        console.width = max(console.width, 100)
        console.print(text)
    else:
        console = Console(width=1000, **plain)
        with console.capture() as captured:
            console.print(text)
        click.echo("\n".join(line.rstrip() for line in captured.get().splitlines()), err=stderr)


class Bar:
    """A rich progress bar, or nothing where nobody looks at it."""

    def __init__(self, ui: Ui, description: str, total: int | None) -> None:
        self._progress: Any = None
        self._task: Any = None
        if ui.progress and not ui.json and not ui.quiet and sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

            self._progress = Progress(
                TextColumn("{task.description:<10}"),
                BarColumn(),
                MofNCompleteColumn(),
                TimeElapsedColumn(),
                console=Console(stderr=True),
                transient=True,
            )
            self._task = self._progress.add_task(description, total=total)

    def __enter__(self) -> Bar:
        if self._progress:
            self._progress.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.stop()

    def advance(self, steps: int = 1) -> None:
        if self._progress:
            self._progress.advance(self._task, steps)

    def stage(self, description: str, done: int, total: int) -> None:
        """The signature of the converter's `progress` callback."""
        if self._progress:
            self._progress.update(self._task, description=description, completed=done, total=total)


def common_options(function: F) -> F:
    """Adds --json, -q, -v, --no-progress and --seed, and passes a Ui as `ui`."""

    @click.option("--json", "as_json", is_flag=True, help="Print one JSON document on stdout and nothing else.")
    @click.option("-q", "--quiet", is_flag=True, help="Print errors only.")
    @click.option("-v", "--verbose", count=True, help="Print more; -vv still more.")
    @click.option("--no-progress", is_flag=True, help="No progress bars (also off when stderr is no terminal).")
    @click.option("--seed", type=int, default=0, show_default=True, help="Seed of random inputs.")
    @functools.wraps(function)
    def wrapper(
        *args: Any, as_json: bool, quiet: bool, verbose: int, no_progress: bool, seed: int, **options: Any
    ) -> Any:
        ui = Ui(json=as_json, quiet=quiet, verbose=verbose, progress=not no_progress, seed=seed)
        return function(*args, ui=ui, **options)

    return wrapper  # type: ignore[return-value]


def table(*columns: str) -> Table:
    """An open table; a column whose name starts with '>' holds numbers and is right-aligned."""
    from rich.table import Table

    class PlainTable(Table):
        def add_row(self, *cells: Any, **options: Any) -> None:
            super().add_row(*(printable(str(c)) for c in cells), **options)

    result = PlainTable(box=None, pad_edge=True, header_style="bold")
    for name in columns:
        number = name.startswith(">")
        result.add_column(
            name.lstrip(">"), justify="right" if number else "left", overflow="fold", no_wrap=number, min_width=3
        )
    return result


def printable(text: str) -> str:
    """Names come from files of strangers: escape sequences must not reach the terminal."""
    return "".join(c if c == "\n" or c.isprintable() else f"\\x{ord(c):02x}" for c in text)


def refuse_overwrite(path: Path, force: bool) -> None:
    """Raises UsageError when the file exists and -f was not given, before any work is done."""
    if path.exists() and not force:
        raise UsageError(f"{path} exists", hint="choose another name with -o, or pass -f to overwrite it")


def exit_with(code: int) -> None:
    """Ends the verb with this code; the result is already printed."""
    if code != ExitCode.OK:
        click.get_current_context().exit(code)


def bytes_text(count: float) -> str:
    """21.9 MB: powers of 1,024, three digits."""
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if abs(count) < 1024 or unit == "TB":
            return (
                f"{count:.0f} {unit}"
                if unit == "B"
                else f"{count:.3g} {unit}"
                if count < 1000
                else f"{count:.0f} {unit}"
            )
        count /= 1024
    return ""


def count_text(count: float) -> str:
    """5.48 M: powers of 1,000, three digits."""
    for unit in ("", " k", " M", " G", " T"):
        if abs(count) < 1000 or unit == " T":
            return f"{count:.0f}" if not unit else f"{count:.3g}{unit}"
        count /= 1000
    return ""


def seconds_text(seconds: float) -> str:
    """1.23 ms with four significant digits."""
    for factor, unit in ((1.0, "s"), (1e3, "ms"), (1e6, "µs")):
        if seconds * factor >= 1 or unit == "µs":
            return f"{seconds * factor:.4g} {unit}"
    return ""


def shape_text(shape: Sequence[Any]) -> str:
    """1x3x224x224; a number alone for a scalar."""
    return "x".join(map(str, shape)) if len(shape) else "scalar"


def _plain(value: Any) -> Any:
    """What JSON can say: NaN and infinities become null."""
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if value is None or isinstance(value, (str, int)):
        return value
    if hasattr(value, "tolist"):
        return _plain(value.tolist())
    return _plain(value.to_dict()) if hasattr(value, "to_dict") else str(value)
