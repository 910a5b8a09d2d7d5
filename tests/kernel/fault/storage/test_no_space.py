"""Fault: the storage of a leg has no space left (ENOSPC), and later has room again."""

from __future__ import annotations

import errno
import os
from pathlib import Path

from holdfast.config import Settings
from tests.faults import SmallDisk
from tests.kernel.fault.bench import HANG_SECONDS, Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import IDLE, ONE, READING, WRITING, Cell, cells
from tests.waiting import wait_until


@cells()
def test_no_space(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """Full is not broken: held for room; with another leg not longer than for a hang."""
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, cell.legs)]
        with Bench(settings, ram_directory, urls, hang_timeout_seconds=HANG_SECONDS) as bench:
            bench.images[leg.url] = leg.image
            with bench.during(cell) as goes_on:
                leg.error(errno.ENOSPC, on=("write",))
                if cell.activity == READING or cell.legs > ONE:
                    goes_on()
                elif cell.activity != IDLE:
                    bench.wait_until_held()
                    assert "no space" in bench.gate.show()["hold_reason"]
                    assert bench.leg_states() == {1: "in-sync"}
                if cell.activity != READING and cell.legs > ONE:
                    bench.wait_for_leg(1, "failed", "resyncing")
                leg.serve()
            bench.wait_until_healthy()
            bench.check(cell.legs)


def test_a_sparse_image_on_a_full_disk(settings: Settings, ram_directory: Path) -> None:
    """An image that promises more than its disk has: held, and continued by making room."""
    disk = SmallDisk(ram_directory / "disk", 32 << 20)
    with disk, Bench(settings, ram_directory, [f"file:{disk.path}/leg.img"]) as bench:
        activity = bench.start(WRITING)
        disk.fill()
        with Filler(bench.mountpoint / "file", 4 << 20) as filler:
            bench.wait_until_held()
            activity.waits()
            disk.free()
            filler.finish()
        assert (bench.mountpoint / "file").stat().st_size == 4 << 20
        assert bench.wait_for_receipt("hold")["errors_returned"] == 0
        bench.check(1)


class Filler:
    """A process that writes a file durably; it may be withheld in the middle."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes
        self._pid = 0
        self.status: int | None = None

    def __enter__(self) -> Filler:
        self._pid = os.fork()
        if self._pid == 0:
            status = 1
            try:
                with self._path.open("wb") as file:
                    file.write(os.urandom(self._size_bytes))
                    file.flush()
                    os.fsync(file.fileno())
                status = 0
            finally:
                os._exit(status)
        return self

    def __exit__(self, *error: object) -> None:
        if self.status is None and not self._ended():
            os.kill(self._pid, 9)

    def finish(self) -> None:
        """Wait until everything is durable; fails the test on an error."""
        wait_until(self._ended)
        assert self.status == 0

    def _ended(self) -> bool:
        pid, status = os.waitpid(self._pid, os.WNOHANG)
        if pid:
            self.status = status
        return bool(pid)
