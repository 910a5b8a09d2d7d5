"""Files below more directories than a path can name: moved while it can be told what they are, else
named as what is in the way."""

from __future__ import annotations

import sys

import pytest

from holdfast.errors import Blocked
from holdfast.model.handle import HandleKind, HandleOutcome
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

PROGRAM = """
import mmap, os, sys, threading
folder, levels, *words = sys.argv[1:]
os.chdir(folder)
for _ in range(int(levels)):
    os.mkdir("d" * 255)
    os.chdir("d" * 255)
file = os.open("file", os.O_RDWR | os.O_CREAT)
os.write(file, bytes(4096))
mapped = mmap.mmap(file, 4096) if "map" in words else None
if mapped:  # it has a descriptor of its own
    os.closerange(file, file + 10)
elif "file" not in words:
    os.close(file)
if "cwd" not in words:
    os.chdir("/")
if "root" in words:
    os.chroot(".")
    os.chdir("/")
if "thread" in words:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    mapped[0:1] = b"x"
    print("ok", flush=True)
"""

LONGER_THAN_A_CALL_TAKES = 20
LONGER_THAN_CAN_BE_NOTED = 260


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_a_map_is_moved(bench: Bench, start: Hold, filesystem: str) -> None:
    program = start(sys.executable, "-c", PROGRAM, bench.path, LONGER_THAN_A_CALL_TAKES, "map")
    rebind = bench.rebind()
    rebind.stop()
    try:
        rebind.park()
        with bench.copied(filesystem, rebind) as bases:
            lines = rebind.rebind(bases, same_data=True)
    finally:
        rebind.release()
    assert [line.handle.kind for line in lines] == [HandleKind.MAP]
    assert [line.outcome for line in lines] == [HandleOutcome.IDENTICAL]
    program.verify()


@pytest.mark.parametrize(
    ("levels", "words", "what"),
    [
        (LONGER_THAN_CAN_BE_NOTED, ("map",), "memory map"),
        (LONGER_THAN_A_CALL_TAKES, ("file",), "descriptor 3"),
        (LONGER_THAN_A_CALL_TAKES, ("cwd",), "working directory"),
        (LONGER_THAN_A_CALL_TAKES, ("cwd", "thread"), "working directory"),
        (LONGER_THAN_A_CALL_TAKES, ("cwd", "root"), "root directory"),
    ],
)
def test_what_cannot_be_told_is_in_the_way(
    bench: Bench, hold: Hold, start: Hold, levels: int, words: tuple[str, ...], what: str
) -> None:
    other = hold("file", "cwd", "flock")
    program = start(sys.executable, "-c", PROGRAM, bench.path, levels, *words)
    with pytest.raises(Blocked) as refusal:
        bench.rebind().stop()
    assert f"process {program.pid}: other {what} of something" in refusal.value.message
    assert len(refusal.value.message) < 1000
    assert not bench.record.exists()
    other.verify()
