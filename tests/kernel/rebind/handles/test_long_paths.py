"""What lies below more directories than a path can name is moved, if its path can be kept."""

from __future__ import annotations

import sys

import pytest

from holdfast.applications.rebind.rebind import Rebind
from holdfast.errors import Blocked
from holdfast.model.handle import HandleKind, HandleOutcome
from tests.kernel.rebind.bench import Bench, Program
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
held = {}
if "map" in words:
    held["map"] = mmap.mmap(file, 4096)
    # it has a descriptor of its own
    os.close(max(int(each) for each in os.listdir("/proc/self/fd") if int(each) <= file + 1))
for word, name, flags in (
    ("deleted", "gone", os.O_RDWR | os.O_CREAT),
    ("directory", ".", os.O_RDONLY),
    ("path", "file", os.O_PATH),
    ("fifo", "fifo", os.O_RDWR),
    ("link", "link", os.O_PATH | os.O_NOFOLLOW),
    ("removed", "folder", os.O_PATH),
):
    if word in words:
        if word == "fifo":
            os.mkfifo(name)
        if word == "link":
            os.symlink("file", name)
        if word == "removed":
            os.mkdir(name)
        held[word] = os.open(name, flags)
        if word == "deleted":
            os.unlink(name)
        if word == "removed":
            os.rmdir(name)
if "file" in words:
    held["file"] = file
else:
    os.close(file)
if "cwd" not in words and "root" not in words:
    os.chdir("/")
if "root" in words:
    os.chroot(".")
    os.chdir("/")
if "thread" in words:
    threading.Thread(target=threading.Event().wait, daemon=True).start()
print("ready", flush=True)
for line in sys.stdin:
    for word, it in held.items():
        if word == "map":
            it[0:1] = b"x"
        elif word in ("file", "deleted"):
            os.pwrite(it, b"x" * 9, 0)
            assert os.pread(it, 9, 0) == b"x" * 9 and os.fstat(it).st_nlink == (word == "file")
        elif word == "directory":
            assert "file" in os.listdir(it)
        elif word == "path":
            assert os.fstat(it).st_size == 4096
        elif word == "fifo":
            os.write(it, b"hello")
            assert os.read(it, 9) == b"hello"
        elif word == "removed":
            assert "file" in os.listdir(f"/proc/self/fd/{it}/..")
        elif word == "link":
            assert os.readlink("", dir_fd=it) == "file"
    if "cwd" in words or "root" in words:
        assert "file" in os.listdir(".")
    print("ok", flush=True)
"""

LONGER_THAN_A_CALL_TAKES = 20
LONGER_THAN_CAN_BE_NOTED = 260
ALL = ("map", "file", "deleted", "directory", "path", "fifo", "link", "removed", "cwd")


def moved(bench: Bench, program: Program, filesystem: str) -> Rebind:
    rebind = bench.rebind()
    rebind.stop()
    try:
        rebind.park()
        with bench.copied(filesystem, rebind) as bases:
            lines = rebind.rebind(bases, same_data=True)
    finally:
        rebind.release()
    assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}
    program.verify()
    return rebind


@pytest.mark.parametrize("words", [ALL, ("root",), ("cwd", "thread")])
def test_it_is_moved(bench: Bench, start: Hold, words: tuple[str, ...]) -> None:
    program = start(sys.executable, "-c", PROGRAM, bench.path, LONGER_THAN_A_CALL_TAKES, *words)
    (user,) = bench.users()
    assert HandleKind.OTHER not in {each.kind for each in user.handles}
    assert all(each.inside.startswith("d" * 255) for each in user.handles if not each.deleted)
    assert sum(each.deleted for each in user.handles) == len({"deleted", "removed"} & set(words))
    for filesystem in ("xfs", "btrfs", "ext4"):
        moved(bench, program, filesystem)


def test_another_one_finishes_it(bench: Bench, start: Hold) -> None:
    program = start(sys.executable, "-c", PROGRAM, bench.path, LONGER_THAN_A_CALL_TAKES, *ALL)
    bench.die_parked(60)
    rebind = Rebind.regain(bench.record)
    assert rebind is not None
    bench.move_here(rebind, same_inodes=True)
    program.verify()


@pytest.mark.parametrize(
    ("levels", "words", "what"),
    [
        (LONGER_THAN_CAN_BE_NOTED, ("map",), "memory map"),
        (LONGER_THAN_CAN_BE_NOTED, ("file",), "descriptor 3"),
        (LONGER_THAN_CAN_BE_NOTED, ("cwd",), "working directory"),
        (LONGER_THAN_CAN_BE_NOTED, ("cwd", "thread"), "working directory"),
        (LONGER_THAN_CAN_BE_NOTED, ("cwd", "root"), "root directory"),
    ],
)
def test_what_cannot_be_kept_is_in_the_way(
    bench: Bench, hold: Hold, start: Hold, levels: int, words: tuple[str, ...], what: str
) -> None:
    other = hold("file", "cwd", "flock")
    program = start(sys.executable, "-c", PROGRAM, bench.path, levels, *words)
    with pytest.raises(Blocked) as refusal:
        bench.rebind().stop()
    assert f"process {program.pid}: other {what}" in refusal.value.message
    assert "of something whose path is too long" in refusal.value.message
    assert len(refusal.value.message) < 1000
    assert not bench.record.exists()
    other.verify()
