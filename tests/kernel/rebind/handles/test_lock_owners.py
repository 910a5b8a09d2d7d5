"""Locks, leases and signals belong afterwards to whom they belonged before."""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

import pytest

from holdfast.model.handle import HandleOutcome
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold

FLOCK = """
import fcntl, os, sys
file = os.open(sys.argv[1] + "/file", os.O_RDWR | os.O_CREAT)
reading, writing = os.pipe()
fcntl.flock(file, fcntl.LOCK_SH)
child = os.fork()
if child == 0:
    fcntl.flock(file, fcntl.LOCK_EX)
    os.write(writing, b"x")
    os.close(writing)
    while True:
        import time; time.sleep(1)
os.read(reading, 1)
print("ready", flush=True)
for line in sys.stdin:
    print(child, flush=True)
"""


def holders(program: Program, number: int) -> list[tuple[str, str, int]]:
    """Kind, type and process of the locks that a descriptor shows."""
    text = Path(f"/proc/{program.pid}/fdinfo/{number}").read_text()
    lines = [line.split() for line in text.splitlines() if line.startswith("lock:")]
    return [(words[2], words[4], int(words[5])) for words in lines]


def test_a_flock_stays_with_who_took_it(bench: Bench, start: Hold) -> None:
    """A child took it on a description that it shares with its parent."""
    program = start(sys.executable, "-c", FLOCK, bench.path)
    child = int(program.ask())
    before = holders(program, 3)
    assert before == [("FLOCK", "WRITE", child)]
    try:
        for _ in range(2):
            bench.move("ext4")
            assert holders(program, 3) == before
    finally:
        os.kill(child, signal.SIGKILL)


LEASE = """
import fcntl, os, signal, sys
kind, flags = getattr(fcntl, sys.argv[2]), getattr(os, sys.argv[3])
os.close(os.open(sys.argv[1] + "/file", os.O_RDWR | os.O_CREAT))
file = os.open(sys.argv[1] + "/file", flags)
got = []
signal.signal(signal.SIGRTMIN + 3, lambda *_: got.append("told"))
fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGRTMIN + 3)
fcntl.fcntl(file, fcntl.F_SETLEASE, kind)
if "deleted" in sys.argv:
    os.unlink(sys.argv[1] + "/file")
print("ready", flush=True)
for line in sys.stdin:
    if line.strip() == "break":
        child = os.fork()
        if child == 0:
            try:
                os.open(f"/proc/{os.getppid()}/fd/{file}", os.O_RDWR | os.O_NONBLOCK)
            except BlockingIOError:
                pass
            os._exit(0)
        os.waitpid(child, 0)
    print(got, fcntl.fcntl(file, fcntl.F_GETLEASE) == kind, flush=True)
"""


@pytest.mark.parametrize("name", ["named", "deleted"])
@pytest.mark.parametrize(
    ("kind", "flags"), [("F_RDLCK", "O_RDONLY"), ("F_WRLCK", "O_RDWR"), ("F_WRLCK", "O_RDONLY")]
)
def test_a_lease_is_what_it_was(
    bench: Bench, start: Hold, kind: str, flags: str, name: str
) -> None:
    """Its type, and the signal that tells of its end; the move itself tells nobody anything."""
    program = start(sys.executable, "-c", LEASE, bench.path, kind, flags, name)
    for filesystem in ("xfs", "ext4"):
        lines = bench.move(filesystem)
        assert {line.outcome for line in lines} == {HandleOutcome.IDENTICAL}, lines
        assert program.ask() == "[] True"
    assert program.ask("break") == "['told'] False"


OWNER = """
import fcntl, os, signal, struct, sys
victim = int(sys.argv[2])
file = os.open(sys.argv[1] + "/file", os.O_RDONLY)
fcntl.fcntl(file, fcntl.F_SETOWN, victim)
fcntl.fcntl(file, fcntl.F_SETSIG, signal.SIGKILL)
fcntl.fcntl(file, fcntl.F_SETLEASE, fcntl.F_RDLCK)
print("ready", flush=True)
for line in sys.stdin:
    child = os.fork()
    if child == 0:
        try:
            os.open(sys.argv[1] + "/file", os.O_RDWR | os.O_NONBLOCK)
        except BlockingIOError:
            pass
        os._exit(0)
    os.waitpid(child, 0)
    owner = struct.unpack("=ii", fcntl.fcntl(file, 16, struct.pack("=ii", 0, 0)))
    print(owner[1] == victim, flush=True)
"""


def test_a_signal_reaches_nobody_whom_the_process_may_not_signal(bench: Bench, start: Hold) -> None:
    """The owner of a description is who gets its signals, with the rights of who set him."""
    (bench.path / "file").touch()
    os.chown(bench.path / "file", 65534, 65534)
    victim = start(sys.executable, "-c", "print('ready', flush=True); input()")
    as_nobody = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups")
    program = start(*as_nobody, sys.executable, "-c", OWNER, bench.path, str(victim.pid))
    bench.move("ext4")
    assert program.ask() == "True"
    assert victim.process.poll() is None
