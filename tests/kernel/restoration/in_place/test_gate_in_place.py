"""A mount gets its gate where it lies, under an application that runs; and loses it there."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.volume import LegState, VolumeState
from holdfast.service import GateRequest, Holdfast, UngateRequest
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.restoration.bench import application
from tests.kernel.restoration.in_place.bench import DEVICE, IMAGE, needs, plain_mount


def check(place: Path, filesystem: str) -> None:
    """The file system's own check, of what lies in the container."""
    command = {
        "ext4": ["e2fsck", "-f", "-n"],
        "xfs": ["xfs_repair", "-n"],
        "btrfs": ["btrfs", "check", "--readonly"],
    }[filesystem]
    done = subprocess.run([*command, str(place)], check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr


def sectors_of(device: str) -> int:
    """What programs may write with O_DIRECT at least, in bytes."""
    queue = Path("/sys/block") / Path(device).name / "queue"
    return int((queue / "logical_block_size").read_text())


@pytest.mark.parametrize("storage", [IMAGE, DEVICE])
@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_there_and_back_and_its_user_sees_nothing(
    settings: Settings, ram_directory: Path, filesystem: str, storage: str
) -> None:
    needs(storage)
    with (
        plain_mount(ram_directory, storage, filesystem, "noatime") as (place, path),
        Holdfast(settings) as holdfast,
    ):
        holdfast.adopt_volume("data", str(path))
        before = holdfast.show_volume("data")
        inode = path.stat().st_ino
        try:
            with application(path, ram_directory / "record") as running:
                receipt = holdfast.restorations.change_kind(GateRequest("data", (), in_place=True))
                assert receipt.outcome == "done"
                assert receipt.details["kind"] == "adopted to gated"
                running.wait_for_more()
                report = holdfast.show_volume("data")
                assert (report.kind, report.state) == ("gated", VolumeState.HEALTHY)
                assert [(leg.url, leg.state) for leg in report.legs] == [
                    (before.source, LegState.IN_SYNC)
                ]
                assert path.stat().st_ino == inode
                mount = mount_at(path)
                assert mount is not None
                assert sectors_of(report.device) == {IMAGE: 512, DEVICE: 4096}[storage]
                assert "noatime" in mount.options.split(",")
                assert holdfast.restorations.copies("data") == []

                receipt = holdfast.restorations.change_kind(UngateRequest("data", in_place=True))
                assert receipt.outcome == "done"
                running.wait_for_more()
                after = holdfast.show_volume("data")
                assert (after.kind, after.source) == ("adopted", before.source)
                assert after.state is VolumeState.HEALTHY
                assert holdfast.restorations.copies("data") == []
                assert running.verify() > 0
        finally:
            holdfast.detach_volume("data")
            holdfast.delete_volume("data")
        check(place, filesystem)
