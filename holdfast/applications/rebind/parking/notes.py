"""Notes: each handle as it was, and what its driver needs to make it again.

Plain values, which are written to the record and read from it by whoever comes after a death. What
a note says beside the handle depends on the kind: `DETAILS`. A field that is added needs a default,
so that records of an older Holdfast can be read (see `record`). Pure.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from holdfast.applications.rebind.parking.observed import Observed
from holdfast.model.bounded import Word, typed
from holdfast.model.handle import Handle, HandleKind
from holdfast.system.files import inode_identity


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
    """Of a descriptor of a regular file."""

    owner: tuple[int, int] | None = None
    """Type and number of who gets its signals (struct f_owner_ex); None: nobody."""
    signal: int = 0
    """Which signal that is; 0: SIGIO."""


@dataclass(frozen=True, kw_only=True)
class MapDetails(Details):
    """Of a memory map."""

    flags: tuple[str, ...]
    """VmFlags of proc_pid_smaps(5)."""
    pages: tuple[tuple[Word, Word, Word], ...]
    """Own pages that were saved: address, length, where in the file of saved pages."""


@dataclass(frozen=True, kw_only=True)
class ExecutableDetails(Details):
    """Of the program that a process runs."""

    values: tuple[Word, Word, Word, Word, Word, Word, Word, Word, Word, Word, Word]
    """The addresses of struct prctl_mm_map."""
    privileged: bool
    """Whether the process may change its program by itself."""


@dataclass(frozen=True)
class WatchRecord:
    """One watch of an inotify instance, as fdinfo tells it."""

    number: Word
    inode: Word
    device: tuple[int, int]
    mask: Word
    type: int
    """Of the file handle."""
    handle: str
    """The file handle, in hexadecimal."""

    def __post_init__(self) -> None:
        """Raises ValueError when the file handle is none."""
        bytes.fromhex(self.handle)


@dataclass(frozen=True)
class Registration:
    """What an epoll instance waits for: epoll_ctl(2)."""

    instance: int
    """Its descriptor in the process."""
    number: int
    """The descriptor that it waits for."""
    events: Word
    data: Word


@dataclass(frozen=True, kw_only=True)
class WatchDetails(Details):
    """Of a watch of an inotify instance."""

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


DETAILS: Mapping[HandleKind, type[Details]] = {
    HandleKind.FILE: FileDetails,
    HandleKind.DIRECTORY: Details,
    HandleKind.PATH: Details,
    HandleKind.MAP: MapDetails,
    HandleKind.EXECUTABLE: ExecutableDetails,
    HandleKind.ROOT: Details,
    HandleKind.WORKING_DIRECTORY: Details,
    HandleKind.INOTIFY: WatchDetails,
}
"""By kind of handle; of other kinds there are no notes."""

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
        return {"handle": _plain(self.handle), "details": _plain(self.details)}


def note_from_json(values: object) -> HandleNote:
    """The note that `HandleNote.as_json` described. Raises ValueError that says what is wrong."""
    if not isinstance(values, Mapping) or set(values) != {"handle", "details"}:
        raise ValueError("a note must have a handle and its details")
    handle = typed(Handle, values["handle"])
    if handle.kind not in DETAILS:
        raise ValueError(f"there are no notes of a {handle.kind}")
    details = typed(DETAILS[handle.kind], values["details"])
    if details.was is not None:
        inode_identity.check(details.was.identity)
    return HandleNote(handle, details)


def _plain(value: Any) -> Any:
    """Many times quicker than dataclasses.asdict; there may be ten thousands of notes."""
    if hasattr(value, "__dataclass_fields__"):
        return {name: _plain(each) for name, each in vars(value).items()}
    if isinstance(value, tuple) and value and not isinstance(value[0], int | str):
        return [_plain(each) for each in value]
    return value
