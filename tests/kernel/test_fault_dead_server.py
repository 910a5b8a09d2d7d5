"""Fault: the server of a leg's storage dies (ENOTCONN), and is started again later."""

from __future__ import annotations

from pathlib import Path

from holdfast.config import Settings
from tests.kernel.fault_bench import Bench, fuse_leg, plain_legs
from tests.kernel.fault_cells import IDLE, ONE, Cell, cells


@cells()
def test_dead_server(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """Held, or served by the other leg, until it is back; then it is brought up to date."""
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, cell.legs)]
        with Bench(settings, ram_directory, urls) as bench:
            bench.images[leg.url] = leg.image
            with bench.during(cell) as goes_on:
                leg.kill()
                if cell.legs == ONE:
                    if cell.activity != IDLE:
                        bench.wait_until_held()
                else:
                    goes_on()
                    bench.wait_for_leg(1)
                leg.start()
            bench.wait_until_healthy()
            bench.check(cell.legs)
