"""A process that was started and cannot be watched is ended: there is never a second one beside it.

A keeper that took a living worker for dead would let another one write to the same legs.
"""

from __future__ import annotations

import errno
import os
import signal
import time
from pathlib import Path
from typing import Any

import pytest

from holdfast.gate.processes import keeper as keeper_module
from holdfast.gate.processes import keeper_watch, standby
from holdfast.gate.processes.channel import make_channel
from holdfast.gate.processes.handover import Handover, listen
from holdfast.gate.processes.keeper import Keeper
from holdfast.gate.processes.keeper_watch import KeeperGuard
from holdfast.gate.processes.refusing import LONGEST_DELAY_SECONDS
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.incidents import Incidents


class Waiting:
    """A worker that does nothing, for long."""

    def __init__(self, *_: Any) -> None:
        return

    def run(self) -> None:
        time.sleep(60)


class Anywhere:
    """The control group of processes that stay in the tests' own."""

    def __init__(self, name: str) -> None:
        pass

    def keep(self, *pids: int) -> set[int]:
        return set()

    def close(self) -> None:
        pass


@pytest.fixture
def handover(tmp_path: Path) -> Any:
    run_directory = tmp_path / "run"
    run_directory.mkdir()
    with listen(run_directory) as listener:
        cells = memoryview(bytearray(shared_page.SIZE_BYTES)).cast("Q")
        null = os.open("/dev/null", os.O_RDWR)
        yield Handover(tmp_path, run_directory, cells, null, null, listener, keeper_pid=os.getpid())
        os.close(null)


def no_room(pid: int) -> int:
    raise OSError(errno.ENFILE, os.strerror(errno.ENFILE))


def test_worker(handover: Handover, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(keeper_module, "Worker", Waiting)
    monkeypatch.setattr(keeper_module, "OwnGroup", Anywhere)
    keeper = Keeper(handover, make_channel()[0])
    with monkeypatch.context() as patch:
        patch.setattr(standby, "watch_leader", no_room)
        with pytest.raises(OSError):
            keeper.start_worker()
    _, status = os.waitpid(keeper.worker_pid, 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL
    keeper.start_worker()
    assert keeper.watch is not None
    os.kill(keeper.worker_pid, signal.SIGKILL)
    os.waitpid(keeper.worker_pid, 0)
    os.close(keeper.watch)


def test_a_wait_for_the_next_worker_is_no_standing_still(
    handover: Handover, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hold's deadline would move by it, each time that a worker dies."""
    monkeypatch.setattr(keeper_module, "Worker", Waiting)
    monkeypatch.setattr(keeper_module, "OwnGroup", Anywhere)
    handover.cells[shared_page.HOLD_TIMEOUT] = 1 << 62
    keeper = Keeper(handover, make_channel()[0])
    keeper.vain.count = 20
    handover.cells[shared_page.GENERATION] = 1  # nobody serves
    began = time.monotonic_ns()
    keeper.watching.look()
    keeper._worker_died(unseen=False)
    assert keeper.watching.look() is None
    assert time.monotonic_ns() - began >= LONGEST_DELAY_SECONDS * 1e9
    os.kill(keeper.worker_pid, signal.SIGKILL)
    os.waitpid(keeper.worker_pid, 0)


def test_keeper(handover: Handover, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[int] = []

    def start(*_: Any) -> Any:
        pid = os.fork()
        if pid == 0:
            time.sleep(60)
            os._exit(0)
        started.append(pid)
        return make_channel()[1], pid

    monkeypatch.setattr(keeper_watch, "start_keeper", start)
    incidents = Incidents("v", tmp_path / "spool")
    child = os.fork()
    if child == 0:
        os._exit(0)
    guard = KeeperGuard(_kept_by(handover, child), make_channel()[1], incidents, list, lambda: None)
    os.waitpid(child, 0)
    monkeypatch.setattr(keeper_watch, "watch_leader", no_room)
    guard.tend()
    assert len(started) == 1
    _, status = os.waitpid(started[0], 0)
    assert os.waitstatus_to_exitcode(status) == -signal.SIGKILL


def _kept_by(handover: Handover, pid: int) -> Handover:
    return Handover(
        handover.state_directory,
        handover.run_directory,
        handover.cells,
        handover.page,
        handover.connection,
        handover.listener,
        keeper_pid=pid,
    )
