"""Keeper and worker are killed or stopped for good, at random: whoever is left mends the pair."""

from __future__ import annotations

import signal
from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.volumes.detach import detach_volume
from tests.kernel.volume.stack import volume, wish
from tests.resume.killing import Killer, assert_nobody_noticed, keeper, pauses, worker
from tests.resume.verifying import check_filesystem, verified_writes
from tests.soak import rounds

Record = Callable[[str], None]


@pytest.mark.soak
@pytest.mark.timeout(900)
def test_nothing_is_lost(holdfast_home: Path, ram_directory: Path, record_figure: Record) -> None:
    settings = Settings()
    urls = [f"file:{ram_directory}/{number}.img" for number in range(2)]
    with volume(settings, wish(ram_directory, *urls, size_bytes=512 << 20)) as made:
        run_directory = settings.gate_run_directory(made.name)
        killer = Killer(
            run_directory,
            rounds(6, 100),
            (worker, keeper),
            seed=14,
            signals=(signal.SIGSTOP, signal.SIGKILL, signal.SIGSTOP),
        )
        killer.start()
        verified_writes(Path(made.mount.path), until=lambda: not killer.is_alive())
        killer.finish()
        after = assert_nobody_noticed(run_directory)
        assert (after.takeovers, after.keeper_takeovers) == (
            (killer.killed + 1) // 2,
            killer.killed // 2,
        )
        state_directory = settings.gate_state_directory(made.name)
        record_figure(
            f"{killer.killed} stopped or killed; {pauses(state_directory)};"
            f" {pauses(state_directory, 'keeper-takeover')}"
        )
        detach_volume(settings, made)
        for url in urls:
            check_filesystem(Path(url.removeprefix("file:")), "ext4")
