"""Fault: the superblocks and the bitmap of a leg, its whole tail, are overwritten."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import NoSource
from holdfast.gate.members.superblock import tail_bytes
from tests.faults import copy_image, destroy_superblock
from tests.kernel.fault.bench import Bench, plain_legs
from tests.kernel.fault.cells import FLUSHING, Cell, cells
from tests.kernel.volume.stack import SIZE
from tests.waiting import wait_until

TAIL_BYTES = tail_bytes(SIZE)


def image_of(url: str) -> Path:
    return Path(url.removeprefix("file:"))


@cells()
@pytest.mark.parametrize("killed", [False, True], ids=["gate unharmed", "worker killed"])
def test_while_in_use(settings: Settings, ram_directory: Path, cell: Cell, killed: bool) -> None:
    """The data is what it was, and the gate knows its container: the tail is written anew."""
    urls = plain_legs(ram_directory, 1, cell.legs)
    with Bench(settings, ram_directory, urls) as bench:
        with bench.during(cell) as goes_on:
            destroy_superblock(image_of(urls[0]), TAIL_BYTES)
            if killed:
                os.kill(bench.gate.show()["worker_pid"], signal.SIGKILL)
            goes_on()
        bench.wait_until_healthy()
        if killed:
            assert bench.gate.show()["takeovers"] == 1
        activity = bench.activity
        assert activity is not None
        acknowledged = activity.snapshot().acknowledged
        if activity.name == FLUSHING or killed:
            # A position was recorded, or the tail was missed: the leg proves itself again.
            assert activity.stop().errors == 0
            bench.detach()
            bench.attach()
            bench.wait_until_healthy()
            bench.check_after_loss(acknowledged, cell.legs)
        else:
            bench.check(cell.legs)


def test_two_legs_at_attach(settings: Settings, ram_directory: Path) -> None:
    """The other leg serves; the one that cannot prove itself is replaced, never believed."""
    urls = plain_legs(ram_directory, 1, 2)
    with Bench(settings, ram_directory, urls) as bench:
        result = bench.start(FLUSHING).stop()
        bench.detach()
        destroy_superblock(image_of(urls[0]), TAIL_BYTES)
        bench.attach()
        wait_until(lambda: "no Holdfast superblock" in bench.reason(1))
        assert bench.leg_states() == {1: "failed", 2: "in-sync"}
        bench.gate.replace_leg("1", f"file:{ram_directory}/new.img")
        bench.wait_until_healthy(2)
        bench.check_after_loss(result.acknowledged, 2)


def test_one_leg_at_attach(settings: Settings, ram_directory: Path) -> None:
    """Refused, with nothing changed, until a copy of the leg is back."""
    urls = plain_legs(ram_directory, 1, 1)
    with Bench(settings, ram_directory, urls) as bench:
        result = bench.start(FLUSHING).stop()
        bench.detach()
        copy_image(image_of(urls[0]), ram_directory / "copy.img")
        destroy_superblock(image_of(urls[0]), TAIL_BYTES)
        with pytest.raises(NoSource, match="superblock"):
            bench.attach()
        with pytest.raises(NoSource):
            bench.attach(force=True)
        (ram_directory / "copy.img").rename(image_of(urls[0]))
        bench.attach()
        bench.check_after_loss(result.acknowledged, 1)


def test_one_slot_is_enough(settings: Settings, ram_directory: Path) -> None:
    """A superblock write that was torn leaves the one before it."""
    urls = plain_legs(ram_directory, 1, 1)
    with Bench(settings, ram_directory, urls) as bench:
        result = bench.start(FLUSHING).stop()
        bench.detach()
        destroy_superblock(image_of(urls[0]), 16 << 10)
        bench.attach()
        bench.check_after_loss(result.acknowledged, 1)
