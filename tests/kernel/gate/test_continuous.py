"""The journal `continuous` under a real file system: kills, a history that is full, or hangs."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from holdfast.config import Settings
from holdfast.containers import open_container
from holdfast.gate.members.configuration import load_configuration, save_configuration
from holdfast.gate.members.superblock import read_superblock
from holdfast.gate.outside.client import GateClient
from holdfast.gate.runtime.shared_page import read_counters
from holdfast.model.history import HistoryPlace
from holdfast.model.volume import JournalFailurePolicy, Volume
from holdfast.volumes.attach import attach_volume
from holdfast.volumes.detach import detach_volume
from tests.faults.fuse_tree import FuseTree
from tests.faults.images import copy_image
from tests.faults.power_cut import PowerCut
from tests.faults.small_disk import SmallDisk
from tests.kernel.gate.kept_volume import succeed
from tests.kernel.volume.stack import SIZE, volume, wish
from tests.waiting import wait_until

SCRIPT = Path(__file__).parents[3] / "docs" / "read_history.py"
HOLD, DEGRADE = JournalFailurePolicy.HOLD, JournalFailurePolicy.DEGRADE


class Kept:
    """A volume whose writes are kept from a position on, and a copy of it at that position."""

    def __init__(self, settings: Settings, made: Volume, history: Path, folder: Path) -> None:
        self.settings = settings
        self.made = made
        self.history = history
        self.folder = folder
        self.leg = Path(made.leg_urls[0].removeprefix("file:"))
        self.mount = Path(made.mount.path)
        self.base = folder / "base.img"
        self.begin = 0

    @property
    def run_directory(self) -> Path:
        """Of the gate."""
        return self.settings.gate_run_directory(self.made.name)

    def status(self) -> dict[str, Any]:
        """What the gate says of itself."""
        return GateClient(self.run_directory).show()

    def position(self) -> int:
        """Of the last write."""
        return int(self.status()["journal"]["position"])

    def write(self, number: int, name: str = "") -> None:
        """A file that is durable when this returns."""
        path = self.mount / (name or f"file-{number % 7}")
        with path.open("wb") as file:
            file.write(os.urandom(5000 + number * 1000))
            file.flush()
            os.fsync(file.fileno())

    def kill_worker(self) -> None:
        """And wait for the next one."""
        succeed(self.run_directory)

    def script(self, to: int | None = None) -> tuple[int, bytes]:
        """Exit status, and what it makes of the base."""
        image = self.folder / "image.img"
        copy_image(self.base, image)
        asked = [] if to is None else ["--to", str(to)]
        command = [sys.executable, SCRIPT, self.history, image, "--from", str(self.begin), *asked]
        status = subprocess.run(command, check=False, stdout=subprocess.DEVNULL).returncode
        return status, image.read_bytes()[:SIZE]

    def data(self) -> bytes:
        """What the leg holds."""
        return self.leg.read_bytes()[:SIZE]


@contextmanager
def kept(
    settings: Settings, folder: Path, history: Path, failure: JournalFailurePolicy = HOLD
) -> Iterator[Kept]:
    """As an administrator would have it: detached once, then kept."""
    with volume(settings, wish(folder)) as made:
        place = HistoryPlace(str(history), on_failure=failure)
        GateClient(settings.gate_run_directory(made.name)).history(place)
        detach_volume(settings, made)
        state_directory = settings.gate_state_directory(made.name)
        save_configuration(
            state_directory,
            replace(
                load_configuration(state_directory),
                hang_timeout_seconds=1.0,
            ),
        )
        found = Kept(settings, made, history, folder)
        copy_image(found.leg, found.base)
        device = open_container(f"file:{found.base}").open()
        superblock = read_superblock(device, device.size_bytes())
        device.close()
        assert superblock is not None
        found.begin = superblock.position
        attach_volume(settings, made)
        yield found


@pytest.fixture(name="history")
def _history(ram_directory: Path) -> Path:
    path = ram_directory / "history"
    path.mkdir(mode=0o700)
    return path


def test_kills_take_nothing_away(
    settings: Settings, ram_directory: Path, history: Path, soak_rounds: Callable[[int, int], int]
) -> None:
    """Positions noted while it was quiet, and the end, give exactly what the leg has."""
    with kept(settings, ram_directory, history) as it:
        noted: dict[int, bytes] = {}
        for number in range(soak_rounds(6, 300)):
            it.write(number)
            if number % 2:
                (it.mount / f"file-{number % 7}").unlink()
                subprocess.run(["fstrim", it.mount], check=True)
            if number % 3 == 2:
                subprocess.run(["fsfreeze", "--freeze", it.mount], check=True)
                try:
                    noted[it.position()] = it.data()
                finally:
                    subprocess.run(["fsfreeze", "--unfreeze", it.mount], check=True)
            it.kill_worker()
        detach_volume(it.settings, it.made)
        for position, data in noted.items():
            assert it.script(position) == (0, data)
        assert it.script() == (0, it.data())
        attach_volume(it.settings, it.made)
        it.write(1)
        detach_volume(it.settings, it.made)
        assert it.script() == (0, it.data())


def waiting(it: Kept, number: int) -> threading.Thread:
    """A write under way."""
    thread = threading.Thread(target=it.write, args=(number,), daemon=True)
    thread.start()
    return thread


def receipts_or_open(it: Kept) -> bool:
    """Whether the history is said to fail."""
    return it.status()["journal"]["history_state"] == "fails"


@pytest.mark.parametrize("failure", [HOLD, DEGRADE])
def test_a_history_that_is_full(
    settings: Settings, ram_directory: Path, failure: JournalFailurePolicy
) -> None:
    with (
        SmallDisk(ram_directory / "small", 20 << 20) as disk,
        kept(settings, ram_directory, disk.path, failure) as it,
    ):
        it.write(0)
        disk.fill()
        number = 1
        thread = waiting(it, number)
        thread.join(5)
        while not thread.is_alive() and not receipts_or_open(it):
            number += 1
            thread = waiting(it, number)
            thread.join(5)
        if failure is HOLD:
            assert thread.is_alive()
        else:
            thread.join()
        disk.free()
        disk.grow(64 << 20)
        thread.join(20)
        assert not thread.is_alive()
        wait_until(lambda: not receipts_or_open(it))
        it.write(3)
        detach_volume(it.settings, it.made)
        assert it.script() == (0, it.data())


@pytest.mark.parametrize("failure", [HOLD, DEGRADE])
def test_a_history_that_hangs(
    settings: Settings, ram_directory: Path, failure: JournalFailurePolicy
) -> None:
    served, path = ram_directory / "served", ram_directory / "tree"
    served.mkdir(mode=0o700)
    path.mkdir()
    with (
        FuseTree(served, path) as tree,
        kept(settings, ram_directory, path, failure) as it,
    ):
        it.write(0)
        tree.stop()
        thread = waiting(it, 1)
        wait_until(lambda: receipts_or_open(it))
        if failure is HOLD:
            assert thread.is_alive()
            assert (it.mount / "file-0").read_bytes()
        else:
            thread.join(10)
            assert not thread.is_alive()
        tree.resume()
        thread.join(20)
        assert not thread.is_alive()
        wait_until(lambda: not receipts_or_open(it))
        it.write(3)
        detach_volume(it.settings, it.made)
        assert it.script() == (0, it.data())


def test_a_power_cut(
    settings: Settings, ram_directory: Path, history: Path, soak_rounds: Callable[[int, int], int]
) -> None:
    """Leg, history and gate.json of one instant, under writes: what was flushed is there, and the
    history leads to exactly what the leg has."""
    with kept(settings, ram_directory, history) as it:
        state_directory = settings.gate_state_directory(it.made.name)
        for number in range(soak_rounds(2, 100)):
            done: list[int] = []
            ending = threading.Event()

            def write(done: list[int] = done, ending: threading.Event = ending) -> None:
                while not ending.is_set():
                    it.write(len(done) % 20, f"{len(done)}")
                    done.append(len(done))

            writer = threading.Thread(target=write, daemon=True)
            writer.start()
            wait_until(lambda done=done, most=2 + 11 * number % 70: len(done) > most)
            counters = read_counters(it.run_directory)
            assert counters is not None
            sources = [it.leg, history, state_directory / "gate.json"]
            cut = PowerCut(sources, ram_directory / f"cut-{number}")
            flushed = len(done)
            leg, kept_history, saved = cut.copy([counters.keeper_pid, counters.worker_pid])
            ending.set()
            writer.join()
            detach_volume(settings, it.made)
            (it.run_directory / "ring").unlink(missing_ok=True)
            leg.rename(it.leg)
            saved.rename(state_directory / "gate.json")
            shutil.rmtree(history)
            kept_history.rename(history)
            attach_volume(settings, it.made)
            for each in range(flushed):
                assert (it.mount / f"{each}").stat().st_size == 5000 + 1000 * (each % 20)
                (it.mount / f"{each}").unlink()
            detach_volume(settings, it.made)
            assert it.script() == (0, it.data())
            attach_volume(settings, it.made)
