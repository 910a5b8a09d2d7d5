"""Fault: a leg fails, and a spare stands ready."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from holdfast.config import Settings
from tests.faults import truncate_to_zero
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import TWO, Cell, cells
from tests.waiting import wait_until


@cells(legs=(TWO,))
@pytest.mark.parametrize("killed", [False, True], ids=["gate unharmed", "worker killed"])
def test_spare(settings: Settings, ram_directory: Path, cell: Cell, killed: bool) -> None:
    """It takes the failed leg's place by itself and is brought up to date."""
    urls = plain_legs(ram_directory, 1, 2)
    spare = f"file:{ram_directory}/spare.img"
    with Bench(settings, ram_directory, urls, spare_urls=(spare,)) as bench:
        with bench.during(cell) as goes_on:
            truncate_to_zero(Path(urls[0].removeprefix("file:")))
            goes_on()
            if killed:
                wait_until(lambda: 3 in bench.leg_states())
                os.kill(bench.gate.show()["worker_pid"], signal.SIGKILL)
            wait_until(lambda: bench.leg_states() == {2: "in-sync", 3: "in-sync"})
        assert bench.gate.show()["spares"] == []
        assert bench.url(3) == spare
        bench.check(2)
