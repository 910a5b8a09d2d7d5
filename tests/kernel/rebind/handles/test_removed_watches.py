"""Watches of what was removed and is still open: `tail -f` of a log that somebody has deleted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.applications.rebind.scan import judge
from holdfast.model.handle import HandleKind, HandleOutcome, HandleVerdict
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold
from tests.waiting import wait_until

WATCHES = """
import ctypes, os, struct, sys
libc = ctypes.CDLL(None)
folder, kind = sys.argv[1:3]
path = os.path.join(folder, kind)
if kind == "directory":
    os.mkdir(path)
    held = [os.open(path, os.O_RDONLY | os.O_DIRECTORY)]
else:
    held = [os.open(path, os.O_RDWR | os.O_CREAT)]
watches = libc.inotify_init1(os.O_NONBLOCK)
first = libc.inotify_add_watch(watches, folder.encode(), 0x100)
number = libc.inotify_add_watch(watches, path.encode(), 0xfff)
if kind == "directory":
    os.rmdir(path)
else:
    os.unlink(path)
def masks():
    found = []
    try:
        data = os.read(watches, 65536)
        while data:
            watch, mask, _, length = struct.unpack_from("iIII", data)
            data = data[16 + length:]
            found.append(hex(mask) if watch == number else "other")
    except BlockingIOError:
        pass
    return found
masks()
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "change":
        os.fchmod(held[0], 0o711)
    elif line.strip() == "write":
        os.write(held[0], b"x")
    elif line.strip() == "close":
        os.close(held[0])
    print(*masks(), flush=True)
"""


MODIFY, ATTRIB, DELETE_SELF, IGNORED, OF_DIRECTORY = 0x2, 0x4, 0x400, 0x8000, 0x40000000
"""inotify(7)"""


@pytest.mark.parametrize("kind", ["file", "directory"])
def test_tells_what_happens_to_it(bench: Bench, start: Hold, kind: str) -> None:
    program = start(sys.executable, "-c", WATCHES, bench.path, kind)
    (verdict,) = [
        each.verdict
        for each in judge(bench.users())
        if each.handle.kind is HandleKind.INOTIFY and each.handle.deleted
    ]
    assert verdict is HandleVerdict.RECREATED
    for filesystem in ("xfs", "btrfs", "ext4"):
        lines = bench.move(filesystem)
        assert not [line for line in lines if line.outcome is not HandleOutcome.IDENTICAL]
        assert program.ask("look") == ""
        assert program.ask("change") == hex(ATTRIB | (OF_DIRECTORY if kind == "directory" else 0))
    if kind == "file":
        assert program.ask("write") == hex(MODIFY)
    said = program.ask("close").split()
    assert said[-2:] == [hex(DELETE_SELF), hex(IGNORED)]
    assert bench.move("xfs")


def wait_until_shown(file: Path, end: str) -> None:
    wait_until(lambda: file.read_text().endswith(end), f"{end!r} is not shown")


def test_tail_of_a_deleted_log(bench: Bench, start: Hold, ram_directory: Path) -> None:
    log, shown = bench.path / "log", ram_directory / "shown"
    code = 'exec 5>>"$0"; echo ready; while read x; do echo $x >&5; echo ok; done'
    writer = start("sh", "-c", code, log)
    with shown.open("wb") as output, subprocess.Popen(["tail", "-f", log], stdout=output) as tail:
        try:
            assert writer.ask("first") == "ok"
            wait_until_shown(shown, "first\n")
            log.unlink()
            for number, filesystem in enumerate(("xfs", "ext4")):
                lines = bench.move(filesystem)
                assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}
                assert writer.ask(f"after {number}") == "ok"
                wait_until_shown(shown, f"after {number}\n")
        finally:
            tail.kill()
    assert shown.read_text() == "first\nafter 0\nafter 1\n"
