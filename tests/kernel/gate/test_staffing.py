"""As many threads serve as storage can use, and everything keeps its meaning with many of them."""

from __future__ import annotations

import os
import resource
import signal
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.data.compiled import VARIABLE
from holdfast.gate.front.serving import FEWEST
from holdfast.gate.front.staffing import MOST
from holdfast.gate.processes.preparing import STACK_BYTES
from holdfast.model.volume import JournalMode
from holdfast.system.fuse.wire import MAXIMUM_TRANSFER_BYTES
from tests.kernel.fault.bench import Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING
from tests.resume.verifying import PARALLEL, verified_writes
from tests.waiting import wait_until

LATE_SECONDS = 0.02
"""Of storage far away; far below any hang time-out."""
ENOUGH = 3 * FEWEST
"""Requests in hand at once that two threads cannot have."""
REQUESTS = 20_000
THREAD_BYTES = STACK_BYTES + MAXIMUM_TRANSFER_BYTES + (512 << 10)
"""Of a thread more: its stack, its buffers, and what the allocator keeps for it."""


@contextmanager
def load(made: Bench) -> Iterator[None]:
    """Many requests at once, written and read back; fails the test when a byte is wrong.

    Beside them somebody makes one durable write after the other, and goes on to the end.
    """
    made.start(FLUSHING)
    over = threading.Event()
    with ThreadPoolExecutor(1) as pool:
        passes = pool.submit(verified_writes, made.mountpoint, over.is_set, PARALLEL)
        try:
            yield
        finally:
            over.set()
        passes.result()


def threads(made: Bench) -> int:
    """Of the worker, of whatever kind."""
    return len(list(Path(f"/proc/{made.counters().worker_pid}/task").iterdir()))


def most_at_once(made: Bench, requests: int) -> int:
    """In hand at once while so many are answered."""
    before, most = made.counters(), 0

    def through() -> bool:
        nonlocal most
        now = made.counters()
        most = max(most, now.in_flight)
        return now.reads + now.writes > before.reads + before.writes + requests

    wait_until(through)
    return most


def wait_until_many(made: Bench) -> None:
    wait_until(lambda: made.counters().in_flight >= ENOUGH, "more threads were of use")


def wait_until_few(made: Bench, before: int) -> None:
    """One request after the other is made meanwhile: a thread ends with the last that it gets."""
    wait_until(lambda: threads(made) <= before, "they are not needed any more")


@pytest.mark.parametrize("journal", [JournalMode.NONE, JournalMode.UNFLUSHED])
def test_they_come_with_slow_storage_and_go(
    settings: Settings, ram_directory: Path, journal: JournalMode
) -> None:
    with (
        fuse_leg(ram_directory) as leg,
        Bench(settings, ram_directory, [leg.url], journal=journal) as made,
    ):
        made.images[leg.url] = leg.image
        before, memory = threads(made), made.gate.show()["resident_bytes"]
        leg.delay(LATE_SECONDS)
        with load(made):
            wait_until(lambda: made.counters().in_flight > MOST // 2, "as many as are of use")
            shown = made.gate.show()
            leg.serve()
        assert shown["resident_bytes"] <= memory + (MOST - FEWEST) * THREAD_BYTES
        wait_until_few(made, before)
        assert not made.gate.show()["errors_returned"]
        made.check(1)


def test_storage_that_takes_the_processor_gets_no_more(
    settings: Settings, ram_directory: Path
) -> None:
    urls = plain_legs(ram_directory, 1, 1)
    with Bench(settings, ram_directory, urls, journal=JournalMode.NONE) as made, load(made):
        assert most_at_once(made, REQUESTS) <= FEWEST


def test_python_alone_serves_with_two(
    settings: Settings, ram_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(VARIABLE, "0")
    with (
        fuse_leg(ram_directory) as leg,
        Bench(settings, ram_directory, [leg.url], journal=JournalMode.NONE) as made,
    ):
        leg.delay(LATE_SECONDS)
        with load(made):
            assert most_at_once(made, 100) <= FEWEST
            leg.serve()


@pytest.mark.parametrize("legs", [1, 2])
def test_the_worker_is_killed_with_many_inside(
    settings: Settings, ram_directory: Path, legs: int
) -> None:
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, legs)]
        with Bench(settings, ram_directory, urls) as made:
            made.images[leg.url] = leg.image
            leg.delay(LATE_SECONDS)
            with load(made):
                for _ in range(3):
                    wait_until_many(made)
                    before = made.gate.show()
                    os.kill(before["worker_pid"], signal.SIGKILL)
                    wait_until(lambda: made.gate.show()["takeovers"] > before["takeovers"])  # noqa: B023
                leg.serve()
            shown = made.gate.show()
            assert shown["resent"]
            assert not shown["errors_returned"]
            assert made.leg_states() == dict.fromkeys(range(1, legs + 1), "in-sync")
            made.check(legs)


def test_a_leg_hangs_with_many_inside(settings: Settings, ram_directory: Path) -> None:
    """Each is given up, each request is carried out by another one, and no more are added."""
    with fuse_leg(ram_directory) as leg:
        urls = [leg.url, *plain_legs(ram_directory, 2, 2)]
        with Bench(settings, ram_directory, urls, hang_timeout_seconds=1.0) as made:
            made.images[leg.url] = leg.image
            before = threads(made)
            leg.delay(LATE_SECONDS)
            with load(made):
                wait_until_many(made)
                leg.hang()
                made.wait_for_leg(1)
                begun = made.counters().writes
                wait_until(lambda: made.counters().writes > begun + 50 * MOST)
                leg.serve()
            made.wait_until_healthy()
            wait_until_few(made, before)
            assert made.counters().takeovers == 0
            assert not made.gate.show()["errors_returned"]
            made.check(2)


def test_no_room_for_a_thread_is_no_error(settings: Settings, ram_directory: Path) -> None:
    with (
        fuse_leg(ram_directory) as leg,
        Bench(settings, ram_directory, [leg.url], journal=JournalMode.NONE) as made,
    ):
        made.images[leg.url] = leg.image
        pid = made.counters().worker_pid
        pages = int(Path(f"/proc/{pid}/statm").read_text().split()[0])
        limit = pages * resource.getpagesize() + MAXIMUM_TRANSFER_BYTES
        leg.delay(LATE_SECONDS)
        resource.prlimit(pid, resource.RLIMIT_AS, (limit, resource.RLIM_INFINITY))
        with load(made):
            assert most_at_once(made, 200) <= FEWEST + 1
            leg.serve()
        resource.prlimit(pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY,) * 2)
        assert made.counters().takeovers == 0
        made.check(1)
