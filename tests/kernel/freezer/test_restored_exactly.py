"""Thawing gives back exactly what there was: groups, priorities, and a stop that was not ours."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from holdfast.system.resources import cgroup
from holdfast.system.resources.scheduling import Urgency, read_urgency, set_urgency
from tests.kernel.freezer.bench import Counter, control_groups, freeze_bench, states
from tests.waiting import wait_until

BATCH, ROUND_ROBIN = os.SCHED_BATCH, os.SCHED_RR
BEST_EFFORT_6 = 2 << 13 | 6


@pytest.fixture
def group() -> Iterator[Path]:
    """A control group of our own, gone afterwards."""
    mount = cgroup.unified_mount()
    if mount is None:
        pytest.skip("needs control groups version 2")
    folder = mount / f"hf-test-{uuid.uuid4().hex[:8]}"
    folder.mkdir()
    yield folder
    with suppress(OSError):
        folder.rmdir()
    assert not folder.exists()


def places(counter: Counter) -> dict[int, str]:
    """The control groups of every process."""
    return {pid: control_groups(pid) for pid in counter.pids}


def test_gathered_processes_return_to_their_groups(ram_directory: Path, group: Path) -> None:
    """Some come from a group with a stranger in it, some from elsewhere; version 1 stays."""
    with freeze_bench(ram_directory) as bench:
        stranger = bench.count(1, 1, bench.outside)
        mixed, elsewhere = bench.count(2, 2), bench.count(1, 2)
        for pid in (*stranger.pids, *mixed.pids):
            cgroup.move(pid, group)
        before = places(mixed), places(elsewhere)
        bench.freeze("cgroup")
        assert bench.stands_still(mixed)
        assert bench.stands_still(elsewhere)
        assert places(mixed) != before[0]
        for frozen, was in ((places(mixed), before[0]), (places(elsewhere), before[1])):
            assert [text.splitlines()[:-1] for text in frozen.values()] == [
                text.splitlines()[:-1] for text in was.values()
            ]
        stranger.wait_for_progress()
        assert cgroup.members(group) == stranger.pids
        assert "populated 1" in (group / "cgroup.events").read_text()
        bench.thaw()
        mixed.wait_for_progress()
        elsewhere.wait_for_progress()
        assert (places(mixed), places(elsewhere)) == before
        assert not list(group.glob("holdfast-frozen-*"))


def test_a_group_of_users_alone_is_frozen_where_it_is(ram_directory: Path, group: Path) -> None:
    """Nobody moves; the groups below are frozen with it."""
    with freeze_bench(ram_directory) as bench:
        counter = bench.count(2, 2)
        for pid in counter.pids:
            cgroup.move(pid, group)
        before = places(counter)
        bench.freeze("cgroup")
        assert bench.stands_still(counter)
        assert places(counter) == before
        assert cgroup.freeze_requested(group)
        bench.thaw()
        counter.wait_for_progress()
        assert places(counter) == before
        assert not cgroup.freeze_requested(group)


def test_a_group_that_was_frozen_stays_frozen(ram_directory: Path, group: Path) -> None:
    """Somebody else froze it before; the thaw is theirs."""
    with freeze_bench(ram_directory) as bench:
        counter, other = bench.count(1, 1), bench.count(1, 1)
        cgroup.move(counter.pids[0], group)
        cgroup.request_freeze(group, True)
        assert cgroup.wait_until_frozen(group, 10)
        done = bench.freeze("cgroup")
        assert done.left == (counter.pids[0],)
        bench.thaw()
        other.wait_for_progress()
        assert bench.stands_still(counter)
        assert cgroup.freeze_requested(group)
        cgroup.request_freeze(group, False)


def test_a_stopped_process_stays_stopped(ram_directory: Path) -> None:
    """Its shell stopped it before the freeze."""
    with freeze_bench(ram_directory) as bench:
        stopped, running = bench.count(1, 2), bench.count(1, 2)
        os.kill(stopped.pids[0], signal.SIGSTOP)
        wait_until(lambda: set(states(stopped)) == {"T"})
        done = bench.freeze("signal")
        assert done.left == (stopped.pids[0],)
        assert bench.stands_still(running)
        bench.thaw()
        running.wait_for_progress()
        assert set(states(stopped)) == {"T"}
        assert bench.stands_still(stopped)
        os.kill(stopped.pids[0], signal.SIGCONT)
        stopped.wait_for_progress()


def test_a_stopped_process_that_is_continued_meanwhile_is_frozen(ram_directory: Path) -> None:
    """Then it is one of ours, and continues at the thaw."""
    with freeze_bench(ram_directory) as bench:
        stopped, _ = bench.count(1, 2), bench.count(1, 1)
        os.kill(stopped.pids[0], signal.SIGSTOP)
        wait_until(lambda: set(states(stopped)) == {"T"})
        bench.freeze("signal")
        os.kill(stopped.pids[0], signal.SIGCONT)
        wait_until(lambda: set(states(stopped)) == {"T"} and bench.stands_still(stopped))
        bench.thaw()
        stopped.wait_for_progress()


def test_every_thread_gets_its_own_priority_back(ram_directory: Path) -> None:
    """Policies, nice values and I/O priorities differ between the threads of one process."""
    wishes = [
        Urgency(os.SCHED_OTHER, 0, -5, 0),
        Urgency(BATCH, 0, 7, BEST_EFFORT_6),
        Urgency(ROUND_ROBIN, 3, 2, 1 << 13 | 4),
        Urgency(os.SCHED_OTHER | 0x40000000, 0, 0, 0),
    ]
    with freeze_bench(ram_directory) as bench:
        counter = bench.count(2, 2)
        threads = counter.threads
        for thread, wish in zip(threads, wishes, strict=True):
            set_urgency(thread, wish)
        assert [read_urgency(thread) for thread in threads] == wishes
        bench.freeze("priority")
        assert all(read_urgency(thread).is_idle for thread in threads)
        bench.thaw()
        assert [read_urgency(thread) for thread in threads] == wishes


def test_children_of_a_lowered_process_get_its_priority(ram_directory: Path) -> None:
    """They inherited idleness; nobody stays idle."""
    with freeze_bench(ram_directory) as bench:
        counter = bench.count(2, 2, None, "--rebel")
        bench.freeze("priority")
        counter.wait_for_progress()
        bench.thaw()
        wait_until(lambda: not any(read_urgency(each).is_idle for each in _living(counter)))


def _living(counter: Counter) -> list[int]:
    found = []
    for thread in counter.threads:
        with suppress(OSError):
            read_urgency(thread)
            found.append(thread)
    return found
