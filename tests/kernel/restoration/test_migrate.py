"""A volume moves to another container and another file system under an application that runs."""

from __future__ import annotations

from pathlib import Path

from holdfast.config import Settings
from holdfast.service import Holdfast, MigrateRequest
from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.storage.loop import loop_devices_of
from tests.kernel.restoration.bench import (
    SIZE_BYTES,
    Heartbeat,
    application,
    make_image,
    mounted,
)


def test_round_trip_through_all_file_systems(settings: Settings, ram_directory: Path) -> None:
    first = make_image(ram_directory / "1.img")
    with mounted(first, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        with application(path, ram_directory / "record") as running:
            heartbeat = Heartbeat()
            try:
                for number, filesystem in enumerate(("xfs", "btrfs", "ext4"), 2):
                    url = f"file:{ram_directory}/{number}.img"
                    receipt = holdfast.restorations.migrate(
                        MigrateRequest("data", (url,), filesystem=filesystem)
                    )
                    assert receipt is not None
                    assert receipt.outcome == "done"
                    assert receipt.processes[0]["pid"] == running.pid
                    assert mount_at(path).filesystem == filesystem
                    running.wait_for_more()
                gap_seconds = heartbeat.largest_gap_seconds()
            finally:
                heartbeat.close()
            assert running.verify() > 0
        assert gap_seconds < 1.0, "an uninvolved process was stopped"
        assert holdfast.restorations.in_progress("data") is None
        assert [copy.urls for copy in reversed(holdfast.restorations.copies("data"))] == [
            (f"file:{ram_directory}/{number}.img",) for number in (1, 2, 3)
        ]
        assert first.stat().st_size == SIZE_BYTES
        holdfast.detach_volume("data")
        assert not path.is_mount()
        assert not loop_devices_of(ram_directory / "4.img"), "nobody else would let it go"
        assert holdfast.attach_volume("data").filesystem == "ext4"
        assert (path / "log").exists()


def test_old_container_has_everything_up_to_the_move(
    settings: Settings, ram_directory: Path
) -> None:
    first = make_image(ram_directory / "1.img")
    with mounted(first, ram_directory / "mnt") as path, Holdfast(settings) as holdfast:
        (path / "kept").write_bytes(b"x" * 100_000)
        holdfast.adopt_volume("data", str(path))
        holdfast.restorations.migrate(
            MigrateRequest("data", (f"file:{ram_directory}/2.img",), filesystem="xfs")
        )
        (path / "kept").unlink()
    with mounted(first, ram_directory / "old", "ro") as old:
        assert (old / "kept").stat().st_size == 100_000
