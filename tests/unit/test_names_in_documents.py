"""ARCHITECTURE.md and CONTRIBUTING.md name files and folders that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PRODUCT = ROOT / "holdfast"
ROOMS = {
    path.relative_to(PRODUCT).with_suffix("").as_posix()
    for pattern in ("*.py", "*.c", "*/")
    for path in PRODUCT.rglob(pattern)
}
"""Modules and rooms of the product, without endings."""

OTHER_WORDS = {"fdatasync", "thaw"}
"""What is in code type in ARCHITECTURE.md and is a system call or a command alone."""


def quoted(document: str) -> set[str]:
    """What stands in code type, outside of blocks of code."""
    text = re.sub(r"^```.*?^```", "", (ROOT / document).read_text(), flags=re.DOTALL | re.MULTILINE)
    return set(re.findall(r"`([^`\n]+)`", text))


def is_there(name: str) -> bool:
    """Whether that is a file or folder of the repository, or what a path in the product ends with.

    What comes from the first NAME on is whatever a reader will make.
    """
    name = re.sub(r"(/|[^/]*_)?NAME.*", "", name).rstrip("/")
    if (ROOT / name).exists():
        return True
    ending = re.sub(r"\.(py|c)$", "", name)
    return any(room == ending or room.endswith(f"/{ending}") for room in ROOMS)


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_paths(document: str) -> None:
    paths = [each for each in quoted(document) if re.fullmatch(r"[a-z_][\w.-]*/[\w./*-]*", each)]
    assert len(paths) > 20
    assert not [each for each in paths if not is_there(each)]


def test_modules_that_are_named_by_their_last_name() -> None:
    names = {each for each in quoted("ARCHITECTURE.md") if re.fullmatch("[a-z_]+", each)}
    assert len(names) > 20
    assert not [each for each in names - OTHER_WORDS if not is_there(each)]


@pytest.mark.parametrize("document", ["ARCHITECTURE.md", "CONTRIBUTING.md"])
def test_links(document: str) -> None:
    links = re.findall(r"\]\(([^)#]+)\)", (ROOT / document).read_text())
    assert links
    assert not [each for each in links if not (ROOT / each).exists()]
