"""Fault: the end of the journal is torn by a crash."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.log.journal import Journal
from tests.kernel.fault.bench import Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING, IDLE, Cell, cells

PAGE_BYTES = 4096


def tear(directory: Path, kind: str) -> None:
    """Put a record behind the last one that was not finished: what a crash during append leaves."""
    journal = Journal(directory)
    journal.open()
    try:
        *_, last = journal.records(journal.begin)
        segment = journal._segments[-1]
        end = PAGE_BYTES + journal.position - segment.used_header.base
        start = end - (last.end - last.position)
        path = segment.path
    finally:
        journal.close()
    with path.open("r+b") as file:
        file.seek(start)
        record = file.read(end - start)
        file.seek(end)
        file.write(record if kind == "repeated" else record[:PAGE_BYTES] + b"\xa5" * PAGE_BYTES)


@cells()
@pytest.mark.parametrize("kind", ["repeated", "half"])
def test_torn(settings: Settings, ram_directory: Path, cell: Cell, kind: str) -> None:
    """The torn end is cut; everything that was acknowledged is there."""
    urls = plain_legs(ram_directory, 1, cell.legs)
    with Bench(settings, ram_directory, urls) as bench:
        activity = bench.start(FLUSHING if cell.activity == IDLE else cell.activity)
        activity.goes_on(50)
        if cell.activity == IDLE:
            activity.stop()
        bench.kill_everything()
        if cell.activity != IDLE:
            activity.process.kill()
            activity.process.wait(10)
        tear(bench.state_directory / "journal", kind)
        bench.attach()
        bench.wait_until_healthy(cell.legs)
        bench.check_after_loss(activity.snapshot().acknowledged, cell.legs)


def test_power_of_storage_and_host_fails(settings: Settings, ram_directory: Path) -> None:
    """The leg's cache and all memory are lost at once: the journal has what is missing."""
    with fuse_leg(ram_directory) as leg, Bench(settings, ram_directory, [leg.url]) as bench:
        bench.images[leg.url] = leg.image
        activity = bench.start("writing")
        leg.volatile()
        activity.goes_on(100)
        bench.kill_everything()
        activity.process.kill()
        activity.process.wait(10)
        leg.crash()
        leg.start()
        bench.attach()
        bench.check_after_loss(activity.snapshot().acknowledged, 1)
