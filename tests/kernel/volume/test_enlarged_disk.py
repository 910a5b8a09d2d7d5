"""A disk that is enlarged, as `volume resize` asks for, and what may happen before that."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.gate.outside.client import GateClient
from holdfast.gate.runtime.shared_page import read_counters
from holdfast.volumes.attach import attach_volume
from holdfast.volumes.detach import detach_volume
from holdfast.volumes.resize import resize_volume
from tests.faults.block_device import LoopLeg
from tests.kernel.volume.stack import SIZE, volume, wish
from tests.waiting import wait_until


@pytest.fixture
def settings(holdfast_home: Path) -> Settings:
    return Settings()


def worker_pid(run_directory: Path) -> int:
    counters = read_counters(run_directory)
    assert counters is not None
    return counters.worker_pid


def test_the_leg_is_found_where_its_tail_is(settings: Settings, ram_directory: Path) -> None:
    needed = container_bytes_needed(SIZE)
    with (
        LoopLeg(ram_directory / "disk.img", needed + (8 << 20)) as disk,
        volume(settings, wish(ram_directory, disk.url)) as made,
    ):
        file = Path(made.mount.path) / "file"
        file.write_text("content")
        run_directory = settings.gate_run_directory(made.name)
        disk.grow(container_bytes_needed(2 * SIZE) + (8 << 20))
        before = worker_pid(run_directory)
        os.kill(before, signal.SIGKILL)
        wait_until(lambda: worker_pid(run_directory) != before)
        assert [leg["state"] for leg in GateClient(run_directory).show()["legs"]] == ["in-sync"]
        detach_volume(settings, made)
        attach_volume(settings, made)
        assert file.read_text() == "content"
        assert resize_volume(settings, made, 2 * SIZE).size_bytes == 2 * SIZE
        detach_volume(settings, made)
        attach_volume(settings, made)
        assert file.read_text() == "content"
