"""Fault: the storage of the state directory (gate.json, receipts) is full or fails."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.errors import DeadlinePassed
from holdfast.gate.members.configuration import load_configuration, save_configuration
from holdfast.gate.outside.renewing import renew
from holdfast.model.volume import JournalMode
from tests.faults import SmallDisk, hanging, own_disk, shut_down, truncate_to_zero
from tests.kernel.fault.bench import HANG_SECONDS, Bench, plain_legs
from tests.kernel.fault.cells import FLUSHING, ONE, TWO, Cell, cells
from tests.waiting import wait_until

STATE_BYTES = 16 << 20

RENEWAL_SECONDS = 40.0


@contextmanager
def on_own_disk(settings: Settings, folder: Path, legs: int) -> Iterator[Bench]:
    """A volume whose state directory has a disk of its own, for hangs."""
    urls = plain_legs(folder, 1, legs)
    with (
        own_disk(settings.state_directory, folder / "state.image"),
        Bench(settings, folder, urls, hang_timeout_seconds=HANG_SECONDS) as bench,
    ):
        yield bench


def write_much(bench: Bench) -> None:
    """More than the log ring has room for, at once."""
    command = ["dd", "if=/dev/zero", f"of={bench.mountpoint / 'much'}", "bs=1M", "count=72"]
    subprocess.run([*command, "oflag=direct", "conv=fdatasync"], check=True, capture_output=True)


@cells()
@pytest.mark.parametrize("killed", [False, True], ids=["gate unharmed", "worker killed"])
def test_full(settings: Settings, ram_directory: Path, cell: Cell, killed: bool) -> None:
    """No room for gate.json: the volume goes on, and says so; its journal does not need any."""
    urls = plain_legs(ram_directory, 1, cell.legs)
    with (
        SmallDisk(settings.state_directory, STATE_BYTES) as state,
        Bench(settings, ram_directory, urls, size_bytes=128 << 20) as bench,
    ):
        with bench.during(cell) as goes_on:
            state.fill()
            write_much(bench)
            goes_on()
            wait_until(lambda: "No space left" in bench.gate.show()["unsaved"])
            assert bench.gate.show()["journal"]["state"] == "active"
            if killed:
                os.kill(bench.gate.show()["worker_pid"], signal.SIGKILL)
                goes_on()
            state.free()
        if not killed:
            assert bench.wait_for_receipt("state")["errors_returned"] == 0
        bench.check(cell.legs)


@cells()
def test_failing(settings: Settings, ram_directory: Path, cell: Cell) -> None:
    """Not even gate.json can be written: the legs are enough to go on, and to attach again."""
    urls = plain_legs(ram_directory, 1, cell.legs)
    with (
        own_disk(settings.state_directory, ram_directory / "state.image"),
        Bench(settings, ram_directory, urls) as bench,
    ):
        with bench.during(cell) as goes_on:
            shut_down(settings.state_directory)
            goes_on()
            wait_until(lambda: bench.gate.show()["unsaved"])
            if cell.legs == TWO:
                truncate_to_zero(ram_directory / "leg-1.img")
                goes_on()
                bench.wait_for_leg(1)
        activity = bench.activity
        assert activity is not None
        result = activity.stop()
        assert result.errors == 0, result.first_errors
        assert bench.gate.show()["errors_returned"] == 0
        assert activity.verify(bench.mountpoint, result.acknowledged) == []


@pytest.mark.parametrize("legs", [ONE, TWO])
def test_hanging(settings: Settings, ram_directory: Path, legs: int) -> None:
    """Nobody waits for it for longer than for a leg that hangs; gate.json is written afterwards."""
    with on_own_disk(settings, ram_directory, legs) as bench:
        activity = bench.start(FLUSHING)
        with hanging(settings.state_directory):
            activity.goes_on()
            wait_until(lambda: "no answer" in bench.gate.show()["unsaved"])
            if legs == TWO:
                truncate_to_zero(ram_directory / "leg-1.img")
                activity.goes_on()
            assert bench.gate.show()["errors_returned"] == 0
        wait_until(lambda: not bench.gate.show()["unsaved"])
        result = activity.stop()
        assert result.errors == 0, result.first_errors
        assert activity.verify(bench.mountpoint, result.acknowledged) == []
        known = load_configuration(bench.state_directory)
        assert known.epoch == bench.gate.show()["epoch"]


@pytest.mark.parametrize("legs", [ONE, TWO])
def test_worker_killed_while_it_hangs(settings: Settings, ram_directory: Path, legs: int) -> None:
    """The next one goes on, although the dead one has all locks."""
    with on_own_disk(settings, ram_directory, legs) as bench:
        activity = bench.start(FLUSHING)
        with hanging(settings.state_directory):
            activity.goes_on()
            os.kill(bench.counters().worker_pid, signal.SIGKILL)
            activity.goes_on()
            assert bench.gate.show()["journal"]["state"] == "active"
            assert bench.leg_states() == dict.fromkeys(range(1, legs + 1), "in-sync")
        result = activity.stop()
        assert result.errors == 0, result.first_errors
        assert activity.verify(bench.mountpoint, result.acknowledged) == []


@pytest.mark.parametrize("how", ["killed", "renewed"])
def test_worker_ends_while_it_hangs_and_a_leg_is_filled(
    settings: Settings, ram_directory: Path, how: str
) -> None:
    """The one next worker takes the new leg in again, and serves."""
    with (
        own_disk(settings.state_directory, ram_directory / "state.image"),
        Bench(
            settings,
            ram_directory,
            plain_legs(ram_directory, 1, ONE),
            journal=JournalMode.NONE,
            hang_timeout_seconds=HANG_SECONDS,
        ) as bench,
    ):
        bench.detach()
        configuration = load_configuration(bench.state_directory)
        save_configuration(
            bench.state_directory, replace(configuration, resync_bytes_per_second=10_000)
        )
        bench.attach()
        activity = bench.start(FLUSHING)
        bench.gate.add_leg(f"file:{ram_directory}/leg-2.img")
        with hanging(settings.state_directory):
            if how == "killed":
                os.kill(bench.counters().worker_pid, signal.SIGKILL)
            else:
                renew(bench.run_directory, RENEWAL_SECONDS)
            activity.goes_on()
            assert bench.leg_states() == {1: "in-sync", 2: "resyncing"}
            assert bench.counters().takeovers == 1
        result = activity.stop()
        assert result.errors == 0, result.first_errors
        assert activity.verify(bench.mountpoint, result.acknowledged) == []


def test_commands_end_while_it_hangs(settings: Settings, ram_directory: Path) -> None:
    """With an error that names it; nothing of the command is left."""
    with (
        own_disk(settings.state_directory, ram_directory / "state.image"),
        Bench(settings, ram_directory, plain_legs(ram_directory, 1, ONE)),
        (ram_directory / "words").open("w+") as words,
        hanging(settings.state_directory),
    ):
        arguments = [str(Path(sys.executable).with_name("holdfast")), "status"]
        command = subprocess.Popen(arguments, stdout=words, stderr=words)
        wait_until(lambda: command.poll() is not None)
        assert command.returncode == DeadlinePassed.exit_status
        assert "state directory" in Path(words.name).read_text()
