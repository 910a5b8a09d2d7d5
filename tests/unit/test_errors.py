"""The tree of errors, its drawing, its documentation and `holdfast explain` say the same."""

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

import holdfast.errors as errors
from holdfast.error_codes import by_code, leaves
from holdfast.errors import HoldfastError

DOCUMENT = Path(__file__).parents[2] / "docs" / "exit-status.md"


def drawn() -> list[tuple[int, str, str | None, int | None]]:
    """(depth, name, code, exit status) of every line of the tree in the module's docstring."""
    found = []
    for line in (errors.__doc__ or "").splitlines():
        branch = max(line.find("├── "), line.find("└── "))
        if branch < 0:
            continue
        words = line[branch + 4 :].split()
        status = re.search(r"exit (\d+)", line)
        codes = [word for word in words[1:] if word.isupper()]
        found.append(
            (
                (branch - 4) // 4,
                words[0],
                codes[0] if codes else None,
                int(status[1]) if status else None,
            )
        )
    return found


def classes() -> list[tuple[int, str]]:
    """(depth, name) of every class below HoldfastError, in the order of their definition."""

    def below(parent: type[HoldfastError], depth: int) -> list[tuple[int, str]]:
        listed = []
        for child in parent.__subclasses__():
            if child.__module__.startswith(f"{errors.__name__}."):
                listed += [(depth, child.__name__), *below(child, depth + 1)]
        return listed

    return below(HoldfastError, 0)


def test_the_drawn_tree_is_the_tree_of_classes() -> None:
    assert [(depth, name) for depth, name, _, _ in drawn()] == classes()


def test_every_error_is_imported_from_one_place() -> None:
    assert errors.__all__ == sorted(["HoldfastError", *(name for _, name in classes())])


@pytest.mark.parametrize(("depth", "name", "code", "status"), drawn())
def test_the_drawn_codes_and_exit_statuses_are_the_real_ones(
    depth: int, name: str, code: str | None, status: int | None
) -> None:
    kind = getattr(errors, name)
    assert kind.code == (code or "")
    if status is not None:
        assert kind.exit_status == status


def test_every_error_has_a_docstring_of_its_own() -> None:
    for _, name in classes():
        assert inspect.cleandoc(getattr(errors, name).__dict__["__doc__"] or "")


def test_codes_are_unique_and_found_in_any_case() -> None:
    codes = [leaf.code for leaf in leaves()]
    assert len(codes) == len(set(codes))
    for leaf in leaves():
        assert by_code(leaf.code.lower()) is leaf
    assert by_code("NONSENSE") is None


def test_the_document_lists_exactly_the_codes_with_their_exit_statuses() -> None:
    rows = re.findall(r"^\| `([A-Z]+)` \| (\d+) \| (\w+) \|", DOCUMENT.read_text(), re.MULTILINE)
    documented = [(code, int(status), name) for code, status, name in rows]
    assert documented == [(leaf.code, leaf.exit_status, leaf.__name__) for leaf in leaves()]
