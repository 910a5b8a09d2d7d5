"""A process that forks all the time is frozen with its children, and they are put back with it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.freezer.bench import control_groups, freeze_bench


@pytest.mark.parametrize("by", ["cgroup", "signal"])
def test_nobody_escapes_and_nobody_is_forgotten(ram_directory: Path, by: str) -> None:
    """Several times, for the instant of the freeze differs."""
    with freeze_bench(ram_directory) as bench:
        counter = bench.count(2, 2, None, "--rebel")
        home = control_groups(counter.process.pid)
        for _ in range(3):
            bench.freeze(by)
            assert bench.stands_still(counter)
            bench.thaw()
            counter.wait_for_progress()
            assert {control_groups(pid) for pid in counter.pids[:2]} == {home}
