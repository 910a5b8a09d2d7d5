"""Fault: keeper and worker are killed at once: everything the gate was is on storage."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import FLUSHING, IDLE, READING, Cell, cells
from tests.recovering import recover


@cells()
def test_all_killed(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """`recover` takes the dead stack away, `attach` brings back every acknowledged fsync."""
    urls = plain_legs(ram_directory, 1, cell.legs)
    with Bench(settings, ram_directory, urls) as bench:
        crash(bench, cell)
        assert recover(settings)
        bench.attach()
        after_crash(bench, cell)


@pytest.mark.parametrize(("filesystem", "size_bytes"), [("xfs", 320 << 20), ("btrfs", 128 << 20)])
@cells(legs=(2,), activities=(FLUSHING,))
def test_other_file_systems(
    settings: Settings, ram_directory: Path, cell: Cell, filesystem: str, size_bytes: int
) -> None:
    """The same, with a file system that does its own recovery in its own way."""
    urls = plain_legs(ram_directory, 1, cell.legs)
    with Bench(
        settings, ram_directory, urls, filesystem=filesystem, size_bytes=size_bytes
    ) as bench:
        crash(bench, cell)
        assert recover(settings)
        bench.attach()
        after_crash(bench, cell)


def crash(bench: Bench, cell: Cell) -> None:
    """Everything dies while the application of the cell is at work."""
    activity = bench.start(FLUSHING if cell.activity == IDLE else cell.activity)
    activity.goes_on(50)
    if cell.activity == IDLE:
        assert activity.stop().errors == 0
    bench.kill_everything()
    if cell.activity != IDLE:
        activity.process.kill()
        activity.process.wait(10)


def after_crash(bench: Bench, cell: Cell) -> None:
    """What was acknowledged is there, and the volume is as healthy as it was."""
    assert bench.activity is not None
    acknowledged = bench.activity.snapshot().acknowledged
    if cell.activity not in (READING, IDLE):
        assert acknowledged >= 10
    bench.wait_until_healthy(cell.legs)
    bench.check_after_loss(acknowledged, cell.legs)
