"""Fault: a leg's storage hangs, and continues later, with every answer late."""

from __future__ import annotations

from pathlib import Path

from holdfast.config import Settings
from tests.kernel.fault.bench import HANG_SECONDS, Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import IDLE, ONE, Cell, cells


@cells()
def test_hang(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """The watchdog gives the hung request to the other leg; nothing late lands on data in use."""
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, cell.legs)]
        with Bench(settings, ram_directory, urls, hang_timeout_seconds=HANG_SECONDS) as bench:
            bench.images[leg.url] = leg.image
            with bench.during(cell) as goes_on:
                leg.stop()
                if cell.legs == ONE:
                    if cell.activity != IDLE:
                        bench.wait_until_held()
                else:
                    goes_on()
                    bench.wait_for_leg(1)
                    assert bench.activity is not None
                    waited = bench.activity.snapshot().longest_wait_ns / 1e9
                    assert waited < HANG_SECONDS + 1.0
                leg.resume()
            bench.wait_until_healthy()
            bench.check(cell.legs)
