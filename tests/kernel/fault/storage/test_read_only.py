"""Fault: a leg's storage turns read-only (EROFS), and is writable again later."""

from __future__ import annotations

from pathlib import Path

from holdfast.config import Settings
from tests.kernel.fault.bench import Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import IDLE, ONE, READING, Cell, cells


@cells()
def test_read_only(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """Reading goes on undisturbed; writing is held, or goes to the other leg."""
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, cell.legs)]
        with Bench(settings, ram_directory, urls) as bench:
            bench.images[leg.url] = leg.image
            with bench.during(cell) as goes_on:
                leg.read_only()
                if cell.activity == READING or cell.legs > ONE:
                    goes_on()
                elif cell.activity != IDLE:
                    bench.wait_until_held()
                if cell.activity != READING and cell.legs > ONE:
                    bench.wait_for_leg(1, "failed", "resyncing")
                leg.serve()
            bench.wait_until_healthy()
            bench.check(cell.legs)
