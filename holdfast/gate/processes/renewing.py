"""Moving a gate in use to the code that is installed now: its keeper first, then its worker.

Each is ended as a crash would end it, and the other one brings the next, which is a new program
(keeper) or is forked from one (worker). So there is no way of its own that could go wrong, and an
older gate needs to know nothing of it. Must never end one while the other is not in service.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from time import monotonic, monotonic_ns, sleep

from holdfast.errors import DeadlinePassed, GateGone
from holdfast.gate.processes.partner import Ending
from holdfast.gate.runtime import shared_page
from holdfast.system.process import watch_process
from holdfast.system.process_state import start_time

_POLL_SECONDS = 0.01


def renew(run_directory: Path, timeout_seconds: float) -> None:
    """Both processes run the installed code when this returns; requests wait some milliseconds.

    Raises GateGone, and DeadlinePassed when the next process does not come in time: the gate goes
    on with what it has then, and the same call tries again.
    """
    try:
        cells = shared_page.open_page(run_directory)
    except OSError as error:
        raise GateGone("there is no gate to renew", "holdfast volume attach starts one.") from error
    deadline = monotonic() + timeout_seconds
    _wait(lambda: _serves(cells) and _kept(cells, 0), deadline, "the gate is not in order")
    ended_ns = _end(cells, shared_page.KEEPER_PID, shared_page.KEEPER_STARTED)
    _wait(lambda: _kept(cells, ended_ns), deadline, "no new keeper came")
    generation = cells[shared_page.GENERATION]
    cells[shared_page.WORKER_END] = Ending.RENEWED
    _end(cells, shared_page.WORKER_PID, shared_page.WORKER_STARTED)
    _wait(
        lambda: cells[shared_page.GENERATION] > generation and _serves(cells),
        deadline,
        "no new worker came",
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


def _end(cells: memoryview, pid_cell: int, started_cell: int) -> int:
    """Kill the process of these cells, if it is still that one; when (CLOCK_MONOTONIC)."""
    pid, started = cells[pid_cell], cells[started_cell]
    watch = watch_process(pid)
    try:
        if watch is not None and start_time(pid) == started:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(watch, signal.SIGKILL)
    finally:
        if watch is not None:
            os.close(watch)
    return monotonic_ns()


def _wait(condition: Callable[[], bool], deadline: float, otherwise: str) -> None:
    while not condition():
        if monotonic() > deadline:
            raise DeadlinePassed(
                f"{otherwise} within the time that it may take",
                "It goes on as it is. The log says why (CONTRIBUTING, journalctl -t holdfast).",
            )
        sleep(_POLL_SECONDS)
