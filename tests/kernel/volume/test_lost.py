"""A volume that has lost its only leg for good can still be deleted, held or past its deadline."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InUse, VolumeHeld
from holdfast.gate.outside.client import GateClient
from holdfast.gate.outside.launch import gate_is_running
from holdfast.model.volume import FILE_SYSTEMS, Volume, VolumeState
from holdfast.system.mounts.mount_table import mount_at
from holdfast.volumes.create import create_volume
from holdfast.volumes.delete import delete_volume
from holdfast.volumes.detach import detach_volume
from holdfast.volumes.report import report_volume
from holdfast.volumes.stack.examine import examine_stack
from tests.faults import truncate_to_zero
from tests.kernel.volume.stack import wish
from tests.waiting import wait_until

SIZE = 320 << 20


@pytest.fixture
def settings(holdfast_home: Path) -> Settings:
    return Settings()


@contextmanager
def lost(settings: Settings, wanted: Volume) -> Iterator[Volume]:
    """The volume with dirty data in the cache and a request waiting for its lost leg."""
    made = create_volume(settings, wanted)
    (Path(made.mount.path) / "dirty").write_bytes(os.urandom(1 << 20))
    device = examine_stack(settings, made.name).device
    truncate_to_zero(Path(made.leg_urls[0].removeprefix("file:")))
    reader = subprocess.Popen(
        ["dd", f"if={device}", "of=/dev/null", "bs=4096", "count=1", "iflag=direct"],
        stderr=subprocess.DEVNULL,
    )
    client = GateClient(settings.gate_run_directory(made.name))
    wait_until(lambda: bool(client.show()["held"]))
    yield made
    reader.wait(10)
    assert reader.returncode == 1
    assert mount_at(made.mount.path) is None
    assert examine_stack(settings, made.name).is_empty
    assert not gate_is_running(settings.gate_run_directory(made.name))
    assert not settings.gate_state_directory(made.name).exists()


@pytest.mark.parametrize("filesystem", FILE_SYSTEMS)
def test_while_it_is_held(settings: Settings, ram_directory: Path, filesystem: str) -> None:
    wanted = replace(
        wish(ram_directory, filesystem=filesystem, size_bytes=SIZE), hold_timeout_seconds=120.0
    )
    with lost(settings, wanted) as made:
        assert report_volume(settings, made).state is VolumeState.HELD
        with pytest.raises(VolumeHeld):
            detach_volume(settings, made)
        with (Path(made.mount.path) / "dirty").open(), pytest.raises(InUse, match="descriptor"):
            delete_volume(settings, made)
        delete_volume(settings, made)


def test_past_its_deadline(settings: Settings, ram_directory: Path) -> None:
    wanted = replace(wish(ram_directory), hold_timeout_seconds=0.5)
    with lost(settings, wanted) as made:
        wait_until(lambda: report_volume(settings, made).state is VolumeState.FAILED)
        delete_volume(settings, made)
