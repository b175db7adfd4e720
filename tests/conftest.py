"""Fixtures that every test may use: random numbers with a printed seed, the models beside the checkout, error norms."""

from __future__ import annotations

import os
import sys
import zlib
from pathlib import Path

# Workers of pytest-xdist share the cores: without this every one of them starts a pool as wide as the machine.
if "PYTEST_XDIST_WORKER" in os.environ:
    os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pytest

ROOT = Path(__file__).resolve().parent.parent
# `from tests.zoo import ...` in tests and in benchmarks, whatever directory pytest was started in.
sys.path.insert(0, str(ROOT))

SHARED = Path(os.environ.get("EDGEC_SHARED", ROOT.parent / "shared"))


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "slow: takes more than about ten seconds (deselect with -m 'not slow')")


@pytest.fixture
def seed(request: pytest.FixtureRequest) -> int:
    """The test's own seed: stable per test, other with EDGEC_TEST_SEED=n; printed, so a failure shows it."""
    value = int(os.environ.get("EDGEC_TEST_SEED", zlib.crc32(request.node.nodeid.encode())))
    print(f"seed {value} (EDGEC_TEST_SEED={value} repeats it)")
    return value


@pytest.fixture
def rng(seed: int) -> np.random.Generator:
    """A NumPy generator seeded with `seed`."""
    return np.random.default_rng(seed)


@pytest.fixture(scope="session")
def shared_models() -> Path:
    """Folder with real trained models (EDGEC_SHARED/models or ../shared/models); skips where it is absent."""
    folder = SHARED / "models"
    if not folder.is_dir():
        pytest.skip(f"no trained models: {folder} does not exist (set EDGEC_SHARED)")
    return folder


def relative_l2(got: np.ndarray, expected: np.ndarray) -> float:
    """||got - expected|| / ||expected|| in double precision; shapes must agree.

    Example: `assert relative_l2(session(x), reference) <= 1e-5`.
    """
    got, expected = np.asarray(got), np.asarray(expected)
    assert got.shape == expected.shape, f"shape {got.shape}, expected {expected.shape}"
    difference = np.linalg.norm((got.astype(np.float64) - expected.astype(np.float64)).ravel())
    norm = np.linalg.norm(expected.astype(np.float64).ravel())
    return float(difference / norm) if norm > 0 else float(difference)
