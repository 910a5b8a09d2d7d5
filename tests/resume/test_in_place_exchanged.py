"""What a gate in place is undone on is the container that was changed, not what has its name now: a
disk gets another one's name with a restart, and an administrator moves images."""

from __future__ import annotations

import os
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import StorageFailed
from holdfast.model.volume import VolumeState
from holdfast.service import Holdfast
from holdfast.system.mounts.mount_table import mount_at
from holdfast.volumes.detach import detach_volume
from tests.faults.mounting import unmount
from tests.kernel.conftest import settings  # noqa: F401 - a fixture
from tests.kernel.restoration.bench import application, detach_loops_in
from tests.kernel.restoration.in_place.bench import (
    DEVICE,
    FILE_SYSTEM_BYTES,
    IMAGE,
    ROOM_BYTES,
    make,
    needs,
    print_of,
)
from tests.resume.test_in_place_killed import die_at, request_of, volume


def restart(home: Settings, path: Path, folder: Path) -> None:
    """Played: nothing is mounted, there is no gate, and the record is of another boot."""
    while mount_at(path) is not None:
        unmount(path)
    with Holdfast(home) as holdfast:
        detach_volume(home, holdfast.catalog.volume("data"))
    detach_loops_in(folder)
    with closing(sqlite3.connect(home.catalog_path)) as catalog, catalog:
        assert catalog.execute("update restorations set boot_id = 'earlier'").rowcount == 1


@pytest.mark.parametrize("kind", ["adopted", "gated"])
@pytest.mark.parametrize("storage", [IMAGE, DEVICE])
def test_another_one_has_its_name_after_a_restart(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
    storage: str,
    kind: str,
) -> None:
    needs(storage)
    with volume(settings, ram_directory, kind, storage) as (place, path, url):
        with application(path, ram_directory / "record", simple=True) as running:
            die_at("act 4", settings, request_of(kind, url), place)
            running.process.kill()
            running.process.wait()
            acknowledged = running.progress()[0]
        restart(settings, path, ram_directory)
        own = place.read_bytes()
        size_bytes = FILE_SYSTEM_BYTES["ext4"] + ROOM_BYTES
        if storage == IMAGE:
            place.unlink()
            with place.open("wb") as file:
                file.truncate(size_bytes)
            place.chmod(0o600)
        make(place, "ext4", size_bytes)
        with place.open("r+b") as file:
            file.seek(-8192, os.SEEK_END)
            file.write(b"data of others" * 100)
        other = print_of(place)
        with Holdfast(settings) as holdfast:
            with pytest.raises(StorageFailed, match="is not what it was"):
                holdfast.attach_volume("data")
            assert print_of(place) == other
            assert holdfast.restorations.in_progress("data") is not None
            # It is back under its name.
            with place.open("r+b") as file:
                file.write(own)
                if storage == IMAGE:
                    file.truncate()
            assert holdfast.attach_volume("data").kind == kind
            assert (path / "log").read_text().count("\n") >= acknowledged
            assert holdfast.restorations.in_progress("data") is None


def test_its_file_system_has_grown_over_its_end(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
) -> None:
    """Somebody mounts by hand, in place of `recover`, and lets it grow."""
    needs(DEVICE)
    with volume(settings, ram_directory, "adopted", DEVICE) as (place, path, url):
        with application(path, ram_directory / "record", simple=True) as running:
            die_at("act 4", settings, request_of("adopted", url), place)
            running.process.kill()
            running.process.wait()
        restart(settings, path, ram_directory)
        subprocess.run(["e2fsck", "-fp", place], check=False, capture_output=True)
        subprocess.run(["resize2fs", place], check=True, capture_output=True)
        before = print_of(place)
        with Holdfast(settings) as holdfast:
            with pytest.raises(StorageFailed, match="has grown over its end"):
                holdfast.attach_volume("data")
            assert print_of(place) == before
            holdfast.restorations.abandon("data")
            assert holdfast.attach_volume("data").state is VolumeState.HEALTHY
