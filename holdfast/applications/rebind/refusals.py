"""Why users of a volume cannot be moved, in words, with what can be done about it. Pure but for
`cannot_be_moved`, which reads /proc."""

from __future__ import annotations

import errno
from collections.abc import Collection, Iterable, Sequence
from pathlib import Path

from holdfast.applications.rebind.parking.kept_contents import NO_ROOM, no_room
from holdfast.applications.rebind.parking.notes import SocketDetails
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.applications.rebind.scan import blockers
from holdfast.applications.rebind.tracing.errors import Uncooperative
from holdfast.applications.rebind.tracing.hindrances import hindrance
from holdfast.errors import Blocked, HoldfastError, Refused, StorageFailed
from holdfast.model.handle import Handle, HandleKind, JudgedHandle, User
from holdfast.model.listing import first_of

_NAMED_AT_MOST = 3
"""Blockers that are named in one message."""

_MENDS = {
    errno.ENOMEM: "Let it have more memory maps and address space: prlimit --pid {pid}"
    " --as=unlimited --data=unlimited, sysctl vm.max_map_count; or end it.",
    errno.EMFILE: "Let it have more descriptors (prlimit --pid {pid} --nofile), or end it.",
    errno.EAGAIN: "Let its user have more processes (prlimit --pid {pid} --nproc), or end it.",
    errno.ENFILE: "Let this host have more open files (sysctl fs.file-max).",
}
"""For those who have reached a limit."""


def refuse_blockers(judged: Sequence[JudgedHandle]) -> None:
    """Raises Blocked when one of these handles cannot be moved."""
    found = blockers(judged)
    if found:
        words = [
            f"process {each.handle.pid}: {each.handle.kind} {each.handle.path}: {each.reason}"
            for each in found
        ]
        named = first_of(words, _NAMED_AT_MOST, between="; ")
        raise Blocked(
            f"what keeps the volume busy cannot be moved: {named}",
            "See to what is named, or end these processes; then try again.",
        )


def refuse_unbindable(processes: Iterable[StoppedProcess], read_only: Collection[int]) -> None:
    """Raises Blocked for a socket that could not be made again: it belongs to another network
    namespace than its processes are in, its mount (`read_only`) takes no names, or nobody has what
    it is connected to."""
    found: dict[str, Handle] = {}
    home: set[str] = set()
    standing: set[int] = set()
    for process in processes:
        standing |= {each.handle.inode for each in process.notes_of(HandleKind.SENDER)}
        for note in process.notes_of(HandleKind.SOCKET):
            details = note.details_as(SocketDetails)
            found.setdefault(details.key, note.handle)
            standing.add(note.handle.start)
            if details.at_home:
                home.add(details.key)
    for key, handle in found.items():
        words = ""
        if key not in home:
            words = "it was made in a network namespace in which no process is that has it"
        elif handle.mount_id in read_only:
            words = "its file system is read-only by now: nothing can be bound there"
        elif handle.mode == "datagram" and handle.end and handle.end not in standing:
            words = "nobody who could stand still has the socket that it is connected to"
        if words:
            raise Blocked(
                f"process {handle.pid}: socket {handle.path}: {words}",
                "Let the process close it, or end it; then try again.",
            )


def cannot_be_moved(user: User, thread_id: int, error: Uncooperative) -> Refused:
    """What is raised when a process stands, and this thread does not do what it is asked."""
    found = hindrance(user.pid, thread_id)
    return Refused(
        f"{user.name} (process {user.pid}) cannot be moved: {error.strerror}: {found.words}",
        found.mend,
    )


def explained(error: BaseException, users: Sequence[User]) -> BaseException:
    """The error in words when a system call inside one of these users failed (it may have reached
    a limit of its own); any other error as it is."""
    if not isinstance(error, OSError) or isinstance(error, ProcessLookupError):
        return error
    pids = {f"/proc/{user.pid}": user for user in users}
    user = pids.get(str(error.filename))
    if user is None:
        return error
    mend = _MENDS.get(error.errno or 0, "See its limits (prlimit --pid), or end it.")
    return Refused(
        f"{user.name} (process {user.pid}) cannot be moved: {error.strerror}",
        mend.format(pid=user.pid),
    )


def not_noted(directory: Path, error: OSError) -> HoldfastError:
    """What is raised when the handles could not be written down; all users go on as before."""
    if error.errno in NO_ROOM:
        return no_room(directory)
    return StorageFailed(
        f"what the processes have open could not be noted: {error}",
        "Everything is as it was. Look at the storage, then try again.",
    )
