"""A gate under a mount where it lies, with further legs: the first one can be lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import HoldfastError, StorageFailed
from holdfast.model.volume import LegState, VolumeState
from holdfast.restoration.performing.perform import perform
from holdfast.service import GateRequest, Holdfast, UngateRequest
from holdfast.system.mounts.mount_table import mount_at
from tests.faults import truncate_to_zero
from tests.kernel.restoration.bench import application, detach_loops_in, is_settled
from tests.kernel.restoration.in_place.bench import (
    DEVICE,
    IMAGE,
    needs,
    plain_mount,
    print_of,
)
from tests.soak import rounds
from tests.waiting import wait_until


@contextmanager
def adopted(
    settings: Settings, folder: Path, storage: str = IMAGE, *options: str
) -> Iterator[tuple[Holdfast, Path, Path]]:
    """A plain mount named data; whatever became of it is deleted."""
    needs(storage)
    with (
        plain_mount(folder, storage, "ext4", *options) as (place, path),
        Holdfast(settings) as holdfast,
    ):
        holdfast.adopt_volume("data", str(path))
        try:
            yield holdfast, place, path
        finally:
            holdfast.detach_volume("data")
            holdfast.delete_volume("data")
            detach_loops_in(folder)


@pytest.mark.parametrize("storage", [IMAGE, DEVICE])
def test_several_times_and_the_first_leg_is_lost(
    settings: Settings, ram_directory: Path, storage: str
) -> None:
    second = f"file:{ram_directory}/second.img"
    with (
        adopted(settings, ram_directory, storage) as (holdfast, place, path),
        application(path, ram_directory / "record") as running,
    ):
        sizes = set()
        for _ in range(rounds(3 if storage == IMAGE else 2, 10)):
            holdfast.restorations.change_kind(GateRequest("data", (), in_place=True))
            running.wait_for_more()
            sizes.add(print_of(place)[0])
            holdfast.restorations.change_kind(UngateRequest("data", in_place=True))
            running.wait_for_more()
            sizes.add(print_of(place)[0])
        assert len(sizes) == 1  # it grew once
        holdfast.restorations.change_kind(GateRequest("data", (), in_place=True))
        first = holdfast.show_volume("data").legs[0].url
        holdfast.legs.add("data", second)
        wait_until(lambda: holdfast.show_volume("data").state is VolumeState.HEALTHY)
        if storage == IMAGE:
            truncate_to_zero(place)
            wait_until(lambda: holdfast.show_volume("data").state is VolumeState.DEGRADED)
        else:
            holdfast.legs.remove("data", first)
        running.wait_for_more()
        assert running.verify() > 0


def test_further_legs_are_filled_after_the_pause(settings: Settings, ram_directory: Path) -> None:
    legs = tuple(f"file:{ram_directory}/{number}.img" for number in (2, 3))
    spare = f"file:{ram_directory}/spare.img"
    with adopted(settings, ram_directory) as (holdfast, place, path):
        with application(path, ram_directory / "record") as running:
            request = GateRequest("data", legs, (spare,), in_place=True)
            receipt = holdfast.restorations.change_kind(request)
            assert receipt.outcome == "done"
            report = holdfast.show_volume("data")
            assert report.state is VolumeState.HEALTHY
            assert [(leg.url, leg.state) for leg in report.legs] == [
                *((url, LegState.IN_SYNC) for url in (f"file:{place}", *legs)),
                (spare, LegState.SPARE),
            ]
            truncate_to_zero(place)
            running.wait_for_more()
            assert running.verify() > 0
        holdfast.detach_volume("data")
        assert mount_at(path) is None
        holdfast.attach_volume("data")
        assert (path / "log").exists()


def test_it_stays_on_the_leg_that_is_named(settings: Settings, ram_directory: Path) -> None:
    second = f"file:{ram_directory}/second.img"
    with adopted(settings, ram_directory) as (holdfast, place, path):
        with application(path, ram_directory / "record") as running:
            holdfast.restorations.change_kind(GateRequest("data", (second,), in_place=True))
            gated = holdfast.catalog.volume("data")
            holdfast.restorations.change_kind(UngateRequest("data", second, in_place=True))
            running.wait_for_more()
            assert holdfast.show_volume("data").source == second
            copy = holdfast.restorations.copies("data")[0]
            assert (copy.urls, copy.volume_id) == ((f"file:{place}",), gated.id)
            assert running.verify() > 0
        holdfast.detach_volume("data")
        assert holdfast.attach_volume("data").state is VolumeState.HEALTHY
        assert (path / "log").exists()


@pytest.mark.parametrize("storage", [IMAGE, DEVICE])
def test_what_fails_leaves_the_container_as_it_was(
    settings: Settings, ram_directory: Path, storage: str
) -> None:
    """To get a gate, then to lose it; with a further leg, which is not kept."""
    second = ram_directory / "second.img"

    def checkpoint(place: str) -> None:
        if place == "after remount":
            raise StorageFailed("played")

    def fails(holdfast: Holdfast, request: GateRequest | UngateRequest) -> None:
        volume = holdfast.catalog.volume("data")
        found = holdfast.restorations.assess(request)
        with pytest.raises(HoldfastError, match="played"):
            perform(settings, holdfast.catalog, found, checkpoint=checkpoint)
        assert holdfast.catalog.volume("data") == volume
        assert holdfast.show_volume("data").state is VolumeState.HEALTHY
        assert holdfast.receipts("data")[0].outcome.startswith("undone")
        assert holdfast.recover() == []

    with (
        adopted(settings, ram_directory, storage) as (holdfast, place, path),
        application(path, ram_directory / "record") as running,
    ):
        before = _end(place)
        fails(holdfast, GateRequest("data", (f"file:{second}",), in_place=True))
        assert is_settled(running.pid)
        running.wait_for_more()
        assert _end(place) == before
        assert not settings.gate_state_directory("data").exists()
        assert not second.exists()

        holdfast.restorations.change_kind(GateRequest("data", (), in_place=True))
        fails(holdfast, UngateRequest("data", in_place=True))
        assert is_settled(running.pid)
        running.wait_for_more()
        assert running.verify() > 0


def _end(place: Path) -> tuple[int, bytes]:
    """The size, and what lies behind the file system."""
    with place.open("rb") as file:
        return file.seek(0, os.SEEK_END), os.pread(file.fileno(), 64 << 20, 64 << 20)


def test_unknown_bytes_come_back_when_it_is_undone(settings: Settings, ram_directory: Path) -> None:
    with adopted(settings, ram_directory, DEVICE) as (holdfast, place, _):
        with place.open("r+b", buffering=0) as file:
            file.seek(-8192, 2)
            file.write(b"x" * 4096)
        before = _end(place)

        def checkpoint(where: str) -> None:
            if where == "after restore":
                assert _end(place) != before
                raise StorageFailed("played")

        request = GateRequest("data", (), in_place=True, forced=True)
        found = holdfast.restorations.assess(request)
        with pytest.raises(StorageFailed, match="played"):
            perform(settings, holdfast.catalog, found, checkpoint=checkpoint)
        assert _end(place) == before


def test_somebody_takes_it_meanwhile(settings: Settings, ram_directory: Path) -> None:
    """An administrator attaches the image once more, while all stand: all go on as before."""
    with adopted(settings, ram_directory) as (holdfast, place, path):
        taken: list[int] = []

        def checkpoint(where: str) -> None:
            if where == "before restore":
                command = ["losetup", "--find", "--show", str(place)]
                done = subprocess.run(command, check=True, capture_output=True, text=True)
                taken.append(os.open(done.stdout.strip(), os.O_RDONLY))

        with application(path, ram_directory / "record") as running:
            before = print_of(place)[0]
            found = holdfast.restorations.assess(GateRequest("data", (), in_place=True))
            try:
                with pytest.raises(HoldfastError):
                    perform(settings, holdfast.catalog, found, checkpoint=checkpoint)
            finally:
                for each in taken:
                    os.close(each)
            running.wait_for_more()
            assert running.verify() > 0
            assert print_of(place)[0] == before
            assert holdfast.show_volume("data").kind == "adopted"
