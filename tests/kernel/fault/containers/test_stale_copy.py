"""Fault: a leg is replaced by an older copy of itself, under its name."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import NoSource
from holdfast.model.volume import JournalMode
from tests.faults import replace_by_copy
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import FLUSHING, Cell, cells


def image_of(url: str) -> Path:
    return Path(url.removeprefix("file:"))


@cells()
def test_while_in_use_and_the_worker_is_killed(
    settings: Settings, ram_directory: Path, cell: Cell
) -> None:
    """The worker after it opens the copy by its name: it must not serve what is older."""
    urls = plain_legs(ram_directory, 1, cell.legs)
    with Bench(settings, ram_directory, urls) as bench:
        with bench.during(cell) as goes_on:
            copy = bench.copy(image_of(urls[0]), ram_directory / "older.img")
            if bench.activity is not None:
                bench.activity.goes_on(20)
            replace_by_copy(image_of(urls[0]), copy)
            os.kill(bench.gate.show()["worker_pid"], signal.SIGKILL)
            goes_on()
        bench.wait_until_healthy()
        bench.check(cell.legs)


@pytest.mark.parametrize("journal", [JournalMode.NONE, JournalMode.UNFLUSHED])
def test_two_legs_while_detached(
    settings: Settings, ram_directory: Path, journal: JournalMode
) -> None:
    """The other leg is the source; the copy gets what it lacks."""
    urls = plain_legs(ram_directory, 1, 2)
    with Bench(settings, ram_directory, urls, journal=journal) as bench:
        activity = bench.start(FLUSHING)
        copy = bench.copy(image_of(urls[0]), ram_directory / "older.img")
        activity.goes_on(20)
        result = activity.stop()
        bench.detach()
        replace_by_copy(image_of(urls[0]), copy)
        bench.attach()
        bench.wait_until_healthy(2)
        bench.check_after_loss(result.acknowledged, 2)


@pytest.mark.parametrize("journal", [JournalMode.NONE, JournalMode.UNFLUSHED])
def test_one_leg_while_detached(
    settings: Settings, ram_directory: Path, journal: JournalMode
) -> None:
    """Nothing holds what the copy lacks: refused, unless the loss is accepted (--force)."""
    urls = plain_legs(ram_directory, 1, 1)
    with Bench(settings, ram_directory, urls, journal=journal) as bench:
        activity = bench.start(FLUSHING)
        first = activity.snapshot().acknowledged
        recorded = bench.gate.show()
        copy = bench.copy(image_of(urls[0]), ram_directory / "older.img")
        activity.goes_on(20)
        activity.stop()
        bench.detach()
        current = ram_directory / "current.img"
        image_of(urls[0]).rename(current)
        copy.rename(image_of(urls[0]))
        with pytest.raises(NoSource, match="older copy"):
            bench.attach()
        bench.attach(force=True)
        assert bench.gate.show()["epoch"] > recorded["epoch"]
        bench.check_after_loss(first, 1)
        # What was overtaken by force must not come back as if nothing had happened.
        current.rename(image_of(urls[0]))
        with pytest.raises(NoSource):
            bench.attach()


def test_a_copy_of_an_older_epoch(settings: Settings, ram_directory: Path) -> None:
    """A copy from before another leg left is refused: the journal is not of its epoch."""
    urls = plain_legs(ram_directory, 1, 2)
    with Bench(settings, ram_directory, urls) as bench:
        activity = bench.start(FLUSHING)
        copy = bench.copy(image_of(urls[0]), ram_directory / "older.img")
        activity.goes_on(5)
        bench.gate.remove_leg("2")
        activity.goes_on(5)
        result = activity.stop()
        bench.detach()
        current = ram_directory / "current.img"
        image_of(urls[0]).rename(current)
        copy.rename(image_of(urls[0]))
        with pytest.raises(NoSource, match="epoch"):
            bench.attach()
        current.rename(image_of(urls[0]))
        bench.attach()
        bench.check_after_loss(result.acknowledged, 1)
