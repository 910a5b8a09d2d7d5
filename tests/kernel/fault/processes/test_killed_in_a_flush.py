"""Fault: the worker is killed inside of a flush that fails, and nobody alive hears of the error.

The storage has lost what it had not made durable, and the next flush succeeds.
"""

from __future__ import annotations

import errno
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.volume import JournalMode
from tests.kernel.fault.bench import Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING, ONE, TWO, WRITING
from tests.waiting import wait_until


@pytest.mark.parametrize("activity", [FLUSHING, WRITING])
@pytest.mark.parametrize(
    ("legs", "journal"),
    [(ONE, JournalMode.UNFLUSHED), (TWO, JournalMode.UNFLUSHED), (TWO, JournalMode.NONE)],
)
def test_killed(
    settings: Settings, ram_directory: Path, activity: str, legs: int, journal: JournalMode
) -> None:
    """What was lost is there again, on each leg: from the journal, or from the other leg."""
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, legs)]
        with Bench(settings, ram_directory, urls, journal=journal) as bench:
            bench.images[leg.url] = leg.image
            at_work = bench.start(activity)
            leg.volatile()
            at_work.goes_on(40)
            leg.hang(on=("flush",))
            at_work.waits()
            wait_until(lambda: leg.waiting() > 0)
            before = bench.counters()
            bench.kill(before.worker_pid)
            leg.lose()
            leg.serve_kept({"kind": "error", "errno": errno.EIO, "on": ["flush"]})
            wait_until(lambda: bench.counters().takeovers > before.takeovers)
            at_work.goes_on()
            bench.wait_until_healthy()
            bench.check(legs)
