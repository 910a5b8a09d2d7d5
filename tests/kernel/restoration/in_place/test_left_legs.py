"""A leg that was left when a gate was taken away in place has the same UUID as the one that the
volume stays on: it is never mounted in its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import StorageFailed
from holdfast.model.volume import VolumeState
from holdfast.service import GateRequest, Holdfast, UngateRequest
from tests.faults.hanging_loop import Where, hanging_loop
from tests.faults.ram_disk import ram_disk
from tests.kernel.restoration.in_place.bench import (
    DEVICE,
    FILE_SYSTEM_BYTES,
    ROOM_BYTES,
    needs,
    plain_mount,
)


def test_it_is_told_from_the_volume_by_what_lies_on_it(
    settings: Settings, ram_directory: Path
) -> None:
    """Whether the device of the volume is not there, or both have changed names at a restart; also
    while a stranger's device does not answer, which is named."""
    needs(DEVICE)
    strangers = ram_directory / "strangers"
    strangers.mkdir()
    with (
        ram_disk(FILE_SYSTEM_BYTES["ext4"] + ROOM_BYTES) as second,
        plain_mount(ram_directory, DEVICE) as (first, path),
        Holdfast(settings) as holdfast,
    ):
        holdfast.adopt_volume("data", str(path))
        request = GateRequest("data", (f"block:{second}",), in_place=True)
        holdfast.restorations.change_kind(request)
        holdfast.restorations.change_kind(UngateRequest("data", in_place=True))
        (path / "later").write_text("written since")
        holdfast.detach_volume("data")
        own, left = first.read_bytes(), second.read_bytes()

        first.write_bytes(bytes(len(own)))
        with pytest.raises(StorageFailed, match=f"{second} is a leg that was left"):
            holdfast.attach_volume("data")

        first.write_bytes(left)
        with pytest.raises(StorageFailed, match=f"{first}, {second} is a leg that was left"):
            holdfast.attach_volume("data")

        with hanging_loop(strangers, Where.HERE) as theirs:
            words = f"{theirs}.* did not answer; {first}, {second} is a leg that was left"
            with pytest.raises(StorageFailed, match=words):
                holdfast.attach_volume("data")
            second.write_bytes(own)
            assert holdfast.attach_volume("data").state is VolumeState.HEALTHY
            assert (path / "later").read_text() == "written since"
            holdfast.detach_volume("data")

        first.write_bytes(own)
        second.write_bytes(left)
        assert holdfast.attach_volume("data").state is VolumeState.HEALTHY
        assert (path / "later").exists()
        holdfast.detach_volume("data")
        holdfast.delete_volume("data")
