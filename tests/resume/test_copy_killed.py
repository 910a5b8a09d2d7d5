"""Whoever makes a copy, brings it on, or clones is killed at any place: `recover`, or the same
again, leaves either the whole or nothing, and a copy that was complete stays good."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import holdfast.service.clones
import holdfast.service.copies
import holdfast.service.drilled_contents
import holdfast.service.drills
import holdfast.service.filled_clones
import holdfast.service.following
import holdfast.service.past_view
import holdfast.service.points
import holdfast.service.restorations
from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.copies.records import (
    CopyRecords,
    FollowingRecords,
    PointRecords,
    PointScheduleRecords,
)
from holdfast.model.copy import VolumeCopy
from holdfast.model.point import RestorePoint
from holdfast.model.schedule import PointKind, PointSchedule
from holdfast.policy.schedules import ScheduledPoint
from holdfast.service import (
    FollowRequest,
    Holdfast,
    RestoreRequest,
    ScheduledPointsRequest,
    perform,
)
from holdfast.system.mounts.mount_table import mount_at
from tests.forked import in_fork
from tests.kernel.conftest import settings  # noqa: F401 - a fixture
from tests.kernel.copies.copied import forgotten, image_at, stood
from tests.kernel.gate.kept_volume import made, write
from tests.resume.dying import dying
from tests.soak import rounds

_PLACES = (
    (holdfast.service.copies, "carried_out"),
    (holdfast.service.copies, "in_expendable_child"),
    (holdfast.service.copies, "kept_end"),
    (holdfast.service.clones, "carried_out"),
    (holdfast.service.clones, "in_expendable_child"),
    (holdfast.service.clones, "adopt_volume"),
    (holdfast.service.filled_clones, "in_expendable_child"),
    (holdfast.service.filled_clones, "carried_out"),
    (holdfast.service.filled_clones, "attach_volume"),
    (holdfast.service.filled_clones.FilledClones, "_begin_to_fill"),
    (Catalog, "add"),
    (holdfast.service.drills, "in_expendable_child"),
    (holdfast.service.drilled_contents, "carried_out"),
    (holdfast.service.drilled_contents, "in_expendable_child"),
    (holdfast.service.past_view, "in_expendable_child"),
    (holdfast.service.restorations, "perform"),
    (holdfast.service.following, "kept_end"),
    (FollowingRecords, "save"),
    (holdfast.service.points, "in_expendable_child"),
    (PointRecords, "save"),
    (PointRecords, "remove"),
    (PointScheduleRecords, "save"),
    (CopyRecords, "save"),
    (CopyRecords, "remove"),
)
"""Before and after each of them something differs."""

STEP = 7 if rounds(0, 1) == 0 else 1
"""Every which place is tried."""


def _killed_at_each(home: Settings, work: Callable[[Holdfast], object]) -> Iterator[int]:
    """Carry it out in a process that dies at a place, at another one each time, until it ends."""
    for at in range(0, 200, STEP):

        def change(at: int = at) -> None:
            with dying(at, _PLACES), Holdfast(home) as holdfast:
                work(holdfast)

        code = in_fork(change).code
        if code == 0:
            return
        assert code == 9
        yield at
    raise AssertionError("it never ends")


@pytest.fixture(name="kept")
def _kept(settings: Settings, ram_directory: Path) -> Iterator[Path]:  # noqa: F811
    """Where a volume with a history is mounted. Nothing is open."""
    with Holdfast(settings) as holdfast, made(holdfast, ram_directory) as mount:
        for number in range(3):
            write(mount, number)
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        holdfast.close()
        yield mount


def _names(folder: Path) -> set[str]:
    return {each.name for each in folder.iterdir()} - {"home", "mnt-shop", "shop.img", "history"}


def test_while_it_is_made(
    settings: Settings,  # noqa: F811
    kept: Path,
    ram_directory: Path,
) -> None:
    url = f"file:{ram_directory}/copy.img"

    def add(holdfast: Holdfast) -> VolumeCopy:
        return holdfast.histories.copies.add("shop", url)

    for number, _ in enumerate(_killed_at_each(settings, add)):
        with Holdfast(settings) as holdfast:
            copies = holdfast.histories.copies
            if number % 2:
                holdfast.recover()
                assert [each.state for each in copies.show()] in ([], ["usable"])
                assert _names(ram_directory) == {"copy.img" for _ in copies.show()}
            if not any(each.is_complete for each in copies.records.all()):
                add(holdfast)
            _check(holdfast, copies.find("shop", url), kept, ram_directory)
            assert copies.remove("shop", url)
            assert not copies.show() and not _names(ram_directory)
    with Holdfast(settings) as holdfast:
        assert holdfast.histories.copies.remove("shop", url)


def _check(holdfast: Holdfast, copy: VolumeCopy, mount: Path, folder: Path) -> None:
    """It is good for a moment of now."""
    write(mount, 1)
    position, data = stood(holdfast, mount, folder)
    assert image_at(copy, folder / "history", position, folder) == data


def test_while_it_is_brought_on(
    settings: Settings,  # noqa: F811
    kept: Path,
    ram_directory: Path,
) -> None:
    url = f"file:{ram_directory}/copy.img"
    with Holdfast(settings) as holdfast:
        holdfast.histories.copies.add("shop", url)

    def advance(holdfast: Holdfast) -> object:
        return holdfast.histories.copies.advance("shop", url)

    for number, _ in enumerate(_killed_at_each(settings, advance)):
        with Holdfast(settings) as holdfast:
            assert not [each for each in holdfast.recover() if "copy" in each]
            _check(holdfast, holdfast.histories.copies.find("shop", url), kept, ram_directory)
            if number % 2:
                advance(holdfast)
    with Holdfast(settings) as holdfast:
        assert holdfast.histories.copies.remove("shop", url)


def test_while_it_follows(
    settings: Settings,  # noqa: F811
    kept: Path,
    ram_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In many parts: what a killed one has written is no moment before it."""
    monkeypatch.setattr(holdfast.service.following, "PART_BYTES", 300_000)
    monkeypatch.setattr(holdfast.service.following, "_REST_SECONDS", 0.01)
    url = f"file:{ram_directory}/copy.img"
    with Holdfast(settings) as service:
        copy = service.histories.copies.add("shop", url)
        service.histories.following.set("shop", copy.id, 10.0)

    def follow(service: Holdfast) -> object:
        return perform(service, FollowRequest("shop", copy.id))

    for number in range(12):
        write(kept, number)
    for number, _ in enumerate(_killed_at_each(settings, follow)):
        with Holdfast(settings) as service:
            found = service.histories.copies.find("shop", url)
            assert (found.good_from or 0) >= found.position
            position, data = stood(service, kept, ram_directory)
            assert image_at(found, ram_directory / "history", position, ram_directory) == data
            if number % 2:  # the next one begins behind what this one had
                write(kept, number)
    with Holdfast(settings) as service:
        found = service.histories.copies.find("shop", url)
        assert found.position == found.good_from
        assert service.histories.copies.remove("shop", url)
        assert not FollowingRecords(settings).all()


def test_while_points_are_made(
    settings: Settings,  # noqa: F811
    kept: Path,
) -> None:
    """By a schedule: one of each kind is there afterwards, the new one."""
    points, schedules = PointRecords(settings), PointScheduleRecords(settings)
    asked = PointSchedule("shop", "shop", 1.0, hourly=1, daily=1, weekly=1)

    def as_before() -> None:
        for each in points.all():
            points.remove(each)
        for number, kind in enumerate(PointKind, 1):
            old = ScheduledPoint(kind, number, "2000")
            points.save(RestorePoint(old.id, "shop", "", old.name, 0, 1.0))
        points.save(RestorePoint("by-hand", "shop", "", "hourly-2000-again", 0, 1.0))
        schedules.save(asked)

    def make(service: Holdfast) -> object:
        return perform(service, ScheduledPointsRequest("shop"))

    as_before()
    for _ in _killed_at_each(settings, make):
        with Holdfast(settings) as service:
            make(service)
            assert make(service) == ()
            found = [each.name for each in points.all()]
            assert len(found) == 4 and not [each for each in found if each.endswith("-2000")]
        as_before()
    assert len(points.all()) == 4


def test_while_it_is_cloned(
    settings: Settings,  # noqa: F811
    kept: Path,
    ram_directory: Path,
) -> None:
    url, path = f"file:{ram_directory}/copy.img", ram_directory / "old"
    with Holdfast(settings) as holdfast:
        holdfast.histories.copies.add("shop", url)
    write(kept, 5)

    def clone(holdfast: Holdfast) -> object:
        return holdfast.histories.clones.make("shop", "old", "now", str(path))

    for number, _ in enumerate(_killed_at_each(settings, clone)):
        with Holdfast(settings) as holdfast:
            there = [each.name for each in holdfast.list_volumes() if each.name == "old"]
            if number % 2 or there:
                holdfast.recover()
                assert there or (_names(ram_directory) == {"copy.img"} and not mount_at(str(path)))
            if not there:
                clone(holdfast)
            assert len(holdfast.histories.copies.show()) == 1
            assert (path / "file-5").read_bytes() == (kept / "file-5").read_bytes()
            forgotten(holdfast, "old", ram_directory)
    with Holdfast(settings) as holdfast:
        forgotten(holdfast, "old", ram_directory)
        assert holdfast.histories.copies.remove("shop", url)


def test_while_a_clone_is_begun_that_is_filled(
    settings: Settings,  # noqa: F811
    kept: Path,
    ram_directory: Path,
) -> None:
    """It is whole, or nothing of it is left; and it is filled, whoever was killed."""
    url, into = f"file:{ram_directory}/copy.img", f"file:{ram_directory}/old.img"
    path = ram_directory / "old"
    with Holdfast(settings) as holdfast:
        holdfast.histories.copies.add("shop", url)
    write(kept, 5)

    def clone(holdfast: Holdfast) -> object:
        return holdfast.histories.clones.make("shop", "old", "now", str(path), into=into)

    def whole(holdfast: Holdfast) -> None:
        copies = holdfast.histories.copies
        holdfast.histories.filled_clones.wait("shop", "old")
        assert (path / "file-5").read_bytes() == (kept / "file-5").read_bytes()
        assert [each.state for each in copies.show("shop")] == ["usable"]
        holdfast.delete_volume("old")
        path.rmdir()
        assert _names(ram_directory) == {"copy.img"}

    for number, _ in enumerate(_killed_at_each(settings, clone)):
        with Holdfast(settings) as holdfast:
            if number % 2:
                holdfast.recover()
            there = [each for each in holdfast.catalog.volumes() if each.name == "old"]
            if not there:
                if number % 2:
                    assert _names(ram_directory) == {"copy.img"}
                clone(holdfast)
            else:
                holdfast.attach_volume("old")
                holdfast.recover()
                if not holdfast.catalog.volumes()[1:]:
                    clone(holdfast)
            whole(holdfast)
    with Holdfast(settings) as holdfast:
        whole(holdfast)
        assert holdfast.histories.copies.remove("shop", url)


def test_while_the_volume_is_as_it_was(
    settings: Settings,  # noqa: F811
    kept: Path,
    ram_directory: Path,
) -> None:
    """It is what it was then, or what it is now; nothing of the way there is left."""
    url = f"file:{ram_directory}/copy.img"
    with Holdfast(settings) as holdfast:
        holdfast.histories.copies.add("shop", url)
        end = holdfast.histories.show("shop").position
    write(kept, 5)

    def restore(holdfast: Holdfast) -> object:
        return perform(holdfast, RestoreRequest("shop", at=f"position:{end}"))

    for _ in _killed_at_each(settings, restore):
        with Holdfast(settings) as holdfast:
            holdfast.recover()
            assert holdfast.restorations.in_progress("shop") is None
            (leg,) = holdfast.show_volume("shop").legs
            then = leg.url != f"file:{ram_directory}/shop.img"
            assert (kept / "file-2").exists() and (kept / "file-5").exists() is not then
            assert not list(ram_directory.glob(".view-*"))
            if then:
                break
    with Holdfast(settings) as holdfast:
        if holdfast.histories.show("shop").state != "off":
            restore(holdfast)
        assert not (kept / "file-5").exists()
        assert holdfast.histories.copies.remove("shop", url)
