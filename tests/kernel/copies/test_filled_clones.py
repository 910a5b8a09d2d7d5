"""Clones that are in use at once and filled meanwhile: whatever fails, what they show is whole, and
what they read from is kept until nobody needs it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import HoldfastError, HoldsData, InUse, InvalidUrl, OwnLeg
from holdfast.gate.members.configuration import (
    GateConfiguration,
    load_configuration,
    save_configuration,
)
from holdfast.model.finding import Verdict
from holdfast.model.volume import LegState, Volume
from holdfast.service import AssessRequest, Holdfast
from holdfast.service import filled_clones as holdfast_service
from holdfast.service.filled_clones import configuration_of
from tests.kernel.copies.copied import forgotten
from tests.kernel.gate.kept_volume import Writer, made
from tests.waiting import wait_until

PACE_BYTES = 64 << 10
"""A second: what is there takes minutes, until it is hurried."""


@pytest.fixture(name="holdfast")
def _holdfast(settings: Settings) -> Iterator[Holdfast]:
    with Holdfast(settings) as found:
        yield found


@pytest.fixture(name="shop")
def _shop(
    holdfast: Holdfast, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """A volume with a copy and what was written since; clones of it are filled slowly."""

    def slowly(volume: Volume) -> GateConfiguration:
        return replace(configuration_of(volume), resync_bytes_per_second=PACE_BYTES)

    monkeypatch.setattr(holdfast_service, "configuration_of", slowly)
    with made(holdfast, ram_directory, hang_timeout_seconds=15.0) as mount:
        holdfast.histories.keep("shop", str(ram_directory / "history"), None, None)
        (mount / "in the copy").write_bytes(os.urandom(4 << 20))
        (mount / "changed").write_bytes(os.urandom(4 << 20))
        holdfast.histories.copies.add("shop", f"file:{ram_directory}/copy.img")
        with (mount / "changed").open("r+b") as file:
            file.seek(1 << 20)
            file.write(os.urandom(1 << 20))
        (mount / "new").write_bytes(os.urandom(2 << 20))
        _sync(mount)
        shutil.copytree(mount, ram_directory / "then", ignore=_LOST)
        holdfast.histories.points.create("shop", "then")
        (mount / "in the copy").unlink()
        (mount / "changed").write_bytes(b"later")
        _sync(mount)
        yield mount


_LOST = shutil.ignore_patterns("lost+found")


def _sync(mount: Path) -> None:
    subprocess.run(["sync", "--file-system", mount], check=True)


def as_then(clone: Path, folder: Path) -> bool:
    """Read from its storage."""
    _sync(clone)
    for each in clone.iterdir():
        if each.is_file():
            with each.open("rb") as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    names = [each.name for each in (folder / "then").iterdir()]
    return all((clone / n).read_bytes() == (folder / "then" / n).read_bytes() for n in names)


def legs(holdfast: Holdfast) -> dict[str, LegState]:
    return {each.url.partition(":")[0]: each.state for each in holdfast.show_volume("old").legs}


def hurry(holdfast: Holdfast) -> None:
    """Have the rest filled at once."""
    place = holdfast.settings.gate_state_directory("old")
    with suppress(HoldfastError):
        holdfast.detach_volume("old")
    save_configuration(place, replace(load_configuration(place), resync_bytes_per_second=0))
    holdfast.attach_volume("old")


def filled(holdfast: Holdfast) -> bool:
    return legs(holdfast) == {"file": LegState.IN_SYNC}


def test_in_use_at_once(holdfast: Holdfast, shop: Path, ram_directory: Path) -> None:
    """Written to while it is filled, by a worker that is killed; the copy is read by others
    meanwhile, and brought on by nobody. Then it needs nothing of all that."""
    copies, clones = holdfast.histories.copies, holdfast.histories.clones
    image, old = ram_directory / "copy.img", ram_directory / "old"
    untouched = image.read_bytes()
    into = f"file:{ram_directory}/old.img"
    report = clones.make("shop", "old", "then", str(old), into=into)
    assert report.kind == "gated" and not filled(holdfast)
    assert as_then(old, ram_directory)
    copy, half = copies.show("shop")
    assert (copy.state, half.state) == ("usable", "filling") and "old.img" in half.reason
    for attempt in (copies.advance, copies.remove):
        with pytest.raises(InUse, match="the clone old reads from"):
            attempt("shop", copy.copy.id)
    assert not [each for each in holdfast.recover() if "old" in each]
    found = holdfast.restorations.assess(AssessRequest("old", contents=str(ram_directory / "then")))
    assert [each for each in found.plan.findings if "being filled" in each.found]
    assert any(each.verdict is Verdict.BLOCKS for each in found.plan.findings)
    clones.make("shop", "other", "now", str(ram_directory / "other"))
    assert (ram_directory / "other" / "changed").read_bytes() == b"later"
    forgotten(holdfast, "other", ram_directory)
    with Writer(old) as writer:
        writer.go_on()
        gate = holdfast.show_volume("old").gate
        assert gate is not None and not filled(holdfast)
        os.kill(gate.worker_pid, signal.SIGKILL)
        writer.go_on()
        assert not filled(holdfast)
    hurry(holdfast)
    with Writer(old) as writer:
        writer.go_on()
        wait_until(lambda: filled(holdfast), timeout_seconds=60)
        writer.go_on()
    assert as_then(old, ram_directory)
    wait_until(lambda: not (ram_directory / "old.past").exists())
    assert image.read_bytes() == untouched
    assert copies.advance("shop", copy.copy.id).position > copy.copy.position
    assert [each.state for each in copies.show("shop")] == ["usable"]
    assert holdfast.catalog.volume("old").leg_urls == (into,)
    assert copies.remove("shop", copy.copy.id)
    holdfast.detach_volume("old")
    holdfast.attach_volume("old")
    assert as_then(old, ram_directory)
    holdfast.delete_volume("old")
    assert not (ram_directory / "old.img").exists()


def test_what_fails(holdfast: Holdfast, shop: Path, ram_directory: Path) -> None:
    """What it is filled into fails, and is filled when it is back; what it reads from hangs, and
    its users wait; both are shown. A copy that somebody wrote to is not read any more."""
    clones, old = holdfast.histories.clones, ram_directory / "old"
    into = f"file:{ram_directory}/old.img"
    clones.make("shop", "old", "then", str(old), into=into)
    first, second = (each.id for each in holdfast.show_volume("old").legs)
    holdfast.legs.drill("old", "leg-eio", 5.0, second)
    (old / "later").write_bytes(b"later")
    _sync(old)
    wait_until(lambda: legs(holdfast)["file"] is LegState.FAILED)
    assert as_then(old, ram_directory)
    wait_until(lambda: legs(holdfast)["file"] is LegState.RESYNCING)
    holdfast.legs.drill("old", "leg-hang", 2.0, first)
    assert as_then(old, ram_directory)  # has waited
    assert not filled(holdfast)
    holdfast.detach_volume("old")
    assert [each.state for each in holdfast.histories.copies.show("shop")] == ["usable", "filling"]
    holdfast.attach_volume("old")
    assert as_then(old, ram_directory) and not filled(holdfast)
    holdfast.detach_volume("old")
    image = ram_directory / "copy.img"
    times = image.stat().st_atime_ns, image.stat().st_mtime_ns
    os.utime(image)
    with pytest.raises(HoldfastError, match="is not what"):
        holdfast.attach_volume("old")
    os.utime(image, ns=times)
    hurry(holdfast)
    wait_until(lambda: filled(holdfast), timeout_seconds=60)
    assert as_then(old, ram_directory)
    assert [each for each in holdfast.recover() if "old of shop is filled" in each]
    holdfast.delete_volume("old")


def test_nothing_is_left_of_what_cannot_be(
    holdfast: Holdfast, shop: Path, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    clones, old = holdfast.histories.clones, ram_directory / "old"
    (ram_directory / "full.img").write_bytes(b"something")
    before = {each.name for each in ram_directory.iterdir()}

    def attempt(into: str) -> Callable[[], object]:
        return lambda: clones.make("shop", "old", "then", str(old), into=into)

    for into, error in (
        (f"file:{ram_directory}/full.img", HoldsData),
        (f"file:{shop}/old.img", OwnLeg),
        (f"past:{ram_directory}/other.past", InvalidUrl),
        ("nonsense", InvalidUrl),
        (f"file:{ram_directory}/old.past", InUse),
    ):
        with pytest.raises(error):
            attempt(into)()
    fails = HoldsData("somebody was faster", "")
    for place in ("attach_volume", "provision"):
        with monkeypatch.context() as patch, pytest.raises(HoldsData):
            patch.setattr(holdfast_service, place, _raise(fails))
            attempt(f"file:{ram_directory}/old.img")()
    with monkeypatch.context() as patch, pytest.raises(HoldsData):
        begin = "_begin_to_fill"
        patch.setattr(holdfast_service.FilledClones, begin, _raise(fails))
        attempt(f"file:{ram_directory}/old.img")()
    assert {each.name for each in ram_directory.iterdir()} == before
    assert [each.state for each in holdfast.histories.copies.show()] == ["usable"]
    assert not holdfast.recover()
    # One that is deleted while it is filled takes along what it read from.
    attempt(f"file:{ram_directory}/old.img")()
    holdfast.delete_volume("old")
    assert {each.name for each in ram_directory.iterdir()} - {"old"} == before
    assert holdfast.histories.copies.advance("shop", f"file:{ram_directory}/copy.img")


def _raise(error: Exception) -> Callable[..., None]:
    def fail(*_: object, **__: object) -> None:
        raise error

    return fail
