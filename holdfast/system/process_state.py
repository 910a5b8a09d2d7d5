"""What the kernel says of a process or thread in /proc/PID/stat, and who it is for good.

Invariant: a number of a process means something only together with its start time; whoever acts
on a process takes a descriptor of it first and compares afterwards. Must never change anyone.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import dataclass

_PF_KTHREAD = 0x00200000  # <linux/sched.h>

STOPPED = "T"
TRACED = "t"
UNINTERRUPTIBLE = "D"
DEAD = frozenset("ZX")


@dataclass(frozen=True)
class ProcessState:
    """Fields of proc_pid_stat(5)."""

    pid: int
    name: str
    state: str
    """R, S, D, T (stopped), t (traced), Z …"""
    parent: int
    session: int
    kernel_thread: bool
    start_time: int
    """Clock ticks after boot."""


def read_state(pid: int, thread_id: int | None = None) -> ProcessState | None:
    """A process as it is now, or one of its threads; None when it is gone. Does not block."""
    path = f"/proc/{pid}/stat" if thread_id is None else f"/proc/{pid}/task/{thread_id}/stat"
    try:
        with open(path, "rb") as file:
            text = os.fsdecode(file.read())
        before, _, after = text.rpartition(")")
        fields = after.split()
        return ProcessState(
            pid=pid,
            name=before.partition("(")[2],
            state=fields[0],
            parent=int(fields[1]),
            session=int(fields[3]),
            kernel_thread=bool(int(fields[6]) & _PF_KTHREAD),
            start_time=int(fields[19]),
        )
    except (OSError, IndexError, ValueError):
        return None


def threads_of(pid: int) -> list[int]:
    """Numbers of the threads a process has now; empty when it is gone."""
    with suppress(OSError):
        return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208
    return []


def lives(pid: int, start_time: int) -> bool:
    """Whether the process of that number and start time is still there, zombies excepted."""
    state = read_state(pid)
    return state is not None and state.start_time == start_time and state.state not in DEAD


def open_process(pid: int, start_time: int) -> int | None:
    """A descriptor of exactly this process (pidfd_open(2)), or None when it is gone.

    The descriptor is taken first and the start time compared afterwards, so that it cannot be of a
    later process with the same number. Caller closes. Raises OSError (EMFILE …).
    """
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return None
    if lives(pid, start_time):
        return descriptor
    os.close(descriptor)
    return None


def tracer_of(pid: int) -> int:
    """Who traces the process (ptrace(2)); 0: nobody, or it is gone."""
    with suppress(OSError, ValueError), open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            if line.startswith(b"TracerPid:"):
                return int(line.split()[1])
    return 0


def ancestors_of(pid: int) -> list[int]:
    """The process's parent, its parent, and so on, up to the first process of all."""
    found: list[int] = []
    state = read_state(pid)
    while state is not None and state.parent > 0 and state.parent not in found:
        found.append(state.parent)
        state = read_state(state.parent)
    return found
