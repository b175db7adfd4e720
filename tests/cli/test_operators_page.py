"""docs/operators.md says what the registry says."""

from __future__ import annotations

from pathlib import Path

from edgec.cli.operators_page import page

PAGE = Path(__file__).resolve().parents[2] / "docs" / "operators.md"


def test_the_page_is_not_stale() -> None:
    assert PAGE.read_text(encoding="utf-8") == page(), "run: edgec ops --markdown > docs/operators.md"
