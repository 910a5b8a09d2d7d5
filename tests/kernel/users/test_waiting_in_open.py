"""Threads that wait in open(2) of a FIFO are users, and those that wait for another one are not."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.model.handle import HandleKind
from tests.kernel.users.programs import handles_of, only, point, program, users_at

__all__ = ["point"]

SOURCE = """
import threading, time
where, elsewhere = point + '/x', os.path.dirname(point) + '/x'
for path in (where, elsewhere):
    os.mkfifo(path)
if not os.path.lexists(point + '/link'):
    os.symlink(elsewhere, point + '/link')
{}
t = threading.Thread(target=lambda: {}, daemon=True)
t.start()
while True:
    call = open(f'/proc/self/task/{{t.native_id}}/wchan').read()
    if call in ('wait_for_partner', 'fifo_open'):
        break
    time.sleep(0.001)
"""


@pytest.mark.parametrize(
    ("before", "opening"),
    [
        ("", "os.open(where, os.O_RDONLY)"),
        ("", "os.open(where, os.O_WRONLY)"),
        ("f = os.open(point, os.O_PATH)", "os.open('./x', os.O_RDONLY, dir_fd=f)"),
    ],
)
def test_is_found(point: Path, before: str, opening: str) -> None:
    handles = [
        each
        for each in handles_of(SOURCE.format(before, opening), point)
        if each.kind is not HandleKind.PATH
    ]
    found = only(handles)
    assert (found.kind, found.path, found.inside) == (HandleKind.OPENING, f"{point}/x", "x")
    assert found.inode == (point / "x").stat().st_ino
    assert found.thread_id not in (None, found.pid)


@pytest.mark.parametrize("path", ["elsewhere", "point + '/link'", "point + '/../x'"])
def test_another_one_is_no_business_of_ours(point: Path, path: str) -> None:
    with program(SOURCE.format("", f"os.open({path}, os.O_RDONLY)"), point) as process:
        assert process.pid not in users_at(point)
