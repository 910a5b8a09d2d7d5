"""Contents that must be carried over, kept in the record directory: one copy for each inode.

Files without a name, and programs that run. They are copied ahead while everybody still runs, and
completed when all are stopped. Invariant: a copy counts as equal only while its inode has the
signature that was read before it, by the rules of named files (size, mtime, ctime, and a change
time that is old enough); otherwise it is compared, and what differs is written. An index says which
copy belongs to which inode. Room is left on the disk of the record: journals of gates, the catalog
and receipts lie there, too. Not durable: what it is about does not survive a crash of the host.
Blocks when the storage does: for expendable children only.
"""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field
from pathlib import Path

from holdfast.errors import TooSmall
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import read_object
from holdfast.system.files.beneath import reopen
from holdfast.system.files.change_times import is_settled, now_ns
from holdfast.system.files.file_contents import make_equal

NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT})
BLOCK_BYTES = 512
"""Of st_blocks: stat(2)."""
_INDEX = "contents"


@dataclass
class KeptCopy:
    """What is known of one copy."""

    name: str
    """In the record directory."""
    source: tuple[int, ...] = ()
    """The signature of the inode when it was read; empty: it may have changed since."""
    is_placed: bool = False
    """Whether the new file system has a copy of it (see placed_contents)."""
    changed: list[tuple[int, int]] = field(default_factory=list)
    """From where to where this copy was written since that one was."""

    def note_change(self, start: int, end: int) -> None:
        """Note that these bytes of the copy were changed."""
        if self.changed and self.changed[-1][1] == start:
            self.changed[-1] = self.changed[-1][0], end
        else:
            self.changed.append((start, end))


@dataclass
class KeptContents:
    """The copies in one record directory, and their index."""

    directory: Path
    folder: str = ""
    """At the root of the new file system: further copies, by the same names. Empty: none."""
    kept: dict[tuple[int, int], KeptCopy] = field(default_factory=dict)
    """By device and number of the inode."""

    @classmethod
    def read(cls, directory: Path) -> KeptContents:
        """What is there; nothing where nothing was kept. Raises OSError."""
        try:
            values = read_object((directory / _INDEX).read_bytes())
            kept = {
                (device, inode): KeptCopy(
                    name, tuple(source), is_placed, [(a, b) for a, b in changed]
                )
                for device, inode, name, source, is_placed, changed in values["kept"]
            }
            return cls(directory, str(values["folder"]), kept)
        except (FileNotFoundError, KeyError, TypeError, ValueError):
            return cls(directory)  # torn or damaged: the copies mean nothing

    def write(self) -> None:
        """Let the index say what is so now. Raises OSError."""
        lines = [
            [*key, each.name, each.source, each.is_placed, each.changed]
            for key, each in self.kept.items()
        ]
        new = self.directory / f"{_INDEX}.new"
        new.write_text(json.dumps({"folder": self.folder, "kept": lines}))
        new.replace(self.directory / _INDEX)

    def keep(self, place: int, *, is_used: bool) -> tuple[KeptCopy, int]:
        """Copy a file (O_PATH), or what changed in it; and how many bytes were written.

        `is_used`: somebody may change it meanwhile. Raises OSError: ENOSPC of the record directory,
        EAGAIN for a lease that somebody has on it.
        """
        return self._keep(os.fstat(place), lambda: _open(place), is_used)

    def keep_lent(self, reading: int) -> tuple[KeptCopy, int]:
        """As `keep`, through a descriptor of a stopped process; its offset stays what it is."""
        offset = os.lseek(reading, 0, os.SEEK_CUR)
        try:
            return self._keep(os.fstat(reading), lambda: os.dup(reading), False)
        finally:
            os.lseek(reading, offset, os.SEEK_SET)

    def _keep(
        self, status: os.stat_result, opened: Callable[[], int], is_used: bool
    ) -> tuple[KeptCopy, int]:
        key = status.st_dev, status.st_ino
        signature = status.st_size, status.st_mtime_ns, status.st_ctime_ns
        kept = self.kept.get(key)
        if kept is not None and kept.source == signature:
            return kept, 0
        begun_ns = now_ns()
        reading = opened()
        try:
            if kept is None:
                kept = self.kept[key] = KeptCopy(f"{_INDEX}-{len(self.kept)}")
                written = self._copy(kept, reading, status, os.O_CREAT | os.O_TRUNC, is_used)
            else:
                written = self._copy(kept, reading, status, 0, is_used)
        finally:
            os.close(reading)
        kept.source = signature if is_settled(status.st_ctime_ns, begun_ns) else ()
        return kept, written

    def _copy(
        self, kept: KeptCopy, reading: int, status: os.stat_result, flags: int, is_used: bool
    ) -> int:
        kept.source = ()
        path = self.directory / kept.name
        writing = os.open(path, os.O_RDWR | os.O_CLOEXEC | flags, 0o600)
        try:
            missing = max(0, status.st_blocks - os.fstat(writing).st_blocks)
            claim(str(self.directory), missing * BLOCK_BYTES)
            if is_used:
                # Its pages are clean then, so that the next store through a map sets the ctime.
                with suppress(OSError):
                    os.fdatasync(reading)
            changed = kept.note_change if kept.is_placed else lambda start, end: None
            return make_equal(reading, writing, is_new=bool(flags), changed=changed)
        finally:
            os.close(writing)


def _open(place: int) -> int:
    flags = os.O_RDONLY | os.O_NONBLOCK
    try:
        return reopen(place, flags | os.O_NOATIME)
    except PermissionError:  # root is nobody there (NFS with root_squash)
        return reopen(place, flags)


def no_room(directory: Path) -> TooSmall:
    """What is said when it does not fit; all go on as before."""
    return TooSmall(
        f"{directory} has no room for the contents that must be carried over",
        "Everything is as it was. Give Holdfast's state another disk (HOLDFAST_HOME), or let"
        " the processes close the large files without a name that they have open.",
    )


_KEPT_BYTES = 64 << 20
_KEPT_SHARE = 0.05
"""What stays free of it, the larger of both."""


def is_enough_for(directory: str, wanted_bytes: int) -> bool:
    """Whether so much fits on the disk of a directory. Raises OSError."""
    space = os.statvfs(directory)
    kept_bytes = max(_KEPT_BYTES, int(space.f_blocks * space.f_frsize * _KEPT_SHARE))
    return space.f_bavail * space.f_frsize >= wanted_bytes + (kept_bytes if wanted_bytes else 0)


def claim(directory: str, wanted_bytes: int) -> None:
    """Raises OSError ENOSPC before it is begun to write what does not fit."""
    if not is_enough_for(directory, wanted_bytes):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), directory)
