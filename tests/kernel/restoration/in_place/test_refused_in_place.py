"""What keeps a volume from getting or losing its gate where it lies is found beforehand, and told;
the container is, byte for byte, what it was."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import (
    Blocked,
    ForeignLeg,
    HoldfastError,
    InUse,
    InvalidOption,
    NotInPlace,
    TooSmall,
    Untrusted,
)
from holdfast.model.finding import Verdict
from holdfast.model.volume import VolumeState
from holdfast.service import GateRequest, Holdfast, NewVolume, UngateRequest
from tests.faults import SmallDisk, truncate_to_zero
from tests.kernel.restoration.bench import detach_loops_in, make_image, mounted
from tests.kernel.restoration.in_place.bench import (
    DEVICE,
    FILE_SYSTEM_BYTES,
    IMAGE,
    make,
    needs,
    plain_mount,
    print_of,
)
from tests.waiting import wait_until

IN_PLACE = GateRequest("data", (), in_place=True)
QUIET = "noinit_itable"
"""Else ext4 writes its tables for some time after its first mount."""
QUIET_OF = {"ext4": (QUIET,), "xfs": (), "btrfs": ()}


@contextmanager
def adopted(settings: Settings, path: Path) -> Iterator[Holdfast]:
    with Holdfast(settings) as holdfast:
        holdfast.adopt_volume("data", str(path))
        try:
            yield holdfast
        finally:
            holdfast.delete_volume("data")


def refuses(
    holdfast: Holdfast, error: type[HoldfastError], place: Path, request: GateRequest = IN_PLACE
) -> HoldfastError:
    """Why; everything is as it was."""
    sync = ["sync", "--file-system", holdfast.show_volume("data").mount]
    subprocess.run(sync, check=True)
    before = print_of(place), place.stat().st_mode, holdfast.show_volume("data")
    with pytest.raises(error) as told:
        holdfast.restorations.change_kind(request)
    subprocess.run(sync, check=True)
    assert (print_of(place), place.stat().st_mode, holdfast.show_volume("data")) == before
    assert holdfast.restorations.in_progress("data") is None
    assert holdfast.receipts("data") == []
    assert not holdfast.settings.gate_state_directory("data").exists()
    assert told.value.mend
    return told.value


@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_a_device_that_its_file_system_fills(
    settings: Settings, ram_directory: Path, filesystem: str
) -> None:
    needs(DEVICE)
    with (
        plain_mount(ram_directory, DEVICE, filesystem, *QUIET_OF[filesystem], room_bytes=0) as (
            place,
            path,
        ),
        adopted(settings, path) as holdfast,
    ):
        told = refuses(holdfast, TooSmall, place)
        assert "fills" in told.message
        assert "holdfast volume gate data --leg URL" in told.mend


def test_no_room_to_grow(settings: Settings, ram_directory: Path) -> None:
    with SmallDisk(ram_directory / "disk", FILE_SYSTEM_BYTES["ext4"] + (16 << 10)) as disk:
        image = disk.path / "plain.img"
        with image.open("wb") as file:
            os.posix_fallocate(file.fileno(), 0, FILE_SYSTEM_BYTES["ext4"])
        image.chmod(0o600)
        make(image, "ext4", FILE_SYSTEM_BYTES["ext4"])
        disk.fill()
        with (
            mounted(image, ram_directory / "mnt", QUIET) as path,
            adopted(settings, path) as holdfast,
        ):
            assert disk.free_bytes() < 36 << 10
            assert "has to grow" in refuses(holdfast, TooSmall, image).message


def test_another_loop_device_has_it(settings: Settings, ram_directory: Path) -> None:
    with (
        plain_mount(ram_directory, IMAGE, "ext4", QUIET) as (place, path),
        adopted(settings, path) as holdfast,
    ):
        command = ["losetup", "--find", "--show", "--read-only", str(place)]
        device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
        try:
            assert device in refuses(holdfast, InUse, place).message
        finally:
            subprocess.run(["losetup", "--detach", device], check=True)


def test_only_a_part_of_an_image_is_shown(settings: Settings, ram_directory: Path) -> None:
    image = make_image(ram_directory / "whole.img", size_bytes=64 << 20)
    place = ram_directory / "part.img"
    with place.open("wb") as file:
        file.write(bytes(1 << 20))
        file.write(image.read_bytes())
    place.chmod(0o600)
    command = ["losetup", "--find", "--show", "--offset", str(1 << 20), str(place)]
    device = subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()
    try:
        with (
            mounted(device, ram_directory / "mnt", QUIET) as path,
            adopted(settings, path) as holdfast,
        ):
            assert "part of" in refuses(holdfast, NotInPlace, place).message
    finally:
        detach_loops_in(ram_directory)


def test_it_cannot_be_written(settings: Settings, ram_directory: Path) -> None:
    with (
        plain_mount(ram_directory, IMAGE, "ext4", "ro") as (place, path),
        adopted(settings, path) as holdfast,
    ):
        assert "read-only" in refuses(holdfast, NotInPlace, place).message


def test_it_cannot_be_opened_for_writing_again(settings: Settings, ram_directory: Path) -> None:
    """Its loop device writes still; let go of, it could not come back."""
    with (
        plain_mount(ram_directory, IMAGE, "ext4", QUIET) as (place, path),
        adopted(settings, path) as holdfast,
    ):
        subprocess.run(["chattr", "+i", place], check=True)
        try:
            assert "opened for writing" in refuses(holdfast, NotInPlace, place).message
        finally:
            subprocess.run(["chattr", "-i", place], check=True)


def test_strangers_may_write_it(settings: Settings, ram_directory: Path) -> None:
    with (
        plain_mount(ram_directory, IMAGE, "ext4", QUIET) as (place, path),
        adopted(settings, path) as holdfast,
    ):
        place.chmod(0o666)
        refuses(holdfast, Untrusted, place)


def test_it_lies_in_no_container(settings: Settings, ram_directory: Path) -> None:
    path = ram_directory / "mnt"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", path], check=True)
    try:
        with adopted(settings, path) as holdfast, pytest.raises(NotInPlace) as told:
            holdfast.restorations.change_kind(IN_PLACE)
        assert "--leg URL" in told.value.mend
    finally:
        subprocess.run(["umount", path], check=True)


def test_a_part_of_it_is_mounted(settings: Settings, ram_directory: Path) -> None:
    with plain_mount(ram_directory, IMAGE, "btrfs") as (place, path):
        subprocess.run(["btrfs", "subvolume", "create", path / "a"], check=True)
        subprocess.run(["umount", path], check=True)
        with (
            mounted(place, path, "subvol=a") as part,
            adopted(settings, part) as holdfast,
        ):
            assert "mounted in part" in refuses(holdfast, Blocked, place).message


def test_it_is_a_leg_already(settings: Settings, ram_directory: Path) -> None:
    """Of a volume that somebody has copied by hand, or did not ungate."""
    copy = ram_directory / "copy.img"
    with plain_mount(ram_directory) as (place, path), Holdfast(settings) as holdfast:
        holdfast.adopt_volume("other", str(path))
        holdfast.restorations.change_kind(GateRequest("other", (), in_place=True))
        holdfast.detach_volume("other")
        shutil.copyfile(place, copy)
        copy.chmod(0o600)
        holdfast.delete_volume("other")
    with mounted(copy, ram_directory / "mnt", QUIET) as path, adopted(settings, path) as holdfast:
        told = refuses(holdfast, ForeignLeg, copy)
        # The mend that is told works.
        subprocess.run(told.mend.partition(": ")[2].split(), check=True)
        assert not holdfast.restorations.assess(IN_PLACE).plan.refuses


def test_bytes_behind_the_file_system_that_nobody_knows(
    settings: Settings, ram_directory: Path
) -> None:
    needs(DEVICE)
    with (
        plain_mount(ram_directory, DEVICE, "ext4", QUIET) as (place, path),
        adopted(settings, path) as holdfast,
    ):
        with place.open("r+b", buffering=0) as file:
            file.seek(-8192, os.SEEK_END)
            file.write(b"x" * 4096)
            os.fsync(file.fileno())
        told = refuses(holdfast, Blocked, place)
        assert "are not zero" in told.message
        subprocess.run(told.mend.partition(": ")[2].split(), check=True)
        assert not holdfast.restorations.assess(IN_PLACE).plan.refuses


def test_fstab_would_mount_it_past_its_gate(settings: Settings, ram_directory: Path) -> None:
    """By its UUID, which stays, at whatever place; a comment does no harm."""
    table = ram_directory / "fstab"
    with (
        plain_mount(ram_directory, IMAGE, "ext4", QUIET) as (place, path),
        adopted(settings, path) as holdfast,
    ):
        uuid = holdfast.catalog.volume("data").mount.uuid
        line = f"UUID={uuid} /elsewhere ext4 noatime 0 2"
        table.write_text(f"{line}\n")
        subprocess.run(["mount", "--bind", table, "/etc/fstab"], check=True)
        try:
            assert line in refuses(holdfast, Blocked, place).message
            table.write_text(f"# {line}\n")
            assert not holdfast.restorations.assess(IN_PLACE).plan.refuses
        finally:
            subprocess.run(["umount", "/etc/fstab"], check=True)


def test_further_legs_are_looked_at(settings: Settings, ram_directory: Path) -> None:
    full = make_image(ram_directory / "full.img", size_bytes=96 << 20)
    with (
        plain_mount(ram_directory, IMAGE, "ext4", QUIET) as (place, path),
        adopted(settings, path) as holdfast,
    ):
        for leg in (full, place):
            request = GateRequest("data", (f"file:{leg}",), in_place=True)
            refuses(holdfast, HoldfastError, place, request)


def test_it_stays_what_it_is(settings: Settings) -> None:
    with pytest.raises(InvalidOption):
        GateRequest("data", (), in_place=True, filesystem="xfs")
    with pytest.raises(InvalidOption):
        UngateRequest("data", in_place=True, filesystem="xfs")


def test_a_plan_says_where_the_data_is_and_what_protects_it(
    settings: Settings, ram_directory: Path
) -> None:
    with plain_mount(ram_directory) as (place, path), adopted(settings, path) as holdfast:
        found = holdfast.restorations.assess(IN_PLACE)
        told = {each.subject: each for each in found.plan.findings}
        assert (
            told["storage"].found
            == f"file:{place} keeps the file system as it is, and becomes a leg"
        )
        assert told["redundancy"].verdict is Verdict.LIMITED
        assert "holdfast leg add data URL" in told["redundancy"].mend
        assert told["pause"].found
        assert found.plan.predicted_pause_seconds > 0


def test_only_a_leg_can_keep_it(settings: Settings, ram_directory: Path) -> None:
    leg = f"file:{ram_directory}/leg.img"
    with Holdfast(settings) as holdfast:
        path = str(ram_directory / "mnt")
        holdfast.create_volume(NewVolume("shop", 64 << 20, path, leg_urls=(leg,)))
        try:
            url = f"file:{ram_directory}/other.img"
            with pytest.raises(NotInPlace, match="no leg in sync"):
                holdfast.restorations.change_kind(UngateRequest("shop", url, in_place=True))
            second = ram_directory / "second.img"
            holdfast.legs.add("shop", f"file:{second}")
            truncate_to_zero(second)
            wait_until(lambda: holdfast.show_volume("shop").state is VolumeState.DEGRADED)
            request = UngateRequest("shop", f"file:{second}", in_place=True)
            with pytest.raises(NotInPlace, match="no leg in sync"):
                holdfast.restorations.change_kind(request)
        finally:
            holdfast.delete_volume("shop")
