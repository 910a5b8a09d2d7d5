"""Lowers processes to the idle priority instead of stopping them: policy, nice value and I/O.

They run, and do I/O, only when nobody else wants to. Policy, real-time priority, nice value and
I/O priority of every thread are recorded and given back exactly; threads and children that
appeared meanwhile inherited the idle ones and get those of the process they came from. Autogroups
are left alone. Must never touch a SCHED_DEADLINE thread.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from holdfast.applications.freezers.protocol import Note, Occasion, Process, State, processes_in
from holdfast.model.finding import Finding, Verdict
from holdfast.system.processes.process_state import ancestors_of, lives, read_state, threads_of
from holdfast.system.resources.scheduling import (
    RESET_ON_FORK,
    SCHED_DEADLINE,
    Urgency,
    io_priority_known,
    read_urgency,
    set_urgency,
)

_PASSES = 20
"""Threads that are started while others are changed need another pass."""


class Priority:
    """The freezer `priority`."""

    name = "priority"

    def __init__(self, occasion: Occasion) -> None:
        self._since_ticks = occasion.since_ticks

    def can(self, processes: Sequence[Process]) -> list[Finding]:
        """What speaks against it: deadline threads. Always `limited`, as idle is not still."""
        found = [
            Finding(
                "priority",
                Verdict.LIMITED,
                "processes run on when the processors have nothing else to do",
                "They are slowed down, not stopped.",
            )
        ]
        if not io_priority_known():
            found.append(
                Finding("priority", Verdict.BLOCKS, "I/O priorities are unknown on this machine")
            )
            return found
        for process in processes:
            for thread in threads_of(process.pid):
                with suppress(OSError):
                    if os.sched_getscheduler(thread) & ~RESET_ON_FORK == SCHED_DEADLINE:
                        found.append(
                            Finding(
                                str(process),
                                Verdict.BLOCKS,
                                f"thread {thread} has a deadline policy",
                                "Its bandwidth might not be given back.",
                                "Use --by cgroup.",
                            )
                        )
        return found

    def freeze(self, processes: Sequence[Process], note: Note, wait_seconds: float) -> State:
        """Record and lower every thread; again for those that are started meanwhile."""
        state: State = {
            "processes": [process.as_json() for process in processes],
            "left": [],
            "threads": [],
        }
        known: set[int] = set()
        for _ in range(_PASSES):
            new = [
                each
                for each in self._threads(state)
                if each[1] not in known
                # An idle thread that is younger than the freeze has it from its parent.
                and not (each[3].is_idle and each[2] >= self._since_ticks)
            ]
            if not new:
                break
            for pid, thread, start_time, urgency in new:
                values = (urgency.policy, urgency.priority, urgency.nice, urgency.io_priority)
                state["threads"].append([pid, thread, start_time, *values])
                known.add(thread)
            note(state)
            for _, thread, _, urgency in new:
                with suppress(ProcessLookupError):
                    set_urgency(thread, urgency.as_idle())
        return state

    def thaw(self, state: State) -> list[str]:
        """Give every thread what it had, and the newcomers what their process had."""
        failed: dict[int, str] = {}
        recorded, first = _recorded(state)
        for _ in range(_PASSES):
            changed = 0
            for pid, thread, start_time, now in self._threads(state):
                wanted = recorded.get((thread, start_time))
                if wanted is None and now.is_idle:
                    wanted = first.get(pid)
                changed += _set(thread, now, wanted, failed)
            for thread, now, parent in self._children(state, set(first)):
                changed += _set(thread, now, first[parent], failed)
            if not changed:
                break
        return list(failed.values())

    def frozen(self, state: State) -> bool:
        """Whether every thread is idle in every way."""
        return not self.awake(state)

    def awake(self, state: State) -> list[int]:
        """Processes with a thread that is not idle."""
        return sorted({pid for pid, _, _, urgency in self._threads(state) if not urgency.is_idle})

    def insist(self, state: State) -> list[int]:
        """Lower the recorded threads again that were raised."""
        recorded, _ = _recorded(state)
        for _, thread, start_time, now in self._threads(state):
            if (thread, start_time) in recorded and not now.is_idle:
                with suppress(OSError):
                    set_urgency(thread, now.as_idle())
        return []

    def _threads(self, state: State) -> Iterator[tuple[int, int, int, Urgency]]:
        """Process, thread, its start time and urgency, of everyone who still lives."""
        for process in processes_in(state):
            if lives(process.pid, process.start_time):
                yield from _threads_of(process.pid)

    def _children(self, state: State, known: set[int]) -> Iterator[tuple[int, Urgency, int]]:
        """Idle threads of processes that were started since by those recorded: with the parent.

        Where the parent has ended, the session tells whose child it was.
        """
        sessions: dict[int, int] = {}
        for process in processes_in(state):
            there = read_state(process.pid)
            if there is not None and there.start_time == process.start_time:
                sessions.setdefault(there.session, process.pid)
        for name in os.listdir("/proc"):  # noqa: PTH208 - names, not paths
            if not name.isdigit() or int(name) in known:
                continue
            child = read_state(int(name))
            if child is None or child.kernel_thread or child.start_time < self._since_ticks:
                continue
            parents = [each for each in ancestors_of(child.pid) if each in known]
            parent = parents[0] if parents else sessions.get(child.session)
            if parent is not None:
                for _, thread, _, urgency in _threads_of(child.pid):
                    if urgency.is_idle:
                        yield thread, urgency, parent


def _threads_of(pid: int) -> Iterator[tuple[int, int, int, Urgency]]:
    for thread in threads_of(pid):
        with suppress(OSError):
            there = read_state(pid, thread)
            if there is not None:
                yield pid, thread, there.start_time, read_urgency(thread)


def _recorded(state: State) -> tuple[dict[tuple[int, int], Urgency], dict[int, Urgency]]:
    """Urgencies by thread and start time, and those of each process's first thread."""
    threads: dict[tuple[int, int], Urgency] = {}
    first: dict[int, Urgency] = {}
    for pid, thread, start_time, *values in state["threads"]:
        threads[thread, start_time] = Urgency(*values)
        if thread == pid or pid not in first:
            first[pid] = Urgency(*values)
    return threads, first


def _set(thread: int, now: Urgency, wanted: Urgency | None, failed: dict[int, str]) -> bool:
    """Whether something was changed."""
    if wanted is None or now == wanted or thread in failed:
        return False
    try:
        set_urgency(thread, wanted)
    except ProcessLookupError:
        return False
    except OSError as error:
        failed[thread] = f"thread {thread} did not get its priority back: {error}"
    return True
