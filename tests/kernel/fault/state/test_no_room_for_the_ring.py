"""Fault: the run directory has no room for the log ring, or somebody has removed it."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import HoldfastError
from holdfast.gate.log.ring import FILE_NAME
from tests.faults import SmallDisk
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import WRITING

LITTLE = 16 << 20


def test_a_volume_is_refused_and_nothing_is_left(settings: Settings, ram_directory: Path) -> None:
    with SmallDisk(settings.run_directory, LITTLE):
        with (
            pytest.raises(HoldfastError, match="no room for the journal \\(32 MiB\\)") as raised,
            Bench(settings, ram_directory, plain_legs(ram_directory, 1, 1)),
        ):
            pass
        assert raised.value.mend == "Make room there."
        assert not list(ram_directory.glob("leg-*"))
        assert not list(settings.run_directory.rglob("ring*"))


def test_one_in_use_goes_on(settings: Settings, ram_directory: Path) -> None:
    """Somebody has removed the ring before a worker takes over: it begins another."""
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, 1)) as bench:
        activity = bench.start(WRITING)
        activity.goes_on()
        (bench.run_directory / FILE_NAME).unlink()
        os.kill(bench.counters().worker_pid, signal.SIGKILL)
        activity.goes_on()
        assert bench.gate.show()["journal"]["state"] == "active"
        assert (bench.run_directory / FILE_NAME).exists()
        bench.check(1)
