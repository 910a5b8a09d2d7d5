"""Points of several volumes at one moment: all or none, and one moment it is."""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Self

import pytest

from holdfast.config import Settings
from holdfast.copies.records import BegunGroupRecords, PointRecords
from holdfast.errors import (
    AlreadyExists,
    DeadlinePassed,
    InvalidOption,
    NoSuchVolume,
    VolumeHeld,
)
from holdfast.gate.outside.client import GateClient
from holdfast.service import Holdfast, point_groups
from tests.forked import in_fork
from tests.kernel.gate.kept_volume import WritingThread, made
from tests.resume.dying import dying

NAMES = ("shop", "books")
_PLACES = (
    (GateClient, "hold"),
    (GateClient, "release"),
    (BegunGroupRecords, "save"),
    (PointRecords, "save"),
    (BegunGroupRecords, "remove"),
)


@pytest.fixture(name="holdfast")
def _holdfast(settings: Settings) -> Iterator[Holdfast]:
    with Holdfast(settings) as found:
        yield found


class Transfers(WritingThread):
    """Somebody who makes a number durable in one volume, then in the other, then the next one."""

    def __init__(self, *mounts: Path) -> None:
        super().__init__()
        self._files = [os.open(each / "number", os.O_RDWR | os.O_CREAT) for each in mounts]

    def write_next(self) -> None:
        for file in self._files:
            os.pwrite(file, b"%020d" % (self.written + 1), 0)
            os.fsync(file)

    def __enter__(self) -> Self:
        super().__enter__()
        self.go_on()
        return self

    def __exit__(self, *of: object) -> None:
        try:
            super().__exit__(*of)
        finally:
            for file in self._files:
                os.close(file)


def test_one_moment_of_two_volumes(
    holdfast: Holdfast, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    histories = holdfast.histories
    groups, points = histories.groups, histories.points
    with (
        made(holdfast, ram_directory) as first,
        made(holdfast, ram_directory, "books") as second,
    ):
        for name in NAMES:
            histories.keep(name, str(ram_directory / f"history-{name}"), None, None)
            histories.copies.add(name, f"file:{ram_directory}/copy-{name}.img")
        with Transfers(first, second) as transfers:
            for number in range(3):
                found = groups.create(NAMES, f"moment-{number}")
                assert [each.volume for each in found] == ["shop", "books"]
                assert len({each.group for each in found}) == 1
                transfers.go_on()
            # All or none, whoever is killed where; and nobody stays held.
            passed, code = 0, 9
            while code == 9 and passed < 40:
                holdfast.close()
                ended = in_fork(partial(_create, holdfast.settings, passed))
                code = ended.code
                there = {each.point.volume for each in points.show() if each.point.name == "late"}
                assert there in (set(), set(NAMES))
                transfers.go_on(2)
                passed += 1
            assert code == 0, str(ended)
            assert passed > 10
            assert not [each for each in holdfast.recover() if "not all were" in each]
            assert BegunGroupRecords(holdfast.settings).all() == []
            # A slow one keeps nobody waiting for long.
            synced = points.sync

            def sync(name: str) -> None:
                synced(name)
                if name == "books":
                    holdfast.legs.drill("books", "leg-hang", 1.2)

            monkeypatch.setattr(points, "sync", sync)
            monkeypatch.setattr(point_groups, "HELD_SECONDS", 0.4)
            with pytest.raises((DeadlinePassed, VolumeHeld)):
                groups.create(NAMES, "slow")
            monkeypatch.undo()
            transfers.go_on()
            assert not [each for each in points.show() if each.point.name == "slow"]
        for named, error in {
            ("shop",): InvalidOption,
            ("shop", "shop"): InvalidOption,
            ("shop", "nothing"): NoSuchVolume,
            NAMES: AlreadyExists,
        }.items():
            with pytest.raises(error):
                groups.create(named, "moment-0" if named == NAMES else "another")
        holdfast.hold("books", 60.0, "somebody's")
        with pytest.raises(VolumeHeld):
            groups.create(NAMES, "held")
        holdfast.release("books")
        listed = {each.point.name: each.others for each in points.show("shop")}
        assert listed["moment-1"] == ("books",)
        into = ram_directory / "into"
        into.mkdir()
        for number in range(3):
            numbers = []
            for name in NAMES:
                histories.files.restore(name, f"moment-{number}", "number", str(into))
                numbers.append(int((into / "number").read_text()))
                (into / "number").unlink()
            assert numbers[0] - numbers[1] in (0, 1), numbers
        points.remove("shop", "moment-1")
        (left,) = (each for each in points.show("books") if each.point.name == "moment-1")
        assert left.others == ()
        for name in NAMES:
            histories.copies.remove(name, f"file:{ram_directory}/copy-{name}.img")


def _create(settings: Settings, at: int) -> None:
    with dying(at, _PLACES), Holdfast(settings) as holdfast:
        try:
            holdfast.histories.groups.create(NAMES, "late")
        except AlreadyExists:  # it was there before somebody died
            return
