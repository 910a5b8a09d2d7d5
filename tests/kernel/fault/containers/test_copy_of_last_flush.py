"""Fault: the only leg is gone for ever; a copy of it as it was at its last flush is given back."""

from __future__ import annotations

from pathlib import Path

from holdfast.config import Settings
from tests.kernel.fault.bench import Bench, fuse_leg
from tests.kernel.fault.cells import FLUSHING, IDLE, ONE, Cell, cells


@cells(legs=(ONE,))
def test_copy_of_last_flush(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """`leg add` of the copy ends the hold: the journal has what the leg acknowledged since."""
    with fuse_leg(ram_directory) as leg, Bench(settings, ram_directory, [leg.url]) as bench:
        with bench.during(cell):
            leg.volatile()  # the image behind the server is what was flushed, and nothing else
            if bench.activity is not None:
                bench.activity.goes_on(40)
            copy = bench.copy(leg.image, ram_directory / "copy.img")
            leg.kill()
            leg.image.unlink()
            if cell.activity == IDLE:
                bench.start(FLUSHING, wait=False)
            bench.wait_until_held()
            bench.gate.add_leg(f"file:{copy}")
        bench.wait_until_healthy(1)
        assert bench.wait_for_receipt("hold")["strategy"] == "hold"
        bench.check(1)
