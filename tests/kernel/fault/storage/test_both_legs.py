"""Fault: both legs are lost, one after the other or at once; then one returns."""

from __future__ import annotations

import subprocess
from pathlib import Path

from holdfast.config import Settings
from tests.kernel.fault.bench import Bench, fuse_leg
from tests.kernel.fault.cells import FLUSHING, IDLE, READING, TWO, WRITING, Cell, cells


@cells(legs=(TWO,), activities=(WRITING, FLUSHING, IDLE))
def test_the_one_that_was_lost_first_is_no_source(
    settings: Settings, ram_directory: Path, cell: Cell
) -> None:
    """It is behind: the hold lasts until the one that was used last is back."""
    first, last = fuse_leg(ram_directory), fuse_leg(ram_directory, "other")
    with first, last, Bench(settings, ram_directory, [first.url, last.url]) as bench:
        bench.images = {first.url: first.image, last.url: last.image}
        with bench.during(cell) as goes_on:
            first.kill()
            goes_on()
            bench.wait_for_leg(1)
            last.kill()
            bench.wait_until_held()
            first.start()
            bench.wait_for_leg(1, "stale")
            assert "behind" in bench.reason(1)
            assert bench.held()
            last.start()
        bench.wait_until_healthy()
        bench.check(2)


def test_the_one_that_was_lost_first_when_nothing_was_written(
    settings: Settings, ram_directory: Path
) -> None:
    """It is not behind when the other one was only read meanwhile: it ends the hold."""
    first, last = fuse_leg(ram_directory), fuse_leg(ram_directory, "other")
    with first, last, Bench(settings, ram_directory, [first.url, last.url]) as bench:
        bench.images = {first.url: first.image, last.url: last.image}
        activity = bench.start(READING)
        # What the file system has to write of its own is a write as well, seconds later.
        subprocess.run(["sync", "--file-system", bench.mountpoint], check=True)
        first.kill()
        activity.goes_on()
        last.kill()
        bench.wait_until_held()
        first.start()
        activity.goes_on()
        assert bench.leg_states()[1] == "in-sync"
        last.start()
        bench.wait_until_healthy()
        bench.check(2)


@cells(legs=(TWO,))
def test_at_once(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """Whichever is back first and is current ends the hold; the other one follows."""
    first, last = fuse_leg(ram_directory), fuse_leg(ram_directory, "other")
    with first, last, Bench(settings, ram_directory, [first.url, last.url]) as bench:
        bench.images = {first.url: first.image, last.url: last.image}
        with bench.during(cell):
            first.kill()
            last.kill()
            if cell.activity == IDLE:
                bench.start(FLUSHING, wait=False)
            bench.wait_until_held()
            last.start()
            first.start()
        bench.wait_until_healthy()
        assert bench.wait_for_receipt("hold")["errors_returned"] == 0
        bench.check(2)
