"""Whoever has a copy and a leg change places is killed at any place, and so is the gate's worker:
it ends one way or the other, nobody who uses the volume sees an error, and the copy is good."""

from __future__ import annotations

import subprocess
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

import holdfast.service.promotions
import holdfast.service.switching
from holdfast.config import Settings
from holdfast.copies.records import CopyRecords, FollowingRecords
from holdfast.errors import HoldfastError
from holdfast.gate.outside.client import GateClient
from holdfast.gate.runtime.shared_page import read_counters
from holdfast.service import Holdfast
from tests.forked import in_fork
from tests.kernel.conftest import settings  # noqa: F401 - a fixture
from tests.kernel.copies.copied import image_at
from tests.kernel.copies.lost import GentleWriter
from tests.kernel.gate.kept_volume import kill, made
from tests.kernel.volume.stack import SIZE
from tests.resume.dying import dying
from tests.soak import rounds
from tests.waiting import wait_until

_PLACES = (
    (holdfast.service.promotions, "carried_out"),
    (holdfast.service.switching, "carried_out"),
    (CopyRecords, "save"),
    (CopyRecords, "remove"),
    (FollowingRecords, "save"),
    (GateClient, "join_copy"),
    (GateClient, "remove_leg"),
)
"""Before and after each of them something differs."""
_STEP = rounds(7, 1)
"""The others are for a soak."""


class Pair:
    """A volume with one leg and one copy, in two images, and somebody who writes to it."""

    def __init__(self, holdfast: Holdfast, folder: Path, mount: Path) -> None:
        self.holdfast = holdfast
        self.folder = folder
        self.mount = mount
        self.urls = {f"file:{folder}/shop.img", f"file:{folder}/copy.img"}

    def settled(self) -> str:
        """The leg that it has, once what was left is settled: one of both, and the copy is the
        other one. An image that is neither is an error of the test."""
        said = [each for each in self.holdfast.recover() if "was left" in each]
        assert not said, said
        (leg,) = self.holdfast.show_volume("shop").legs
        (copy,) = CopyRecords(self.holdfast.settings).of("shop")
        assert copy.is_complete
        assert {leg.url, copy.url} == self.urls
        assert leg.state == "in-sync"
        assert [each.id for each in FollowingRecords(self.holdfast.settings).all()] == [copy.id]
        return leg.url

    def compare(self) -> None:
        """The copy, brought to where nobody writes, is the leg."""
        position, data = self._stood()
        (copy,) = CopyRecords(self.holdfast.settings).of("shop")
        found = image_at(copy, self.folder / "history", position, self.folder)
        assert found[:SIZE] == data  # behind it is what was the tail of a leg

    def _stood(self) -> tuple[int, bytes]:
        shown = self.holdfast.show_volume
        subprocess.run(["fsfreeze", "--freeze", self.mount], check=True)
        try:
            gate = shown("shop").gate
            assert gate is not None
            position = int(str(gate.journal["position"]))
            data = Path(shown("shop").legs[0].url.removeprefix("file:")).read_bytes()[:SIZE]
        finally:
            subprocess.run(["fsfreeze", "--unfreeze", self.mount], check=True)
        wait_until(lambda: self.holdfast.histories.show("shop").position >= position)
        return position, data


@pytest.fixture(name="pair")
def _pair(settings: Settings, ram_directory: Path) -> Iterator[Pair]:  # noqa: F811
    with Holdfast(settings) as found, made(found, ram_directory) as mount:
        found.histories.keep("shop", str(ram_directory / "history"), None, None)
        copy = found.histories.copies.add("shop", f"file:{ram_directory}/copy.img")
        found.histories.following.set("shop", copy.id, 3600.0)
        yield Pair(found, ram_directory, mount)
        found.histories.copies.settle()
        for each in CopyRecords(settings).of("shop"):
            found.histories.copies.remove("shop", each.id)


def test_the_command(pair: Pair) -> None:
    """Killed at each of its places, then asked again or settled, in turns."""
    legs: set[str] = set()
    passed, code = 0, 9
    with GentleWriter(pair.mount / "blocks") as writer:
        while code == 9 and passed < 100:
            pair.holdfast.close()
            ended = in_fork(partial(_switch, pair.holdfast.settings, passed))
            code = ended.code
            legs.add(pair.settled())
            writer.go_on(3)
            passed += _STEP
        assert code == 0, str(ended)
        assert passed > 20
        assert legs == pair.urls
    writer.check()
    pair.compare()


def _switch(settings: Settings, at: int) -> None:  # noqa: F811
    with dying(at, _PLACES), Holdfast(settings) as holdfast:
        holdfast.histories.switches.switch("shop")


def test_the_worker(pair: Pair) -> None:
    """It dies while both change places, again and again."""
    ending = threading.Event()

    def murder() -> None:
        for number in range(rounds(8, 200)):
            counters = read_counters(pair.holdfast.settings.gate_run_directory("shop"))
            if ending.wait(0.05 + 0.031 * (number % 9)):
                return
            if counters is not None:
                kill(counters.worker_pid)

    with GentleWriter(pair.mount / "blocks") as writer:
        writer.go_on()
        murderer = threading.Thread(target=murder)
        murderer.start()
        try:
            for _ in range(200):
                try:
                    pair.holdfast.histories.switches.switch("shop")
                    if not murderer.is_alive():
                        break
                except HoldfastError:
                    continue
        finally:
            ending.set()
            murderer.join()
        writer.go_on()
        pair.settled()
    writer.check()
    pair.compare()
