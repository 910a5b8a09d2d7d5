"""A process that is killed while it is stopped: the agent is told, and hangs nowhere."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from holdfast.applications.rebind.agent.tracee import Tracee
from tests.kernel.target.steadfast import Steadfast


@pytest.mark.parametrize("instant", ["before a call", "before the release"])
def test_killed_while_stopped(instant: str, steadfast_program: Path, ram_directory: Path) -> None:
    """The next thing that is asked of it fails with ProcessLookupError."""
    with Steadfast((str(steadfast_program),), ram_directory) as program:
        target = Tracee.stop(program.pid, time.monotonic_ns() + 60 * 10**9)
        program.process.kill()
        with pytest.raises(ProcessLookupError):
            if instant == "before a call":
                target.call("getpid")
            else:
                target.release()
        target.abandon()
        program.process.wait(10)


def test_gone_before(steadfast_program: Path, ram_directory: Path) -> None:
    """A process that does not exist any more is no target."""
    with Steadfast((str(steadfast_program),), ram_directory) as program:
        program.process.kill()
        program.process.wait()
        with pytest.raises(ProcessLookupError):
            Tracee.stop(program.pid, time.monotonic_ns())
