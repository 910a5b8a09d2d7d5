"""Copies of a volume in use, and clones of it as it was, by the service."""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Iterator
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import Settings
from holdfast.copies import images, tasks
from holdfast.copies.work import carried_out
from holdfast.errors import (
    AlreadyExists,
    ContainerFailed,
    HoldsData,
    InvalidOption,
    InvalidUrl,
    MissingFuse,
    NoHistory,
    NoSuchCopy,
    OwnLeg,
    Unreachable,
    Untrusted,
)
from holdfast.model.reporter import Reporter
from holdfast.model.volume import LegState
from holdfast.service import Holdfast
from tests.kernel.copies.copied import forgotten, image_at, stood
from tests.kernel.gate.kept_volume import Writer, made
from tests.kernel.volume.stack import SIZE
from tests.waiting import wait_until


@pytest.fixture(name="holdfast")
def _holdfast(settings: Settings) -> Iterator[Holdfast]:
    with Holdfast(settings) as found:
        yield found


def test_every_moment_after_a_copy(holdfast: Holdfast, ram_directory: Path) -> None:
    """Made under a writer; each clone is the volume as it was, to the byte."""
    copies, clones = holdfast.histories.copies, holdfast.histories.clones
    history = ram_directory / "history"
    with made(holdfast, ram_directory) as mount:
        holdfast.histories.keep("shop", str(history), None, None)
        with Writer(mount) as writer:
            writer.go_on()
            copy = copies.add("shop", f"file:{ram_directory}/copy.img")
            writer.go_on()
        (mount / "early").write_text("early")
        position, data = stood(holdfast, mount, ram_directory)
        when = time.time()
        wait_until(lambda: time.time() > when + 0.01)
        (mount / "early").unlink()
        with Writer(mount) as writer:
            writer.go_on()
            assert copies.verify("shop", copy.id) >= position
        at = datetime.fromtimestamp(when).isoformat(" ")
        for number, words in enumerate((f"position:{position}", at)):
            new, path = f"old-{number}", ram_directory / f"old-{number}"
            plan = clones.plan("shop", new, words, str(path))
            assert plan.copy.id == copy.id and plan.history_bytes == plan.position - copy.position
            assert plan.position == position or number  # it went on when it was let go
            assert not path.exists() and not (ram_directory / f"{new}.img").exists()
            report = clones.make("shop", new, words, str(path))
            assert (report.kind, report.mount) == ("adopted", str(path))
            assert (path / "early").read_text() == "early"
            forgotten(holdfast, new, ram_directory)
        assert image_at(copy, history, position, ram_directory) == data
        advanced = copies.advance("shop", copy.id[:8])
        assert advanced.position > position
        with pytest.raises(Unreachable):
            clones.plan("shop", "old", f"position:{position}", str(ram_directory / "old"))
        clones.make("shop", "now", "now", str(ram_directory / "now"))
        names = {each.name for each in (ram_directory / "now").iterdir()}
        assert names == {each.name for each in mount.iterdir()}
        forgotten(holdfast, "now", ram_directory)
        assert [each.state for each in copies.show("shop")] == ["usable"]
        assert copies.remove("shop", copy.url)
        assert not (ram_directory / "copy.img").exists() and not copies.show()


def test_a_leg_that_is_brought_up_to_date_comes_first(
    holdfast: Holdfast, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its end changes the legs, as does one that is added while a leg is read: of that no copy is
    made, as nobody could say that what was read was in sync all the time."""
    copies, legs = holdfast.histories.copies, holdfast.legs
    image = ram_directory / "copy.img"
    with made(holdfast, ram_directory) as mount:
        (mount / "large").write_bytes(os.urandom(SIZE // 2))
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        legs.add("shop", f"file:{ram_directory}/second.img", wait=False)
        seen: dict[str, set[LegState]] = {}

        def look(words: str) -> None:
            seen[words] = {leg.state for leg in holdfast.show_volume("shop").legs}

        copies.add("shop", f"file:{image}", Reporter(say=look))
        assert seen["copy a leg"] == {LegState.IN_SYNC}
        copies.remove("shop", f"file:{image}")

        def filled(*of: Any) -> object:
            done = carried_out(*of)
            legs.add("shop", f"file:{ram_directory}/third.img")
            return done

        monkeypatch.setattr("holdfast.service.copies.carried_out", filled)
        with pytest.raises(ContainerFailed, match="legs of the volume changed"):
            copies.add("shop", f"file:{image}")
        assert not image.exists() and not copies.show()


def test_what_is_not_as_it_was_is_no_copy(
    holdfast: Holdfast, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An image that somebody else wrote to or truncated: nothing is made of it, and it is not
    removed either; a leg that is truncated while it is read, which its gate need not notice."""
    copies, clones = holdfast.histories.copies, holdfast.histories.clones
    image, old = ram_directory / "copy.img", str(ram_directory / "old")
    with made(holdfast, ram_directory) as mount:
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        copy = copies.add("shop", f"file:{image}")
        (mount / "more").write_text("more")
        data = image.read_bytes()
        for change in (lambda: image.write_bytes(data), lambda: os.truncate(image, 4096)):
            change()
            assert [each.state for each in copies.show("shop")] == ["changed"]
            with pytest.raises(Untrusted):
                copies.advance("shop", copy.id)
            with pytest.raises(Untrusted):
                copies.verify("shop", copy.id)
            with pytest.raises(Unreachable):
                clones.make("shop", "old", "now", old)
            assert copies.find("shop", copy.id) == copy
        assert not copies.remove("shop", copy.id) and image.exists()
        damaged = holdfast.settings.state_directory / "copies" / "damaged.json"
        damaged.write_text("{")
        assert any("cannot be read" in each for each in holdfast.recover())
        damaged.unlink()
        leg, url = ram_directory / "leg.img", f"file:{ram_directory}/filled.img"
        shutil.copyfile(ram_directory / "shop.img", leg)
        leg.chmod(0o600)
        legs = [(holdfast.show_volume("shop").legs[0].id, f"file:{leg}")]
        half = replace(copy, url=url, inode=images.make_image(url, SIZE), written_ns=0)
        monkeypatch.setattr("holdfast.copies.work._TELL_SECONDS", 0.0)
        with pytest.raises(ContainerFailed, match="truncated"):
            tasks.fill(half, legs, lambda percent: os.truncate(leg, 1 << 20))


def test_what_is_refused_changes_nothing(
    holdfast: Holdfast, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each with its code, and nothing is left of it."""
    copies, clones = holdfast.histories.copies, holdfast.histories.clones
    url, old = f"file:{ram_directory}/copy.img", str(ram_directory / "old")
    other = ram_directory / "other.img"
    other.write_bytes(b"somebody's")
    with made(holdfast, ram_directory) as mount:
        with pytest.raises(NoHistory):
            copies.add("shop", url)
        with monkeypatch.context() as patched:
            patched.setattr("holdfast.service.doctor.kernel._TAKEOVER_KERNEL", (99, 0))
            with pytest.raises(MissingFuse):
                holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
            holdfast.histories.end("shop")  # there is none: nothing is to be done
        assert not (ram_directory / "history").exists()
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        with monkeypatch.context() as patched:
            patched.setattr("holdfast.service.doctor.kernel._TAKEOVER_KERNEL", (99, 0))
            with pytest.raises(MissingFuse):
                holdfast.histories.end("shop")
        assert holdfast.histories.show("shop").state == "written"
        with pytest.raises(HoldsData):
            copies.add("shop", f"file:{other}")
        with pytest.raises(OwnLeg):
            copies.add("shop", f"file:{mount}/copy.img")
        with pytest.raises(InvalidUrl):
            copies.add("shop", "block:/dev/null")
        with pytest.raises(NoSuchCopy):
            copies.remove("shop", url)
        with pytest.raises(Unreachable):
            clones.make("shop", "old", "now", old)
        assert not copies.show()
        copy = copies.add("shop", url)
        with pytest.raises(AlreadyExists):
            copies.add("shop", url)
        with pytest.raises(AlreadyExists):
            clones.make("shop", "shop", "now", old)
        with pytest.raises(Unreachable):
            clones.make("shop", "old", f"position:{(copy.good_from or 0) - 1}", old)
        with pytest.raises(Unreachable):
            clones.make("shop", "old", "position:9000000000", old)
        with pytest.raises(InvalidOption):
            clones.make("shop", "old", "2199-01-01", old)
        with pytest.raises(HoldsData):
            clones.make("shop", "old", "now", old, f"file:{other}")
        holdfast.histories.end("shop")
        (mount / "not-kept").write_text("not kept")
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        with pytest.raises(Unreachable, match="a gap"):
            clones.make("shop", "old", "now", old)
        assert [each.reason for each in copies.show()] == ["up to the gap after it"]
        assert other.read_bytes() == b"somebody's"
        (ram_directory / "copy.img").rename(ram_directory / "moved.img")
        assert [each.state for each in copies.show("shop")] == ["gone"]
        assert not copies.remove("shop", url)
        left = {each.name for each in ram_directory.iterdir()} - {"home", "mnt-shop", "shop.img"}
        assert left == {"history", "other.img", "moved.img"}
