"""Deleted files are told from those whose name merely looks so; detached mounts are not missed."""

from __future__ import annotations

import subprocess
from pathlib import Path

from holdfast.model.handle import HandleKind
from tests.faults.mounting import unmount
from tests.kernel.users.programs import handles_of, only, point, program, users_at

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


def test_a_descriptor_on_a_mount_that_was_detached_lazily(point: Path, tmp_path: Path) -> None:
    again = tmp_path / "again"
    again.mkdir()
    subprocess.run(["mount", "--bind", point, again], check=True)
    with program("f = open(point + '/f', 'w'); g = os.memfd_create('x')", again) as process:
        unmount(again)
        handle = only(users_at(point)[process.pid].handles)
    assert handle.kind is HandleKind.OTHER
    assert "detached lazily" in handle.path
