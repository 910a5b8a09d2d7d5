"""What superblocks repeat of a volume is enough to mount it again without a catalog."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from holdfast.errors import StorageFailed
from holdfast.gate.members.configuration import GateConfiguration, LegEntry
from holdfast.model.volume import JournalMode, MountProperties, Volume
from holdfast.volumes.descriptor import describe, volume_of, with_configuration

VOLUME = Volume(
    name="shop",
    id="7f9c",
    kind="gated",
    size_bytes=64 << 20,
    mount=MountProperties(
        path="/srv/two words",
        filesystem="xfs",
        options="noatime,nodev",
        label="shop",
        uuid="12-34",
        owner_uid=33,
        owner_gid=34,
        mode=0o2750,
        fstab="/dev/x /srv/shop xfs noauto 0 0",
    ),
    leg_urls=("file:/a", "block:/dev/b"),
    spare_urls=("file:/c",),
    journal=JournalMode.NONE,
    hold_timeout_seconds=1.5,
    hang_timeout_seconds=2.5,
)
CONFIGURATION = GateConfiguration(
    name="shop",
    volume_id="7f9c",
    size_bytes=64 << 20,
    epoch=3,
    legs=(LegEntry(1, "i", "file:/a"), LegEntry(2, "j", "block:/dev/b")),
    spare_urls=("file:/c",),
    journal=JournalMode.NONE,
    hold_timeout_seconds=1.5,
    hang_timeout_seconds=2.5,
    descriptor=json.loads(json.dumps(describe(VOLUME))),
)


def test_the_volume_comes_back_but_for_the_fstab_of_its_host() -> None:
    assert volume_of(CONFIGURATION) == replace(VOLUME, mount=replace(VOLUME.mount, fstab=""))


def test_an_unknown_shape_is_an_error_of_ours() -> None:
    for descriptor in ({}, {"mount": {}, "kind": "gated"}, {"mount": {"colour": 1}}):
        with pytest.raises(StorageFailed, match="do not say how it was mounted"):
            volume_of(replace(CONFIGURATION, descriptor=descriptor))


def test_the_gate_knows_size_and_legs_better() -> None:
    grown = replace(CONFIGURATION, size_bytes=128 << 20, legs=CONFIGURATION.legs[1:])
    volume = with_configuration(VOLUME, grown)
    assert (volume.size_bytes, volume.leg_urls) == (128 << 20, ("block:/dev/b",))
    assert volume.mount == VOLUME.mount
