"""Fault: one bad sector of a leg; everything else of it works."""

from __future__ import annotations

import errno
import mmap
import os
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.gate.outside.client import GateClient
from holdfast.volumes.report import report_volume
from tests.faults.fuse_leg import FuseLeg
from tests.kernel.volume.stack import SIZE, volume, wish

BAD = (40 << 20, (40 << 20) + 4096)
"""Where no file system of that size has anything."""


@pytest.fixture
def settings(holdfast_home: Path) -> Settings:
    return Settings()


def read_block(device: str, offset: int) -> bytes:
    """Past the page cache."""
    descriptor = os.open(device, os.O_RDONLY | os.O_DIRECT)
    try:
        with mmap.mmap(-1, 4096) as block:
            os.preadv(descriptor, [block], offset)
            return block[:]
    finally:
        os.close(descriptor)


@pytest.mark.parametrize("number", [errno.EIO, errno.ENODATA], ids=["EIO", "ENODATA"])
def test_only_the_request_that_wants_it_fails(
    settings: Settings, ram_directory: Path, number: int
) -> None:
    with FuseLeg(
        ram_directory / "image", ram_directory / "leg.img", container_bytes_needed(SIZE)
    ) as leg:
        wanted = replace(wish(ram_directory, leg.url), hold_timeout_seconds=3.0)
        with volume(settings, wanted) as made:
            device = report_volume(settings, made).device
            leg.error(number, on=("read", "write"), byte_range=BAD)
            child = os.fork()
            if child == 0:
                try:
                    read_block(device, BAD[0])
                except OSError as error:
                    os._exit(error.errno or 255)
                os._exit(0)
            flushes, status = 0, None
            with (Path(made.mount.path) / "log").open("wb") as file:
                while status is None:
                    file.write(b"line\n")
                    file.flush()
                    os.fsync(file.fileno())
                    flushes += 1
                    pid, ended = os.waitpid(child, os.WNOHANG)
                    status = ended if pid else None
            assert os.waitstatus_to_exitcode(status) == errno.EIO
            assert flushes > 10
            shown = GateClient(settings.gate_run_directory(made.name)).show()
            assert [each["state"] for each in shown["legs"]] == ["in-sync"]
            assert not shown["held"]
            leg.serve()
            assert read_block(device, BAD[0]) == bytes(4096)


def test_it_is_read_from_the_other_leg_and_rewritten(
    settings: Settings, ram_directory: Path
) -> None:
    with FuseLeg(
        ram_directory / "image", ram_directory / "leg.img", container_bytes_needed(SIZE)
    ) as leg:
        wanted = wish(ram_directory, leg.url, f"file:{ram_directory}/other.img")
        with volume(settings, wanted) as made:
            device = report_volume(settings, made).device
            leg.error(errno.ENODATA, on=("read",), byte_range=BAD)
            writes = leg.counts()["write"]
            assert read_block(device, BAD[0]) == bytes(4096)
            assert leg.counts()["write"] > writes
            shown = GateClient(settings.gate_run_directory(made.name)).show()
            assert [each["state"] for each in shown["legs"]] == ["in-sync", "in-sync"]
            leg.serve()
