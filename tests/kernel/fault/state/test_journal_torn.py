"""Fault: a process is killed while it appends to the log ring; the host goes down with the ring."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.log import ring_layout as layout
from holdfast.gate.log.ring import FILE_NAME, Ring
from holdfast.gate.log.ring_layout import PlainReserver
from holdfast.gate.members.configuration import load_configuration
from holdfast.gate.runtime.shared_page import SLOT_CELLS
from tests.kernel.fault.bench import Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING, IDLE, Cell, cells

LENGTH = 4096


def tear(bench: Bench, kind: str) -> None:
    """Put a record behind the last one that was not finished: what a kill during append leaves."""
    volume_id = load_configuration(bench.state_directory).volume_id
    ring = Ring(bench.run_directory / FILE_NAME, volume_id, PlainReserver())
    assert ring.find(0)
    assert list(ring.records(ring.begin)), "nothing is kept: there is nothing to be torn"
    end = ring.end
    slot = memoryview(bytearray(SLOT_CELLS * 8)).cast("Q")
    place = ring.reserver.reserve(ring.cells, slot, 0, LENGTH, LENGTH, 1, 0)
    first = (layout.HEAD_BYTES + place % ring.area_bytes + layout.UNIT_BYTES) // 8
    for cell in range(first, first + LENGTH // 8):
        ring.cells[cell] = 0xA5A5A5A5A5A5A5A5
    if kind == "repeated":  # its header is there, and nobody may see it yet
        ring.cells[first - layout.UNIT_BYTES // 8 + layout.KIND] = 1
        ring.cells[layout.END] = end


@cells()
@pytest.mark.parametrize("kind", ["repeated", "half"])
def test_torn(settings: Settings, ram_directory: Path, cell: Cell, kind: str) -> None:
    """What is not whole is stepped over; everything that was acknowledged is there."""
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
        tear(bench, kind)
        bench.attach()
        bench.wait_until_healthy(cell.legs)
        bench.check_after_loss(activity.snapshot().acknowledged, cell.legs)


def test_power_of_storage_fails_and_all_processes_are_killed(
    settings: Settings, ram_directory: Path
) -> None:
    """The leg's cache is lost, and the host's memory is not: the ring has what is missing."""
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


def test_power_of_storage_and_host_fails(settings: Settings, ram_directory: Path) -> None:
    """The leg's cache and all memory are lost at once: what was flushed is there."""
    with fuse_leg(ram_directory) as leg, Bench(settings, ram_directory, [leg.url]) as bench:
        bench.images[leg.url] = leg.image
        activity = bench.start(FLUSHING)
        leg.volatile()
        activity.goes_on(100)
        bench.kill_everything()
        activity.process.kill()
        activity.process.wait(10)
        (bench.run_directory / FILE_NAME).unlink()
        leg.crash()
        leg.start()
        bench.attach()
        bench.check_after_loss(activity.snapshot().acknowledged, 1)
