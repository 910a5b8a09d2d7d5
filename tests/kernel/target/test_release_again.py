"""Releasing a process twice, or one of which something cannot be removed: it goes on."""

from __future__ import annotations

import resource
import struct
import time
from pathlib import Path

import pytest

from holdfast.applications.rebind.agent.tracee import Tracee
from tests.kernel.target.steadfast import Steadfast

NOBODY = 65534


def test_a_second_time_nothing_is_done(steadfast_program: Path, tmp_path: Path) -> None:
    with Steadfast([str(steadfast_program)], tmp_path) as steadfast:
        target = Tracee.stop(steadfast.pid, time.monotonic_ns() + 60 * 10**9)
        target.set_parked(True)
        target.release()
        target.release()
        steadfast.goes_on()
        steadfast.is_well()


def test_what_cannot_be_put_back_keeps_nobody(steadfast_program: Path, ram_directory: Path) -> None:
    """Here its limit of descriptors, which it may not raise any more."""
    nobody = {"user": NOBODY, "group": NOBODY}
    with Steadfast([str(steadfast_program)], ram_directory, **nobody) as steadfast:
        target = Tracee.stop(steadfast.pid, time.monotonic_ns() + 60 * 10**9)
        target.write(target.scratch, struct.pack("<QQ", 64, 64))
        target.call("prlimit64", 0, resource.RLIMIT_NOFILE, target.scratch, 0)
        target.set_parked(True)
        with pytest.raises(PermissionError, match="prlimit64"):
            target.release()
        target.release()
        steadfast.goes_on()
        steadfast.is_well()
        Tracee.stop(steadfast.pid, time.monotonic_ns() + 60 * 10**9).release()
        steadfast.goes_on()
        steadfast.is_well()
