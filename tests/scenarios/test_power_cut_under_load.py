"""The power fails at an arbitrary instant: what every fdatasync promised is on the copies.

The containers and the state directory are copied at one instant under load, and attached elsewhere:
with the state directory (the journal is replayed), or from the legs' superblocks alone.
"""

from __future__ import annotations

import os
import random
import shutil
import signal
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.demo.applications.launch import APPLICATIONS, RunningApplication
from holdfast.errors import NoSource
from holdfast.gate.members.configuration import load_configuration, save_configuration
from holdfast.gate.outside.client import GateClient
from holdfast.gate.outside.launch import gate_is_running
from holdfast.gate.runtime.shared_page import read_counters
from holdfast.model.volume import JournalMode, Volume
from holdfast.volumes.attach import attach_volume, rebuild_volume
from holdfast.volumes.detach import detach_volume
from tests.conftest import RunHoldfast
from tests.faults import PowerCut
from tests.kernel.volume.stack import volume, wish
from tests.recovering import recover
from tests.resume.verifying import check_filesystem
from tests.soak import rounds
from tests.waiting import wait_until

LOAD = ("appender", "bank")
LONGEST_PAUSE_SECONDS = 0.4
BUSY_OPERATIONS = 20


@dataclass
class Instant:
    """Copies of one instant, and what had been acknowledged before it."""

    folder: Path
    legs: list[Path]
    acknowledged: dict[str, int]


class Elsewhere:
    """Another host: a HOLDFAST_HOME of its own that gets an instant's copies."""

    def __init__(self, made: Volume, instant: Instant) -> None:
        self.settings = Settings(home=instant.folder / "home")
        self.instant = instant
        self.volume = replace(
            made,
            leg_urls=tuple(f"file:{leg}" for leg in instant.legs),
            mount=replace(made.mount, path=str(instant.folder / "mnt")),
        )

    def with_state(self) -> None:
        """The state directory came along; only the containers lie in other places."""
        state_directory = self.settings.gate_state_directory(self.volume.name)
        state_directory.parent.mkdir(parents=True)
        (self.instant.folder / self.volume.name).rename(state_directory)
        configuration = load_configuration(state_directory)
        legs = tuple(
            replace(entry, url=url)
            for entry, url in zip(configuration.legs, self.volume.leg_urls, strict=True)
        )
        save_configuration(state_directory, replace(configuration, legs=legs))

    def from_superblocks(self) -> None:
        """Nothing but the containers came along."""
        found = rebuild_volume(self.settings, self.volume.name, self.volume.leg_urls)
        assert found.id == self.volume.id

    def check(self) -> None:
        """Attach, compare with what was acknowledged, resynchronise, check file system and legs."""
        attach_volume(self.settings, self.volume)
        try:
            check_applications(Path(self.volume.mount.path), self.instant.acknowledged)
            gate = GateClient(self.settings.gate_run_directory(self.volume.name))
            wait_until(
                lambda: all(leg["state"] == "in-sync" for leg in gate.show()["legs"]),
            )
            assert gate.show()["errors_returned"] == 0
        finally:
            detach_volume(self.settings, self.volume)
        check_legs(self.instant.legs, self.volume)


def check_applications(directory: Path, acknowledged: dict[str, int]) -> None:
    """Every acknowledged operation is there."""
    for name, number in acknowledged.items():
        assert number >= BUSY_OPERATIONS
        assert APPLICATIONS[name](directory / name, number) == []


def check_legs(legs: Sequence[Path], made: Volume) -> None:
    """The legs are equal, and the file system on them is clean."""
    for leg in legs[1:]:
        subprocess.run(["cmp", f"--bytes={made.size_bytes}", legs[0], leg], check=True)
    check_filesystem(legs[0], made.mount.filesystem)


class Host:
    """The volume under load."""

    def __init__(self, settings: Settings, made: Volume, folder: Path, seed: int) -> None:
        self.settings = settings
        self.made = made
        self.folder = folder
        self.random = random.Random(seed)
        self.applications: list[RunningApplication] = []
        self.instants = 0

    def start(self, stack: ExitStack) -> None:
        """Both applications, at full speed."""
        for name in LOAD:
            directory = Path(self.made.mount.path) / name
            directory.mkdir()
            running = RunningApplication(name, directory, self.folder, pause_seconds=0.0)
            self.applications.append(stack.enter_context(running))
        for running in self.applications:
            running.wait_for(lambda now: now.acknowledged >= BUSY_OPERATIONS, 20.0)

    def pids(self) -> tuple[int, int]:
        """Keeper and worker."""
        counters = read_counters(self.settings.gate_run_directory(self.made.name))
        assert counters is not None
        return counters.keeper_pid, counters.worker_pid

    def instant(self) -> Instant:
        """Cut the power now, as far as a copy is concerned."""
        time.sleep(self.random.uniform(0, LONGEST_PAUSE_SECONDS))
        self.instants += 1
        folder = self.folder / f"instant-{self.instants}"
        sources = [Path(url.removeprefix("file:")) for url in self.made.leg_urls]
        state_directory = self.settings.gate_state_directory(self.made.name)
        acknowledged = {app.name: app.snapshot().acknowledged for app in self.applications}
        copies = PowerCut([*sources, state_directory], folder).copy(self.pids())
        return Instant(folder, copies[:-1], acknowledged)

    def die(self) -> None:
        """Keeper, worker and applications at once; then nothing of the volume is left here."""
        pids = self.pids()
        for number in (signal.SIGSTOP, signal.SIGKILL):
            for pid in pids:
                os.kill(pid, number)
        run_directory = self.settings.gate_run_directory(self.made.name)
        wait_until(lambda: not gate_is_running(run_directory))
        for running in self.applications:
            running.process.kill()
        recover(self.settings)
        for running in self.applications:
            running.process.wait()


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize("journal", [JournalMode.UNFLUSHED, JournalMode.NONE])
@pytest.mark.parametrize("legs", [1, 2])
def test_what_was_acknowledged_is_on_the_copies(
    holdfast_home: Path, ram_directory: Path, legs: int, journal: JournalMode
) -> None:
    settings = Settings()
    urls = [f"file:{ram_directory}/{number}.img" for number in range(legs)]
    with volume(settings, wish(ram_directory, *urls, journal=journal)) as made, ExitStack() as apps:
        host = Host(settings, made, ram_directory, seed=legs)
        host.start(apps)
        for number in range(rounds(2, 15)):
            instant = host.instant()
            elsewhere = Elsewhere(made, instant)
            elsewhere.with_state() if number % 2 == 0 else elsewhere.from_superblocks()
            elsewhere.check()
            shutil.rmtree(instant.folder)
        for running in host.applications:
            result = running.stop()
            assert result.errors == 0
            assert running.verify() == []


@pytest.mark.soak
@pytest.mark.parametrize("filesystem", ["ext4", "xfs", "btrfs"])
def test_the_command_finds_the_volume_on_the_copies(
    holdfast_home: Path,
    run_holdfast: RunHoldfast,
    ram_directory: Path,
    filesystem: str,
) -> None:
    """With nothing but two images left of a host, at the path where the volume was mounted."""
    settings = Settings()
    urls = [f"file:{ram_directory}/{number}.img" for number in range(2)]
    wanted = wish(ram_directory, *urls, filesystem=filesystem, size_bytes=512 << 20)
    with volume(settings, wanted) as made, ExitStack() as apps:
        host = Host(settings, made, ram_directory, seed=3)
        host.start(apps)
        instant = host.instant()
        host.die()
        home = ram_directory / "home"
        legs = [word for leg in instant.legs for word in ("--leg", f"file:{leg}")]
        place = ("--mount", made.mount.path)
        run_holdfast("volume", "attach", made.name, *legs, *place, HOLDFAST_HOME=str(home))
        try:
            check_applications(Path(made.mount.path), instant.acknowledged)
            gate = GateClient(Settings(home=home).gate_run_directory(made.name))
            wait_until(
                lambda: all(leg["state"] == "in-sync" for leg in gate.show()["legs"]),
            )
        finally:
            run_holdfast("volume", "detach", made.name, HOLDFAST_HOME=str(home))
        check_legs(instant.legs, made)


def test_copies_of_two_instants_do_not_make_a_volume(
    holdfast_home: Path, ram_directory: Path
) -> None:
    """One leg from before a failover and one from after it: the older one is never a source."""
    settings = Settings()
    urls = [f"file:{ram_directory}/{number}.img" for number in range(2)]
    with volume(settings, wish(ram_directory, *urls)) as made, ExitStack() as apps:
        host = Host(settings, made, ram_directory, seed=4)
        host.start(apps)
        before = host.instant()
        gate = GateClient(settings.gate_run_directory(made.name))
        gate.fault("leg-gone", "1", 60.0)
        done = host.applications[0].snapshot().acknowledged
        host.applications[0].wait_for(lambda now: now.acknowledged > done + 20, 20.0)
        after = host.instant()
        host.die()
        lost = ram_directory / "lost"
        lost.mkdir()
        for url in urls:  # what the superblocks say must not lead to the originals
            shutil.move(url.removeprefix("file:"), lost)
        try:
            older = Elsewhere(made, Instant(before.folder, before.legs[:1], before.acknowledged))
            older.from_superblocks()
            with pytest.raises(NoSource):
                attach_volume(older.settings, older.volume)
            mixed = Instant(after.folder, [before.legs[0], after.legs[1]], after.acknowledged)
            elsewhere = Elsewhere(made, mixed)
            elsewhere.from_superblocks()
            elsewhere.check()
        finally:
            for image in lost.iterdir():
                shutil.move(image, ram_directory)
