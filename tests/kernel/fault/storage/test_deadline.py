"""Fault: the storage does not come back before the deadline of the hold."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from holdfast.config import Settings
from tests.kernel.fault.bench import Bench, fuse_leg
from tests.kernel.fault.cells import FLUSHING, IDLE, READING, Cell, cells
from tests.waiting import wait_until

EIO = re.compile(r"\[Errno 5\]")
AFTER_EIO = re.compile(r"\[Errno (5|30)\]")
"""ext4 turns read-only (EROFS) by itself once its own journal met an error."""


@cells()
@pytest.mark.parametrize("timeout_seconds", [0.0, 0.7], ids=["at once", "deadline"])
def test_past_the_deadline(
    settings: Settings, ram_directory: Path, cell: Cell, timeout_seconds: float
) -> None:
    """The application gets EIO and nothing else; what was acknowledged is there afterwards."""
    legs = [fuse_leg(ram_directory, f"served-{number}") for number in range(cell.legs)]
    for leg in legs:
        leg.start()
    try:
        with Bench(
            settings,
            ram_directory,
            [leg.url for leg in legs],
            hold_timeout_seconds=timeout_seconds,
        ) as bench:
            bench.images = {leg.url: leg.image for leg in legs}
            name = FLUSHING if cell.activity == IDLE else cell.activity
            activity = bench.start(name)
            for leg in legs:
                leg.kill()
            wait_until(lambda: activity.snapshot().errors > 0)
            wait_until(lambda: bool(bench.gate.show()["errors_returned"]))
            # A request waits for one time-out in all: the first one had begun before the hold did.
            wait_until(lambda: bool(bench.gate.show()["hold_expired"]))
            result = activity.stop()
            assert timeout_seconds - 0.1 < result.longest_wait_ms / 1e3 < timeout_seconds + 2.0
            assert EIO.search(result.first_errors[0]), result.first_errors
            assert all(AFTER_EIO.search(each) for each in result.first_errors)
            assert bench.wait_for_receipt("hold")["errors_returned"] > 0
            # The storage is back after the deadline: the volume serves again, nothing is lost.
            for leg in legs:
                leg.start()
            bench.wait_until_healthy()
            bench.detach()
            bench.attach()
            bench.wait_until_healthy()
            bench.check_after_loss(result.acknowledged, cell.legs)
    finally:
        for leg in legs:
            leg.__exit__(None, None, None)


def test_reading_goes_on_after_the_deadline(settings: Settings, ram_directory: Path) -> None:
    """An application that stands an EIO finds its data again without any command."""
    with (
        fuse_leg(ram_directory) as leg,
        Bench(settings, ram_directory, [leg.url], hold_timeout_seconds=0.5) as bench,
    ):
        bench.images[leg.url] = leg.image
        activity = bench.start(READING)
        leg.kill()
        wait_until(lambda: activity.snapshot().errors > 0)
        leg.start()
        bench.wait_until_healthy()
        activity.goes_on()  # what had begun before has ended
        errors = activity.snapshot().errors
        activity.goes_on(50)
        assert activity.snapshot().errors == errors
        activity.stop()
