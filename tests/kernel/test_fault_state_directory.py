"""Fault: the disk of journal and gate.json is full, alone and while a leg fails."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import Settings
from holdfast.gate.client import GateClient
from holdfast.gate.configuration import load_configuration
from holdfast.gate.launch import gate_is_running
from holdfast.model.volume import JournalMode, MountProperties, Volume
from holdfast.volumes.create import create_volume
from holdfast.volumes.delete import delete_volume
from tests.faults import SmallDisk, truncate_to_zero

STATE_BYTES = 80 << 20
"""Room for one segment of the journal (64 MiB), not for two."""


@pytest.fixture
def small(disk_directory: Path) -> Iterator[SmallDisk]:
    with SmallDisk(disk_directory / "home", STATE_BYTES) as disk:
        yield disk


@pytest.fixture
def gate(small: SmallDisk, ram_directory: Path, disk_directory: Path) -> Iterator[GateClient]:
    settings = Settings(home=small.path)
    volume = create_volume(
        settings,
        Volume(
            name="shop",
            id="",
            kind="gated",
            size_bytes=256 << 20,
            mount=MountProperties(path=str(disk_directory / "mnt"), filesystem="ext4"),
            leg_urls=tuple(f"file:{ram_directory}/{number}.img" for number in (1, 2)),
            journal=JournalMode.UNFLUSHED,
        ),
    )
    try:
        yield GateClient(settings.gate_run_directory("shop"))
    finally:
        small.free()
        assert gate_is_running(settings.gate_run_directory("shop"))
        delete_volume(settings, volume)


def wait_for(look: Callable[[], Any], timeout_seconds: float = 20.0) -> None:
    deadline = time.monotonic() + timeout_seconds
    while not look():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.02)


def write_durably(path: Path, mebibytes: int) -> None:
    with open(path, "wb") as file:
        for number in range(mebibytes):
            file.write(bytes([number % 251]) * (1 << 20))
        file.flush()
        os.fsync(file.fileno())


def test_a_full_journal_is_given_up_with_an_alarm(
    gate: GateClient, small: SmallDisk, disk_directory: Path
) -> None:
    """The volume goes on; `volume show` and a receipt say that nothing is kept any more."""
    small.fill()
    write_durably(disk_directory / "mnt" / "large", 100)
    shown = gate.show()
    assert shown["journal"]["state"] == "degraded"
    assert shown["errors_returned"] == 0
    assert [leg["state"] for leg in shown["legs"]] == ["in-sync", "in-sync"]


def test_a_leg_fails_while_gate_json_cannot_be_written(
    gate: GateClient, small: SmallDisk, ram_directory: Path, disk_directory: Path
) -> None:
    """The other leg serves; gate.json is written as soon as there is room."""
    state = Settings(home=small.path).gate_state_directory("shop")
    small.fill()
    truncate_to_zero(ram_directory / "1.img")
    write_durably(disk_directory / "mnt" / "file", 4)
    shown = gate.show()
    assert shown["errors_returned"] == 0
    assert shown["legs"][0]["state"] == "failed"
    assert shown["unsaved"]
    small.free()
    wait_for(lambda: not gate.show()["unsaved"])
    assert load_configuration(state).epoch == gate.show()["epoch"]
