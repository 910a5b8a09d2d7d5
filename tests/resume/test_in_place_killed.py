"""The runner that gives a volume its gate where it lies, or takes it there, is killed anywhere: the
volume is the one or the other afterwards, its container ends as that one's does, and nothing
acknowledged is lost."""

from __future__ import annotations

import os
import signal
import sqlite3
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from itertools import product
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import Settings
from holdfast.gate.members.superblock import MAGIC
from holdfast.model.plan import ORDER
from holdfast.model.volume import VolumeReport, VolumeState
from holdfast.restoration.performing.perform import perform
from holdfast.restoration.storage.container_end import KEPT
from holdfast.restoration.storage.directory import NEW_GATE, OLD_GATE
from holdfast.service import GateRequest, Holdfast, UngateRequest
from holdfast.system.mounts.mount_table import mount_at
from holdfast.volumes.detach import detach_volume
from tests.faults.mounting import unmount
from tests.forked import in_fork
from tests.kernel.conftest import settings  # noqa: F401 - a fixture
from tests.kernel.restoration.bench import application, detach_loops_in, is_settled
from tests.kernel.restoration.in_place.bench import DEVICE, IMAGE, needs, plain_mount
from tests.soak import every_other, rounds

ACTS = tuple(f"act {number}" for number in (1, 2, 3, 4))
"""Within Restore, of the child that changes the container: before each time that it opens that for
writing, and before it keeps what was there."""
EXCHANGES = {"adopted": ("own act 1", "own act 2"), "gated": ("own act 1",)}
"""Within Restore, of the runner: before it writes gate.json, before a gate's state is renamed."""
SHORT = (
    *("in prepare", "in restore", *ACTS, "after restore"),
    *("in remount", "after remount", "after thaw"),
)
EVERY = (
    *("before prepare", "in prepare", "after prepare", *ACTS),
    *(f"{when} {name}" for name in ORDER for when in ("before", "in", "after")),
)
CASES = [
    *(
        (IMAGE, kind, place)
        for kind, own in EXCHANGES.items()
        for place in (*(SHORT, EVERY)[rounds(0, 1)], *own)
    ),
    *((DEVICE, kind, place) for kind in EXCHANGES for place in (*ACTS[1:], "after restore")),
]
TOLD = {NEW_GATE, OLD_GATE, KEPT, "gate.json"}


def request_of(kind: str, url: str) -> GateRequest | UngateRequest:
    """What makes such a volume one of the other kind."""
    return GateRequest("data", (), in_place=True) if kind == "adopted" else UngateRequest(
        "data", url, in_place=True
    )  # fmt: skip


def die_at(place: str, home: Settings, request: GateRequest | UngateRequest, storage: Path) -> None:
    """Carry it out in a process that ends at this place, as by SIGKILL."""
    acts = _Acts(place, storage)

    def checkpoint(here: str) -> None:
        if here == place:
            os._exit(9)
        acts.counts = here == "in restore"

    def change() -> None:
        acts.runner = os.getpid()
        sys.addaudithook(acts.hear)
        with Holdfast(home) as holdfast:
            found = holdfast.restorations.assess(request)
            perform(home, holdfast.catalog, found, checkpoint=checkpoint)

    ended = in_fork(change)
    assert ended.code in (9, -signal.SIGKILL), f"it did not come to {place}: {ended}"


class _Acts:
    """Ends the runner before that act, also when a child of its does it."""

    def __init__(self, place: str, storage: Path) -> None:
        name, _, number = place.rpartition(" ")
        self._last = int(number) if name.endswith("act") else 0
        self._own = name == "own act"
        self._storage = storage.name
        self._seen = 0
        self.counts = False
        self.runner = 0

    def hear(self, event: str, arguments: tuple[Any, ...]) -> None:
        if not self.counts or not self._last or not self._is_act(event, arguments):
            return
        if self._own != (os.getpid() == self.runner):
            return
        self._seen += 1
        if self._seen == self._last:
            os.kill(self.runner, signal.SIGKILL)
            os._exit(9)

    def _is_act(self, event: str, arguments: tuple[Any, ...]) -> bool:
        if event == "os.rename":
            return bool(TOLD & {Path(os.fsdecode(each)).name for each in arguments[:2]})
        if event != "open" or not isinstance(arguments[0], str | bytes):
            return False
        is_written = arguments[2] & os.O_ACCMODE != os.O_RDONLY
        return is_written and Path(os.fsdecode(arguments[0])).name == self._storage


@contextmanager
def volume(
    home: Settings, folder: Path, kind: str, storage: str
) -> Iterator[tuple[Path, Path, str]]:
    """One of this kind, named data: its storage, its path, its URL."""
    with plain_mount(folder, storage) as (place, path):
        with Holdfast(home) as holdfast:
            holdfast.adopt_volume("data", str(path))
            url = holdfast.show_volume("data").source
            if kind == "gated":
                holdfast.restorations.change_kind(GateRequest("data", (), in_place=True))
        try:
            yield place, path, url
        finally:
            with Holdfast(home) as holdfast:
                holdfast.detach_volume("data")
                holdfast.delete_volume("data")
            detach_loops_in(folder)


def end_of(place: Path) -> tuple[int, bytes]:
    """The size of the storage, and its last part."""
    with place.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(size - (36 << 10))
        return size, file.read()


def assert_one_or_the_other(
    home: Settings, place: Path, before: tuple[int, bytes], report: VolumeReport, changed: bool
) -> None:
    """Kind, gate's state, and the end of the container belong together."""
    size, content = end_of(place)
    assert (MAGIC in content) == (report.kind == "gated")
    if not changed:
        assert size == before[0]
        if report.kind == "adopted" and place.is_block_device():
            assert content == before[1]
    assert home.gate_state_directory("data").exists() == (report.kind == "gated")
    assert not any((home.state_directory / "restorations").iterdir())


@pytest.mark.parametrize(("storage", "kind", "place"), every_other(CASES))
def test_killed_there_it_is_finished_or_undone(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
    storage: str,
    kind: str,
    place: str,
) -> None:
    needs(storage)
    with volume(settings, ram_directory, kind, storage) as (container, path, url):
        before = end_of(container)
        with application(path, ram_directory / "record") as running:
            die_at(place, settings, request_of(kind, url), container)
            with Holdfast(settings) as holdfast:
                done = holdfast.recover()
                assert len(done) == 1, done
                report = holdfast.show_volume("data")
                changed = done[0].endswith("finished")
                assert report.kind == (kind if not changed else _other(kind))
                assert report.state is VolumeState.HEALTHY
                assert_one_or_the_other(settings, container, before, report, changed)
                assert is_settled(running.pid)
                running.wait_for_more()
                assert running.verify() > 0
                assert holdfast.restorations.in_progress("data") is None
                assert holdfast.recover() == []
        with Holdfast(settings) as holdfast:
            holdfast.detach_volume("data")
            assert holdfast.attach_volume("data").kind == report.kind
            assert (path / "log").exists()


@pytest.mark.parametrize("kind", ["adopted", "gated"])
def test_given_up_it_is_as_before(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
    kind: str,
) -> None:
    with volume(settings, ram_directory, kind, IMAGE) as (container, path, url):
        before = end_of(container)
        with application(path, ram_directory / "record", simple=True) as running:
            die_at("act 4", settings, request_of(kind, url), container)
            running.process.kill()
            running.process.wait()
            acknowledged = running.progress()[0]
        with Holdfast(settings) as holdfast:
            words = holdfast.restorations.abandon("data")
            assert f"{url} ends as before" in words
            assert end_of(container)[0] == before[0]
            report = holdfast.attach_volume("data")
        assert (report.kind, report.state) == (kind, VolumeState.HEALTHY)
        assert (path / "log").read_text().count("\n") >= acknowledged


def _other(kind: str) -> str:
    return {"adopted": "gated", "gated": "adopted"}[kind]


@pytest.mark.parametrize(
    ("storage", "kind", "place"),
    every_other(
        product((IMAGE, DEVICE), ("adopted", "gated"), ("act 4", "after restore", "after thaw"))
    ),
)
def test_the_host_is_restarted(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
    storage: str,
    kind: str,
    place: str,
) -> None:
    """Played: the application ended, nothing mounted, no gate, and the record of another boot."""
    needs(storage)
    with volume(settings, ram_directory, kind, storage) as (container, path, url):
        before = end_of(container)
        with application(path, ram_directory / "record", simple=True) as running:
            die_at(place, settings, request_of(kind, url), container)
            if place == "after thaw":
                running.wait_for_more(20)
            running.process.kill()
            running.process.wait()
            acknowledged = running.progress()[0]
        while mount_at(path) is not None:
            unmount(path)  # a cover, too, which would let umount(8) wait
        with Holdfast(settings) as holdfast:
            detach_volume(settings, holdfast.catalog.volume("data"))
        detach_loops_in(ram_directory)
        with closing(sqlite3.connect(settings.catalog_path)) as catalog, catalog:
            assert catalog.execute("update restorations set boot_id = 'earlier'").rowcount == 1
        with Holdfast(settings) as holdfast:
            assert holdfast.wanted_volumes() == ["data"]
            report = holdfast.attach_volume("data")
            changed = place in ("after restore", "after thaw")
            assert report.kind == (_other(kind) if changed else kind)
            assert_one_or_the_other(settings, container, before, report, changed)
            assert (path / "log").read_text().count("\n") >= acknowledged
            assert holdfast.restorations.in_progress("data") is None
