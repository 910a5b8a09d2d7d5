"""Fault: the whole gate, or its worker, stood still while storage was answering or away.

Nobody saw what the storage did meanwhile: such time counts for no deadline of it.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from time import monotonic_ns

import pytest

from holdfast.config import Settings
from holdfast.gate.members.epoch_memory import STATE
from holdfast.gate.processes.partner import SHORTEST_LIMIT_SECONDS
from holdfast.gate.runtime import shared_page
from holdfast.model.volume import JournalMode
from holdfast.system.processes.process_state import STOPPED, read_state
from tests.faults import hanging, own_disk
from tests.kernel.fault.bench import HANG_SECONDS, Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING, ONE, WRITING
from tests.waiting import wait_until

LIMIT_SECONDS = 1.0
"""Hang time-out here: a worker that is stopped for longer than this is not killed yet."""
HOLD_SECONDS = 2.0
"""Hold time-out where nobody is killed: the hang time-out is longer."""
ROUNDS = 3
"""After so many of the main loop's rounds it has judged what it found."""

IN_FUSE = ("request_wait_answer", "fuse_get_req")  # fs/fuse/dev.c

KEEPER, WORKER = "keeper_pid", "worker_pid"
WHO = {"both": (KEEPER, WORKER), "worker": (WORKER,)}
WHERE = {"leg": 1, "gate.json": STATE}


@contextmanager
def standing_still(bench: Bench, *who: str) -> Iterator[None]:
    """These processes are stopped inside the block, except threads that hang in the kernel."""
    pids = [getattr(bench.counters(), name) for name in who]
    for pid in pids:
        os.kill(pid, signal.SIGSTOP)
    try:
        for pid in pids:
            wait_until(lambda pid=pid: is_stopped(pid))  # type: ignore[misc]
        yield
    finally:
        for pid in pids:
            os.kill(pid, signal.SIGCONT)


def is_stopped(pid: int) -> bool:
    """Whether the main thread is."""
    state = read_state(pid)
    return state is not None and state.state == STOPPED


def rounds(cells: memoryview, which: int, count: int = ROUNDS) -> None:
    """Until the main loop with this beat came round that often."""
    for _ in range(count):
        beat = cells[which]
        wait_until(lambda beat=beat: cells[which] != beat)  # type: ignore[misc]


def probes_that_hang(pid: int) -> list[str]:
    """Children of that keeper that wait for a FUSE server."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [child for child in children if Path(f"/proc/{child}/wchan").read_text() in IN_FUSE]


def longest_inside(cells: memoryview, where: int) -> float:
    """For how many seconds a thread has been inside that leg, 0: none is."""
    slots = [shared_page.slot_offset(slot) for slot in range(shared_page.SLOTS)]
    inside = [slot for slot in slots if cells[slot + shared_page.LEG] == where]
    since = [cells[slot + shared_page.LEG_SINCE] for slot in inside]
    return (monotonic_ns() - min(since)) / 1e9 if since else 0.0


@pytest.mark.parametrize("who", list(WHO))
@pytest.mark.parametrize("where", list(WHERE))
def test_storage_is_slow(settings: Settings, ram_directory: Path, where: str, who: str) -> None:
    """A thread that was inside it all the time is not given up, and its storage not either."""
    journal = JournalMode.NONE if where == "gate.json" else JournalMode.UNFLUSHED
    with (
        own_disk(settings.state_directory, ram_directory / "state.image"),
        fuse_leg(ram_directory) as leg,
        Bench(
            settings,
            ram_directory,
            [leg.url, *plain_legs(ram_directory, 2, 2)],
            journal=journal,
            hang_timeout_seconds=LIMIT_SECONDS,
        ) as bench,
        ExitStack() as slow,
    ):
        bench.images[leg.url] = leg.image
        activity = bench.start(FLUSHING)
        cells = shared_page.open_page(bench.run_directory)
        if where == "leg":
            leg.hang()
            slow.callback(leg.serve)
        else:
            slow.enter_context(hanging(settings.state_directory))
        wait_until(lambda: longest_inside(cells, WHERE[where]) > 0)
        with standing_still(bench, *WHO[who]):
            wait_until(lambda: longest_inside(cells, WHERE[where]) > LIMIT_SECONDS + 0.2)
        rounds(cells, shared_page.WORKER_BEAT)
        slow.close()
        activity.goes_on()
        shown = bench.gate.show()
        assert shown["journal"]["state"] == ("active" if journal != JournalMode.NONE else "off")
        assert not shown["unsaved"]
        assert bench.leg_states() == {1: "in-sync", 2: "in-sync"}
        assert bench.receipts() == []
        bench.check(2)


@pytest.mark.parametrize("who", list(WHO))
def test_storage_is_away(settings: Settings, ram_directory: Path, who: str) -> None:
    """What came back meanwhile is found, although the hold's deadline has passed meanwhile, too."""
    with (
        fuse_leg(ram_directory) as leg,
        Bench(settings, ram_directory, [leg.url], hold_timeout_seconds=HOLD_SECONDS) as bench,
    ):
        bench.images[leg.url] = leg.image
        activity = bench.start(WRITING)
        cells = shared_page.open_page(bench.run_directory)
        leg.kill()
        bench.wait_until_held()
        with standing_still(bench, *WHO[who]):
            leg.start()
            wait_until(lambda: monotonic_ns() > cells[shared_page.STORAGE_HOLD_DEADLINE])
        activity.goes_on()
        assert bench.counters().takeovers == 0
        bench.check(ONE)


def test_storage_is_away_and_the_worker_killed(settings: Settings, ram_directory: Path) -> None:
    """Because it stood still until the hold's deadline: the next one looks for storage first."""
    with (
        fuse_leg(ram_directory) as leg,
        Bench(
            settings,
            ram_directory,
            [leg.url],
            hold_timeout_seconds=SHORTEST_LIMIT_SECONDS,
            hang_timeout_seconds=HANG_SECONDS,
        ) as bench,
    ):
        bench.images[leg.url] = leg.image
        activity = bench.start(WRITING)
        leg.kill()
        bench.wait_until_held()
        os.kill(bench.counters().worker_pid, signal.SIGSTOP)
        leg.start()
        activity.goes_on()
        assert bench.counters().takeovers == 1
        bench.check(ONE)


def test_storage_is_away_and_the_worker_dead(settings: Settings, ram_directory: Path) -> None:
    """And the keeper stopped until the hold's deadline: its next worker looks for storage first."""
    with (
        fuse_leg(ram_directory) as leg,
        Bench(settings, ram_directory, [leg.url], hold_timeout_seconds=HOLD_SECONDS) as bench,
    ):
        bench.images[leg.url] = leg.image
        activity = bench.start(WRITING)
        cells = shared_page.open_page(bench.run_directory)
        leg.kill()
        bench.wait_until_held()
        with standing_still(bench, KEEPER):
            bench.kill(bench.counters().worker_pid)
            leg.start()
            wait_until(lambda: monotonic_ns() > cells[shared_page.STORAGE_HOLD_DEADLINE])
        activity.goes_on()
        assert bench.counters().takeovers == 1
        bench.check(ONE)


def test_a_probe_is_under_way(settings: Settings, ram_directory: Path) -> None:
    """Storage that is slow to open is waited for as long as if nobody had stood still."""
    with (
        fuse_leg(ram_directory) as leg,
        Bench(settings, ram_directory, [leg.url], hang_timeout_seconds=LIMIT_SECONDS) as bench,
    ):
        bench.images[leg.url] = leg.image
        activity = bench.start(WRITING)
        cells = shared_page.open_page(bench.run_directory)
        leg.kill()
        bench.wait_until_held()
        with standing_still(bench, KEEPER, WORKER):
            leg.start()
            leg.stop()
        keeper = bench.counters().keeper_pid
        wait_until(lambda: bool(probes_that_hang(keeper)))
        begun, probe = monotonic_ns(), probes_that_hang(keeper)
        with standing_still(bench, KEEPER, WORKER):
            wait_until(lambda: monotonic_ns() - begun > 1.5 * LIMIT_SECONDS * 1e9)
        rounds(cells, shared_page.KEEPER_BEAT, 2)
        assert probes_that_hang(keeper) == probe
        leg.resume()
        activity.goes_on()
        bench.check(ONE)
