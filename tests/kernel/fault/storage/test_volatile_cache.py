"""Fault: a leg's storage crashes and loses everything that was not flushed."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from tests.kernel.fault.bench import Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import IDLE, ONE, Cell, cells


@cells()
@pytest.mark.parametrize("survival", [0.0, 0.5], ids=["all lost", "half survives"])
def test_volatile_cache(
    settings: Settings, ram_directory: Path, cell: Cell, survival: float
) -> None:
    """The journal gives it back what it had acknowledged and not flushed; or the other leg does."""
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, cell.legs)]
        with Bench(settings, ram_directory, urls) as bench:
            bench.images[leg.url] = leg.image
            leg.volatile()
            with bench.during(cell) as goes_on:
                leg.crash(survival, seed=1)
                if cell.legs == ONE:
                    if cell.activity != IDLE:
                        bench.wait_until_held()
                else:
                    goes_on()
                    bench.wait_for_leg(1)
                leg.start()
            bench.wait_until_healthy()
            bench.check(cell.legs)


def test_again_and_again(settings: Settings, ram_directory: Path) -> None:
    """Four crashes of the only leg under a writer: nothing that was acknowledged is missing."""
    with (
        fuse_leg(ram_directory) as leg,
        Bench(settings, ram_directory, [leg.url]) as bench,
    ):
        bench.images[leg.url] = leg.image
        activity = bench.start("writing")
        for seed in range(4):
            leg.volatile()
            activity.goes_on(40)
            leg.crash(0.5, seed)
            bench.wait_until_held()
            leg.start()
            activity.goes_on()
        bench.check(1)
        assert bench.wait_for_receipt("hold")["bytes_replayed"] > 0
