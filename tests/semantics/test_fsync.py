"""Claim: an fsync is answered when every leg in sync is durable; a failing leg gets no second one.

An acknowledged fsync survives any single failure, and the loss of all volatile caches.
"""

from __future__ import annotations

import errno
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.outside.client import GateClient
from holdfast.model.volume import JournalMode
from holdfast.volumes.attach import attach_volume
from holdfast.volumes.detach import detach_volume
from tests.kernel.fault.bench import fuse_leg
from tests.kernel.volume.stack import volume, wish
from tests.semantics.writing import prepare, read, write
from tests.waiting import wait_until

HANG_SECONDS = 1.0


def test_it_survives_the_loss_of_every_volatile_cache(
    settings: Settings, ram_directory: Path
) -> None:
    with fuse_leg(ram_directory, "a") as first, fuse_leg(ram_directory, "b") as second:
        wanted = wish(ram_directory, first.url, second.url, journal=JournalMode.NONE)
        with volume(settings, wanted) as made:
            file = Path(made.mount.path) / "file"
            prepare(file, 8)
            for leg in (first, second):
                leg.volatile()
            for number in range(8):
                assert write(file, number, 100 + number, sync=True).wait() == 0
            for leg in (first, second):
                leg.crash()
            for leg in (first, second):
                leg.start()
            assert [read(file, number) for number in range(8)] == list(range(100, 108))
            gate = GateClient(settings.gate_run_directory(made.name))
            wait_until(lambda: all(leg["state"] == "in-sync" for leg in gate.show()["legs"]))
            detach_volume(settings, made)
            attach_volume(settings, made)
            assert [read(file, number) for number in range(8)] == list(range(100, 108))


def test_it_waits_for_each_leg_or_for_the_epoch_without_it(
    settings: Settings, ram_directory: Path
) -> None:
    other = f"file:{ram_directory}/other.img"
    with fuse_leg(ram_directory) as leg:
        wanted = replace(wish(ram_directory, leg.url, other), hang_timeout_seconds=HANG_SECONDS)
        with volume(settings, wanted) as made:
            file = Path(made.mount.path) / "file"
            prepare(file, 1)
            gate = GateClient(settings.gate_run_directory(made.name))
            before = gate.show()["epoch"]
            leg.hang(on=("flush",))
            writer = write(file, 0, 7, sync=True)
            wait_until(lambda: leg.waiting() > 0)
            with pytest.raises(subprocess.TimeoutExpired):
                writer.wait(HANG_SECONDS / 2)
            assert gate.show()["epoch"] == before
            assert writer.wait(20) == 0
            shown = gate.show()
            assert shown["epoch"] > before
            assert shown["legs"][0]["state"] == "failed"
            leg.serve()


def test_a_flush_that_failed_is_not_repeated(settings: Settings, ram_directory: Path) -> None:
    other = f"file:{ram_directory}/other.img"
    with (
        fuse_leg(ram_directory) as leg,
        volume(settings, wish(ram_directory, leg.url, other)) as made,
    ):
        file = Path(made.mount.path) / "file"
        prepare(file, 1)
        gate = GateClient(settings.gate_run_directory(made.name))
        gate.hold(30.0, "nothing is under way")
        flushes = leg.counts()["flush"]
        leg.error(errno.EIO, on=("flush", "open"))
        gate.release()
        assert write(file, 0, 7, sync=True).wait() == 0
        assert gate.show()["legs"][0]["state"] == "failed"
        assert write(file, 0, 8, sync=True).wait() == 0
        assert leg.counts()["flush"] <= flushes + 1
        leg.serve()
