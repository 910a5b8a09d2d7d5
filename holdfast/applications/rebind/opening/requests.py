"""What is to be opened on the new mounts, and what came of it. Values only."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from dataclasses import field
from enum import StrEnum

from holdfast.applications.rebind.parking.observed import Observed
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import FileLock, HandleOutcome
from holdfast.system.processes.acting_as import Rights


class Expected(StrEnum):
    """What must be found at a path; anything else counts as missing."""

    FILE = "file"
    DIRECTORY = "directory"
    FIFO = "fifo"
    DEVICE = "device"
    """A node of the character device that the request names."""
    ANYTHING = "anything"
    SOCKET = "socket"
    """What is opened is the directory where a socket has its name."""


@dataclass(frozen=True)
class PipeEnd:
    """What else there is to know of an end of a FIFO."""

    pipe: str
    """Those of the same one are opened together, or none is (see parked_pipes)."""
    capacity_bytes: int
    unread_bytes: int
    """How much was in it."""
    hung_up: bool
    """Whether it has seen a writer, and there is none any more; those are opened first."""


@dataclass
class OpenRequest:
    """One open file description that is to be made. Changed by its maker only; not frozen, because
    to make ten thousands of those takes as long as to open the files."""

    key: str
    """Handles with the same key share it."""
    mount_id: int
    """The old mount."""
    path: str
    """Below the root of that mount; empty: the root itself."""
    flags: int
    expected: Expected
    offset: int = 0
    locks: tuple[FileLock, ...] = ()
    """Those that belong to the description: flock and OFD."""
    contents: str = ""
    """Name of a file in the record directory with the old contents."""
    deleted: bool = False
    """Had no name: made again from the contents. Otherwise these are used when the new differ."""
    before: Observed | None = None
    """With contents to compare those with that are there now."""
    was: Observed | None = None
    """What is known of the inode that it must be, also where contents were never looked at."""
    above: tuple[Observed, ...] = ()
    """Of a removed directory those above it, the nearest first; the last one has a name."""
    rights: tuple[Rights, ...] = ()
    """Of every process that gets it."""
    shows: str = ""
    """Which directory of the file system its mount shows; empty: the root."""
    pipe: PipeEnd | None = None
    """Of an end of a FIFO."""
    device: int = 0
    """Which character device it must be (st_rdev); nothing else is opened."""
    is_watched: bool = False
    """Whoever gets it must be allowed to read it."""

    @property
    def is_nameless(self) -> bool:
        """Whether no name can lead to it: one that was removed may not have been its last."""
        return self.deleted and (self.was is None or self.was.links == 0)

    @property
    def is_removed(self) -> bool:
        """Whether it is a directory that was removed, or anything else without contents of which
        only the place is open: see `removed`."""
        if not self.is_nameless or self.was is None:
            return False
        mode = self.was.mode
        return stat.S_ISDIR(mode) or bool(self.flags & os.O_PATH and not stat.S_ISREG(mode))


@dataclass
class OpenResult:
    """What came of it."""

    descriptor: int | None
    """Ours; None: there is nothing to put in the handle's place."""
    outcome: HandleOutcome
    note: str = ""
    lost_locks: tuple[FileLock, ...] = ()
    is_proven: bool = False
    """Whether it is the very file, and not merely one that the process may have."""
    name: str = ""
    """Of a socket: its name in the directory that was opened; empty: it has none."""
    replaces: int | None = None
    """The inode number of the dead socket that has the name; None: nobody has it."""


@dataclass
class OpenedFiles:
    """What has been opened so far, by key."""

    opened: Mapping[str, OpenResult] = field(default_factory=dict)
    instances: dict[str, int] = field(default_factory=dict)
    """inotify instances that were made for one process and belong to others as well."""
    owned: set[str] = field(default_factory=set)
    """Descriptions that have their owner and signal again."""
    skipped: dict[int, int] = field(default_factory=dict)
    """How many watch numbers were used up, by user."""

    def __getitem__(self, key: str) -> OpenResult:
        return self.opened[key]
