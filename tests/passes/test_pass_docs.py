"""docs/passes.md lists every rewrite, and nothing else."""

from __future__ import annotations

import re
from pathlib import Path

from edgec.converter.passes.engine import REWRITES
from edgec.converter.passes.pipeline import STAGES

TEXT = (Path(__file__).resolve().parents[2] / "docs" / "passes.md").read_text()


def test_table_of_rewrites_is_complete() -> None:
    rows = TEXT.split("## Rewrites")[1].split("###")[0]
    listed = set()
    for row in rows.splitlines():
        if row.startswith("| `"):
            listed |= set(re.findall(r"`([a-z0-9-]+)`", row.split("|")[1]))
    assert listed == set(REWRITES)


def test_stages_exist() -> None:
    known = {s for stages in STAGES for s in stages}
    assert {s for r in REWRITES.values() for s in r.stages} <= known
    assert all(f"| {s} |" in TEXT for s in known)
