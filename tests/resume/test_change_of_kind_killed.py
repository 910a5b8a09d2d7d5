"""The runner that gives a volume a gate, or takes it, is killed anywhere, or the host is restarted:
the volume is the one or the other afterwards, and nothing acknowledged is lost."""

from __future__ import annotations

import os
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import Settings
from holdfast.errors import AlreadyExists
from holdfast.model.plan import ORDER
from holdfast.model.volume import VolumeReport, VolumeState
from holdfast.restoration.performing.perform import perform
from holdfast.restoration.storage.directory import NEW_GATE, OLD_GATE
from holdfast.service import GateRequest, Holdfast, NewVolume, UngateRequest
from holdfast.system.mounts.mount_table import mount_at, unmount
from holdfast.volumes.detach import detach_volume
from tests.forked import in_fork
from tests.kernel.conftest import settings  # noqa: F401 - a fixture
from tests.kernel.restoration.bench import (
    application,
    detach_loops_in,
    is_settled,
    make_image,
    mounted,
)
from tests.soak import every_other, rounds

EXCHANGE = ("before the exchange", "after the exchange")
"""Of the directories of gates' states, within Restore."""

SHORT = (
    *("in prepare", "after dismount", "in restore", *EXCHANGE, "after restore"),
    *("in remount", "after remount", "after thaw"),
)
"""Where it matters of which kinds the two are; elsewhere test_restoration_killed does."""
EVERY = (
    *("before prepare", "in prepare", "after prepare", *EXCHANGE),
    *(f"{when} {name}" for name in ORDER for when in ("before", "in", "after")),
)
PLACES = (SHORT, EVERY)[rounds(0, 1)]


def die_at(place: str, home: Settings, request: GateRequest | UngateRequest) -> None:
    """Carry it out in a process that ends at this place, as by SIGKILL."""

    def checkpoint(here: str) -> None:
        if here == place:
            os._exit(9)

    def change() -> None:
        if place in EXCHANGE:
            die_at_the_exchange(when=place.partition(" ")[0])
        with Holdfast(home) as holdfast:
            found = holdfast.restorations.assess(request)
            perform(home, holdfast.catalog, found, checkpoint=checkpoint)

    ended = in_fork(change)
    assert ended.code == 9, f"it did not come to {place}: {ended}"


def die_at_the_exchange(when: str) -> None:
    """End this process before a gate's state is renamed, or before it opens anything afterwards."""
    seen = []

    def hear(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.rename" and {NEW_GATE, OLD_GATE} & {
            Path(os.fsdecode(each)).name for each in arguments[:2]
        }:
            if when == "before":
                os._exit(9)
            seen.append(event)
        elif event == "open" and seen:
            os._exit(9)

    sys.addaudithook(hear)


@contextmanager
def volume(home: Settings, folder: Path, kind: str) -> Iterator[Path]:
    """One of this kind, named data; whatever became of it is deleted."""
    path = folder / "mnt"
    with ExitStack() as clean:
        if kind == "adopted":
            make_image(folder / "1.img", size_bytes=64 << 20)
            clean.enter_context(mounted(folder / "1.img", path))
        clean.callback(detach_loops_in, folder)
        with Holdfast(home) as holdfast:
            if kind == "adopted":
                holdfast.adopt_volume("data", str(path))
            else:
                legs = (f"file:{folder}/1.img",)
                holdfast.create_volume(NewVolume("data", 64 << 20, str(path), leg_urls=legs))
        try:
            yield path
        finally:
            with Holdfast(home) as holdfast:
                holdfast.detach_volume("data")
                holdfast.delete_volume("data")


def change_of(kind: str, folder: Path) -> GateRequest | UngateRequest:
    """What makes such a volume one of the other kind."""
    if kind == "adopted":
        return GateRequest("data", (f"file:{folder}/2.img", f"file:{folder}/3.img"))
    return UngateRequest("data", f"file:{folder}/2.img")


def assert_one_or_the_other(
    home: Settings, folder: Path, report: VolumeReport, kind: str, changed: bool
) -> None:
    """The volume, its containers and its gate's state belong together, and nothing else is left."""
    other = {"adopted": "gated", "gated": "adopted"}[kind]
    assert report.kind == (other if changed else kind)
    assert report.state in (VolumeState.HEALTHY, VolumeState.DEGRADED)  # a leg is being filled
    assert (folder / "1.img").exists()
    for name in ("2.img", "3.img")[: 2 if kind == "adopted" else 1]:
        assert (folder / name).exists() == changed
    assert home.gate_state_directory("data").exists() == (report.kind == "gated")
    assert not any((home.state_directory / "restorations").iterdir())


@pytest.mark.parametrize(
    ("kind", "place"),
    [
        *product(["adopted"], every_other(PLACES)),
        *product(["gated"], every_other(PLACES, 1)),
    ],
)
def test_killed_there_it_is_finished_or_undone(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
    kind: str,
    place: str,
) -> None:
    with volume(settings, ram_directory, kind) as path:
        with application(path, ram_directory / "record") as running:
            die_at(place, settings, change_of(kind, ram_directory))
            with Holdfast(settings) as holdfast:
                done = holdfast.recover()
                assert len(done) == 1, done
                report = holdfast.show_volume("data")
                changed = done[0].endswith("finished")
                assert_one_or_the_other(settings, ram_directory, report, kind, changed)
                assert is_settled(running.pid)
                running.wait_for_more()
                assert running.verify() > 0
                assert holdfast.restorations.in_progress("data") is None
                assert holdfast.recover() == []
        with Holdfast(settings) as holdfast:
            holdfast.detach_volume("data")
            assert holdfast.attach_volume("data").kind == report.kind
            assert (path / "log").exists()


def test_given_up_it_is_below_its_gate_as_its_legs_say(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
) -> None:
    """The gate's state stays in the directory of the restoration."""
    with volume(settings, ram_directory, "gated") as path:
        with application(path, ram_directory / "record", simple=True) as running:
            die_at("after restore", settings, change_of("gated", ram_directory))
            running.process.kill()
            running.process.wait()
            acknowledged = running.progress()[0]
        with Holdfast(settings) as holdfast:
            words = holdfast.restorations.abandon("data")
            assert any("has the state of a gate: it stays" in each for each in words)
            report = holdfast.attach_volume("data")
        assert (report.kind, report.state) == ("gated", VolumeState.HEALTHY)
        assert (path / "log").read_text().count("\n") >= acknowledged


def test_given_up_it_is_the_plain_mount_and_says_what_stays(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
) -> None:
    request = change_of("adopted", ram_directory)
    with volume(settings, ram_directory, "adopted"):
        with application(ram_directory / "mnt", ram_directory / "record", simple=True) as running:
            die_at("after restore", settings, request)
            running.process.kill()
            running.process.wait()
        place = settings.gate_state_directory("data")
        with Holdfast(settings) as holdfast:
            words = holdfast.restorations.abandon("data")
            assert any(each.startswith(f"{place} has the state of the gate") for each in words)
            assert holdfast.attach_volume("data").kind == "adopted"
            with pytest.raises(AlreadyExists, match=str(place)):
                holdfast.restorations.change_kind(GateRequest("data", (f"file:{ram_directory}/4",)))


@pytest.mark.parametrize(
    ("kind", "place"),
    every_other(
        product(("adopted", "gated"), ("after the exchange", "after restore", "after thaw"))
    ),
)
def test_the_host_is_restarted(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
    kind: str,
    place: str,
) -> None:
    """Played: the application ended, nothing mounted, no gate, and the record of another boot."""
    with volume(settings, ram_directory, kind) as path:
        with application(path, ram_directory / "record", simple=True) as running:
            die_at(place, settings, change_of(kind, ram_directory))
            if place == "after thaw":
                running.wait_for_more(20)
            running.process.kill()
            running.process.wait()
            acknowledged = running.progress()[0]
        if mount_at(path) is not None:
            unmount(path)  # umount(8) looks at it first, and would wait where it is a cover
        with Holdfast(settings) as holdfast:
            detach_volume(settings, holdfast.catalog.volume("data"))
        detach_loops_in(ram_directory)
        with closing(sqlite3.connect(settings.catalog_path)) as catalog, catalog:
            assert catalog.execute("update restorations set boot_id = 'earlier'").rowcount == 1
        with Holdfast(settings) as holdfast:
            assert holdfast.wanted_volumes() == ["data"]
            report = holdfast.attach_volume("data")
            changed = place in ("after restore", "after thaw")
            assert_one_or_the_other(settings, ram_directory, report, kind, changed)
            assert (path / "log").read_text().count("\n") >= acknowledged
            assert holdfast.restorations.in_progress("data") is None
