"""TensorFlow starts slowly: what the tests need of it is made in child processes, once per test run."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[3]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Without TensorFlow every test of this folder that needs it is skipped by name."""
    if importlib.util.find_spec("tensorflow") is not None:
        return
    for item in items:
        if item.get_closest_marker("tensorflow") is not None:
            item.add_marker(pytest.mark.skip(reason="tensorflow is not installed (pip install edgec[tensorflow])"))


@pytest.fixture(scope="session")
def made_once(tmp_path_factory: pytest.TempPathFactory) -> Callable[..., Path]:
    """made_once("name", module, arguments...): the folder that `python -m module folder arguments` filled.

    The workers of pytest-xdist share it: the first one runs the script, the others wait.
    """
    base = tmp_path_factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base

    def make(name: str, module: str, *arguments: str) -> Path:
        folder, done = shared / f"tensorflow-{name}", shared / f"tensorflow-{name}.done"
        try:
            folder.mkdir()
        except FileExistsError:
            end = time.monotonic() + 900
            while not done.exists() and time.monotonic() < end:
                time.sleep(0.2)
            return folder
        environment = dict(os.environ, TF_CPP_MIN_LOG_LEVEL="3", CUDA_VISIBLE_DEVICES="-1", OMP_NUM_THREADS="1")
        environment["PYTHONPATH"] = os.pathsep.join([str(ROOT), *(p for p in sys.path if p)])
        environment["KERAS_BACKEND"] = "tensorflow"
        command = [sys.executable, "-m", module, str(folder), *arguments]
        try:
            ran = subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False)
            (folder / "log").write_text(ran.stdout + ran.stderr, encoding="utf-8")
        finally:
            done.touch()
        return folder

    return make
