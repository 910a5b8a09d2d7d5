"""Each way to freeze stops every thread of every process, and thawing continues them all."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.kernel.freezer.bench import freeze_bench


@pytest.mark.parametrize("by", ["cgroup", "signal", "page-out"])
def test_counts_nothing_while_frozen(ram_directory: Path, by: str) -> None:
    """Two processes with two threads each; counting resumes where it stood."""
    with freeze_bench(ram_directory) as bench:
        counter = bench.count(2, 2)
        done = bench.freeze(by)
        assert {each["pid"] for each in done.processes} == set(counter.pids)
        assert done.freezer == by
        assert not done.awake
        assert bench.stands_still(counter)
        bench.thaw()
        counter.wait_for_progress()


def test_the_default_is_the_control_group(ram_directory: Path) -> None:
    """Where version 2 is mounted, nobody is to notice."""
    with freeze_bench(ram_directory) as bench:
        counter = bench.count()
        assert bench.freeze().freezer == "cgroup"
        assert bench.stands_still(counter)
