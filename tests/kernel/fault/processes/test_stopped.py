"""Fault: a process of the gate stands still: stopped by a signal or a debugger."""

from __future__ import annotations

import ctypes
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from holdfast.config import Settings
from holdfast.gate.processes.partner import SHORTEST_LIMIT_SECONDS
from holdfast.gate.processes.watchdog import STANDSTILL_SECONDS
from holdfast.gate.runtime import shared_page
from tests.faults import stopped
from tests.kernel.fault.bench import HANG_SECONDS, Bench, fuse_leg, plain_legs
from tests.kernel.fault.cells import FLUSHING
from tests.waiting import wait_until

PTRACE_ATTACH, PTRACE_DETACH = 16, 17  # <sys/ptrace.h>
_LIBC = ctypes.CDLL(None, use_errno=True)


@pytest.fixture
def bench(settings: Settings, ram_directory: Path) -> Iterator[Bench]:
    """A volume with two legs and an application at work."""
    urls = plain_legs(ram_directory, 1, 2)
    with Bench(settings, ram_directory, urls, hang_timeout_seconds=HANG_SECONDS) as made:
        made.start(FLUSHING)
        yield made


@contextmanager
def debugged(pid: int) -> Iterator[None]:
    """A debugger stops the process, and has not let go of it at the end of the block."""
    assert _LIBC.ptrace(PTRACE_ATTACH, pid, None, None) == 0
    try:
        yield
    finally:
        _LIBC.ptrace(PTRACE_DETACH, pid, None, None)
        with suppress(ChildProcessError):
            os.waitpid(pid, 0x40000000)  # __WALL, <linux/wait.h>


def rounds(bench: Bench, count: int) -> None:
    """Until both main loops came round that often."""
    cells = shared_page.open_page(bench.run_directory)
    for _ in range(count):
        beats = cells[shared_page.KEEPER_BEAT], cells[shared_page.WORKER_BEAT]
        wait_until(
            lambda beats=beats: (
                beats[0] != cells[shared_page.KEEPER_BEAT]  # type: ignore[misc]
                and beats[1] != cells[shared_page.WORKER_BEAT]
            )
        )


def test_worker(bench: Bench) -> None:
    """The keeper kills it and starts another; the application waited, and saw no error."""
    assert bench.activity is not None
    before = bench.counters()
    os.kill(before.worker_pid, signal.SIGSTOP)
    bench.activity.goes_on()
    after = bench.counters()
    assert (after.keeper_pid, after.takeovers) == (before.keeper_pid, 1)
    receipt = bench.wait_for_receipt("takeover")
    assert "stopped" in receipt["cause"]
    assert receipt["longest_wait_ms"] >= SHORTEST_LIMIT_SECONDS * 500
    bench.check(2)


def test_keeper(bench: Bench) -> None:
    """The worker kills it and starts another, and serves all the time."""
    assert bench.activity is not None
    before = bench.counters()
    os.kill(before.keeper_pid, signal.SIGSTOP)
    wait_until(lambda: bench.counters().keeper_pid != before.keeper_pid)
    bench.activity.goes_on()
    after = bench.counters()
    assert (after.worker_pid, after.takeovers) == (before.worker_pid, 0)
    assert "stopped" in bench.wait_for_receipt("keeper-takeover")["cause"]
    bench.check(2)


def test_worker_under_a_debugger(bench: Bench) -> None:
    """One that is only looked at goes on; one that is kept stopped is killed like any other."""
    assert bench.activity is not None
    with debugged(bench.counters().worker_pid):
        bench.activity.goes_on()
        assert "debugger" in bench.wait_for_receipt("takeover")["cause"]
    bench.check(2)


def test_both_for_a_while(bench: Bench) -> None:
    """A host that was suspended, a frozen control group: neither takes the other for dead."""
    assert bench.activity is not None
    before = bench.counters()
    with stopped([before.keeper_pid, before.worker_pid]):
        bench.activity.waits(STANDSTILL_SECONDS + 0.5)
    bench.activity.goes_on()
    rounds(bench, 4)
    assert "stopped, or got no processor" in bench.wait_for_receipt("standstill")["cause"]
    after = bench.counters()
    assert (after.keeper_pid, after.worker_pid) == (before.keeper_pid, before.worker_pid)
    bench.check(2)


@pytest.mark.parametrize("other", [signal.SIGKILL, signal.SIGSTOP], ids=["dead", "stopped"])
@pytest.mark.parametrize("stands", ["keeper", "worker"])
def test_nobody_is_left_to_act(bench: Bench, stands: str, other: int) -> None:
    """One is stopped, and the other one dead or stopped, too: who is stopped continues itself."""
    assert bench.activity is not None
    before = bench.counters()
    first, second = before.keeper_pid, before.worker_pid
    if stands == "worker":
        first, second = second, first
    os.kill(first, signal.SIGSTOP)
    os.kill(second, other)
    bench.activity.goes_on()
    after = bench.counters()
    if other == signal.SIGKILL:
        assert first in (after.keeper_pid, after.worker_pid)
        bench.wait_for_receipt("takeover" if stands == "keeper" else "keeper-takeover")
    bench.check(2)


def test_worker_while_a_leg_hangs(settings: Settings, ram_directory: Path) -> None:
    """It cannot even end, and has all locks: the next one takes them, as after any kill."""
    with fuse_leg(ram_directory) as leg:
        urls = [*plain_legs(ram_directory, 1, 1), leg.url]
        with Bench(settings, ram_directory, urls, hang_timeout_seconds=HANG_SECONDS) as bench:
            bench.images[leg.url] = leg.image
            activity = bench.start(FLUSHING)
            leg.hang()
            wait_until(lambda: leg.waiting() > 0)
            os.kill(bench.counters().worker_pid, signal.SIGSTOP)
            activity.goes_on()
            assert bench.counters().takeovers == 1
            leg.serve()
            bench.wait_until_healthy()
            bench.check(2)


def test_each_during_a_hold(settings: Settings, ram_directory: Path) -> None:
    """The hold goes on, and still ends by itself when the storage is back."""
    with fuse_leg(ram_directory) as leg, Bench(settings, ram_directory, [leg.url]) as bench:
        bench.images[leg.url] = leg.image
        activity = bench.start(FLUSHING)
        leg.kill()
        bench.wait_until_held()
        before = bench.counters()
        os.kill(before.worker_pid, signal.SIGSTOP)
        wait_until(lambda: bench.counters().worker_pid != before.worker_pid)
        os.kill(before.keeper_pid, signal.SIGSTOP)
        wait_until(lambda: bench.counters().keeper_pid != before.keeper_pid)
        leg.start()
        bench.wait_until_healthy()
        activity.goes_on()
        bench.check(1)
