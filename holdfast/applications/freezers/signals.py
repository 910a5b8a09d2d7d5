"""Freezes processes with SIGSTOP and thaws them with SIGCONT.

Works everywhere. A process that stood still already is left as it is, also at the thaw. Others can
see it: a parent is told (SIGCHLD; a shell reports a stopped job), and the process's own handler of
SIGCONT runs. Must never signal a process by number alone, nor one that somebody else traces: the
tracer would get the stop, not the process.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Sequence
from contextlib import suppress

from holdfast.applications.freezers.protocol import Note, Occasion, Process, State, processes_in
from holdfast.model.finding import Finding, Verdict
from holdfast.system.processes.process_state import (
    DEAD,
    STOPPED,
    TRACED,
    open_process,
    read_state,
    threads_of,
    tracer_of,
)

_LOOK_SECONDS = (0.0002, 0.01)
"""First and longest pause between looks: nothing tells of the stop of someone else's child."""

_STILL = frozenset({STOPPED, TRACED}) | DEAD


class Signal:
    """The freezer `signal`."""

    name = "signal"

    def __init__(self, occasion: Occasion) -> None:
        pass

    def can(self, processes: Sequence[Process]) -> list[Finding]:
        """What speaks against it: traced processes."""
        found = []
        for process in processes:
            tracer = tracer_of(process.pid)
            if tracer:
                found.append(
                    Finding(
                        str(process),
                        Verdict.BLOCKS,
                        f"is traced by process {tracer}",
                        "A signal that stops goes to the tracer first.",
                        "End the debugger, or use --by cgroup.",
                    )
                )
        return found

    def freeze(self, processes: Sequence[Process], note: Note, wait_seconds: float) -> State:
        """Stop them all, then wait until every thread of every one has stopped."""
        left = [process for process in processes if _state_of(process) == STOPPED]
        stopping = [process for process in processes if process not in left]
        state: State = {
            "processes": [process.as_json() for process in stopping],
            "left": [process.as_json() for process in left],
        }
        note(state)
        for process in stopping:
            _send(process, signal.SIGSTOP)
        deadline = time.monotonic() + wait_seconds
        pause_seconds = _LOOK_SECONDS[0]
        while self.awake(state) and time.monotonic() < deadline:
            time.sleep(pause_seconds)
            pause_seconds = min(2 * pause_seconds, _LOOK_SECONDS[1])
        return state

    def thaw(self, state: State) -> list[str]:
        """Continue those who stand still; SIGCONT also takes back a stop that is under way."""
        failed = []
        for process in processes_in(state):
            try:
                _send(process, signal.SIGCONT)
            except OSError as error:
                failed.append(f"{process} was not continued: {error}")
        return failed

    def frozen(self, state: State) -> bool:
        """Whether every thread of every living process has stopped."""
        return not self.awake(state)

    def awake(self, state: State) -> list[int]:
        """Processes with a thread that has not stopped yet."""
        found = []
        for process in processes_in(state):
            if _state_of(process) is None:
                continue
            threads = [read_state(process.pid, thread) for thread in threads_of(process.pid)]
            if any(thread is not None and thread.state not in _STILL for thread in threads):
                found.append(process.pid)
        return found

    def insist(self, state: State) -> list[int]:
        """Stop those again who were continued, and name those who had been stopped before us."""
        for process in processes_in(state):
            if _state_of(process) in ("R", "S"):
                _send(process, signal.SIGSTOP)
        left = [Process(*each) for each in state["left"]]
        return [each.pid for each in left if (_state_of(each) or STOPPED) not in _STILL]


def _state_of(process: Process) -> str | None:
    """State of its main thread; None when it is gone."""
    state = read_state(process.pid)
    return state.state if state is not None and state.start_time == process.start_time else None


def _send(process: Process, number: signal.Signals) -> None:
    """Send it to exactly this process; nothing when it is gone. Raises OSError."""
    descriptor = open_process(process.pid, process.start_time)
    if descriptor is None:
        return
    try:
        with suppress(ProcessLookupError):  # it ended just now: nobody stands still, none is left
            signal.pidfd_send_signal(descriptor, number)
    finally:
        os.close(descriptor)
