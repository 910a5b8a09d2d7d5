"""What the kernel says of a process or thread in /proc/PID/stat, and who it is for good.

Invariant: a number of a process means something only together with its start time; whoever acts
on a process takes a descriptor of it first and compares afterwards. Must never change anyone.
"""

from __future__ import annotations

import os
from contextlib import suppress

from holdfast.late_dataclass import dataclass
from holdfast.system.proc import read_record
from holdfast.system.proc_text import number_of, parse_stat
from holdfast.system.processes.process import has_ended, watch_process

STOPPED = "T"
TRACED = "t"
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
    exiting: bool
    """Whether the kernel is about to end it: it runs no code of its own any more."""
    start_time: int
    """Clock ticks after boot."""


def read_state(pid: int, thread_id: int | None = None) -> ProcessState | None:
    """A process as it is now, or one of its threads; None when it is gone. Does not block."""
    path = f"/proc/{pid}/stat" if thread_id is None else f"/proc/{pid}/task/{thread_id}/stat"
    try:
        stat = parse_stat(read_record(path))
        return ProcessState(
            pid=pid,
            name=stat.name,
            state=stat.state,
            parent=stat.parent,
            session=stat.session,
            kernel_thread=stat.kernel_thread,
            exiting=stat.exiting,
            start_time=stat.start_time,
        )
    except (OSError, ValueError):
        return None


def threads_of(pid: int) -> list[int]:
    """Numbers of the threads a process has now; empty when it is gone."""
    with suppress(OSError):
        return sorted(int(name) for name in os.listdir(f"/proc/{pid}/task"))  # noqa: PTH208
    return []


def children_of(pid: int) -> list[int]:
    """The processes that its threads have made and that have not ended; empty when it has ended.

    A kernel without CONFIG_PROC_CHILDREN tells of none (proc_pid_task_children(5)).
    """
    found: list[int] = []
    for thread_id in threads_of(pid):
        with suppress(OSError):
            text = read_record(f"/proc/{pid}/task/{thread_id}/children")
            found += [int(word) for word in text.split()]
    return found


def runs_no_code(pid: int) -> bool:
    """Whether no thread of a killed process is inside a system call, or will enter one: the kernel
    is ending each of them, or has. It still has its memory and its descriptors, perhaps for long.

    Only of one that was killed. False where nothing certain is known.
    """
    try:
        return all(is_exiting(pid, thread_id) for thread_id in all_threads_of(pid))
    except (OSError, ValueError):
        return False


def all_threads_of(pid: int) -> list[int]:
    """Numbers of all threads of a killed process, none when it is gone.

    It begins no thread any more, so a list as long as their number was before has all of them.
    Raises OSError, ValueError where that cannot be said, as some are just ending.
    """
    try:
        count = parse_stat(read_record(f"/proc/{pid}/stat")).threads
        threads = os.listdir(f"/proc/{pid}/task")  # noqa: PTH208
    except (FileNotFoundError, ProcessLookupError):
        return []
    if len(threads) != count:
        raise ValueError(f"{len(threads)} threads of {count}")
    return [int(name) for name in threads]


def is_exiting(pid: int, thread_id: int) -> bool:
    """Whether the kernel is ending that thread, or has: it enters no system call any more.

    Raises OSError, ValueError where nothing certain is known.
    """
    try:
        return parse_stat(read_record(f"/proc/{pid}/task/{thread_id}/stat")).exiting
    except (FileNotFoundError, ProcessLookupError):
        return True


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


def open_unended(pid: int, start_time: int) -> int | None:
    """A descriptor of exactly this process as long as one of its threads has not ended, or None.

    Of a killed process whose main thread is gone, too, unlike `open_process`. Caller closes.
    Raises OSError (EMFILE …).
    """
    descriptor = watch_process(pid)
    if descriptor is None:
        return None
    state = read_state(pid)
    if state is not None and state.start_time == start_time and not has_ended(descriptor):
        return descriptor
    os.close(descriptor)
    return None


def tracer_of(pid: int) -> int:
    """The process that traces this one (ptrace(2)); 0: there is none, or this one is gone."""
    with suppress(OSError, ValueError):
        return number_of(read_record(f"/proc/{pid}/status"), b"TracerPid") or 0
    return 0


def user_of(pid: int) -> int:
    """The real user id of the process, as this user namespace knows it; -1: it is gone."""
    with suppress(OSError, ValueError, IndexError), open(f"/proc/{pid}/status", "rb") as file:
        for line in file:
            if line.startswith(b"Uid:"):
                return int(line.split()[1])
    return -1


def ancestors_of(pid: int) -> list[int]:
    """The process's parent, its parent, and so on, up to the first process of all."""
    found: list[int] = []
    state = read_state(pid)
    while state is not None and state.parent > 0 and state.parent not in found:
        found.append(state.parent)
        state = read_state(state.parent)
    return found


def start_time(pid: int) -> int:
    """When a process began, in clock ticks after boot; 0 when it is gone."""
    found = read_state(pid)
    return found.start_time if found else 0
