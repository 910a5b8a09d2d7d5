"""The agent dies with something parked: the process waits, and goes on at the deadline."""

from __future__ import annotations

import time
from pathlib import Path

from holdfast.applications.rebind.agent.tracee import Tracee
from tests.kernel.target.steadfast import Steadfast
from tests.waiting import wait_until


def test_it_goes_on_by_itself(steadfast_program: Path, ram_directory: Path) -> None:
    """It stands until then, and what is left of the harbour goes with the next stop."""
    with Steadfast((str(steadfast_program),), ram_directory) as program:
        before = program.condition()
        target = Tracee.stop(program.pid, time.monotonic_ns() + 10**9)
        began = time.monotonic()
        target.set_parked(True)
        target.abandon()
        beats = program.beats()
        while program.beats() == beats:
            program.is_well()
            time.sleep(0.001)
        assert time.monotonic() - began >= 0.9
        program.goes_on()
        Tracee.stop(program.pid, time.monotonic_ns() + 60 * 10**9).release()
        program.goes_on()
        wait_until(lambda: program.condition() == before, "it is not as it was")


def test_another_agent_comes_first(steadfast_program: Path, ram_directory: Path) -> None:
    """With the record it can go on where the first one died."""
    with Steadfast((str(steadfast_program),), ram_directory) as program:
        before = program.condition()
        target = Tracee.stop(program.pid, time.monotonic_ns() + 60 * 10**9)
        record = target.record()
        target.set_parked(True)
        left_open = target.give(0)
        target.abandon()
        assert program.stands_still()
        regained = Tracee.regain(record)
        assert regained is not None
        assert regained.call("getpid") == program.pid
        assert Path(f"/proc/{program.pid}/fd/{left_open}").exists()
        regained.release()
        program.goes_on()
        wait_until(lambda: program.condition() == before, "it is not as it was")


def test_it_has_left(steadfast_program: Path, ram_directory: Path) -> None:
    """After the deadline there is nothing to regain, and nothing is left behind."""
    with Steadfast((str(steadfast_program),), ram_directory) as program:
        before = program.condition()
        target = Tracee.stop(program.pid, time.monotonic_ns())
        record = target.record()
        target.set_parked(True)
        target.abandon()
        program.goes_on()
        assert Tracee.regain(record) is None
        program.goes_on()
        wait_until(lambda: program.condition() == before, "it is not as it was")
