"""Fault: the file system below a leg is unmounted; an empty mount point is seen in its place."""

from __future__ import annotations

from pathlib import Path

from holdfast.config import Settings
from tests.faults.mounting import unmount
from tests.kernel.fault.bench import Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import IDLE, ONE, Cell, cells
from tests.waiting import wait_until


@cells()
def test_unmounted(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """What lies at the mount point is not taken for the leg; the leg is, when it is back."""
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, cell.legs)]
        with Bench(settings, ram_directory, urls) as bench:
            bench.images[leg.url] = leg.image
            with bench.during(cell) as goes_on:
                leg.kill()
                unmount(leg.path)
                if cell.legs == ONE:
                    if cell.activity != IDLE:
                        bench.wait_until_held()
                        wait_until(lambda: "truncated" in bench.reason(1))
                else:
                    goes_on()
                    wait_until(lambda: "truncated" in bench.reason(1))
                leg.start()
            bench.wait_until_healthy()
            bench.check(cell.legs)
