"""docs/security.md: no claim without a test that exists."""

from __future__ import annotations

import re
from pathlib import Path

REPOSITORY = Path(__file__).parents[2]
TEXT = (REPOSITORY / "docs" / "security.md").read_text()
CLAIMS = re.findall(r"^\| (\d+) \|.*$", TEXT, re.MULTILINE)


def test_every_claim_names_a_test_that_exists() -> None:
    assert [int(number) for number in CLAIMS] == list(range(1, len(CLAIMS) + 1))
    for row in re.findall(r"^\| \d+ \|.*$", TEXT, re.MULTILINE):
        named = re.findall(r"\]\(\.\./(tests/[\w/]+\.py)\)", row)
        assert named, row
        assert [name for name in named if not (REPOSITORY / name).exists()] == []


def test_every_link_leads_somewhere() -> None:
    for link in re.findall(r"\]\(([\w./-]+)\)", TEXT):
        assert (REPOSITORY / "docs" / link).exists(), link


def test_the_modules_that_the_decision_names_exist() -> None:
    record = (REPOSITORY / "docs/decisions/0012-root-among-strangers.md").read_text()
    for name in re.findall(r"`((?:system|model|cli)/\w+)`", record):
        assert (REPOSITORY / "holdfast" / f"{name}.py").exists(), name
