"""Processes by descriptor: who is alive, who has died, without races over reused numbers."""

from __future__ import annotations

import os
import select
from pathlib import Path

_PIDFD_THREAD = os.O_EXCL
"""pidfd_open(2), Linux 6.9: the descriptor refers to the thread, not the whole process."""


def watch_thread(pid: int, thread_id: int) -> int | None:
    """A descriptor that becomes readable when a thread of `pid`, not its main one, has ended.

    A process that was killed while one of its threads hangs inside dead storage ends only when
    that thread returns; all other threads end at once. The main thread is of no use for this: since
    Linux 6.15 its end is told when the last of the others has ended. None when it is gone, or
    before Linux 6.9.
    """
    try:
        descriptor = os.pidfd_open(thread_id, _PIDFD_THREAD)
    except OSError:
        return None
    if Path(f"/proc/{pid}/task/{thread_id}").exists():
        return descriptor
    os.close(descriptor)  # the number belongs to somebody else now
    return None


def watch_leader(pid: int) -> int | None:
    """A descriptor that becomes readable when the main thread of `pid` has ended, or later.

    None when the process is gone.
    """
    try:
        return os.pidfd_open(pid, _PIDFD_THREAD)
    except ProcessLookupError:
        return None
    except OSError:
        return watch_process(pid)  # before Linux 6.9


def watch_process(pid: int) -> int | None:
    """A descriptor that becomes readable when all threads of `pid` have ended, or None."""
    try:
        return os.pidfd_open(pid)
    except ProcessLookupError:
        return None


def has_ended(descriptor: int | None, timeout_seconds: float = 0.0) -> bool:
    """Wait at most that long for what the descriptor watches; whether it has ended."""
    if descriptor is None:
        return True
    poller = select.poll()
    poller.register(descriptor, select.POLLIN)
    return bool(poller.poll(int(timeout_seconds * 1000)))


def start_ticks(pid: int) -> int:
    """Start time of a process in clock ticks since boot (proc_pid_stat(5)), 0 when it is gone."""
    try:
        with open(f"/proc/{pid}/stat") as file:
            return int(file.read().rpartition(")")[2].split()[19])
    except (OSError, IndexError, ValueError):
        return 0


def close_all_except(keep: set[int]) -> None:
    """Close every descriptor above 2 but those, after a fork that keeps little."""
    previous = 2
    for descriptor in sorted(keep | {1 << 20}):
        if descriptor > previous:
            os.closerange(previous + 1, descriptor)
            previous = descriptor
