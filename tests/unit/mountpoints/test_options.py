"""Options of a file system go along where they mean something, and are named where not."""

from __future__ import annotations

import pytest

from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.options import carry_options, wanted_super_options


def point(options: str, super_options: str) -> MountPoint:
    return MountPoint(
        id=1, namespace=1, witness_pid=1, path="/a", inside="", options=options,
        super_options=super_options, filesystem="ext4", source="/dev/a", device="7:1",
    )  # fmt: skip


@pytest.mark.parametrize(
    ("given", "old", "new", "kept", "dropped"),
    [
        ("rw", "ext4", "ext4", "", ""),
        ("rw,seclabel,commit=5,discard", "ext4", "ext4", "commit=5,discard", ""),
        ("rw,sync,commit=5,discard", "ext4", "xfs", "sync,discard", "commit=5"),
        ("rw,acl,usrquota", "ext4", "btrfs", "acl", "usrquota"),
        ("rw,subvolid=256,subvol=/a,compress=zstd:3", "btrfs", "xfs", "", "compress=zstd:3"),
        ("rw,subvolid=256,subvol=/a", "btrfs", "btrfs", "", ""),
        ("rw,attr2,inode64,noquota", "xfs", "xfs", "inode64", ""),
        ("ro,context=system_u:object_r:x", "xfs", "ext4", "ro,context=system_u:object_r:x", ""),
    ],
)
def test_options_from_one_type_to_another(
    given: str, old: str, new: str, kept: str, dropped: str
) -> None:
    options, findings = carry_options(given, old, new)
    assert options == kept
    assert bool(findings) == bool(dropped)
    assert all(dropped in finding.found for finding in findings)


def test_read_only_is_carried_only_when_it_was_asked_for() -> None:
    asked = [point("ro,relatime", "ro,discard")]
    turned = [point("ro", "ro,discard"), point("rw", "ro,discard")]
    assert wanted_super_options(asked) == "ro,discard"
    assert wanted_super_options(turned) == "discard"
    assert wanted_super_options([]) == ""
