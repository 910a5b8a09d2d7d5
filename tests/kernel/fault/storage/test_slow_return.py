"""Fault: a leg comes back, and the first write to it takes longer than the hang time-out."""

from __future__ import annotations

import errno
from pathlib import Path

from holdfast.config import Settings
from tests.kernel.fault.bench import HANG_SECONDS, Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING
from tests.waiting import wait_until

RETURNS = 3


def test_slow_return(settings: Settings, ram_directory: Path) -> None:
    """It counts as hanging and is given up; the worker and the other leg never notice."""
    with fuse_leg(ram_directory) as leg:
        urls = [*plain_legs(ram_directory, 1, 1), leg.url]
        with Bench(settings, ram_directory, urls, hang_timeout_seconds=HANG_SECONDS) as bench:
            bench.images[leg.url] = leg.image
            activity = bench.start(FLUSHING)
            worker = bench.gate.show()["worker_pid"]
            for _ in range(RETURNS):
                leg.error(errno.EIO)
                activity.goes_on()
                bench.wait_for_leg(2)
                leg.hang(on=("write",))
                wait_until(lambda: leg.waiting() > 0)  # it is being taken in again
                wait_until(lambda: "no answer" in bench.reason(2))
                leg.serve()
                activity.goes_on()
            bench.wait_until_healthy()
            shown = bench.gate.show()
            assert (shown["worker_pid"], shown["takeovers"]) == (worker, 0)
            bench.check(2)
