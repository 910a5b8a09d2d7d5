"""What a fork left shared in private maps is everybody's own after a move, and told."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from holdfast.model.handle import HandleKind, HandleOutcome
from holdfast.restoration.steps.parked import outcomes_of
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

SIZE = 4 << 20

FORKS = """
import mmap, os, sys
size = int(sys.argv[2])
with open(sys.argv[1], "wb+") as file:
    file.truncate(size)
    memory = mmap.mmap(file.fileno(), size, mmap.MAP_PRIVATE)
memory[:] = b"x" * size
reading, writing = os.pipe()
child = os.fork()
if child == 0:
    os.close(writing)
    os.read(reading, 1)
    os._exit(0)
memory[:4096] = b"y" * 4096
print("ready", flush=True)
for line in sys.stdin:
    same = memory[:4096] == b"y" * 4096 and memory[4096:] == b"x" * (size - 4096)
    print("ok" if same else "other contents", flush=True)
"""


def shares(pids: list[int], name: str) -> int:
    """Bytes that all of them use for maps of this file, each page counted once."""
    found = 0
    for pid in pids:
        for part in re.split(r"(?m)^(?=[0-9a-f]+-)", Path(f"/proc/{pid}/smaps").read_text()):
            if part.partition("\n")[0].endswith(name):
                match = re.search(r"Pss_Dirty: +([0-9]+)", part)
                assert match is not None
                found += int(match[1]) << 10
    return found


def test_what_is_used_more_is_told(bench: Bench, start: Hold) -> None:
    file = bench.path / "mapped"
    program = start(sys.executable, "-c", FORKS, file, str(SIZE))
    (child,) = Path(f"/proc/{program.pid}/task/{program.pid}/children").read_text().split()
    pids = [program.pid, int(child)]
    before = shares(pids, "/mapped")
    lines = bench.move("xfs")
    assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}
    assert {line.handle.kind for line in lines if line.more_bytes} == {HandleKind.MAP}
    more = outcomes_of(lines).more_bytes
    assert set(more) == {str(pid) for pid in pids}
    assert sum(more.values()) == SIZE - 4096 == shares(pids, "/mapped") - before
    program.verify()
    lines = bench.move("ext4")
    assert not outcomes_of(lines).more_bytes
    program.verify()
