"""What was only in memory is put back where there is just room for it, and where nothing can be
written down of that."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import StateFailed
from holdfast.restoration.performing.perform import perform
from holdfast.service import Holdfast, RestoreRequest
from tests.faults import own_disk, take_room
from tests.kernel.restoration.appending_application import record_of
from tests.kernel.restoration.saved_writes_bench import outcomes, stage

LARGE_BYTES = 4 << 20
"""More than what ext4 keeps for itself of a small disk that is full."""

PROGRAM = f"""
import os, sys
file = os.open("large", os.O_RDWR | os.O_CREAT)
os.write(file, b"o" * {LARGE_BYTES})
os.fsync(file)
os.pwrite(file, b"n" * {LARGE_BYTES}, 0)
print("ready", flush=True)
sys.stdin.read()
"""


def test_storage_that_is_full(settings: Settings, ram_directory: Path) -> None:
    """What has its blocks already needs no room; what lacks some is put back whole, or
    not at all."""
    with (
        stage(settings, ram_directory, "errors=remount-ro") as data,
        subprocess.Popen(
            [sys.executable, "-c", PROGRAM],
            cwd=data.path,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        ) as process,
    ):
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        take_room(data.path / "ballast")
        data.turn_read_only()
        with Holdfast(settings) as holdfast:
            receipt = holdfast.restorations.restore(RestoreRequest("data"))
        found = outcomes(receipt)
        assert (found["large"], found["counter"]) == ("put back", "put back")
        assert (data.path / "large").read_bytes() == b"n" * LARGE_BYTES
        whole = b"".join(map(record_of, range(data.running.accepted)))
        for name in ("log", "table"):
            if found[name] == "put back":
                assert (data.path / name).read_bytes() == whole
            else:
                assert found[name] == "the storage there has no room for it"


def test_the_state_disk_is_full(settings: Settings, ram_directory: Path) -> None:
    """It is undone, and the old storage has it: whose record cannot be written stands no longer."""
    state = settings.state_directory
    state.parent.mkdir(parents=True, exist_ok=True)
    with (
        own_disk(state, ram_directory / "state.img"),
        stage(settings, ram_directory, "errors=remount-ro") as data,
        Holdfast(settings) as holdfast,
    ):
        data.turn_read_only()

        def fill(place: str) -> None:
            if place == "in remount":
                take_room(state / "ballast")

        found = holdfast.restorations.assess(RestoreRequest("data"))
        with pytest.raises(StateFailed) as told:
            perform(settings, holdfast.catalog, found, checkpoint=fill)
        assert "undone entirely" not in str(told.value)
        data.running.write_more()
        (state / "ballast").unlink()
        holdfast.recover()
        data.verify_at_work()
