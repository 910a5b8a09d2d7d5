"""Processes that left the harbour at their deadline: they run, with placeholders for handles.

Finds out which of their handles are placeholders still. Invariant: only what nothing but ours can
be counts (see placeholders), so that what a program has opened since is never replaced. What it
duplicated or handed on to children since is not found.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from contextlib import suppress

from holdfast.applications.fdinfo import parse_information, parse_watches
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.placeholders import MEMORY_NAME
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import HandleKind
from holdfast.system.mounts import parse_mountinfo
from holdfast.system.proc import link, read

_MEMORY_LINK = f"/memfd:{MEMORY_NAME} (deleted)"
_INOTIFY_LINK = "anon_inode:inotify"
_DETACHED_LINK = "/"
"""The root of a mount that is attached nowhere, proc_pid_fd(5)."""


def still_parked(process: StoppedProcess) -> list[HandleNote]:
    """The notes of a stopped process whose handles are placeholders now."""
    found = []
    for note in process.notes:
        with suppress(OSError):  # closed since
            if _LOOKS[note.handle.kind](process, note):
                found.append(note)
    return found


def _is_dead_file(process: StoppedProcess, note: HandleNote) -> bool:
    return _leads_to(process, note, _is_not_connected)


def _is_empty_directory(process: StoppedProcess, note: HandleNote) -> bool:
    return _leads_to(process, note, _is_ours)


def _leads_to(process: StoppedProcess, note: HandleNote, what: Callable[[int], bool]) -> bool:
    """Whether a descriptor is open on a mount that is attached nowhere, and on such a thing."""
    if not _is_detached(process, _descriptor(process, note), _information(process, note)):
        return False
    copy = _copy(process, note)
    try:
        return what(copy)
    finally:
        os.close(copy)


def _is_not_connected(file: int) -> bool:
    try:
        os.pread(file, 1, 0)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def _stands_in_empty_directory(process: StoppedProcess, note: HandleNote) -> bool:
    name = "cwd" if note.handle.kind is HandleKind.WORKING_DIRECTORY else "root"
    path = f"{process.folder(note.handle.thread_id)}/{name}"
    place = os.open(path, os.O_PATH | os.O_CLOEXEC)
    try:
        return _is_detached(process, path, read(f"/proc/self/fdinfo/{place}")) and _is_ours(place)
    finally:
        os.close(place)


def _is_ours(directory: int) -> bool:
    """A file system of one page that is read-only, with a folder that nobody may write to."""
    mode, space = os.fstat(directory).st_mode, os.fstatvfs(directory)
    return (
        stat.S_ISDIR(mode)
        and stat.S_IMODE(mode) == 0o555
        and space.f_blocks * space.f_frsize == 4096
        and bool(space.f_flag & os.ST_RDONLY)
    )


def _is_dead_memory(process: StoppedProcess, note: HandleNote) -> bool:
    handle = note.handle
    return link(f"/proc/{process.pid}/map_files/{handle.start:x}-{handle.end:x}") == _MEMORY_LINK


def _runs_placeholder(process: StoppedProcess, note: HandleNote) -> bool:
    return link(f"/proc/{process.pid}/exe") == _MEMORY_LINK


def _watches_nothing(process: StoppedProcess, note: HandleNote) -> bool:
    watches = parse_watches(_information(process, note))
    return link(_descriptor(process, note)) == _INOTIFY_LINK and not watches


def _is_detached(process: StoppedProcess, path: str, information: bytes) -> bool:
    """Whether a link in /proc leads to the root of a mount that is not in the mount table."""
    if link(path) != _DETACHED_LINK:
        return False
    there = parse_mountinfo(read(f"/proc/{process.pid}/mountinfo"))
    return parse_information(information).mount_id not in {each.identifier for each in there}


def _descriptor(process: StoppedProcess, note: HandleNote) -> str:
    return f"{process.folder(note.handle.thread_id)}/fd/{note.handle.number}"


def _information(process: StoppedProcess, note: HandleNote) -> bytes:
    return read(f"{process.folder(note.handle.thread_id)}/fdinfo/{note.handle.number}")


def _copy(process: StoppedProcess, note: HandleNote) -> int:
    assert note.handle.number is not None
    return process.tracee.channel(note.handle.thread_id).take(note.handle.number)


_LOOKS: dict[HandleKind, Callable[[StoppedProcess, HandleNote], bool]] = {
    HandleKind.FILE: _is_dead_file,
    HandleKind.DIRECTORY: _is_empty_directory,
    HandleKind.PATH: _is_empty_directory,
    HandleKind.MAP: _is_dead_memory,
    HandleKind.EXECUTABLE: _runs_placeholder,
    HandleKind.WORKING_DIRECTORY: _stands_in_empty_directory,
    HandleKind.ROOT: _stands_in_empty_directory,
    HandleKind.INOTIFY: _watches_nothing,
}
