"""Watches are found with their numbers, masks and paths; they alone make nobody busy."""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.applications.users import busy_processes
from holdfast.model.handle import HandleKind
from tests.kernel.users.programs import handles_of, mounts_at, point, program

__all__ = ["point"]


SOURCE = """
os.mkdir(point + '/d')
open(point + '/d/f', 'w').close()
i = libc.inotify_init1(0)
libc.inotify_add_watch(i, os.fsencode(point + '/d'), 0x100)
libc.inotify_add_watch(i, os.fsencode(point + '/d/f'), 0x2)
libc.inotify_add_watch(i, b'/tmp', 0x2)
"""


def test_watches(point: Path) -> None:
    handles = sorted(handles_of(SOURCE, point), key=lambda handle: handle.start)
    assert {handle.kind for handle in handles} == {HandleKind.INOTIFY}
    assert [(each.start, each.flags) for each in handles] == [(1, 0x100), (2, 0x2)]
    assert [each.inside for each in handles] == ["d", "d/f"]
    assert len({each.number for each in handles}) == 1


def test_a_watch_alone_keeps_nothing_busy(point: Path) -> None:
    with program(SOURCE, point) as watching, program("os.chdir(point)", point) as standing:
        busy = busy_processes(mounts_at(point))
    assert watching.pid not in busy
    assert standing.pid in busy
    assert os.getpid() not in busy
