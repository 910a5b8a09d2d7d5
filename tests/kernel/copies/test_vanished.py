"""The last moment at which a path was there: found by views, also where it came and went."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import InvalidOption, NoSuchFile, NotVanished, Unreachable
from holdfast.model.moment import vanished_path
from holdfast.service import Holdfast
from tests.kernel.gate.kept_volume import Writer, made


@pytest.fixture(name="holdfast")
def _holdfast(settings: Settings) -> Iterator[Holdfast]:
    with Holdfast(settings) as found:
        yield found


def sync(mount: Path) -> None:
    subprocess.run(["sync", "--file-system", mount], check=True)


def test_what_is_meant() -> None:
    words = ("before a b vanished", "before \n vanished vanished", "before vanished", "10m ago")
    assert [vanished_path(each) for each in words] == ["a b", "\n vanished", "", ""]


def test_the_last_moment_before(holdfast: Holdfast, ram_directory: Path) -> None:
    copies, points = holdfast.histories.copies, holdfast.histories.points
    find, files = holdfast.histories.vanishings.find, holdfast.histories.files
    weird = os.fsdecode(b"odd \xff\n\x1b[31m name")
    before = {"home", "mnt-shop", "shop.img", "history", "copy.img"}
    with made(holdfast, ram_directory) as mount:
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        own = mount / "of" / "somebody"  # its names are not written again with those of others
        (own / "orders").mkdir(parents=True)
        (own / "orders" / "first").write_text("of old")
        (mount / "link").symlink_to("of")
        copies.add("shop", f"file:{ram_directory}/copy.img")
        with Writer(mount) as writer:
            writer.go_on()
            (own / "orders" / "last").write_text("just before")
            sync(mount)
            there = points.create("shop", "there")
            (own / "orders" / "last").unlink()
            (own / "orders" / "first").unlink()
            (own / "orders").rmdir()
            sync(mount)
            gone = points.create("shop", "gone")
            (mount / weird).write_text("weird")  # since the copy, and not for long
            sync(mount)
            weird_there = points.create("shop", "weird-there")
            (mount / weird).unlink()
            sync(mount)
            weird_gone = points.create("shop", "weird-gone")
            writer.go_on()
        found = find("shop", str(own / "orders"))
        assert found.gone is not None and not found.unproven
        assert there.position <= found.last.position < found.gone.position <= gone.position
        odd = find("shop", weird)
        assert odd.gone is not None
        assert weird_there.position <= odd.last.position < weird_gone.position
        assert odd.looks < 40 and "\n" in odd.words(weird)
        names = [each.name for each in files.show("shop", found.when, str(own / "orders"))]
        assert names == ["first", "last"]
        with pytest.raises(NoSuchFile):
            files.show("shop", f"position:{found.gone.position}", str(own / "orders"))
        # Not through a link, and not what was never there, is there, or is no path.
        for path, error in {
            "link/nobody": NoSuchFile,
            "link": NotVanished,
            "/": InvalidOption,
            "../x": InvalidOption,
            "x" * 256: InvalidOption,
        }.items():
            with pytest.raises(error):
                find("shop", path)
        assert {each.name for each in ram_directory.iterdir()} == before
        assert len(copies.records.all()) == 1
        # What cannot be seen is said: it vanished where the history has a gap.
        (mount / "late").write_text("late")
        sync(mount)
        holdfast.histories.end("shop")
        (mount / "late").unlink()
        sync(mount)
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        late = find("shop", "late")
        assert late.gone is None and len(late.unproven) == 1
        assert "cannot be seen" in late.words("late")
        copies.remove("shop", f"file:{ram_directory}/copy.img")
        with pytest.raises(Unreachable):
            find("shop", "late")
