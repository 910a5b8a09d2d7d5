"""One inode stays one inode, by however many names and in whatever ways it was opened."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

PROGRAM = """
import mmap, os, sys
folder, left = sys.argv[1], sys.argv[2].split(",")
one = os.open(folder + "/a", os.O_RDWR | os.O_CREAT)
os.write(one, b"one")
for name in ("b", "c"):
    os.link(folder + "/a", folder + "/" + name)
two = os.open(folder + "/b", os.O_RDWR)
reading = os.open(folder + "/c", os.O_RDONLY)
memory = mmap.mmap(two, 0)
for name in ("a", "b", "c"):
    if name not in left:
        os.unlink(folder + "/" + name)
print("ready", flush=True)
for line in sys.stdin:
    os.pwrite(one, line.strip().encode(), 0)
    same = len({os.fstat(each).st_ino for each in (one, two, reading)}) == 1
    named = [open(folder + "/" + name).read() for name in left if name]
    print(same, os.pread(two, 9, 0), os.pread(reading, 9, 0), memory[:], named, flush=True)
"""


@pytest.mark.parametrize("left", ["", "a", "b", "c", "a,c"])
def test_all_descriptors_lead_to_it(bench: Bench, start: Hold, left: str) -> None:
    """On the same file system again, and on a copy."""
    program = start(sys.executable, "-c", PROGRAM, bench.path, left)
    names = [name for name in left.split(",") if name]
    for number, filesystem in enumerate(("", "xfs", "ext4")):
        rebind = bench.rebind()
        rebind.stop()
        try:
            rebind.park()
            mounting = (
                bench.copied(filesystem, rebind) if filesystem else bench.exchanged(bench.image)
            )
            with mounting as bases:
                rebind.rebind(bases, same_data=True, same_inodes=not filesystem)
        finally:
            rebind.release()
        word = f"{number}wo"
        bytes_of = word.encode()
        expected = f"True {bytes_of} {bytes_of} {bytes_of} {[word] * len(names)}"
        assert program.ask(word) == expected


def test_without_a_name_among_other_contents(bench: Bench, start: Hold) -> None:
    """What is carried over is carried over once."""
    program = start(sys.executable, "-c", PROGRAM, bench.path, "")
    bench.move("xfs", lambda folder: (folder / "more").touch())
    assert program.ask("two") == f"True {b'two'} {b'two'} {b'two'} []"


TEMPORARY = """
import os, sys
folder = sys.argv[1]
file = os.open(folder, os.O_TMPFILE | os.O_RDWR, 0o640)
os.write(file, b"hello")
print("ready", flush=True)
for line in sys.stdin:
    os.write(file, b" world")
    os.link(f"/proc/self/fd/{file}", folder + "/named", src_dir_fd=0)
    print(open(folder + "/named").read(), oct(os.fstat(file).st_mode), flush=True)
"""


def test_a_temporary_file_is_a_file(bench: Bench, start: Hold) -> None:
    """O_TMPFILE contains O_DIRECTORY. It can be given a name afterwards."""
    program = start(sys.executable, "-c", TEMPORARY, bench.path)
    (user,) = bench.users()
    assert [(str(each.kind), each.deleted) for each in user.handles] == [("file", True)]
    bench.move("xfs")
    assert program.ask() == "hello world 0o100640"
    assert not any(path.name.startswith(".holdfast") for path in Path(bench.path).iterdir())
