"""Locks that belong to a process, and leases: taken again when all descriptors are in place.

Locks of open file descriptions (flock, OFD) are taken where those are opened. POSIX locks come
last of all: closing any descriptor of the file in the process would drop them.
"""

from __future__ import annotations

import fcntl

from holdfast.applications.rebind.opening import lock_structure
from holdfast.applications.rebind.parking import Note
from holdfast.applications.rebind.stopped import StoppedProcess
from holdfast.model.handle import FileLock, HandleKind, LockKind

_SET_LOCK, _SET_LEASE = 6, 1024  # F_SETLK, F_SETLEASE: asm-generic/fcntl.h, linux/fcntl.h
_LEASE_TYPES = {"read": fcntl.F_RDLCK, "write": fcntl.F_WRLCK}


def take_locks(process: StoppedProcess) -> list[tuple[Note, FileLock]]:
    """Take the locks of a process again; those that somebody else has now."""
    lost = []
    done = set()
    for note in process.notes_of(HandleKind.FILE, HandleKind.DIRECTORY):
        for lock in note.handle.locks:
            if (note.details["key"], lock) in done:
                continue
            done.add((note.details["key"], lock))
            try:
                _take(process, note, lock)
            except ProcessLookupError:
                raise
            except OSError:
                lost.append((note, lock))
    return lost


def _take(process: StoppedProcess, note: Note, lock: FileLock) -> None:
    target, number, thread_id = process.target, note.handle.number, note.handle.thread_id
    assert number is not None
    if lock.kind is LockKind.POSIX:
        target.write(target.scratch, lock_structure(lock))
        target.call("fcntl", number, _SET_LOCK, target.scratch, thread_id=thread_id)
    elif lock.kind is LockKind.LEASE:
        target.call("fcntl", number, _SET_LEASE, _LEASE_TYPES[lock.mode], thread_id=thread_id)
