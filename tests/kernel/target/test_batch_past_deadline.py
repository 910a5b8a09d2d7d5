"""Calls that are made after the deadline, or with nothing parked: no thread leaves meanwhile."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from holdfast.applications.rebind.agent.tracee import Tracee
from tests.kernel.target.steadfast import Steadfast
from tests.waiting import wait_until

ROUNDS = 20


@pytest.mark.parametrize("parked", [True, False])
def test_nothing_is_different(parked: bool, steadfast_program: Path, ram_directory: Path) -> None:
    with Steadfast((str(steadfast_program),), ram_directory) as program:
        before = program.condition()
        for _ in range(ROUNDS):
            target = Tracee.stop(program.pid, time.monotonic_ns())
            target.set_parked(parked)
            for _ in range(5):
                results = target.call_many([("getpid", ())] * 20)
                assert results == [program.pid] * 20
            target.release()
            program.is_well()
        program.goes_on()
        wait_until(lambda: program.condition() == before, "it is not as it was")
