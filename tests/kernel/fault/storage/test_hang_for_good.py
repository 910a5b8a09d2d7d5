"""Fault: a leg's storage hangs and never answers again."""

from __future__ import annotations

from pathlib import Path

from holdfast.config import Settings
from tests.kernel.fault.bench import HANG_SECONDS, Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING, IDLE, ONE, Cell, cells


@cells()
def test_hang_for_good(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """A copy of it, or the other leg, takes its place while it still hangs."""
    copy = ram_directory / "copy.img"
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, cell.legs)]
        with Bench(settings, ram_directory, urls, hang_timeout_seconds=HANG_SECONDS) as bench:
            with bench.during(cell) as goes_on:
                bench.copy(leg.image, copy)
                leg.hang()
                if cell.legs == ONE:
                    if cell.activity == IDLE:
                        bench.start(FLUSHING, wait=False)
                    bench.wait_until_held()
                    bench.gate.add_leg(f"file:{copy}")
                else:
                    goes_on()
                    bench.wait_for_leg(1)
                    bench.gate.replace_leg("1", f"file:{ram_directory}/new.img")
            bench.wait_until_healthy(cell.legs)
            assert leg.waiting() > 0
            leg.kill()  # the gate's thread inside it is freed, so that the gate can end
            bench.check(cell.legs)
