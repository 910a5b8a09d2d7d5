"""Which mount a path leads to, and volumes that are hidden below another one."""

from __future__ import annotations

from dataclasses import replace

from holdfast.detection.mount_table import hidden, seen_at
from holdfast.model.volume import VolumeReport, VolumeState
from holdfast.system.mounts.mount_table import Mount

REPORT = VolumeReport(
    "shop", "gated", VolumeState.HEALTHY, "/srv/shop", "ext4", 1 << 30, "/dev/loop0",
    "i", "", "", "", "unflushed", 3, wanted=True,
)  # fmt: skip


def mount(number: int, parent: int, path: str, source: str) -> Mount:
    return Mount(number, parent, "0:1", "/", path, "rw", "ext4", source, "rw")


ROOT = mount(20, 1, "/", "/dev/vda")
SRV = mount(21, 20, "/srv", "/dev/vdb")
SHOP = mount(22, 21, "/srv/shop", "/dev/loop0")


def words(*table: Mount) -> list[str]:
    return [each.words for each in hidden([REPORT], table)]


def test_nothing_hides_it() -> None:
    assert seen_at([SHOP, SRV, ROOT], "/srv/shop") == SHOP
    assert seen_at([replace(ROOT, parent=20), SRV], "/srv/shop/deeper") == SRV
    assert words(ROOT, SRV, SHOP) == []
    assert words(ROOT, SRV) == []


def test_mounted_over_it_or_above() -> None:
    over = mount(30, 22, "/srv/shop", "tmpfs")
    above = mount(31, 21, "/srv", "other")
    assert "tmpfs" in words(ROOT, SRV, SHOP, over)[0]
    assert "other (ext4), mounted at /srv" in words(ROOT, SRV, SHOP, above)[0]


def test_a_server_that_calls_itself_its_device() -> None:
    forged = replace(mount(30, 22, "/srv/shop", "/dev/loop0"), filesystem="fuse.x")
    assert "(fuse.x)" in words(ROOT, SRV, SHOP, forged)[0]


def test_its_own_again_and_one_beneath() -> None:
    assert words(ROOT, SRV, SHOP, mount(30, 22, "/srv/shop", "/dev/loop0")) == []
    beneath = mount(30, 21, "/srv/shop", "tmpfs")
    assert words(ROOT, SRV, beneath, replace(SHOP, parent=30)) == []


def test_no_root_and_a_circle() -> None:
    assert seen_at([SRV], "/srv") is None
    assert seen_at([], "/srv") is None
    assert seen_at([ROOT, mount(21, 21, "/srv", "x")], "/srv") == ROOT
