"""What goes wrong with one handle is told of that handle, and costs nobody else anything."""

from __future__ import annotations

import os
import sys
from dataclasses import replace

import pytest

from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.rebind import Rebind
from holdfast.model.handle import HandleKind, HandleOutcome
from holdfast.mountpoints.capture import capture
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

WATCHER = """
import ctypes, os, sys
libc = ctypes.CDLL(None)
instance = libc.inotify_init1(os.O_NONBLOCK)
for path in sys.argv[1:]:
    libc.inotify_add_watch(instance, os.fsencode(path), 4)
print("ready", flush=True)
sys.stdin.readline()
"""


def moved_after_unlinking(bench: Bench, *names: str) -> dict[str, ReboundHandle]:
    """Everything is moved; these files go while everybody stands. What became of watches."""
    rebind = bench.rebind()
    rebind.stop()
    try:
        for name in names:  # by somebody who uses the volume by path only
            (bench.path / name).unlink()
        rebind.park()
        with bench.prepared("ext4") as image:
            pass
        with bench.exchanged(image) as bases:
            lines = rebind.rebind(bases)
    finally:
        rebind.release()
    watches = [line for line in lines if line.handle.kind is HandleKind.INOTIFY]
    return {line.handle.path.rpartition("/")[2]: line for line in watches}


def test_a_watch_that_ends_meanwhile(bench: Bench, start: Hold, hold: Hold) -> None:
    """The only one of its instance: others keep their locks."""
    other = hold("file", "cwd", "posix")
    (bench.path / "watched").write_text("x")
    start(sys.executable, "-c", WATCHER, bench.path / "watched")
    found = moved_after_unlinking(bench, "watched")
    assert found["watched"].outcome is HandleOutcome.FILE_MISSING
    other.verify()


def test_a_watch_whose_file_was_replaced(bench: Bench, start: Hold) -> None:
    """The file that has its name now was never watched: nobody says that it is."""
    for name in ("watched", "replaced"):
        (bench.path / name).write_text("x")
    start(sys.executable, "-c", WATCHER, bench.path / "watched", bench.path / "replaced")
    rebind = bench.rebind()
    rebind.stop()
    try:
        (bench.path / "new").write_text("y")
        (bench.path / "new").rename(bench.path / "replaced")
        rebind.park()
        lines = put_back(rebind, bench)
    finally:
        rebind.release()
    outcomes = {line.handle.path.rpartition("/")[2]: line.outcome for line in lines}
    assert outcomes == {"watched": HandleOutcome.IDENTICAL, "replaced": HandleOutcome.LOST}


def test_a_note_that_a_driver_does_not_understand(
    bench: Bench, start: Hold, hold: Hold, caplog: pytest.LogCaptureFixture
) -> None:
    """No check has found it: its handles are lost, with the mistake in outcome and log."""
    other = hold("file", "cwd", "posix")
    (bench.path / "watched").write_text("x")
    watcher = start(sys.executable, "-c", WATCHER, bench.path / "watched")
    rebind = bench.rebind()
    rebind.stop()
    try:
        rebind.park()
        process = rebind._processes[watcher.pid]
        process.notes = [
            HandleNote(replace(note.handle, number=None), note.details) for note in process.notes
        ]
        lines = put_back(rebind, bench)
    finally:
        rebind.release()
    other.verify()
    lost = [line for line in lines if line.outcome is not HandleOutcome.IDENTICAL]
    assert {line.handle.pid for line in lost} == {watcher.pid}
    assert all("a mistake in Holdfast itself: AssertionError" in line.note for line in lost)
    assert f"process {watcher.pid}" in caplog.text


def put_back(rebind: Rebind, bench: Bench) -> list[ReboundHandle]:
    """Everybody's handles lead to the same mount as before."""
    bases = {point.id: os.open(bench.path, os.O_PATH) for point in capture(str(bench.path))}
    try:
        return rebind.rebind(bases, same_data=True, same_inodes=True)
    finally:
        for descriptor in bases.values():
            os.close(descriptor)
