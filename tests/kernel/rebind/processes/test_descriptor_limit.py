"""A process that may have no more descriptors: its soft limit is raised meanwhile, or it blocks."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from holdfast.applications.rebind.rebind import Rebind
from holdfast.errors import Blocked
from holdfast.model.handle import HandleOutcome
from holdfast.system.proc import descriptor_limit
from tests.kernel.rebind.bench import Bench

PROGRAM = """
import os, resource, sys
os.chdir(sys.argv[1])
files = [os.open(name, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600) for name in "abc"]
resource.setrlimit(resource.RLIMIT_NOFILE, (64, int(sys.argv[2])))
while True:
    try:
        os.dup(0)
    except OSError:
        break
print("full", flush=True)
for line in sys.stdin:
    for file in files:
        os.write(file, b"on ")
    print("written", flush=True)
"""


@contextmanager
def full_program(bench: Bench, hard: int) -> Iterator[subprocess.Popen[str]]:
    """It has as many descriptors as its soft limit, 64, allows."""
    process = subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(bench.path), str(hard)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdin is not None
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "full\n"
        yield process
        process.stdin.write("\n")
        process.stdin.flush()
        assert process.stdout.readline() == "written\n"
    finally:
        process.kill()
        process.wait()
        process.stdin.close()
        process.stdout.close()


def test_moved_when_its_hard_limit_leaves_room(bench: Bench) -> None:
    with full_program(bench, 128) as process:
        for filesystem in ("xfs", "ext4"):
            assert {line.outcome for line in bench.move(filesystem)} == {HandleOutcome.IDENTICAL}
        assert descriptor_limit(process.pid) == (64, 128)
    assert (bench.path / "a").read_text() == "on "


def test_blocks_when_there_is_no_room_at_all(bench: Bench) -> None:
    with full_program(bench, 64):
        rebind: Rebind = bench.rebind(60)
        with pytest.raises(Blocked, match="as many descriptors"):
            rebind.stop()
