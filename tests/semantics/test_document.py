"""docs/semantics.md and the tests name each other: no claim without a test, no test without one."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "docs" / "semantics.md").read_text()


def named() -> set[str]:
    return set(re.findall(r"\]\(\.\./(tests/[\w/]+(?:\.py)?)\)", TEXT))


def test_every_claim_names_a_test_that_exists() -> None:
    for row in re.findall(r"^\| \d+ \|.*$", TEXT, re.MULTILINE):
        assert "](../tests/" in row, row
    assert [name for name in named() if not (REPOSITORY / name).exists()] == []


def test_every_test_of_a_claim_is_named() -> None:
    here = {f"tests/semantics/{path.name}" for path in Path(__file__).parent.glob("test_*.py")}
    assert here - named() == {"tests/semantics/test_document.py"}
