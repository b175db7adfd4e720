"""What importing edgec costs, and what it offers."""

from __future__ import annotations

import subprocess
import sys

import pytest

import edgec

HEAVY = ("numpy", "onnx", "torch", "rich", "onnxruntime", "PIL", "edgec._core", "edgec.converter")


def modules_after(code: str) -> set[str]:
    text = subprocess.run(
        [sys.executable, "-c", f"{code}\nimport sys; print(' '.join(sys.modules))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout
    return set(text.split("\n")[-2].split())


@pytest.mark.parametrize(
    "code",
    [
        "import edgec",
        "import edgec.cli.main",
        "from edgec.cli.main import cli\ntry: cli(['--help'])\nexcept SystemExit: pass",
        "from edgec.cli.main import cli\ntry: cli(['convert', '--help'])\nexcept SystemExit: pass",
    ],
)
def test_nothing_heavy_is_imported_at_start(code):
    assert not modules_after(code) & set(HEAVY)


def test_running_a_model_imports_neither_converter_nor_frameworks():
    loaded = modules_after("import edgec; edgec.Session; edgec.Model; edgec.load")
    assert "edgec._core" in loaded
    assert not loaded & {"torch", "onnx", "onnxruntime", "edgec.converter"}


def test_public_names_exist():
    for name in edgec.__all__:
        assert getattr(edgec, name) is not None
        assert name in dir(edgec)
    with pytest.raises(AttributeError, match="no attribute 'nope'"):
        edgec.nope


def test_quantize_is_a_function_and_a_package():
    with pytest.raises(edgec.InvalidArgumentError, match="cannot convert"):
        edgec.quantize(None)
    import edgec.quantize as package

    with pytest.raises(edgec.InvalidArgumentError, match="cannot convert"):
        package.quantize(None)


def test_versions_agree():
    from edgec import _core

    assert edgec.__version__ == _core.__version__
