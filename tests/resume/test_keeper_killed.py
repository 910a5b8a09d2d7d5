"""The keeper is killed, alone and in turn with the worker: whoever survives restores the pair."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.outside.client import GateClient
from holdfast.model.volume import JournalMode
from holdfast.volumes.detach import detach_volume
from tests.kernel.volume.stack import volume, wish
from tests.resume.killing import (
    Killer,
    assert_nobody_noticed,
    counters,
    is_whole,
    keeper,
    pauses,
    receipts,
    worker,
)
from tests.resume.verifying import check_filesystem, verified_writes
from tests.soak import rounds
from tests.waiting import wait_until

Record = Callable[[str], None]


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("filesystem", "alternately"),
    [("ext4", False), ("ext4", True), ("xfs", True), ("btrfs", True)],
)
def test_the_survivor_restores_the_pair(
    holdfast_home: Path,
    ram_directory: Path,
    record_figure: Record,
    filesystem: str,
    alternately: bool,
) -> None:
    settings = Settings()
    urls = [f"file:{ram_directory}/{number}.img" for number in range(2)]
    wanted = wish(
        ram_directory,
        *urls,
        filesystem=filesystem,
        journal=JournalMode.UNFLUSHED,
        size_bytes=512 << 20,
    )
    targets = (keeper, worker) if alternately else (keeper,)
    with volume(settings, wanted) as made:
        run_directory = settings.gate_run_directory(made.name)
        killer = Killer(run_directory, rounds(10, 50) * len(targets), targets, seed=3)
        killer.start()
        passes = verified_writes(Path(made.mount.path), until=lambda: not killer.is_alive())
        killer.finish()
        after = assert_nobody_noticed(run_directory)
        assert after.keeper_takeovers >= killer.killed // len(targets)
        state_directory = settings.gate_state_directory(made.name)
        record_figure(
            f"{filesystem}: {killer.killed} kills, {after.keeper_takeovers} keepers and"
            f" {after.takeovers} workers succeeded, {after.resent} requests sent again,"
            f" {len(passes)} passes of fio;"
            f" {pauses(state_directory)}; {pauses(state_directory, 'keeper-takeover')}"
        )
        detach_volume(settings, made)
        for url in urls:
            check_filesystem(Path(url.removeprefix("file:")), filesystem)


def test_the_death_of_the_keeper_is_told(holdfast_home: Path, ram_directory: Path) -> None:
    settings = Settings()
    with volume(settings, wish(ram_directory)) as made:
        run_directory = settings.gate_run_directory(made.name)
        state_directory = settings.gate_state_directory(made.name)
        before = counters(run_directory)
        os.kill(before.keeper_pid, signal.SIGKILL)
        wait_until(lambda: bool(receipts(state_directory, "keeper-takeover")))
        [receipt] = receipts(state_directory, "keeper-takeover")
        assert receipt["errors_returned"] == 0
        wait_until(lambda: counters(run_directory).keeper_takeovers == 1)
        after = counters(run_directory)
        assert after.worker_pid == before.worker_pid
        assert after.takeovers == 0


def test_the_new_keeper_looks_after_the_worker(holdfast_home: Path, ram_directory: Path) -> None:
    """A worker that dies under a keeper that it has started itself is succeeded like any other."""
    settings = Settings()
    with volume(settings, wish(ram_directory)) as made:
        run_directory = settings.gate_run_directory(made.name)
        for target in (keeper, worker, worker, keeper, keeper, worker):
            killer = Killer(run_directory, 1, (target,), idle=True)
            killer.start()
            killer.finish()
            wait_until(lambda: is_whole(run_directory))
            with (Path(made.mount.path) / "file").open("wb") as file:
                file.write(os.urandom(1 << 16))
                file.flush()
                os.fsync(file.fileno())  # sync(2) would wait for volumes of others, too
        shown = GateClient(run_directory).show()
        assert (shown["takeovers"], shown["keeper_takeovers"]) == (3, 3)
        assert shown["errors_returned"] == 0
