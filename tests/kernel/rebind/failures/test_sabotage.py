"""Somebody writes into a process that stands still: it suffers for that, and nobody else."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.rebind import Rebind
from holdfast.errors import InUse, Refused
from holdfast.model.handle import HandleOutcome
from holdfast.mountpoints.capture import capture
from holdfast.system.processes import ptrace
from tests.kernel.rebind.bench import Bench, Program
from tests.kernel.rebind.conftest import Hold

DEADLINE_SECONDS = 40.0
_HARBOUR = b"\x0f\x05\x48\xa1"
_ENDLESS = b"\xeb\xfe"  # jmp to itself
_OTHER_CALL = b"\xb8\x27\x00\x00\x00\x0f\x05\xeb\xf7"  # mov eax, getpid; syscall; again


_PROGRAM = """
import os, sys
file = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
print("ready", flush=True)
for line in sys.stdin:
    os.pwrite(file, b"x", 0)
    print("ok", flush=True)
"""


def _start(start: Hold, bench: Bench, name: str) -> Program:
    return start(sys.executable, "-c", _PROGRAM, bench.path / name)


def _harbour(pid: int) -> int:
    """Where the harbour of a stopped process begins, as anybody who may read it can find."""
    with open(f"/proc/{pid}/mem", "rb", buffering=0) as memory:
        for line in Path(f"/proc/{pid}/maps").read_bytes().split(b"\n"):
            words = line.split()
            if len(words) == 5 and words[1] == b"r-xp":
                start = int(words[0].partition(b"-")[0], 16)
                memory.seek(start)
                if memory.read(4) == _HARBOUR:
                    return start
    raise AssertionError("it has no harbour")


def _write(code: bytes) -> Callable[[int], None]:
    def write(pid: int) -> None:
        with open(f"/proc/{pid}/mem", "r+b", buffering=0) as memory:
            memory.seek(_harbour(pid))
            memory.write(code)

    return write


SABOTAGE = {
    "endless": _write(_ENDLESS),
    "another call": _write(_OTHER_CALL),
    "no code": _write(bytes(4096)),
    "breakpoints": _write(b"\xcc" * 4096),
}


def _outcomes(lines: Sequence[ReboundHandle], program: Program) -> set[HandleOutcome]:
    pid = program.process.pid
    return {line.outcome for line in lines if line.handle.pid == pid}


@pytest.mark.parametrize("sabotage", SABOTAGE)
def test_while_it_is_parked(bench: Bench, hold: Hold, start: Hold, sabotage: str) -> None:
    """Its handles are lost; the others are moved before the deadline."""
    spoilt, other = _start(start, bench, "spoilt"), hold("file", "cwd", "flock")
    rebind = bench.rebind(DEADLINE_SECONDS)
    rebind.stop()
    rebind.park()
    with bench.prepared("xfs") as image:
        pass
    SABOTAGE[sabotage](spoilt.process.pid)
    with bench.exchanged(image) as bases:
        lines = rebind.rebind(bases)
        rebind.release()
    assert _outcomes(lines, other) == {HandleOutcome.IDENTICAL}
    assert HandleOutcome.IDENTICAL not in _outcomes(lines, spoilt)
    other.verify()


def test_before_it_is_parked(bench: Bench, hold: Hold, start: Hold) -> None:
    """The volume stays busy; everybody has what he had, the spoilt one as well."""
    spoilt, other = _start(start, bench, "spoilt"), hold("file", "cwd")
    rebind = bench.rebind(DEADLINE_SECONDS)
    rebind.stop()
    _write(_ENDLESS)(spoilt.process.pid)
    rebind.park()
    points = capture(str(bench.path))
    with pytest.raises(InUse), bench.exchanged(bench.make("xfs")):
        pass
    bases = {point.id: os.open(bench.path, os.O_PATH) for point in points}
    try:
        lines = rebind.rebind(bases, same_data=True)
    finally:
        rebind.release()
        for descriptor in bases.values():
            os.close(descriptor)
    assert _outcomes(lines, other) == {HandleOutcome.IDENTICAL}
    other.verify()
    spoilt.verify()


def test_many_of_one_user(bench: Bench, hold: Hold, start: Hold) -> None:
    """All his processes together take but a share of the time from the others: if each had a share
    of its own (a first call may take a third of it), none would be left before the deadline."""
    spoilt, other = [_start(start, bench, f"spoilt-{n}") for n in range(16)], hold("file", "cwd")
    rebind = bench.rebind(2 * DEADLINE_SECONDS)
    rebind.stop()
    rebind.park()
    with bench.prepared("xfs") as image:
        pass
    for each in spoilt:
        _write(_ENDLESS)(each.process.pid)
    with bench.exchanged(image) as bases:
        lines = rebind.rebind(bases)
        rebind.release()
    assert _outcomes(lines, other) == {HandleOutcome.IDENTICAL}
    other.verify()


def test_signals_are_no_harm(bench: Bench, hold: Hold) -> None:
    """A process that is stopped by a signal meanwhile is moved like any other."""
    program = hold("file", "cwd")
    rebind = bench.rebind(DEADLINE_SECONDS)
    rebind.stop()
    os.kill(program.process.pid, signal.SIGSTOP)
    rebind.park()
    with bench.prepared("xfs") as image:
        pass
    with bench.exchanged(image) as bases:
        lines = rebind.rebind(bases)
        rebind.release()
    os.kill(program.process.pid, signal.SIGCONT)
    assert _outcomes(lines, program) == {HandleOutcome.IDENTICAL}
    program.verify()


def test_one_that_cannot_be_regained(bench: Bench, hold: Hold, start: Hold) -> None:
    """The agent dies, and somebody traces one of the processes: the others are finished."""
    traced, other = _start(start, bench, "traced"), hold("file", "cwd")
    bench.die_parked(DEADLINE_SECONDS)
    with bench.prepared("xfs") as image:
        pass
    with bench.exchanged(image) as bases, _tracing(traced.process.pid):
        regained = Rebind.regain(bench.record)
        assert regained is not None
        lines = regained.rebind(bases)
        regained.release()
    assert _outcomes(lines, other) == {HandleOutcome.IDENTICAL}
    assert _outcomes(lines, traced) == {HandleOutcome.LOST}
    other.verify()


def test_the_only_one_stays_parked(bench: Bench, hold: Hold) -> None:
    """Nobody else waits: there is time to find out why."""
    program = hold("file")
    bench.die_parked(DEADLINE_SECONDS)
    with _tracing(program.process.pid), pytest.raises(Refused, match="traces it"):
        Rebind.regain(bench.record)
    regained = Rebind.regain(bench.record)
    assert regained is not None
    bases = {point.id: os.open(bench.path, os.O_PATH) for point in capture(str(bench.path))}
    regained.rebind(bases, same_data=True)
    regained.release()
    for descriptor in bases.values():
        os.close(descriptor)
    program.verify()


@contextmanager
def _tracing(pid: int) -> Iterator[None]:
    """Another process traces this one."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            ptrace.seize(pid, suspend_seccomp=False)
            os.write(writing, b"x")
            signal.pause()
        finally:
            os._exit(1)
    os.close(writing)
    try:
        assert os.read(reading, 1) == b"x"
        yield
    finally:
        os.close(reading)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
