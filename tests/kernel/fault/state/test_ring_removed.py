"""Fault: the ring is removed under a running gate, /run is full, or nothing can be detached."""

from __future__ import annotations

import mmap
import os
import subprocess
from pathlib import Path

from holdfast.config import Settings
from holdfast.gate.log.ring import FILE_NAME
from tests.faults import SmallDisk
from tests.kernel.fault.bench import Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING, WRITING
from tests.kernel.fault.state.test_ring_hold import kill_worker


def test_an_acknowledged_write_comes_back(settings: Settings, ram_directory: Path) -> None:
    """The ring is removed, the worker killed; seconds later the leg's server loses its cache."""
    with fuse_leg(ram_directory) as leg, Bench(settings, ram_directory, [leg.url]) as bench:
        bench.images[leg.url] = leg.image
        path = bench.mountpoint / "file"
        path.write_bytes(b"0" * 65536)
        descriptor = os.open(path, os.O_RDWR | os.O_DIRECT)
        os.fsync(descriptor)
        subprocess.run(["sync", "-f", str(bench.mountpoint)], check=True)
        leg.volatile()
        block = mmap.mmap(-1, 65536)
        block.write(b"1" * 65536)
        assert os.pwrite(descriptor, block, 0) == 65536
        (bench.run_directory / FILE_NAME).unlink()
        kill_worker(bench)
        leg.crash()
        leg.start()
        leg.volatile()
        bench.wait_until_healthy()
        os.preadv(descriptor, [block], 0)
        os.close(descriptor)
        assert block[:65536] == b"1" * 65536


def test_full_run_directory(settings: Settings, ram_directory: Path) -> None:
    """/run has no room: the worker that takes over goes on, with its ring."""
    with (
        SmallDisk(settings.run_directory, 48 << 20) as disk,
        Bench(settings, ram_directory, plain_legs(ram_directory, 1, 2)) as bench,
    ):
        activity = bench.start(WRITING)
        disk.fill()
        activity.goes_on()
        for _ in range(3):
            kill_worker(bench)
            activity.goes_on()
        assert bench.gate.show()["journal"]["state"] == "active"
        disk.free()
        bench.check(2)


def test_both_killed_then_attached(settings: Settings, ram_directory: Path) -> None:
    with fuse_leg(ram_directory) as leg, Bench(settings, ram_directory, [leg.url]) as bench:
        bench.images[leg.url] = leg.image
        leg.volatile()
        activity = bench.start(FLUSHING)
        for _ in range(3):
            activity.goes_on()
        bench.kill_everything()
        result = activity.stop()
        leg.crash()
        leg.start()
        bench.detach()
        assert (bench.run_directory / FILE_NAME).exists()
        bench.attach()
        bench.check_after_loss(result.acknowledged)
