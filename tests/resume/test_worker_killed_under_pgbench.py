"""The worker is killed again and again under a PostgreSQL server that runs pgbench."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.model.volume import JournalMode
from holdfast.volumes.detach import detach_volume
from tests.kernel.volume.stack import volume, wish
from tests.resume.killing import Killer, assert_nobody_noticed, pauses
from tests.resume.verifying import check_filesystem
from tests.scenarios.postgresql import Cluster
from tests.soak import rounds


@pytest.mark.soak
@pytest.mark.timeout(900)
@pytest.mark.parametrize(("legs", "journal"), [(1, JournalMode.NONE), (2, JournalMode.UNFLUSHED)])
def test_no_transaction_fails_and_none_is_lost(
    holdfast_home: Path,
    ram_directory: Path,
    record_figure: Callable[[str], None],
    legs: int,
    journal: JournalMode,
) -> None:
    settings = Settings()
    urls = [f"file:{ram_directory}/{number}.img" for number in range(legs)]
    with volume(
        settings, wish(ram_directory, *urls, journal=journal, size_bytes=512 << 20)
    ) as made:
        run_directory = settings.gate_run_directory(made.name)
        with Cluster(Path(made.mount.path) / "cluster", ram_directory / "pg") as cluster:
            killer = Killer(run_directory, rounds(25, 300), seed=legs)
            killer.start()
            load = cluster.load(until=lambda: not killer.is_alive())
            killer.finish()
            cluster.check(load)
        after = assert_nobody_noticed(run_directory)
        record_figure(
            f"{legs} leg(s), journal {journal}: {killer.killed} kills, {after.takeovers} takeovers,"
            f" {after.resent} requests sent again, {load.transactions} transactions, 0 failed;"
            f" {pauses(settings.gate_state_directory(made.name))}"
        )
        detach_volume(settings, made)
        for url in urls:
            check_filesystem(Path(url.removeprefix("file:")), "ext4")
