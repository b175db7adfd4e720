"""What holds for every verb: help, documentation, exit codes, --json, quiet, no overwriting."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from edgec.cli.main import VERBS, cli
from edgec.errors import ExitCode

DOCS = Path(__file__).resolve().parents[2] / "docs" / "cli.md"


def command(verb: str) -> click.Command:
    found = cli.get_command(click.Context(cli), verb)
    assert found is not None
    return found


def sections() -> dict[str, str]:
    parts = re.split(r"^## (.+)$", DOCS.read_text(encoding="utf-8"), flags=re.M)
    return dict(zip(parts[1::2], parts[2::2]))


@pytest.mark.parametrize("verb", VERBS)
def test_every_verb_and_option_is_documented(verb):
    documented = sections()
    assert verb in documented
    text = documented[verb] + documented["Rules of every verb"]
    for parameter in command(verb).params:
        for spelling in parameter.opts + parameter.secondary_opts:
            if spelling.startswith("-"):
                assert f"`{spelling}" in text, f"docs/cli.md, section {verb}: {spelling} is missing"


def test_the_documentation_names_no_verb_that_does_not_exist():
    general = {"Rules of every verb", "Exit codes", "Shapes", "Inputs"}
    assert set(sections()) - general == set(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_help_ends_with_an_example(edgec_cli, verb):
    text = edgec_cli(verb, "--help").stdout
    assert re.search(rf"Example:\n\s+edgec {verb}", text)
    assert edgec_cli(verb, "-h").stdout == text


def test_top_help_lists_every_verb(edgec_cli):
    text = edgec_cli("--help").stdout
    for verb in VERBS:
        assert re.search(rf"^  {verb} ", text, re.M)
    assert "Exit codes" in text


def test_exit_codes_are_documented():
    text = sections()["Exit codes"]
    codes = [v for k, v in vars(ExitCode).items() if k.isupper()]
    assert [int(n) for n in re.findall(r"^\| (\d+) \|", text, re.M)] == codes


def test_unknown_verbs_and_options(edgec_cli):
    assert "Did you mean 'inspect'?" in edgec_cli("inspekt", code=2).stderr
    assert "No such option" in edgec_cli("run", "--nope", code=2).stderr
    assert "Missing argument" in edgec_cli("run", code=2).stderr
    document = edgec_cli.json("run", code=2)
    assert document["exit_code"] == 2
    assert "Missing argument" in document["message"]


def test_underscores_are_accepted(edgec_cli, network):
    path, _ = network("scaled")
    edgec_cli("run", path, "--max_memory", "8MB", "--no_progress")


def test_missing_bad_and_foreign_files(edgec_cli, tmp_path):
    assert "missing.edge" in edgec_cli("run", "missing.edge", code=4).stderr
    (tmp_path / "bad.edge").write_bytes(b"bad")
    for verb in ("run", "inspect", "bench"):
        document = edgec_cli.json(verb, "bad.edge", code=4)
        assert document["error"] == "BadFileError"
        assert document["exit_code"] == 4


def test_too_little_memory(edgec_cli, network):
    path, _ = network("heavy", 32)
    document = edgec_cli.json("run", path, "--max-memory", "1KB", code=5)
    assert document["error"] == "OutOfMemoryError"


def test_missing_package(edgec_cli, network, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxruntime", None)
    path, _ = network("scaled")
    Path("net.onnx").write_bytes(b"")
    document = edgec_cli.json("compare", path, "net.onnx", code=6)
    assert document["pip"].startswith("pip install")


def test_a_defect_has_its_own_code(edgec_cli, network, monkeypatch):
    from edgec import model

    def broken(*_args, **_options):
        raise RuntimeError("boom")

    monkeypatch.setattr(model.Model, "open", broken)
    path, _ = network("scaled")
    result = edgec_cli("run", path, code=70)
    assert "boom" in result.stderr
    assert result.stdout == ""
    assert "boom" in edgec_cli.json("run", path, code=70)["message"]


@pytest.mark.parametrize("verb", ["run", "inspect", "bench"])
def test_quiet_prints_nothing(edgec_cli, network, verb):
    path, _ = network("scaled")
    result = edgec_cli(verb, path, "-q")
    assert result.stdout == result.stderr == ""


@pytest.mark.parametrize("verb", ["run", "inspect", "bench", "ops", "doctor"])
def test_json_is_all_there_is(edgec_cli, network, verb):
    path, _ = network("scaled")
    result = edgec_cli(verb, *([path] if verb in ("run", "inspect", "bench") else []), "--json")
    assert result.stdout.count("\n") == 1
    assert result.stderr == ""


def program(*args, **options):
    return subprocess.run(
        [sys.executable, "-m", "edgec.cli", *map(str, args)], capture_output=True, text=True, check=False, **options
    )


def test_as_a_program(network, tmp_path):
    path, _ = network("scaled")
    done = program("run", path, "--top", "2")
    assert done.returncode == 0, done.stderr
    assert "1x4" in done.stdout
    assert "\x1b" not in done.stdout + done.stderr
    assert program("run", tmp_path / "no.edge").returncode == 4
    assert program("nope").returncode == 2
    assert program("--version").stdout.startswith("edgec ")


def test_a_reader_that_leaves_early_is_no_error(network):
    path, _ = network("scaled")
    line = f"{sys.executable} -m edgec.cli inspect {path} --json | true; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(["bash", "-c", line], capture_output=True, text=True, check=False)
    assert done.returncode == 0
    assert "Traceback" not in done.stderr


def test_names_in_a_file_are_printed_as_they_are(edgec_cli, network, tmp_path):
    from edgec.converter.ir.graph import Graph
    from edgec.converter.writer import to_bytes

    graph = Graph("markup")
    x = graph.add_input("x", "f32", (1, 2))
    graph.set_outputs(graph.add("Relu", [x], outputs=["[bold]out[/bold]"], name=":smile:"))
    (tmp_path / "h.edge").write_bytes(to_bytes(graph))
    text = edgec_cli("inspect", "h.edge", "--plan").stdout
    assert "[bold]out[/bold]" in text
    assert ":smile:" in text


def test_text_from_a_file_cannot_control_the_terminal(edgec_cli, network):
    path, _ = network("scaled", labels="\x1b[2Jclear\n\x07bell\nx\ny", source="\x1b]0;title\x07")
    results = [edgec_cli("inspect", path), edgec_cli("run", path, "--top", "4")]
    results.append(edgec_cli("run", path, "--input", "\x1b[31m=zeros", code=2))
    for r in results:
        assert not {c for c in r.stdout + r.stderr if not c.isprintable() and c != "\n"}
    assert "\\x1b]0;title" in results[0].stdout
