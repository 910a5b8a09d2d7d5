"""A gated volume gets another file system on another container under an application that runs."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.plan import Strategy
from holdfast.model.volume import VolumeReport, VolumeState
from holdfast.service import AssessRequest, Holdfast, MigrateRequest, NewVolume
from holdfast.system.mounts.mount_table import mount_at
from tests.kernel.restoration.bench import SIZE_BYTES, application


@pytest.fixture
def gated(settings: Settings, ram_directory: Path) -> Iterator[tuple[Holdfast, VolumeReport]]:
    with Holdfast(settings) as holdfast:
        wanted = NewVolume(
            name="shop",
            size_bytes=SIZE_BYTES,
            mount_path=str(ram_directory / "mnt"),
            leg_urls=(f"file:{ram_directory}/1.img", f"file:{ram_directory}/2.img"),
        )
        report = holdfast.create_volume(wanted)
        try:
            yield holdfast, report
        finally:
            holdfast.delete_volume("shop")


def test_ext4_to_xfs_on_another_container(
    gated: tuple[Holdfast, VolumeReport], ram_directory: Path
) -> None:
    holdfast, before = gated
    path = Path(before.mount)
    with application(path, ram_directory / "record") as running:
        receipt = holdfast.restorations.migrate(
            MigrateRequest("shop", (f"file:{ram_directory}/3.img",), filesystem="xfs")
        )
        assert receipt is not None
        assert receipt.outcome == "done"
        mounted = mount_at(path)
        assert mounted is not None
        assert mounted.filesystem == "xfs"
        running.wait_for_more()
        assert running.verify() > 0
    after = holdfast.show_volume("shop")
    assert after.kind == "gated"
    assert after.state is VolumeState.HEALTHY
    assert after.filesystem == "xfs"
    assert [leg.url for leg in after.legs] == [f"file:{ram_directory}/3.img"]
    assert after.id != before.id
    copy = holdfast.restorations.copies("shop")[0]
    assert copy.urls == tuple(leg.url for leg in before.legs)
    assert copy.volume_id == before.id
    # It is a volume like any other now.
    holdfast.legs.add("shop", f"file:{ram_directory}/4.img")
    holdfast.detach_volume("shop")
    assert holdfast.attach_volume("shop").state is VolumeState.HEALTHY
    assert (path / "log").exists()


def test_the_same_type_moves_without_a_dismount(
    gated: tuple[Holdfast, VolumeReport], ram_directory: Path
) -> None:
    holdfast, before = gated
    path = Path(before.mount)
    mounted = mount_at(path)
    with application(path, ram_directory / "record") as running:
        assert (
            holdfast.restorations.migrate(MigrateRequest("shop", (f"file:{ram_directory}/3.img",)))
            is None
        )
        running.wait_for_more()
        assert running.verify() > 0
    assert mount_at(path) == mounted
    after = holdfast.show_volume("shop")
    assert [leg.url for leg in after.legs] == [f"file:{ram_directory}/3.img"]


def test_a_mirror_stays_one_where_as_many_legs_are_named(
    gated: tuple[Holdfast, VolumeReport], ram_directory: Path
) -> None:
    """And keeps its spare; with fewer, that is told before."""
    holdfast, before = gated
    spare = f"file:{ram_directory}/spare.img"
    holdfast.legs.add("shop", spare, spare=True)
    third, fourth = (f"file:{ram_directory}/{number}.img" for number in (3, 4))
    alone = holdfast.restorations.assess(
        AssessRequest("shop", Strategy.MIGRATE, (third,), filesystem="xfs")
    )
    assert "redundancy" in [finding.subject for finding in alone.plan.findings]
    (Path(before.mount) / "file").write_text("kept")
    receipt = holdfast.restorations.migrate(
        MigrateRequest(
            "shop",
            (
                third,
                *[fourth],
            ),
            filesystem="xfs",
        )
    )
    assert receipt is not None
    assert "redundancy" not in str(receipt.details["findings"])
    after = holdfast.show_volume("shop")
    assert after.state is VolumeState.HEALTHY
    assert [leg.url for leg in after.legs] == [third, fourth, spare]
    holdfast.legs.remove("shop", third)  # the other one has everything
    holdfast.detach_volume("shop")
    holdfast.attach_volume("shop")
    assert (Path(before.mount) / "file").read_text() == "kept"


def test_the_gate_fills_as_many_legs_as_are_named(
    gated: tuple[Holdfast, VolumeReport], ram_directory: Path
) -> None:
    holdfast, _ = gated
    third, fourth = (f"file:{ram_directory}/{number}.img" for number in (3, 4))
    assert (
        holdfast.restorations.migrate(
            MigrateRequest(
                "shop",
                (
                    third,
                    *[fourth],
                ),
            )
        )
        is None
    )
    after = holdfast.show_volume("shop")
    assert after.state is VolumeState.HEALTHY
    assert [leg.url for leg in after.legs] == [third, fourth]
