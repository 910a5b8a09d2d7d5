"""Locks, and leases, taken again by whom they belong to.

OFD locks belong to nobody and are taken where descriptions are opened. A flock belongs to the
description, but the kernel says who took it: that process takes it again, as soon as its
description is open, so that nobody comes first. POSIX locks come last of all: closing any
descriptor of the file in the process would drop them; so do leases, which nobody else may have
open.
"""

from __future__ import annotations

import errno
import fcntl
from collections.abc import Callable, Mapping, Sequence
from functools import partial

from holdfast.applications.rebind.opening.reopening import lock_structure
from holdfast.applications.rebind.opening.requests import OpenResult
from holdfast.applications.rebind.opening.waiting_for_locks import taken_in_time
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.stopped_process import Processes, StoppedProcess
from holdfast.applications.rebind.replaying.failures import words_of
from holdfast.model.handle import FileLock, Handle, HandleKind, HandleOutcome, LockKind

_TAKEN = "another process has the lock now"
_HELD = errno.EAGAIN
"""What Linux says of that (fs/locks.c); EACCES is of a lease that the process may not have."""

_SET_LOCK, _SET_LEASE = 6, 1024  # F_SETLK, F_SETLEASE: asm-generic/fcntl.h, linux/fcntl.h
_LEASE_TYPES = {"read": fcntl.F_RDLCK, "write": fcntl.F_WRLCK}
"""Not `unlck`: one that is being taken away, whose holder has been told."""


def take_flocks(processes: Processes, opened: Mapping[str, OpenResult], until_ns: int) -> None:
    """Let whoever has taken a flock take it again, else anybody who shares its description.

    Says in `opened` where somebody else has it, still at `until_ns` (CLOCK_MONOTONIC).
    """
    sharers: dict[str, list[tuple[StoppedProcess, HandleNote]]] = {}
    for process in processes.values():
        for note in _locked(process):
            if any(lock.kind is LockKind.FLOCK for lock in note.handle.locks):
                sharers.setdefault(note.details.key, []).append((process, note))
    for key, mine in sharers.items():
        found = opened.get(key)  # nothing is asked for in place of a FIFO without a name
        if found is None or found.descriptor is None:
            continue
        for lock in mine[0][1].handle.locks:
            if lock.kind is not LockKind.FLOCK:
                continue
            mine.sort(key=lambda each: each[0].pid != lock.holder_pid)
            if not _taken_by_any(processes, mine, found.descriptor, lock, until_ns):
                found.outcome, found.note = HandleOutcome.LOST, _TAKEN


def _locked(process: StoppedProcess) -> list[HandleNote]:
    """Notes of what has locks or leases."""
    kinds = (HandleKind.FILE, HandleKind.DIRECTORY, HandleKind.FIFO, HandleKind.DEVICE)
    return [note for note in process.notes if note.handle.locks and note.handle.kind in kinds]


def _taken_by_any(
    processes: Processes,
    sharers: Sequence[tuple[StoppedProcess, HandleNote]],
    descriptor: int,
    lock: FileLock,
    until_ns: int,
) -> bool:
    for process, note in sharers:
        if process.pid in processes:
            with processes.unless_it_ends(process):
                return _take_flock(process, note.handle.thread_id, descriptor, lock, until_ns)
    return True  # nobody is left who would have it


def _take_flock(
    process: StoppedProcess,
    thread_id: int | None,
    descriptor: int,
    lock: FileLock,
    until_ns: int,
) -> bool:
    """Through a number that is there for an instant; False when somebody else has it."""
    how = (fcntl.LOCK_SH if lock.mode == "read" else fcntl.LOCK_EX) | fcntl.LOCK_NB

    def take() -> None:
        number = process.tracee.give(descriptor, thread_id)
        try:
            process.tracee.call("flock", number, how, thread_id=thread_id)
        finally:
            process.tracee.call("close", number, thread_id=thread_id)

    try:
        return taken_in_time(lambda: _is_taken(take), until_ns)
    except ProcessLookupError:
        raise
    except Exception as error:
        words_of(error, process.in_words)
        return False


def _is_taken(take: Callable[[], object]) -> bool:
    """Whether it did; False when somebody else has the lock. Raises what it raises otherwise."""
    try:
        take()
    except OSError as error:
        if error.errno != _HELD:
            raise
        return False
    return True


def take_locks(process: StoppedProcess, until_ns: int) -> dict[Handle, str]:
    """Take the locks of a process again; the handles without one that they had, and why."""
    lost: dict[Handle, str] = {}
    done = set()
    for note in _locked(process):
        for lock in note.handle.locks:
            if (note.details.key, lock) in done:
                continue
            done.add((note.details.key, lock))
            take = partial(_take, process, note, lock)
            try:
                if not taken_in_time(partial(_is_taken, take), until_ns):
                    lost[note.handle] = _TAKEN
            except ProcessLookupError:
                raise
            except Exception as error:  # nobody else may suffer for it
                lost[note.handle] = f"without its lock: {words_of(error, process.in_words)}"
    return lost


def _take(process: StoppedProcess, note: HandleNote, lock: FileLock) -> None:
    tracee, number, thread_id = process.tracee, note.handle.number, note.handle.thread_id
    assert number is not None
    if lock.kind is LockKind.POSIX:
        tracee.write(tracee.scratch, lock_structure(lock))
        tracee.call("fcntl", number, _SET_LOCK, tracee.scratch, thread_id=thread_id)
    elif lock.kind is LockKind.LEASE and lock.mode in _LEASE_TYPES:
        tracee.call("fcntl", number, _SET_LEASE, _LEASE_TYPES[lock.mode], thread_id=thread_id)
