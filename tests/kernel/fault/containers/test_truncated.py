"""Fault: somebody empties the image of a leg."""

from __future__ import annotations

from pathlib import Path

from holdfast.config import Settings
from tests.faults import truncate_to_zero
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import IDLE, ONE, Cell, cells


@cells()
def test_truncated(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """Another leg serves, and the lost one is replaced. Without one: a copy and the journal do."""
    urls = plain_legs(ram_directory, 1, cell.legs)
    image = Path(urls[0].removeprefix("file:"))
    copy = ram_directory / "copy.img"
    with Bench(settings, ram_directory, urls) as bench:
        with bench.during(cell) as goes_on:
            bench.copy(image, copy)
            truncate_to_zero(image)
            if cell.legs == ONE:
                if cell.activity == IDLE:  # nobody has noticed: only that file is the leg
                    image.write_bytes(copy.read_bytes())
                else:
                    bench.wait_until_held()
                    copy.rename(image)
            else:
                goes_on()
                bench.wait_for_leg(1)
                bench.gate.replace_leg("1", f"file:{ram_directory}/new.img")
        bench.wait_until_healthy(cell.legs)
        bench.check(cell.legs)
