"""Runs the command line inside this process; a few tests start it as a program."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

from edgec.cli.main import cli
from tests.api import networks


class Edgec:
    """`edgec("run", path, "--json")` -> click's Result, with the exit code asserted when one is given."""

    def __call__(self, *args: Any, code: int | None = 0) -> Result:
        result = CliRunner().invoke(cli, [str(a) for a in args], prog_name="edgec")
        assert code is None or result.exit_code == code, f"{result.exit_code}\n{result.stdout}\n{result.stderr}"
        return result

    def json(self, *args: Any, code: int | None = 0) -> dict[str, Any]:
        """The one document on stdout."""
        text = self(*args, "--json", code=code).stdout

        def refuse(constant: str) -> None:
            raise AssertionError(f"{constant} is not JSON")

        document = json.loads(text, parse_constant=refuse)
        assert isinstance(document, dict)
        return document


@pytest.fixture
def edgec_cli(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Edgec:
    """The command line, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return Edgec()


@pytest.fixture
def network(tmp_path: Path):
    """network("scaled", ...) writes a model of tests/api/networks.py and returns (path, Network)."""

    def write(kind: str, *args: Any, name: str = "", **options: Any):
        made = getattr(networks, kind)(*args, **options)
        path = tmp_path / f"{name or kind}.edge"
        path.write_bytes(made.data)
        return path, made

    return write
