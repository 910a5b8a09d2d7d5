"""What is asked for once stays that; what is in the way is told before anything is made."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

import pytest

from holdfast.config import Settings
from holdfast.copies.records import HistoryAnewRecords
from holdfast.errors import (
    Blocked,
    ContainerFailed,
    HoldsData,
    InvalidOption,
    Unreachable,
    Untrusted,
    VolumeHeld,
)
from holdfast.model.copy import VolumeCopy
from holdfast.model.source import Source
from holdfast.model.volume import LegState
from holdfast.restoration.assessing.assess import Assessment
from holdfast.restoration.storage import origin
from holdfast.service import Holdfast, RestoreRequest, intended, perform, rewinding
from holdfast.service.clones import Clones
from holdfast.service.copies import Copies
from holdfast.service.past_view import View
from holdfast.service.restorations import Restorations
from holdfast.service.rewinding import judged
from tests.forked import in_fork
from tests.kernel.copies.test_rewound import moment
from tests.kernel.gate.kept_volume import made


@pytest.fixture(name="holdfast")
def _holdfast(settings: Settings) -> Iterator[Holdfast]:
    with Holdfast(settings) as found:
        yield found


@pytest.fixture(name="kept")
def _kept(holdfast: Holdfast, ram_directory: Path) -> Iterator[Path]:
    """A volume with a history and a copy, where it is mounted."""
    url = f"file:{ram_directory}/copies/copy.img"
    (ram_directory / "copies").mkdir()
    with made(holdfast, ram_directory) as mount:
        holdfast.histories.keep("shop", str(ram_directory / "history"), 7200, 1 << 30)
        holdfast.histories.copies.add("shop", url)
        yield mount
        assert [each.name for each in (ram_directory / "copies").iterdir()] == ["copy.img"]
        holdfast.histories.copies.remove("shop", url)


def test_what_is_in_the_way_is_told_before_an_image_is_made(
    holdfast: Holdfast, kept: Path, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kept / "then").write_text("then")
    at = moment(kept)
    with (kept / "shop.db-wal").open("w") as log:
        database = subprocess.Popen(["sleep", "infinity"], stdin=log)
    images: list[str] = []
    real = Copies.with_image

    def with_image(copies: Copies, copy: VolumeCopy) -> VolumeCopy:
        images.append(copy.url)
        return real(copies, copy)

    monkeypatch.setattr(Copies, "with_image", with_image)
    taken, strange = ram_directory / "taken.img", ram_directory / "strange"
    taken.write_bytes(b"x" * (1 << 20))
    strange.mkdir()
    (strange / "other").touch()
    for refused, request in (
        (Blocked, RestoreRequest("shop", at=at)),
        (HoldsData, RestoreRequest("shop", at=at, to=f"file:{taken}", forced=True)),
        (HoldsData, RestoreRequest("shop", at=at, history=str(strange), forced=True)),
        (InvalidOption, RestoreRequest("shop", at=at, history=f"{ram_directory}/history")),
    ):
        with pytest.raises(refused):
            perform(holdfast, request)
    busy = judged(holdfast, RestoreRequest("shop", at=at))
    assert isinstance(busy.refused, Blocked)
    assert busy.found is not None and busy.found.plan.refuses
    database.kill()
    database.wait()
    assert not images
    holdfast.hold("shop", None, "")
    for look in (intended, perform):  # what would be done is refused as doing it is
        with pytest.raises(VolumeHeld) as held:
            look(holdfast, RestoreRequest("shop", at=at))
        assert f'holdfast clone shop OTHER --at "{at}" --mount PATH' in held.value.mend
    waits = judged(holdfast, RestoreRequest("shop", at=at))
    assert isinstance(waits.refused, VolumeHeld) and waits.found is None
    assert waits.way == busy.way  # and a clone can be made
    holdfast.release("shop")
    intention = intended(holdfast, RestoreRequest("shop", at=at))
    assert not intention.found.plan.refuses
    well = judged(holdfast, RestoreRequest("shop", at=at))
    assert well.refused is None and well.found is not None
    assert well.found.plan.step_names == intention.found.plan.step_names
    assert intention.request.at == f"position:{well.way.position}"
    for words in ("2020-01-01", f"position:{1 << 60}"):
        with pytest.raises(Unreachable):
            judged(holdfast, RestoreRequest("shop", at=words))
    assert not images


def test_an_image_that_is_not_what_was_made_is_not_taken(
    holdfast: Holdfast, kept: Path, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    moment(kept)
    there = sorted(path.name for path in ram_directory.iterdir())

    def view() -> Path:
        (found,) = (ram_directory / "copies").glob(".view-*")
        return found

    def exchanged() -> None:
        """By one with the same bytes: nobody can tell that they are."""
        others = ram_directory / "others.img"
        shutil.copyfile(view(), others)
        others.rename(view())

    fill = Clones._fill

    def truncated(*given: Any, **named: Any) -> VolumeCopy:
        found = fill(*given, **named)
        os.truncate(view(), 1 << 20)
        return found

    with monkeypatch.context() as patched:
        patched.setattr(Clones, "_fill", truncated)
        with pytest.raises(Untrusted, match="truncated"):
            perform(holdfast, RestoreRequest("shop", at="now"))
    assert not list((ram_directory / "copies").glob(".view-*"))
    with monkeypatch.context() as patched:
        look = origin.contents_as_they_are
        patched.setattr(rewinding, "contents_as_they_are", lambda url: (look(url), exchanged())[0])
        with pytest.raises(Blocked, match="exchanged since it was made"):
            perform(holdfast, RestoreRequest("shop", at="now"))
    view().unlink()  # it is somebody else's
    assert sorted(path.name for path in ram_directory.iterdir()) == there


def test_another_command_that_is_quicker_is_not_taken_back(
    holdfast: Holdfast, kept: Path, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kept / "then").write_text("then")
    moment(kept)
    other = ram_directory / "other"
    other.mkdir()
    (other / "others").touch()
    at_rest = View.bring_to_rest

    def meanwhile(view: View, *rest: object) -> None:
        at_rest(view)
        perform(holdfast, RestoreRequest("shop", str(other)))

    with monkeypatch.context() as patched:
        patched.setattr(View, "bring_to_rest", meanwhile)
        with pytest.raises(Blocked, match="other storage"):
            perform(holdfast, RestoreRequest("shop", at="now"))
    assert (kept / "others").exists()


def test_redundancy_and_history_are_as_before_where_that_is_asked_for(
    holdfast: Holdfast, kept: Path, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (kept / "then").write_text("then")
    moment(kept)
    legs = tuple(f"file:{ram_directory}/{name}.img" for name in "ab")
    asked = RestoreRequest(
        "shop", at="now", to=legs[0], more_urls=legs[1:], history=f"{ram_directory}/history-2"
    )
    assess = Restorations.assess

    def slowly(restorations: Restorations, request: RestoreRequest, source: Source) -> Assessment:
        (kept / "while it is looked at").touch()
        moment(kept)
        return assess(restorations, request, source)

    with monkeypatch.context() as patched:
        patched.setattr(Restorations, "assess", slowly)
        fixed = intended(holdfast, asked).request
    # A person thinks about it. The volume and its copies are used meanwhile.
    with holdfast.histories.copies.turn("shop", wait_seconds=0):
        pass
    (kept / "later").write_text("later")
    moment(kept)

    def fails(copies: Copies, copy: VolumeCopy) -> None:
        raise ContainerFailed("its disk is gone", "Mount it.")

    wait_for_legs = Restorations.wait_for_legs

    def as_long_as_a_mirror_takes(restorations: Restorations, *rest: Any) -> None:
        with holdfast.histories.copies.turn("shop", wait_seconds=0):
            wait_for_legs(restorations, *rest)

    with monkeypatch.context() as patched:
        patched.setattr(Restorations, "wait_for_legs", as_long_as_a_mirror_takes)
        patched.setattr(Copies, "undo", fails)
        receipt = perform(holdfast, fixed)
    assert receipt is not None
    assert receipt.outcome == "done", "what became of the image does not make it fail"
    assert [each["subject"] for each in receipt.details["findings"]].count("moment") == 1
    assert sorted(path.name for path in kept.iterdir() if path.is_file()) == ["then"]
    found = holdfast.show_volume("shop").legs
    assert [(leg.url, leg.state) for leg in found] == [(url, LegState.IN_SYNC) for url in legs]
    history = holdfast.histories.show("shop")
    assert (history.directory, history.keep_seconds, history.limit_bytes) == (
        f"{ram_directory}/history-2",
        7200,
        1 << 30,
    )
    assert any("files were looked for" in each for each in holdfast.recover())


def test_a_history_begins_though_the_command_is_killed(
    holdfast: Holdfast, kept: Path, ram_directory: Path
) -> None:
    """By `recover`, where the volume was restored; where it was not, none begins."""
    moment(kept)
    ours = Settings(holdfast.settings.home)

    def killed(doomed: str, number: int) -> None:
        asked = RestoreRequest("shop", at="now", history=f"{ram_directory}/history-{number}")
        with Holdfast(ours) as other, mock.patch(doomed, lambda *rest, **named: os._exit(9)):
            perform(other, asked)

    for number, doomed in enumerate(
        ("holdfast.service.restorations.perform", "holdfast.service.histories.Histories.keep"), 2
    ):
        holdfast.close()
        ended = in_fork(partial(killed, doomed, number))
        assert ended.code == 9, ended.told
        said = [each for each in holdfast.recover() if "the history of shop" in each]
        history = holdfast.histories.show("shop")
        if number == 2:
            assert not said and history.directory == f"{ram_directory}/history"
            continue
        assert said == [f"the history of shop was begun in {ram_directory}/history-3"]
        assert (history.directory, history.keep_seconds) == (f"{ram_directory}/history-3", 7200)
    assert not HistoryAnewRecords(holdfast.settings).all()
    assert not [each for each in holdfast.recover() if "the history of shop" in each]
