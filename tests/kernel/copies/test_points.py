"""Moments that have a name: what was written before is in them, and later moments are not."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import AlreadyExists, InvalidName, InvalidOption, NoSuchPoint, Unreachable
from holdfast.service import Holdfast
from tests.kernel.gate.kept_volume import made, write


@pytest.fixture(name="holdfast")
def _holdfast(settings: Settings) -> Iterator[Holdfast]:
    with Holdfast(settings) as found:
        yield found


def test_it_is_what_was_written_before(holdfast: Holdfast, ram_directory: Path) -> None:
    points, files = holdfast.histories.points, holdfast.histories.files
    with made(holdfast, ram_directory) as mount:
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        early = points.create("shop", "early")
        write(mount, 1)
        holdfast.histories.copies.add("shop", f"file:{ram_directory}/copy.img")
        (mount / "kept").write_text("not synced by anybody")
        point = points.create("shop", "before-upgrade")
        (mount / "kept").unlink()
        assert point.position > early.position
        states = {each.point.name: each.state for each in points.show("shop")}
        assert states == {"early": "unreachable", "before-upgrade": "reachable"}
        assert [each.size_bytes for each in files.show("shop", "before-upgrade", "kept")] == [21]
        for name, refused in (
            ("before-upgrade", AlreadyExists),
            ("now", InvalidName),
            ("10m", InvalidName),
            ("../x", InvalidName),
        ):
            with pytest.raises(refused):
                points.create("shop", name)
        with pytest.raises(Unreachable):
            files.show("shop", "early", "kept")
        assert points.remove("shop", "before-upgrade") == point
        with pytest.raises(InvalidOption):
            files.show("shop", "before-upgrade", "kept")
        with pytest.raises(NoSuchPoint):
            points.remove("shop", "before-upgrade")
        holdfast.histories.copies.remove("shop", f"file:{ram_directory}/copy.img")


def test_one_of_an_earlier_volume_is_not_taken(holdfast: Holdfast, ram_directory: Path) -> None:
    points, copies = holdfast.histories.points, holdfast.histories.copies
    with made(holdfast, ram_directory):
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        points.create("shop", "before")
    with made(holdfast, ram_directory):
        holdfast.histories.keep("shop", str(ram_directory / "second"), None, None)
        copies.add("shop", f"file:{ram_directory}/copy.img")
        assert [each.state for each in points.show()] == ["unreachable"]
        with pytest.raises(Unreachable):
            holdfast.histories.files.show("shop", "before", "")
        copies.remove("shop", f"file:{ram_directory}/copy.img")
