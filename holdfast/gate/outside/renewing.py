"""Moving a gate in use to the code that is installed now: its keeper first, then its worker.

Each is ended as a crash would end it, and the other one brings the next, which is a new program
(keeper) or is forked from one (worker). So there is no way of its own that could go wrong, and an
older gate needs to know nothing of it. Invariant: one is ended only right after both came round,
and while the other lives and runs; what the page said before this call counts for nothing, as
whoever wrote it may be dead or stand still.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from time import monotonic, monotonic_ns, sleep

from holdfast.errors import DeadlinePassed, GateGone
from holdfast.gate.processes.remains import living_processes
from holdfast.gate.runtime import shared_page
from holdfast.late_dataclass import dataclass
from holdfast.system.processes.process_state import (
    DEAD,
    STOPPED,
    TRACED,
    open_process,
    read_state,
    start_time,
)

_POLL_SECONDS = 0.01


@dataclass(frozen=True)
class _Side:
    """One of the pair: the cells of the page that tell of it."""

    pid: int
    started: int
    beat: int


_KEEPER = _Side(shared_page.KEEPER_PID, shared_page.KEEPER_STARTED, shared_page.KEEPER_BEAT)
_WORKER = _Side(shared_page.WORKER_PID, shared_page.WORKER_STARTED, shared_page.WORKER_BEAT)


def renew(run_directory: Path, timeout_seconds: float) -> None:
    """Both processes run the installed code when this returns; requests wait some milliseconds.

    Blocks for a second or so, and at most for the time-out. Raises GateGone, and DeadlinePassed
    when the two do not both work, or the next one does not come, in time: nothing more is ended
    then, while one that was ended before is replaced all the same; the same call tries again.
    """
    try:
        cells = shared_page.open_page(run_directory)
    except OSError as error:
        raise GateGone("there is no gate to renew", "holdfast volume attach starts one.") from error
    if not living_processes(run_directory):
        raise GateGone(
            "there is no gate to renew: its processes have ended",
            "holdfast recover cleans up; holdfast volume attach starts it again.",
        )
    deadline = monotonic() + timeout_seconds
    _wait_for_both(cells, deadline)
    _end(cells, _KEEPER)
    ended_ns = monotonic_ns()
    _wait(lambda: _kept(cells, ended_ns), deadline, "no new keeper came")
    _wait_for_both(cells, deadline)
    generation = cells[shared_page.GENERATION]
    with _announced(cells):
        _end(cells, _WORKER)
        _wait(
            lambda: cells[shared_page.GENERATION] > generation and _serves(cells),
            deadline,
            "no new worker came",
        )


def _wait_for_both(cells: memoryview, deadline: float) -> None:
    """Until keeper and worker both came round after this moment, and each lives and runs."""
    since_ns = monotonic_ns()
    _wait(
        lambda: (
            _serves(cells)
            and _kept(cells, since_ns)
            and cells[_WORKER.beat] > since_ns
            and _runs(cells, _KEEPER)
            and _runs(cells, _WORKER)
        ),
        deadline,
        "keeper and worker do not both work",
    )


def _serves(cells: memoryview) -> bool:
    return bool(
        cells[shared_page.SERVING] == cells[shared_page.GENERATION]
        and cells[shared_page.WORKER_STARTED]
        and not cells[shared_page.STOPPED]
    )


def _kept(cells: memoryview, since_ns: int) -> bool:
    """Whether a keeper is in service whose main loop came round since then."""
    return bool(
        cells[shared_page.KEEPER_STARTED]
        and not cells[shared_page.NEXT_KEEPER]
        and cells[shared_page.KEEPER_BEAT] > since_ns
    )


def _runs(cells: memoryview, side: _Side) -> bool:
    """Whether that very process lives, and nobody has stopped it."""
    state = read_state(cells[side.pid])
    return (
        state is not None
        and state.start_time == cells[side.started]
        and not state.exiting
        and state.state not in DEAD | {STOPPED, TRACED}
    )


def _end(cells: memoryview, side: _Side) -> None:
    """Kill the process of these cells, if it is still that one."""
    watch = open_process(cells[side.pid], cells[side.started])
    if watch is not None:
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(watch, signal.SIGKILL)
        os.close(watch)


@contextmanager
def _announced(cells: memoryview) -> Iterator[None]:
    """Meanwhile the worker is ended on purpose, as long as this process lives to do it."""
    shared_page.announce_renewal(cells, os.getpid(), start_time(os.getpid()))
    try:
        yield
    finally:
        shared_page.announce_renewal(cells, 0, 0)


def _wait(condition: Callable[[], bool], deadline: float, otherwise: str) -> None:
    while not condition():
        if monotonic() > deadline:
            raise DeadlinePassed(
                f"{otherwise} within the time that it may take",
                "Nothing more is ended. One that was, or that stands still, is replaced by the"
                " other within seconds: try again. The log says why (journalctl -t holdfast, or"
                " gate.log).",
            )
        sleep(_POLL_SECONDS)
