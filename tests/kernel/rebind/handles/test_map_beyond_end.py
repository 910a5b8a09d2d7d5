"""Private maps that reach beyond the end of their file: what can be touched stays as it is."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holdfast.model.handle import HandleOutcome
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

PROGRAM = """
import ctypes, mmap, os, sys
folder, before, after = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
file = os.open(folder + "/file", os.O_RDWR | os.O_CREAT)
os.write(file, b"f" * before)
address = libc.mmap(None, ctypes.c_size_t(4 * 4096), 3, 2, file, ctypes.c_long(0))
for page in range((before + 4095) // 4096):
    ctypes.memset(address + page * 4096 + 10, 65 + page, 3)
os.ftruncate(file, after)
for page in range((after + 4095) // 4096):
    ctypes.memset(address + page * 4096 + 20, 97 + page, 3)
print("ready", flush=True)
for line in sys.stdin:
    pages = range((after + 4095) // 4096)
    parts = [ctypes.string_at(address + page * 4096 + 10, 13) for page in pages]
    print(b" ".join(parts).replace(bytes(1), b"."), flush=True)
"""


@pytest.mark.parametrize(
    ("before", "after"), [(100, 100), (12000, 100), (100, 12000), (12000, 0), (4096, 4096), (0, 0)]
)
def test_it_stays_what_it_is(bench: Bench, start: Hold, before: int, after: int) -> None:
    program = start(sys.executable, "-c", PROGRAM, bench.path, str(before), str(after))
    said = program.ask()
    for filesystem in ("xfs", "ext4"):
        lines = bench.move(filesystem)
        assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}, lines
        assert program.ask() == said


def test_other_contents_are_shorter(bench: Bench, start: Hold) -> None:
    """Pages of its own that the file has no room for any more are lost, and that is said."""
    program = start(sys.executable, "-c", PROGRAM, bench.path, "12000", "12000")

    def shorten(folder: Path) -> None:
        with (folder / "file").open("r+b") as file:
            file.truncate(5000)

    lines = {str(line.handle.kind): line for line in bench.move("ext4", shorten)}
    assert lines["file"].outcome is HandleOutcome.ROLLED_BACK
    assert lines["map"].outcome is HandleOutcome.LOST
    assert "own pages" in lines["map"].note
    assert program.process.poll() is None


GUARDED = """
import ctypes, os, sys
libc = ctypes.CDLL(None, use_errno=True)
libc.mmap.restype = ctypes.c_void_p
file = os.open(sys.argv[1] + "/file", os.O_RDWR | os.O_CREAT)
os.write(file, b"f" * 12000)
address = libc.mmap(None, ctypes.c_size_t(4 * 4096), 3, 2, file, ctypes.c_long(0))
ctypes.memset(address + 10, 65, 3)
libc.madvise(ctypes.c_void_p(address + 4096), ctypes.c_size_t(4096), 102)
print("ready", flush=True)
for line in sys.stdin:
    print(ctypes.string_at(address + 10, 3).decode(), flush=True)
"""


def test_pages_that_cannot_be_read_end_no_move(bench: Bench, start: Hold) -> None:
    """Guard pages (MADV_GUARD_INSTALL) look like pages of the process's own, and have nothing."""
    program = start(sys.executable, "-c", GUARDED, bench.path)
    bench.move("ext4")
    assert program.ask() == "AAA"
