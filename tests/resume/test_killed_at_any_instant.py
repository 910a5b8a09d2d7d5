"""Whoever lets a copy follow, makes a leg of one, or takes a volume back to a moment is killed at
any instant, and so is the gate's worker: nothing acknowledged is missing, and the same again ends.

With `SIGKILL` from outside, at random: what lies between the places that other tests name.
"""

from __future__ import annotations

import os
import random
import signal
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

import pytest

import holdfast.service.following
from holdfast.config import Settings
from holdfast.copies.records import CopyRecords
from holdfast.errors import AtWork, HoldfastError, InUse, NotLost
from holdfast.gate.runtime.shared_page import read_counters
from holdfast.service import FollowRequest, Holdfast, RestoreRequest, perform
from tests.faults.fuse_leg import FuseLeg
from tests.forked import forked
from tests.kernel.conftest import settings  # noqa: F401 - a fixture
from tests.kernel.copies.copied import image_at, stood
from tests.kernel.copies.lost import Lossy, SyncedWriter, lossy
from tests.kernel.gate.kept_volume import kill, made, write
from tests.kernel.volume.stack import SIZE
from tests.soak import rounds

SHORTEST_SECONDS = 0.05
KILLED = rounds(3, 300)
"""How often somebody is killed in each of these tests."""


class Killer:
    """Kills what is begun at a random instant of it, and learns how long it takes."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)
        self.killed = 0
        self._seconds = 0.5

    def kills(self, work: Callable[[], object]) -> bool:
        """Whether it was killed before it ended. What it does else must not fail."""
        child = forked(work)
        deadline = time.monotonic() + self.random.uniform(0.0, self._seconds)
        while time.monotonic() < deadline:
            if os.waitid(os.P_PID, child, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None:
                break
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
        if os.WIFSIGNALED(status):
            self.killed += 1
            self._seconds *= 1.05
            return True
        assert os.WEXITSTATUS(status) == 0
        self._seconds = max(SHORTEST_SECONDS, self._seconds * 0.8)
        return False


def _kill_worker(settings: Settings) -> None:  # noqa: F811
    counters = read_counters(settings.gate_run_directory("shop"))
    if counters is not None:
        kill(counters.worker_pid)


@pytest.mark.timeout(3600)
def test_while_a_copy_becomes_a_leg(settings: Settings, ram_directory: Path) -> None:  # noqa: F811
    """In use, with the worker killed as well now and then, and at rest in turn."""
    killer, number = Killer(1), 0
    with Holdfast(settings) as holdfast, lossy(holdfast, ram_directory, hold=600.0) as lost:
        for leg in _losing(holdfast, lost):
            at_rest = number % 2 == 1
            with SyncedWriter(lost.mount / "blocks") as writer:
                writer.go_on()
                if not at_rest:
                    leg.kill()
                    lost.wait_until_held()
                    holdfast.close()
                    _killed_until_done(killer, settings, at_rest=False)
                    writer.go_on()
            if at_rest:
                holdfast.detach_volume("shop")
                leg.kill()
                holdfast.close()
                _killed_until_done(killer, settings, at_rest=True)
                holdfast.attach_volume("shop")
            writer.check()
            assert not CopyRecords(settings).of("shop")
            (stretch,) = holdfast.histories.show("shop").stretches
            assert stretch.end is None
            number += 1
            if killer.killed >= KILLED:
                return


def _losing(holdfast: Holdfast, lost: Lossy) -> Iterator[FuseLeg]:
    """A leg that can be lost, for the volume that goes on with what was a copy: again and again."""
    number = 0
    yield lost.legs[0]
    while True:
        number += 1
        folder = lost.folder
        (before,) = holdfast.show_volume("shop").legs
        with FuseLeg(
            folder / f"more-{number}.backing", folder / f"more-{number}.img", SIZE + (1 << 20)
        ) as leg:
            holdfast.legs.add("shop", leg.url)
            holdfast.legs.remove("shop", str(before.number))
            Path(before.url.removeprefix("file:")).unlink(missing_ok=True)
            holdfast.histories.copies.add("shop", f"file:{folder}/copy-{number}.img")
            yield leg


def _killed_until_done(killer: Killer, settings: Settings, *, at_rest: bool) -> None:  # noqa: F811
    attempts = 0
    while killer.kills(partial(_promote, settings, at_rest=at_rest)):
        attempts += 1
        if not at_rest and attempts % 3 == 0:
            _kill_worker(settings)
        if attempts % 4 == 0:
            with Holdfast(settings) as holdfast:
                holdfast.recover()
        assert attempts < 1000


def _promote(settings: Settings, *, at_rest: bool) -> None:  # noqa: F811
    """What a killed one has begun may still be ending."""
    with Holdfast(settings) as holdfast:
        histories = holdfast.histories
        promotions = histories.promotions_at_rest if at_rest else histories.promotions
        while True:
            try:
                promotions.promote("shop")
                return
            except NotLost:  # it is a leg already
                holdfast.recover()
                return
            except HoldfastError as error:
                if at_rest and not isinstance(error, InUse | AtWork):
                    raise
            time.sleep(0.05)


@pytest.mark.timeout(3600)
def test_while_it_follows(
    settings: Settings,  # noqa: F811
    ram_directory: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """In many parts, while more is written."""
    monkeypatch.setattr(holdfast.service.following, "PART_BYTES", 100_000)
    monkeypatch.setattr(holdfast.service.following, "_REST_SECONDS", 0.01)
    killer, history = Killer(2), ram_directory / "history"
    with Holdfast(settings) as service, made(service, ram_directory) as mount:
        service.histories.keep("shop", str(history), 60, None)
        copy = service.histories.copies.add("shop", f"file:{ram_directory}/copy.img")
        service.histories.following.set("shop", copy.id, 10.0)
        looked = number = 0
        while killer.killed < KILLED:
            number += 1
            for file in range(4):
                write(mount, 4 * number + file)
            service.close()
            killer.kills(partial(_follow, settings, copy.id))
            if number % 5 == 0:
                _kill_worker(settings)
            if killer.killed >= min(looked + 10, KILLED):
                looked = killer.killed
                found = service.histories.copies.find("shop", copy.id)
                position, data = stood(service, mount, ram_directory)
                assert image_at(found, history, position, ram_directory) == data
        service.histories.copies.advance("shop", copy.id)
        service.histories.copies.remove("shop", copy.id)


def _follow(settings: Settings, copy: str) -> None:  # noqa: F811
    with Holdfast(settings) as service:
        perform(service, FollowRequest("shop", copy))


@pytest.mark.skipif(not rounds(0, 1), reason="takes minutes: only in a soak run")
@pytest.mark.timeout(14400)
def test_while_it_is_rewound(settings: Settings, ram_directory: Path) -> None:  # noqa: F811
    """It is as it was then or as it is, all of it; and it is done by the same again."""
    killer = Killer(3)
    names = [f"file-{number}" for number in range(8)]
    with Holdfast(settings) as service, made(service, ram_directory) as mount:
        number = 0
        while killer.killed < KILLED:
            number += 1
            _write_all(mount, names, "then")
            service.histories.keep("shop", str(ram_directory / f"history-{number}"), None, None)
            copy = service.histories.copies.add("shop", f"file:{ram_directory}/copy-{number}.img")
            then = service.histories.show("shop").position
            _write_all(mount, names, "now")
            service.close()
            while killer.kills(partial(_rewind, settings, then)):
                service.recover()
                assert service.restorations.in_progress("shop") is None
                assert len({(mount / name).read_text() for name in names}) == 1
                if service.histories.show("shop").state == "off":
                    break
                service.close()
            assert {(mount / name).read_text() for name in names} == {"then"}
            service.histories.copies.remove("shop", copy.id)


def _write_all(mount: Path, names: list[str], words: str) -> None:
    for name in names:
        (mount / name).write_text(words)
    os.sync()


def _rewind(settings: Settings, then: int) -> None:  # noqa: F811
    with Holdfast(settings) as service:
        perform(service, RestoreRequest("shop", at=f"position:{then}"))
