"""Fault: the keeper is killed (-9)."""

from __future__ import annotations

import os
import signal
from pathlib import Path

from holdfast.config import Settings
from tests.kernel.fault.bench import Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING, IDLE, ONE, Cell, cells
from tests.waiting import wait_until

KILLS = 3


def kill_keeper(bench: Bench) -> None:
    """Kill the keeper, and wait until another one is there."""
    before = bench.gate.show()["keeper_pid"]
    os.kill(before, signal.SIGKILL)
    wait_until(lambda: bench.gate.show()["keeper_pid"] != before)


@cells()
def test_while_it_serves(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """Nobody notices; the pair is complete again, and stands the worker's death as well."""
    urls = plain_legs(ram_directory, 1, cell.legs)
    with Bench(settings, ram_directory, urls) as bench:
        with bench.during(cell) as goes_on:
            for _ in range(KILLS):
                kill_keeper(bench)
                if bench.activity is not None:
                    bench.activity.goes_on()
            os.kill(bench.gate.show()["worker_pid"], signal.SIGKILL)
            goes_on()
        shown = bench.gate.show()
        assert (shown["keeper_takeovers"], shown["takeovers"]) == (KILLS, 1)
        bench.check(cell.legs)


def test_one_descriptor_of_the_mount_namespace(settings: Settings, ram_directory: Path) -> None:
    """Each keeper has its own: none of those before comes along, by way of workers."""
    with Bench(settings, ram_directory, plain_legs(ram_directory, 1, ONE)) as bench:
        activity = bench.start(FLUSHING)
        for _ in range(KILLS):
            kill_keeper(bench)
            os.kill(bench.counters().worker_pid, signal.SIGKILL)
            activity.goes_on()
        keeper = bench.counters().keeper_pid
        links = [str(path.readlink()) for path in Path(f"/proc/{keeper}/fd").iterdir()]
        assert sum(link.startswith("mnt:") for link in links) == 1
        bench.check(ONE)


@cells(legs=(ONE,))
def test_during_a_hold(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """The next keeper looks at the storage, so the hold still ends by itself."""
    with fuse_leg(ram_directory) as leg, Bench(settings, ram_directory, [leg.url]) as bench:
        bench.images[leg.url] = leg.image
        with bench.during(cell):
            leg.kill()
            if cell.activity == IDLE:
                bench.start(FLUSHING, wait=False)
            bench.wait_until_held()
            kill_keeper(bench)
            leg.start()
        bench.wait_until_healthy()
        bench.check(1)
