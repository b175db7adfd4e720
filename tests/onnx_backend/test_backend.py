"""Every test of the onnx package's backend suite, expected failures included: none is filtered out."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.onnx_backend.suite import Case, edgec_engine, light_cases, node_cases, run_case

EXPECTED_FAILURES = dict(
    line.split(": ", 1)
    for line in Path(__file__).with_name("expected_failures.txt").read_text().splitlines()
    if line and not line.startswith("#")
)
CASES = node_cases() + light_cases()


@pytest.mark.parametrize("case", CASES, ids=lambda c: c.name)
def test_backend(case: Case, request: pytest.FixtureRequest) -> None:
    if case.name in EXPECTED_FAILURES:
        # Strict: a case that passes must leave the list, or the list would hide it when it breaks again.
        request.node.add_marker(pytest.mark.xfail(reason=EXPECTED_FAILURES[case.name], strict=True))
    run_case(case, edgec_engine)


def test_the_list_names_only_tests_that_exist() -> None:
    assert set(EXPECTED_FAILURES) <= {c.name for c in CASES}
