"""What becomes of handles when other contents take the place of the old ones."""

from __future__ import annotations

import os
import select
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.applications.rebind.opening import waiting_for_locks
from holdfast.model.handle import HandleKind, HandleOutcome
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold

READER = """
import os, sys
folder = sys.argv[1]
names = sys.argv[2:]
files = {}
for name in names:
    path = os.path.join(folder, name)
    with open(path, "w") as file:
        file.write("old contents of " + name)
    files[name] = os.open(path, os.O_RDWR)
    os.lseek(files[name], 4, 0)
print("ready", flush=True)
for line in sys.stdin:
    try:
        print(os.read(files[line.strip()], 100).decode() or "end", flush=True)
    except OSError as error:
        print(error.strerror, flush=True)
"""

LOCKER = """
import fcntl, struct, sys
path, kind = sys.argv[1:]
file = open(path, "r+b")
whole = struct.pack("hhqqi4x", fcntl.F_WRLCK, 0, 0, 0, 0)
if kind == "flock":
    fcntl.flock(file, fcntl.LOCK_EX)
else:
    fcntl.fcntl(file, {"posix": fcntl.F_SETLK, "ofd": 37}[kind], whole)
print("ready", flush=True)
sys.stdin.read()
"""
LOCKS = ("ofd", "flock", "posix")
"""In the order in which they are taken again."""


def test_each_handle_has_its_own(bench: Bench, start: Hold) -> None:
    names = ("same", "older", "shorter", "missing", "replaced")
    program = start(sys.executable, "-c", READER, bench.path, *names)

    def change(folder: Path) -> None:
        (folder / "older").write_text("new contents of older")
        (folder / "shorter").write_text("ab")
        (folder / "missing").unlink()
        (folder / "replaced").unlink()
        (folder / "replaced").mkdir()

    lines = {Path(line.handle.path).name: line for line in bench.move("xfs", change)}
    assert {name: lines[name].outcome for name in names} == {
        "same": HandleOutcome.IDENTICAL,
        "older": HandleOutcome.ROLLED_BACK,
        "shorter": HandleOutcome.ROLLED_BACK,
        "missing": HandleOutcome.FILE_MISSING,
        "replaced": HandleOutcome.FILE_MISSING,
    }
    assert program.ask("same") == "contents of same"
    assert program.ask("older") == "contents of older"
    assert program.ask("shorter") == "end"
    assert program.ask("missing") == os.strerror(107)  # ENOTCONN
    assert program.ask("replaced") == os.strerror(107)


def test_links_are_not_followed(bench: Bench, start: Hold, tmp_path: Path) -> None:
    """Whoever fills the new file system cannot make us open something else for a process."""
    outside = tmp_path / "secret"
    outside.write_text("secret")
    start(sys.executable, "-c", READER, bench.path, "file")

    def change(folder: Path) -> None:
        (folder / "file").unlink()
        (folder / "file").symlink_to(outside)

    (line,) = bench.move("ext4", change)
    assert line.outcome is HandleOutcome.FILE_MISSING


def test_a_fifo_in_its_place_does_not_make_us_wait(bench: Bench, start: Hold) -> None:
    start(sys.executable, "-c", READER, bench.path, "file")

    def change(folder: Path) -> None:
        (folder / "file").unlink()
        os.mkfifo(folder / "file")

    (line,) = bench.move("ext4", change)
    assert line.outcome is HandleOutcome.FILE_MISSING


def test_a_program_does_not_change_under_its_process(bench: Bench, hold: Hold) -> None:
    program = hold("program", "file")

    def change(folder: Path) -> None:
        (folder / "bin/holder").write_bytes(b"another version")
        (folder / "bin/libc.so.6").unlink()

    lines = bench.move("xfs", change)
    by_kind = {
        (line.handle.kind, Path(line.handle.path).name): line.outcome
        for line in lines
        if line.outcome is not HandleOutcome.IDENTICAL
    }
    assert by_kind == {
        (HandleKind.MAP, "holder"): HandleOutcome.ROLLED_BACK,
        (HandleKind.MAP, "libc.so.6"): HandleOutcome.ROLLED_BACK,
    }
    program.verify()
    bench.move("ext4")
    program.verify()


def rebound_to_what_others_have_locked(bench: Bench, start: Hold) -> Iterator[Any]:
    """The programs that have the locks, in this order; then what became of each file."""
    rebind = bench.rebind()
    rebind.stop()
    try:
        rebind.park()
        with bench.prepared("ext4") as image:
            pass
        with bench.exchanged(image) as bases:
            yield [start(sys.executable, "-c", LOCKER, bench.path / each, each) for each in LOCKS]
            lines = rebind.rebind(bases)
    finally:
        rebind.release()
    yield {Path(line.handle.path).name: line.outcome for line in lines}


def test_a_lock_that_somebody_else_has_is_lost(
    bench: Bench, hold: Hold, start: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    hold(*LOCKS, "file")
    monkeypatch.setattr(waiting_for_locks, "_SHARE", 0.01)
    _, found = rebound_to_what_others_have_locked(bench, start)
    assert {found[each] for each in LOCKS} == {HandleOutcome.LOST}
    assert found["file"] is HandleOutcome.IDENTICAL


def test_who_has_a_lock_for_a_moment_is_waited_for(
    bench: Bench, hold: Hold, start: Hold, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each kind has somebody who lets go of it when he is waited for."""
    program = hold(*LOCKS, "file")
    having: list[Program] = []

    def wait(_: float) -> None:  # of OFD locks in a child of ours, which has a list of its own
        locker = having.pop(0).pid
        os.kill(locker, signal.SIGKILL)
        end = os.pidfd_open(locker)
        select.select([end], [], [])
        os.close(end)

    monkeypatch.setattr(waiting_for_locks, "sleep", wait)
    story = rebound_to_what_others_have_locked(bench, start)
    having += next(story)
    found = next(story)
    assert not having
    assert {found[each] for each in (*LOCKS, "file")} == {HandleOutcome.IDENTICAL}
    program.verify()
