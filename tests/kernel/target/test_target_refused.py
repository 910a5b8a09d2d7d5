"""What cannot be stopped is refused, and is what it was before."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import time
from pathlib import Path

import pytest

from holdfast.applications.rebind.agent.tracee import Tracee
from holdfast.applications.rebind.handles.process_traits import gather
from holdfast.errors import InUse, Refused
from holdfast.system.processes.process import set_name
from holdfast.system.processes.ptrace import tracer_of
from tests.kernel.target.steadfast import Steadfast
from tests.waiting import wait_until


def test_traced_by_another(steadfast_program: Path, ram_directory: Path) -> None:
    """A debugger is there already: refused, naming it; the program goes on."""
    with Steadfast((str(steadfast_program),), ram_directory) as program:
        tracer = subprocess.Popen(
            ["strace", "-f", "-o", "/dev/null", "-p", str(program.pid)], stderr=subprocess.DEVNULL
        )
        try:
            wait_until(lambda: tracer_of(program.pid) != 0, "strace does not attach")
            with pytest.raises(Refused, match=str(tracer.pid)):
                Tracee.stop(program.pid, time.monotonic_ns() + 60 * 10**9)
        finally:
            tracer.terminate()
            tracer.wait()
        program.goes_on()


@pytest.mark.parametrize("name", ["holdfast", "gdb"])
def test_moved_with_another_volume(steadfast_program: Path, ram_directory: Path, name: str) -> None:
    """A command of ours at another volume has stopped it: nobody is told to end that as a debugger,
    nor the process."""
    with Steadfast((str(steadfast_program),), ram_directory) as program:
        ours, theirs = socket.socketpair()
        other = os.fork()
        if other == 0:
            try:
                set_name(name)
                Tracee.stop(program.pid, time.monotonic_ns() + 60 * 10**9)
                theirs.send(b"stopped")
                signal.pause()
            finally:
                os._exit(1)
        try:
            assert ours.recv(9) == b"stopped"
            with pytest.raises(Refused, match=f"process {other}") as refused:
                Tracee.stop(program.pid, time.monotonic_ns() + 60 * 10**9)
            blocked = gather(program.pid).blocked
        finally:
            os.kill(other, signal.SIGKILL)
            os.waitpid(other, 0)
        assert str(other) in blocked and refused.value.mend in blocked
        assert ("debugger" in blocked) == (name == "gdb")
        assert ("Wait until that has ended" in blocked) == (name == "holdfast")
        program.goes_on()


def test_parked_by_another(steadfast_program: Path, ram_directory: Path) -> None:
    """Somebody else's restoration was interrupted: its record is needed, not a second stop."""
    with Steadfast((str(steadfast_program),), ram_directory) as program:
        target = Tracee.stop(program.pid, time.monotonic_ns() + 60 * 10**9)
        record = target.record()
        target.set_parked(True)
        target.abandon()
        with pytest.raises(InUse, match="parked"):
            Tracee.stop(program.pid, time.monotonic_ns() + 60 * 10**9)
        assert program.stands_still()
        regained = Tracee.regain(record)
        assert regained is not None
        regained.release()
        program.goes_on()


def test_stopped_before(steadfast_program: Path, ram_directory: Path) -> None:
    """A process that its user has stopped is stopped afterwards, and goes on when he says so."""
    with Steadfast((str(steadfast_program),), ram_directory) as program:
        os.kill(program.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, program.pid, os.WSTOPPED)
        before = program.condition()
        Tracee.stop(program.pid, time.monotonic_ns() + 60 * 10**9).release()
        assert program.stands_still()
        wait_until(lambda: program.condition() == before, "it is not as it was")
        os.kill(program.pid, signal.SIGCONT)
        program.goes_on()
