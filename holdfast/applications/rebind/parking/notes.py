"""Notes: each handle as it was, and what its driver needs to make it again.

Plain values, which are written to the record and read from it by whoever comes after a death. What
a note says beside the handle depends on the kind: `DETAILS`. A field that is added needs a default,
so that records of an older Holdfast can be read (see `record`). Pure.
"""

from __future__ import annotations

import socket
from collections.abc import Mapping
from typing import Any, TypeVar

from holdfast.applications.rebind.parking.observed import Observed, check_path
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import HalfWord, Number, Signed, SignedHalf, Word, typed
from holdfast.model.handle import DESCRIPTORS, FileLock, Handle, HandleKind, LockKind
from holdfast.system.files import bound_socket, inode_identity


@dataclass(frozen=True)
class Details:
    """What every note says."""

    key: str
    """Handles with the same key become one thing again."""
    inside: str
    """Path below the root of the mount."""
    before: Observed | None = None
    """The file as it was when everybody stood."""
    remembered: Observed | None = None
    """As the kernel remembered it, where the storage could not be asked."""
    contents: str = ""
    """Name of a file in the record directory with its contents."""
    noexec: bool = False
    """Whether it runs from a mount that does not permit that any more."""

    @property
    def was(self) -> Observed | None:
        """What is known of the file, by which an equal one is found."""
        return self.before or self.remembered


@dataclass(frozen=True)
class FileDetails(Details):
    """What is noted of a descriptor of a regular file."""

    owner: tuple[SignedHalf, SignedHalf] | None = None
    """Type and number of who gets its signals (struct f_owner_ex); None: nobody."""
    signal: SignedHalf = 0
    """Which signal that is; 0: SIGIO."""


@dataclass(frozen=True)
class PlaceDetails(Details):
    """What is noted of what may be a directory."""

    above: tuple[Observed, ...] = ()
    """Of a removed directory those above it, see `removed.directories_above`."""


@dataclass(frozen=True)
class Registration:
    """What an epoll instance waits for: epoll_ctl(2)."""

    instance: Number
    """Its descriptor in the process."""
    number: Number
    """The descriptor that it waits for."""
    events: HalfWord
    data: Word


@dataclass(frozen=True, kw_only=True)
class AwaitedDetails(FileDetails):
    """What is noted of a description that epoll instances may wait for."""

    interests: tuple[Registration, ...]
    """Its registrations with them."""


@dataclass(frozen=True, kw_only=True)
class FifoDetails(AwaitedDetails):
    """What is noted of an end of a FIFO. What is in the pipe is in none of the notes: it stays in
    the kernel (see parked_pipes)."""

    capacity_bytes: Number
    unread_bytes: Number
    hung_up: bool
    """Whether it has seen a writer, and there was none any more."""


@dataclass(frozen=True, kw_only=True)
class SocketDetails(AwaitedDetails):
    """What is noted of a Unix socket that is bound to a file, and of that file in `before`."""

    lasting: bool
    """Whether what the file system calls the file outlasts a dismount."""
    type: Number
    """SOCK_STREAM, SOCK_SEQPACKET or SOCK_DGRAM."""
    name: str
    """The bytes that bind(2) was given, in hexadecimal."""
    listens: bool
    backlog: HalfWord
    listener: tuple[SignedHalf, HalfWord, HalfWord]
    """Process, user and group that called listen(2), as clients see them (SO_PEERCRED)."""
    groups: tuple[HalfWord, ...]
    """Its further groups."""
    at_home: bool
    """Whether the process is in the network namespace of the socket."""
    options: tuple[tuple[Number, str], ...]
    """See bound_socket."""


@dataclass(frozen=True, kw_only=True)
class ConnectionDetails(AwaitedDetails):
    """What is noted of an end of a connection of Unix sockets. What lies unread in it is in none of
    the notes: it stays in the kernel (see rebind.connections)."""

    type: Number
    name: str
    """The bytes of its own name, in hexadecimal; empty: it has none."""
    peer_name: str
    """Likewise of the other end's."""
    caller: tuple[SignedHalf, HalfWord, HalfWord]
    """Process, user and group of the other end, as it sees them (SO_PEERCRED): whoever called
    connect(2), or listen(2)."""
    groups: tuple[HalfWord, ...]
    """Their further groups."""
    owner_ids: tuple[HalfWord, HalfWord]
    """User and group of the socket itself, as fstat(2) tells."""
    at_home: bool
    """Whether the process is in the network namespace of the socket."""
    options: tuple[tuple[Number, str], ...]
    """See bound_socket."""
    read_to_end: bool
    """Whether nothing more comes than what lies in it already."""
    has_failed: bool
    """Whether it is to be told that the other end was closed with something unread."""
    is_over: bool = False
    """Whether the other end is closed, or both directions are."""
    new: Word = 0
    """The number of the socket that takes its place; 0: none was made."""
    words: str = ""
    """What is not as it was."""


@dataclass(frozen=True, kw_only=True)
class MapDetails(Details):
    """What is noted of a memory map."""

    flags: tuple[str, ...]
    """VmFlags of proc_pid_smaps(5)."""
    pages: tuple[tuple[Word, Word, Signed], ...]
    """Own pages that were saved: address, length, where in the file of saved pages."""
    shared_bytes: Word = 0
    """Of those, what it shared with other processes (see `MapSettings`)."""
    protection_key: HalfWord = 0
    """pkeys(7); 0: none."""


@dataclass(frozen=True, kw_only=True)
class ExecutableDetails(Details):
    """What is noted of the program that a process runs."""

    values: tuple[Word, Word, Word, Word, Word, Word, Word, Word, Word, Word, Word]
    """The addresses of struct prctl_mm_map."""
    privileged: bool
    """Whether the process may change its program by itself."""


@dataclass(frozen=True)
class WatchRecord:
    """One watch of an inotify instance, as fdinfo tells it."""

    number: Number
    inode: Word
    device: tuple[HalfWord, HalfWord]
    mask: HalfWord
    type: Number
    """Of the file handle."""
    handle: str
    """The file handle, in hexadecimal."""

    def __post_init__(self) -> None:
        """Raises ValueError when the file handle is none."""
        inode_identity.check(inode_identity.identity_from(self.type, bytes.fromhex(self.handle)))


@dataclass(frozen=True, kw_only=True)
class WatchDetails(Details):
    """What is noted of a watch of an inotify instance."""

    lasting: bool
    """Whether the file handle outlasts a dismount."""
    known: bool
    """Whether a path leads to what is watched."""
    instance_flags: int
    watches: tuple[WatchRecord, ...]
    """All of the instance."""
    unread_bytes: int
    """Of events that nobody had read."""
    interests: tuple[Registration, ...]
    """The registrations of the instance with epoll instances."""


@dataclass(frozen=True, kw_only=True)
class MarkDetails(Details):
    """What is noted of a mark of a fanotify group."""

    lasting: bool
    """Whether the file handle outlasts a dismount."""
    known: bool
    """Whether a path leads to what is marked."""
    group_flags: HalfWord
    """Of fanotify_init(2)."""
    mark_flags: HalfWord
    """Of fanotify_mark(2)."""
    mask: HalfWord
    ignored_mask: HalfWord
    type: Number
    """Of the file handle."""
    handle: str
    """The file handle of a marked inode, in hexadecimal."""
    unread_events: Number
    """Of the group, which nobody had read."""

    def __post_init__(self) -> None:
        """Raises ValueError when the file handle is none."""
        inode_identity.check(inode_identity.identity_from(self.type, bytes.fromhex(self.handle)))


DETAILS: Mapping[HandleKind, type[Details]] = {
    HandleKind.FILE: FileDetails,
    HandleKind.FIFO: FifoDetails,
    HandleKind.OPENING: Details,
    HandleKind.DEVICE: AwaitedDetails,
    HandleKind.DIRECTORY: PlaceDetails,
    HandleKind.PATH: PlaceDetails,
    HandleKind.MAP: MapDetails,
    HandleKind.EXECUTABLE: ExecutableDetails,
    HandleKind.ROOT: PlaceDetails,
    HandleKind.WORKING_DIRECTORY: PlaceDetails,
    HandleKind.INOTIFY: WatchDetails,
    HandleKind.FANOTIFY: MarkDetails,
    HandleKind.SOCKET: SocketDetails,
    HandleKind.SENDER: Details,
    HandleKind.CONNECTION: ConnectionDetails,
}
"""By kind of handle; of other kinds there are no notes."""

_WATCHING = frozenset({HandleKind.INOTIFY, HandleKind.FANOTIFY})
_NUMBERED = DESCRIPTORS | _WATCHING
"""Kinds that have the number of a descriptor."""

_MOST_FLAGS = (1 << 31) - 1
"""open(2) takes an int; masks of watches are no open flags."""

_TYPES = (socket.SOCK_STREAM, socket.SOCK_SEQPACKET, socket.SOCK_DGRAM)
_LONGEST_NAME = 108
"""UNIX_PATH_MAX of <linux/un.h>."""

_LONGEST_LOCK = (1 << 63) - 1
"""Bytes: struct flock has them as loff_t. One that is longer has no end."""

D = TypeVar("D", bound=Details)


@dataclass(frozen=True)
class HandleNote:
    """A handle as it was, and what its driver needs to make it again."""

    handle: Handle
    details: Details

    def details_as(self, kind: type[D]) -> D:
        """The details of a note whose kind of handle is known."""
        assert isinstance(self.details, kind), self.handle.kind
        return self.details

    def as_json(self) -> dict[str, Any]:
        """Plain values."""
        return {"handle": plain(self.handle), "details": plain(self.details)}


def note_from_json(values: object) -> HandleNote:
    """The note that `HandleNote.as_json` described. Raises ValueError that says what is wrong."""
    if not isinstance(values, Mapping) or set(values) != {"handle", "details"}:
        raise ValueError("a note must have a handle and its details")
    return note_of(handle_from_json(values["handle"]), values["details"])


def handle_from_json(values: object) -> Handle:
    """The handle that `plain` described, of a kind that can be noted. Raises ValueError."""
    handle = typed(Handle, values)
    if handle.kind not in DETAILS:
        raise ValueError(f"there are no notes of a {handle.kind}")
    return handle


def note_of(handle: Handle, details: object) -> HandleNote:
    """The note of a handle whose details `plain` described. Raises ValueError."""
    note = HandleNote(handle, typed(DETAILS[handle.kind], details))
    try:
        _check(note)
    except ValueError as error:
        raise ValueError(f"{handle.kind} {handle.path[:80]!r}: {error}") from error
    return note


def _check(note: HandleNote) -> None:
    """Raise ValueError for what no driver could make a handle of."""
    handle, details = note.handle, note.details
    if handle.kind in _NUMBERED and handle.number is None:
        raise ValueError("a descriptor must have a number")
    if handle.kind not in _WATCHING and handle.flags > _MOST_FLAGS:
        raise ValueError(f"there are no open flags {handle.flags:o}")
    if handle.kind is not HandleKind.DIRECTORY and handle.offset < 0:
        raise ValueError("its offset is negative")
    if handle.end < handle.start and handle.kind is HandleKind.MAP:
        raise ValueError("it ends before it begins")
    for lock in handle.locks:
        _check_lock(lock)
    for text in (handle.inside, details.inside, details.contents):
        check_path(text)
    if "/" in details.contents or details.contents in (".", ".."):
        raise ValueError(f"its contents cannot be in {details.contents[:80]!r}")
    if isinstance(details, MapDetails):
        for address, length, _ in details.pages:
            if not handle.start <= address <= address + length <= handle.end:
                raise ValueError("pages of it lie outside")
    if isinstance(details, SocketDetails):
        if details.type not in _TYPES or not 0 < len(bytes.fromhex(details.name)) <= _LONGEST_NAME:
            raise ValueError("no such socket can be bound")
        bound_socket.check_options(details.options)
    if isinstance(details, ConnectionDetails):
        names = (bytes.fromhex(details.name), bytes.fromhex(details.peer_name))
        if details.type not in _TYPES or any(len(name) > _LONGEST_NAME for name in names):
            raise ValueError("there is no such connection")
        bound_socket.check_options(details.options)
    for observed in (details.before, details.remembered):
        if observed is not None:
            inode_identity.check(observed.identity)
    for observed in details.above if isinstance(details, PlaceDetails) else ():
        inode_identity.check(observed.identity)


def _check_lock(lock: FileLock) -> None:
    if lock.kind in (LockKind.POSIX, LockKind.OPEN_FILE) and lock.mode not in ("read", "write"):
        raise ValueError(f"there is no lock for {lock.mode[:40]!r}")
    length = 0 if lock.end is None else lock.end - lock.start + 1
    if lock.start < 0 or not 0 <= length <= _LONGEST_LOCK or (lock.end is not None and not length):
        raise ValueError("a lock ends before it begins, or nowhere")


_AS_THEY_ARE = frozenset({bool, int, str, type(None)})


def plain(value: Any) -> Any:
    """Many times quicker than dataclasses.asdict; there may be ten thousands of notes."""
    if hasattr(value, "__dataclass_fields__"):
        return {
            name: each if type(each) in _AS_THEY_ARE else plain(each)
            for name, each in vars(value).items()
        }
    if isinstance(value, tuple) and value and not isinstance(value[0], int | str):
        return [plain(each) for each in value]
    return value
