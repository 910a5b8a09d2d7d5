"""Who does not use the volume is never touched: neither stopped, moved nor lowered."""

from __future__ import annotations

from pathlib import Path

import pytest

from holdfast.system.processes.process_state import read_state
from holdfast.system.resources.scheduling import read_urgency
from tests.kernel.freezer.bench import control_groups, freeze_bench


@pytest.mark.parametrize("by", ["cgroup", "signal", "priority"])
def test_the_heartbeat_never_changes(ram_directory: Path, by: str) -> None:
    """Looked at all the time from before the freeze to after the thaw."""
    with freeze_bench(ram_directory) as bench:
        bench.count(2, 2)
        (pid,) = bench.heartbeat.pids

        def seen() -> tuple[object, ...]:
            state = read_state(pid)
            stopped = state is None or state.state in "Tt"
            return stopped, control_groups(pid), read_urgency(pid)

        before = seen()
        assert not before[0]
        bench.freeze(by)
        for _ in range(20):
            assert seen() == before
            bench.heartbeat.wait_for_progress(2)
        bench.thaw()
        assert seen() == before
        bench.heartbeat.wait_for_progress()
