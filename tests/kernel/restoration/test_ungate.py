"""A gated volume becomes a plain mount under an application that runs, and back again."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.volume import VolumeState
from holdfast.service import GateRequest, Holdfast, NewVolume, UngateRequest
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.restoration.bench import application, detach_loops_in


@pytest.fixture
def gated(settings: Settings, ram_directory: Path) -> Iterator[tuple[Holdfast, Path]]:
    """A mirror of two; whatever became of it is dismounted and deleted."""
    path = ram_directory / "mnt"
    urls = tuple(f"file:{ram_directory}/leg{number}.img" for number in (1, 2))
    wanted = NewVolume("shop", 64 << 20, str(path), leg_urls=urls, options="noatime")
    with Holdfast(settings) as holdfast:
        holdfast.create_volume(wanted)
        try:
            yield holdfast, path
        finally:
            holdfast.detach_volume("shop")
            holdfast.delete_volume("shop")
            detach_loops_in(ram_directory)


def test_its_user_goes_on_and_the_legs_stay(
    gated: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    holdfast, path = gated
    before = holdfast.catalog.volume("shop")
    place = holdfast.settings.gate_state_directory("shop")
    assert place.exists()
    with application(path, ram_directory / "record") as running:
        receipt = holdfast.restorations.change_kind(
            UngateRequest("shop", f"file:{ram_directory}/plain.img")
        )
        assert receipt.outcome == "done"
        assert receipt.details["kind"] == "gated to adopted"
        running.wait_for_more()
        assert running.verify() > 0
    after = holdfast.show_volume("shop")
    assert (after.kind, after.state) == ("adopted", VolumeState.HEALTHY)
    assert after.source == f"file:{ram_directory}/plain.img"
    assert (after.legs, after.gate) == ((), None)
    assert not place.exists()
    copy = holdfast.restorations.copies("shop")[0]
    assert (copy.urls, copy.volume_id) == (before.leg_urls, before.id)
    mount = mount_at(path)
    assert mount is not None
    assert "noatime" in mount.options.split(",")
    # It can be detached, and found again by its image alone.
    holdfast.detach_volume("shop")
    assert mount_at(path) is None
    assert holdfast.attach_volume("shop").state is VolumeState.HEALTHY
    assert (path / "log").exists()


def test_without_a_container_it_gets_an_image_beside_its_leg(
    gated: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    holdfast, path = gated
    (path / "file").write_text("kept")
    holdfast.restorations.change_kind(UngateRequest("shop"))
    [image] = ram_directory.glob("leg1.plain-*.img")
    assert holdfast.show_volume("shop").source == f"file:{image}"
    assert (path / "file").read_text() == "kept"
    subprocess.run(["umount", path], check=True)
    assert not (path / "file").exists()
    subprocess.run(["mount", "-o", "ro,loop", image, path], check=True)
    assert (path / "file").read_text() == "kept"


def test_back_and_forth(gated: tuple[Holdfast, Path], ram_directory: Path) -> None:
    """Each change has one receipt and leaves one copy; the gates' receipts are not lost."""
    holdfast, path = gated
    with application(path, ram_directory / "record") as running:
        for number in range(2):
            holdfast.restorations.change_kind(
                UngateRequest("shop", f"file:{ram_directory}/plain{number}.img")
            )
            holdfast.restorations.change_kind(
                GateRequest("shop", (f"file:{ram_directory}/again{number}.img",))
            )
        running.wait_for_more()
        assert running.verify() > 0
    assert [each.strategy for each in holdfast.receipts("shop")].count("migrate") == 4
    assert len(holdfast.restorations.copies("shop")) == 4
    assert holdfast.show_volume("shop").state is VolumeState.HEALTHY
