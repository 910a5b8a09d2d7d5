"""A user that has reached one of its own limits is told of; nobody is stopped for longer."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from holdfast.errors import Blocked, Refused
from holdfast.model.handle import HandleOutcome
from holdfast.system.processes.process_state import start_time
from tests.kernel.rebind.bench import Bench
from tests.kernel.rebind.conftest import Hold

OPENS = """
import mmap, os, resource, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.ftruncate(file, 8192)
shared, private = mmap.mmap(file, 8192), mmap.mmap(file, 8192, flags=mmap.MAP_PRIVATE)
private[:3] = b"own"
"""
ADDRESS_SPACE = """
size = int(open("/proc/self/statm").read().split()[0]) * 4096
resource.setrlimit(resource.RLIMIT_AS, (size, resource.RLIM_INFINITY))
"""
DATA = """
resource.setrlimit(resource.RLIMIT_DATA, (4096, resource.RLIM_INFINITY))
"""
ANSWERS = """
print("ready", flush=True)
for line in sys.stdin:
    os.pwrite(file, b"x", 0)
    print("ok" if private[:3] == b"own" and shared[:1] == b"x" else "no", flush=True)
"""


def test_address_space(bench: Bench, start: Hold) -> None:
    """Seen before anything begins."""
    program = start(sys.executable, "-c", OPENS + ADDRESS_SPACE + ANSWERS, bench.path / "file")
    with pytest.raises(Blocked, match="RLIMIT_AS"):
        bench.rebind().stop()
    program.verify()


def test_writable_memory(bench: Bench, start: Hold) -> None:
    """Found when everybody stands; all go on as before, with nothing of ours in them."""
    program = start(sys.executable, "-c", OPENS + DATA + ANSWERS, bench.path / "file")
    began = start_time(program.pid)
    before = Path(f"/proc/{program.pid}/maps").read_bytes()
    with pytest.raises(Refused, match=r"cannot be moved: .*Cannot allocate memory") as refused:
        bench.rebind().stop()
    assert "--data=unlimited" in refused.value.mend
    assert Path(f"/proc/{program.pid}/maps").read_bytes() == before
    program.verify()
    assert start_time(program.pid) == began


def test_locked_memory_and_sizes(bench: Bench, start: Hold) -> None:
    """Those limits are in nobody's way."""
    limits = "".join(
        f"resource.setrlimit(resource.RLIMIT_{name}, (4096, 4096))\n"
        for name in ("MEMLOCK", "FSIZE", "STACK", "CORE", "MSGQUEUE")
    )
    program = start(sys.executable, "-c", OPENS + limits + ANSWERS, bench.path / "file")
    assert {line.outcome for line in bench.move("xfs")} == {HandleOutcome.IDENTICAL}
    program.verify()
