"""A gated volume becomes a plain mount under an application that runs, and back again."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.volume import LegState, VolumeState
from holdfast.service import GateRequest, Holdfast, NewVolume, UngateRequest
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.restoration.bench import application, detach_loops_in
from tests.waiting import wait_until


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


def test_a_spare_that_took_a_legs_place_is_what_stays(
    gated: tuple[Holdfast, Path], ram_directory: Path
) -> None:
    """The gate does that by itself, and the catalog does not hear of it."""
    holdfast, path = gated
    spare, lost = ram_directory / "spare.img", ram_directory / "leg1.img"
    holdfast.legs.add("shop", f"file:{spare}", spare=True)
    (path / "file").write_text("before")
    os.truncate(lost, 0)
    (path / "file").write_text("after")
    subprocess.run(["sync", "--file-system", str(path)], check=True)
    wait_until(lambda: _in_sync(holdfast) == {f"file:{spare}", f"file:{ram_directory}/leg2.img"})
    request = UngateRequest("shop", f"file:{ram_directory}/plain.img")
    told = str(holdfast.restorations.assess(request).plan.findings)
    assert (str(spare) in told, str(lost) in told) == (True, False)
    holdfast.restorations.change_kind(request)
    assert set(holdfast.restorations.copies("shop")[0].urls) == {
        f"file:{spare}",
        f"file:{ram_directory}/leg2.img",
    }
    assert (path / "file").read_text() == "after"


def _in_sync(holdfast: Holdfast) -> set[str]:
    legs = holdfast.show_volume("shop").legs
    return {leg.url for leg in legs if leg.state is LegState.IN_SYNC}
