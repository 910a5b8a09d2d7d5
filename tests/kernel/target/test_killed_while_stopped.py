"""A process that is killed while it is stopped: its parent hears of it when it is let go."""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

import pytest

from holdfast.applications.rebind.agent.tracee import Tracee
from holdfast.system.processes.ptrace import thread_ids
from tests.waiting import wait_until


def test_its_parent_hears_of_it(steadfast_program: Path) -> None:
    words = ("sh", "-c", '"$0" >/dev/null & echo $!; wait $!; echo ended', str(steadfast_program))
    parent = subprocess.Popen(words, stdout=subprocess.PIPE, text=True)
    assert parent.stdout is not None
    pid = int(parent.stdout.readline())
    wait_until(lambda: len(thread_ids(pid)) == 4, "it does not begin")
    target = Tracee.stop(pid, time.monotonic_ns() + 60 * 10**9)
    os.kill(pid, 9)
    with pytest.raises(ProcessLookupError):
        target.release()
    parent.communicate(timeout=10)
