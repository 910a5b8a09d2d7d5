"""PostgreSQL under pgbench is migrated: no transaction fails, and amcheck is clean."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.scenarios.moved.moving import SHORT_WITH_COMMANDS, Mover, migration, move_under_load
from tests.scenarios.postgresql import Cluster, Load
from tests.waiting import wait_until

TRANSACTIONS_BETWEEN = 50
TRANSACTIONS_PER_SECOND = 300


@pytest.mark.timeout(300)
def test_no_transaction_fails(ram_directory: Path, run_holdfast: Callable[..., Any]) -> None:
    with migration(ram_directory, run_holdfast) as mover:
        move_cluster(mover, ram_directory / "pg")


def move_cluster(mover: Mover, outside: Path) -> None:
    """A new cluster on the volume, moved under load, and started once more at the end."""
    loads: list[Load] = []
    directory = mover.path / "cluster"
    with Cluster(directory, outside) as cluster:

        def committed() -> int:
            return int(cluster.psql("select count(*) from pgbench_history"))

        def working() -> None:
            before = committed()
            wait_until(lambda: committed() >= before + TRANSACTIONS_BETWEEN)

        moves = move_under_load(
            mover,
            lambda done: loads.append(cluster.load(until=done, rate=TRANSACTIONS_PER_SECOND)),
            working,
            SHORT_WITH_COMMANDS,
        )
        assert all("postgres" in moved.processes for moved in moves), moves
        cluster.check(loads[0])
    with Cluster(directory, outside) as cluster:
        cluster.check(loads[0])
