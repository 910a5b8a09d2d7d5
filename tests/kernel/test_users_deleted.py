"""A deleted file is told from one whose name merely looks so."""

from __future__ import annotations

from pathlib import Path

from tests.kernel.using import handles_of, only, point

__all__ = ["point"]


def test_a_deleted_file(point: Path) -> None:
    handle = only(handles_of("f = open(point + '/f', 'w'); os.unlink(point + '/f')", point))
    assert (handle.path, handle.inside, handle.deleted) == (f"{point}/f", "f", True)


def test_a_file_that_is_called_deleted(point: Path) -> None:
    handle = only(handles_of("f = open(point + '/f (deleted)', 'w')", point))
    assert (handle.inside, handle.deleted) == ("f (deleted)", False)


def test_a_deleted_file_that_was_called_deleted(point: Path) -> None:
    source = "n = point + '/f (deleted)'; f = open(n, 'w'); os.unlink(n)"
    handle = only(handles_of(source, point))
    assert (handle.inside, handle.deleted) == ("f (deleted)", True)


def test_a_name_that_is_gone_while_another_is_left(point: Path) -> None:
    source = "n = point + '/f'; f = open(n, 'w'); os.link(n, point + '/g'); os.unlink(n)"
    handle = only(handles_of(source, point))
    assert (handle.inside, handle.deleted) == ("f", True)
