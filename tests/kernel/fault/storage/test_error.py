"""Fault: a leg's storage answers a kind of request with EIO."""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from holdfast.config import Settings
from tests.kernel.fault.bench import Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING, IDLE, ONE, READING, WRITING, Cell, cells

STRUCK = {
    READING: ("read",),
    WRITING: ("write",),
    FLUSHING: ("flush",),
    IDLE: ("read", "write", "flush", "discard"),
}


@cells()
@pytest.mark.parametrize("number", [errno.EIO, errno.EREMOTEIO], ids=["EIO", "EREMOTEIO"])
def test_error(settings: Settings, ram_directory: Path, cell: Cell, number: int) -> None:
    """Never an error for the application; the leg is back in sync when it errs no more."""
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, cell.legs)]
        with Bench(settings, ram_directory, urls) as bench:
            bench.images[leg.url] = leg.image
            with bench.during(cell) as goes_on:
                leg.error(number, on=STRUCK[cell.activity])
                if cell.legs == ONE:
                    if cell.activity != IDLE:
                        bench.wait_until_held()
                else:
                    goes_on()
                    bench.wait_for_leg(1, "failed", "resyncing")
                leg.serve()
            bench.wait_until_healthy()
            bench.check(cell.legs)


def test_a_failed_flush_is_not_asked_for_again(settings: Settings, ram_directory: Path) -> None:
    """The kernel forgets dirty pages with the error: a second fsync would lie."""
    with (
        fuse_leg(ram_directory) as leg,
        Bench(settings, ram_directory, [leg.url, *plain_legs(ram_directory, 2, 2)]) as bench,
    ):
        bench.images[leg.url] = leg.image
        activity = bench.start(FLUSHING)
        leg.error(on=("flush", "open"))
        bench.wait_for_leg(1)
        activity.goes_on()  # whoever was about to flush it when it failed has done so
        flushes = leg.counts()["flush"]
        activity.goes_on(20)
        assert leg.counts()["flush"] == flushes
        leg.serve()
        bench.wait_until_healthy()
        bench.check(2)
