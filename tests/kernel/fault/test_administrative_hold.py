"""Not a fault: an administrator holds the volume, and lets go or forgets to."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from holdfast.config import Settings
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import FLUSHING, IDLE, Cell, cells
from tests.waiting import wait_until


def wait_until_withheld(bench: Bench, cell: Cell) -> None:
    """The application waits for the volume; one that has just begun may do so before it counts."""
    if cell.activity == IDLE:
        wait_until(lambda: bench.gate.show()["in_flight"] > 0)
    else:
        assert bench.activity is not None
        bench.activity.waits(0.1)


@cells()
@pytest.mark.parametrize("how", ["released", "deadline"])
def test_hold(settings: Settings, ram_directory: Path, cell: Cell, how: str) -> None:
    """The application waits and goes on, also when the deadline ends it: storage is fine."""
    urls = plain_legs(ram_directory, 1, cell.legs)
    with Bench(settings, ram_directory, urls) as bench:
        with bench.during(cell):
            shown = bench.gate.hold(None if how == "released" else 0.5, "maintenance")
            if how == "released":
                assert shown["held"]
                assert shown["hold_reason"] == "maintenance"
            if cell.activity == IDLE:
                bench.start(FLUSHING, wait=False)
            if how == "released":
                wait_until_withheld(bench, cell)
                os.kill(bench.gate.show()["worker_pid"], signal.SIGKILL)
                wait_until_withheld(bench, cell)
                bench.gate.release()
            else:
                wait_until(lambda: not bench.held())
                receipt = bench.wait_for_receipt("hold")
                assert (receipt["cause"], receipt["outcome"]) == ("maintenance", "deadline passed")
        bench.check(cell.legs)
