"""Opens files on the new mounts as they were open on the old ones.

Runs in an expendable child (see `opener`): everything here may block when the new storage does.
`finding` says which file it is, and whether the processes may have it. Never creates, truncates or
follows a link. Contents that are carried over are copied into a file without a name on the new
file system; holes stay holes.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
import struct
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import field
from pathlib import Path

from holdfast.applications.rebind.opening.finding import FoundFile, Missing, find
from holdfast.applications.rebind.opening.lifted_protection import give_back, without_protection
from holdfast.applications.rebind.opening.outcomes import compare
from holdfast.applications.rebind.opening.removed import RemovedNames, take_away_left
from holdfast.applications.rebind.opening.requests import (
    Expected,
    OpenRequest,
    OpenResult,
    PipeEnd,
)
from holdfast.applications.rebind.opening.socket_places import SocketPlaces
from holdfast.applications.rebind.opening.waiting_for_locks import taken_in_time
from holdfast.applications.rebind.parking.observed import Observed, observe
from holdfast.applications.rebind.parking.placed_contents import PlacedContents
from holdfast.applications.rebind.parking.relocation import (
    OtherContents,
    Relocation,
    SameFileSystem,
)
from holdfast.late_dataclass import dataclass
from holdfast.model.handle import FileLock, HandleOutcome, LockKind
from holdfast.system.files.beneath import open_beneath, reopen
from holdfast.system.files.fifo import Fifo, unread_bytes
from holdfast.system.files.file_contents import make_equal
from holdfast.system.files.inode_identity import is_same, open_identity

_TEMPORARY_FLAG = os.O_TMPFILE & ~os.O_DIRECTORY
DROPPED_FLAGS = os.O_CREAT | os.O_EXCL | os.O_TRUNC | _TEMPORARY_FLAG
_MISSING = frozenset({errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EXDEV,
                      errno.ENXIO})  # fmt: skip
_SET_OPEN_FILE_LOCK = 37  # F_OFD_SETLK
_LOCK_TYPES = {"read": fcntl.F_RDLCK, "write": fcntl.F_WRLCK}


@dataclass
class Reopening:
    """The new mounts, and the files without a name that were made on them so far."""

    bases: Mapping[int, int]
    """Old mount → descriptor of the root of the mount that replaces it."""
    directory: Path
    """The record directory, with the contents that are carried over."""
    same_data: bool = False
    relocation: Relocation = field(default_factory=OtherContents)
    is_plain: bool = False
    """Set nothing aside: others open at the same time. For `open_plainly`."""
    removed: Sequence[OpenRequest] = ()
    """All that will be asked for of what was removed, and is no file."""
    pipes: Mapping[str, int] = field(default_factory=dict)
    """Reading ends of what has the contents of FIFOs."""
    locks_until_ns: int = 0
    """Until when a lock is waited for that somebody else has (CLOCK_MONOTONIC)."""
    carried: dict[str, int] = field(default_factory=dict)
    _carried_from: list[tuple[Observed, int]] = field(default_factory=list)
    """The same, by the inodes that they were."""
    _fifos: dict[tuple[int, int], Fifo] = field(default_factory=dict)
    """Those that an end was opened of: their pipes last until `let_pipes_go`, so that the order in
    which their users get them is of no importance."""
    _filled_from: dict[tuple[int, int], str] = field(default_factory=dict)
    """Which pipe's contents each of them has."""
    _placed: PlacedContents | None = None
    _made: RemovedNames | None = None
    _proven: bool = False
    """Of what was opened last."""

    def begin(self) -> None:
        """Give back what an opening that was killed had taken from files, and take its names away;
        take what was copied ahead, make again what was removed. Raises OSError."""
        if self.is_plain:
            return
        give_back(self.bases, self.directory)
        take_away_left(self.bases, self.directory)
        SocketPlaces(self.bases, self.directory, self.relocation).clear()
        self._placed = PlacedContents(self.directory, list(self.bases.values()))
        removed = [each for each in self.removed if not self._is_living(each)]
        self._made = RemovedNames(self.bases, self.directory, self.relocation, removed)

    def open_plainly(self, request: OpenRequest) -> OpenResult | None:
        """As `open`; None for what is not plain: somebody else is to open that."""
        if request.contents or request.is_nameless or request.pipe is not None:
            return None
        result = self.open(request)
        if result.descriptor is not None and result.lost_locks:
            os.close(result.descriptor)
            return None
        return result if result.descriptor is not None else None

    def open(self, request: OpenRequest) -> OpenResult:
        """Open one description, at its offset, with its OFD locks. Never raises OSError."""
        self._proven = False
        try:
            if request.expected is Expected.SOCKET:
                return SocketPlaces(self.bases, self.directory, self.relocation).find(request)
            descriptor, outcome, note = self._open(request)
        except Missing as error:
            return OpenResult(None, HandleOutcome.FILE_MISSING, str(error))
        except OSError as error:
            return OpenResult(None, HandleOutcome.LOST, error.strerror or str(error))
        try:
            if request.offset and not request.flags & (os.O_PATH | os.O_DIRECTORY):
                os.lseek(descriptor, request.offset, os.SEEK_SET)
            lost = tuple(each for each in request.locks if not self._take(descriptor, each))
        except OSError as error:
            os.close(descriptor)
            return OpenResult(None, HandleOutcome.LOST, error.strerror or str(error))
        if lost:
            return OpenResult(
                descriptor, HandleOutcome.LOST, "another process has the lock now", lost
            )
        return OpenResult(descriptor, outcome, note, is_proven=self._proven)

    def _take(self, descriptor: int, lock: FileLock) -> bool:
        return taken_in_time(lambda: _take(descriptor, lock), self.locks_until_ns)

    def _open(self, request: OpenRequest) -> tuple[int, HandleOutcome, str]:
        flags = request.flags & ~DROPPED_FLAGS
        with suppress(Missing, OSError), self._living(request) as found:
            opened, note = self._open_found(found, request, flags)
            self._proven = True
            return opened, HandleOutcome.IDENTICAL, note
        if request.is_nameless and (request.pipe or request.expected is Expected.DEVICE):
            raise Missing("it had no name any more")
        if request.is_removed and self._made is not None:
            descriptor, words = self._made.take(request, flags)
            self._proven = True
            return descriptor, HandleOutcome.IDENTICAL, words
        if request.is_nameless:
            return self._reopen(request, flags), HandleOutcome.IDENTICAL, ""
        again = self._made_again(request) if request.is_watched and request.deleted else None
        if again is not None:
            return reopen(again, flags), HandleOutcome.IDENTICAL, ""
        try:
            descriptor, note = self._open_named(request, flags)
        except Missing as error:
            if not request.contents:
                raise
            if request.deleted:
                return self._reopen(request, flags), HandleOutcome.IDENTICAL, ""
            note = f"goes on with the old contents: {error}"
            return self._reopen(request, flags), HandleOutcome.ROLLED_BACK, note
        if request.contents and not same_contents(descriptor, self.directory / request.contents):
            os.close(descriptor)
            note = "goes on with the old contents: those of the file differ now"
            return self._reopen(request, flags), HandleOutcome.ROLLED_BACK, note
        if request.flags & os.O_PATH or request.expected is not Expected.FILE:
            return descriptor, HandleOutcome.IDENTICAL, note
        limit = request.before.size_bytes if request.before and request.before.digest else -1
        outcome, words = compare(request.before, observe(descriptor, limit), self.same_data)
        return descriptor, outcome, "; ".join(filter(None, (note, words)))

    @contextmanager
    def _living(self, request: OpenRequest) -> Iterator[FoundFile]:
        """What lost its name and is there all the same: its file system never went, because
        somebody whom nobody sees had it open (a descriptor on its way in a socket, say). Who had it
        open together has it together again. Raises Missing, OSError.
        """
        is_same_place = request.is_nameless and isinstance(self.relocation, SameFileSystem)
        base = self.bases.get(request.mount_id)
        if not is_same_place or base is None or request.was is None or not request.was.identity:
            raise Missing("it had no name any more")
        mount = reopen(base, os.O_RDONLY)
        try:
            found = FoundFile(open_identity(mount, request.was.identity), None, is_proven=True)
        finally:
            os.close(mount)
        try:
            yield found
        finally:
            found.close()

    def _is_living(self, request: OpenRequest) -> bool:
        with suppress(Missing, OSError), self._living(request):
            return True
        return False

    def _made_again(self, request: OpenRequest) -> int | None:
        """What was made again for others because it was removed, and is the inode that this one
        watches; ours."""
        if request.was is None:
            return None
        made = self._made.places() if self._made else []
        for was, place in (*made, *self._carried_from):
            if was.inode == request.was.inode and (
                not request.was.identity or is_same(was.identity, request.was.identity)
            ):
                return place
        return None

    def _open_named(self, request: OpenRequest, flags: int) -> tuple[int, str]:
        try:
            found = find(self.bases, self.relocation, request)
            self._proven = found.is_proven
            try:
                return self._open_found(found, request, flags)
            finally:
                found.close()
        except OSError as error:
            if error.errno in _MISSING:
                raise Missing(error.strerror) from error
            raise

    def _open_found(self, found: FoundFile, request: OpenRequest, flags: int) -> tuple[int, str]:
        if flags & os.O_PATH:
            return self._place(found, request, flags), ""
        if request.pipe is not None:
            return self._end(found, request.pipe, flags, is_known=request.was is not None)
        descriptor = self._reopened(found, request, flags)
        if flags & os.O_NOFOLLOW and found.path is not None:
            descriptor = self._by_name(descriptor, found.path, request, flags)
        note = ""
        if flags & os.O_DIRECT and not fcntl.fcntl(descriptor, fcntl.F_GETFL) & os.O_DIRECT:
            note = "without O_DIRECT, which the new file system refuses"
        if not flags & os.O_NONBLOCK:
            now = fcntl.fcntl(descriptor, fcntl.F_GETFL)
            fcntl.fcntl(descriptor, fcntl.F_SETFL, now & ~os.O_NONBLOCK)
        return descriptor, note

    def let_pipes_go(self) -> None:
        """Close what we have open of FIFOs: all of their ends have been passed on."""
        while self._fifos:
            self._fifos.popitem()[1].close()

    def _end(
        self, found: FoundFile, end: PipeEnd, flags: int, *, is_known: bool
    ) -> tuple[int, str]:
        """An end of a FIFO, which is filled first. Two that were known to be apart stay so."""
        status = os.fstat(found.place)
        inode = status.st_dev, status.st_ino
        if is_known and self._filled_from.setdefault(inode, end.pipe) != end.pipe:
            raise Missing("another FIFO is at its path now, which is in use")
        source, note = self.pipes.get(end.pipe), ""
        if inode not in self._fifos:
            fifo = Fifo(found.place)
            try:
                if source is not None:
                    fifo.fill(source, end.capacity_bytes)
            except OSError:
                fifo.close()
                raise
            self._fifos[inode] = fifo
        left_bytes = unread_bytes(source) if source is not None else 0
        if left_bytes < end.unread_bytes:
            note = f"{left_bytes} of {end.unread_bytes} bytes that had not been read are left"
        return self._fifos[inode].open(flags, hung_up=end.hung_up), note

    def _place(self, found: FoundFile, request: OpenRequest, flags: int) -> int:
        """The O_PATH descriptor with the flags that it had."""
        if found.path is None or (
            flags & os.O_NOFOLLOW == os.O_NOFOLLOW and not flags & os.O_DIRECTORY
        ):
            return os.dup(found.place)
        return self._by_name(os.dup(found.place), found.path, request, flags)

    def _by_name(self, descriptor: int, path: str, request: OpenRequest, flags: int) -> int:
        """The same file opened by its name, for flags that only this keeps; else `descriptor`."""
        with suppress(OSError):
            waiting = 0 if flags & os.O_PATH else os.O_NONBLOCK
            other = open_beneath(self.bases[request.mount_id], path, flags | waiting)
            same = os.path.samestat(os.fstat(other), os.fstat(descriptor))
            os.close(descriptor if same else other)
            return other if same else descriptor
        return descriptor

    def _reopened(self, found: FoundFile, request: OpenRequest, flags: int) -> int:
        """Opened as it was open. Without waiting: who has the other end of a lease is not asked."""
        try:
            return _reopen_directly(found.place, flags | os.O_NONBLOCK)
        except PermissionError:
            if found.lent is not None:
                return os.dup(found.lent)
            if not found.is_proven or self.is_plain:
                raise
        with without_protection(found.place, request.mount_id, self.directory):
            return _reopen_directly(found.place, flags | os.O_NONBLOCK)

    def _reopen(self, request: OpenRequest, flags: int) -> int:
        """Another description of the file without a name that has the old contents."""
        if not request.contents:
            raise OSError(errno.ENODATA, "it could not be read before")
        if request.contents not in self.carried:
            made = self.carried[request.contents] = self._carry_over(request)
            if request.was is not None and request.was.links == 0:
                self._carried_from.append((request.was, made))
        flags &= ~(os.O_NOFOLLOW | os.O_DIRECTORY)
        return _reopen_directly(self.carried[request.contents], flags)

    def _carry_over(self, request: OpenRequest) -> int:
        source = self.directory / request.contents
        base = self.bases.get(request.mount_id)
        made = self._placed.take(request.contents, base) if self._placed else None
        if made is None:
            made = _nameless_file(base)
            try:
                copy_contents(source, made)
            except OSError:
                os.close(made)
                made = os.memfd_create("holdfast-carried", os.MFD_CLOEXEC)  # no room: in memory
                copy_contents(source, made)
        before = request.before
        if before is not None:
            with suppress(PermissionError):
                os.fchown(made, before.user_id, before.group_id)
            os.fchmod(made, stat.S_IMODE(before.mode))
            os.utime(made, ns=(before.modified_ns, before.modified_ns))
        # Nobody may have it open for writing when it becomes a program (execve(2), ETXTBSY), and
        # whoever watches it must not be told that we close it.
        reopened = reopen(made, os.O_PATH)
        os.close(made)
        return reopened


def _reopen_directly(descriptor: int, flags: int) -> int:
    """Open it again with O_DIRECT, where the file system takes that."""
    try:
        return reopen(descriptor, flags)
    except OSError as error:
        if error.errno != errno.EINVAL or not flags & os.O_DIRECT:
            raise
        return reopen(descriptor, flags & ~os.O_DIRECT)


def _nameless_file(base: int | None) -> int:
    """A new file without a name on that mount; in memory where it takes none."""
    if base is not None:
        with suppress(OSError):
            return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=base)
        with suppress(OSError):
            descriptor, name = tempfile.mkstemp(prefix=".holdfast-", dir=f"/proc/self/fd/{base}")
            Path(name).unlink()
            return descriptor
    return os.memfd_create("holdfast-carried", os.MFD_CLOEXEC)


def _take(descriptor: int, lock: FileLock) -> bool:
    """Take an OFD lock; False when somebody else has it. A flock belongs to who takes it."""
    if lock.kind is not LockKind.OPEN_FILE:
        return True
    try:
        fcntl.fcntl(descriptor, _SET_OPEN_FILE_LOCK, lock_structure(lock))
    except OSError as error:
        if error.errno in (errno.EAGAIN, errno.EACCES):
            return False
        raise
    return True


def lock_structure(lock: FileLock) -> bytes:
    """struct flock on 64-bit machines: type, whence, start, length (0: to the end), pid."""
    length = 0 if lock.end is None else lock.end - lock.start + 1
    return struct.pack("=hhiqqii", _LOCK_TYPES[lock.mode], os.SEEK_SET, 0, lock.start, length, 0, 0)


_PART_BYTES = 1 << 20


def copy_contents(source: str | Path, target: int) -> None:
    """Fill an empty file with what is in another one. Raises OSError."""
    reading = os.open(source, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        make_equal(reading, target, is_new=True)
    finally:
        os.close(reading)


def same_contents(descriptor: int, other: Path) -> bool:
    """Whether two files have the same bytes. Raises OSError."""
    with (
        open(other, "rb", buffering=0) as right,
        open(f"/proc/self/fd/{descriptor}", "rb", buffering=0) as left,
    ):
        if os.fstat(left.fileno()).st_size != os.fstat(right.fileno()).st_size:
            return False
        while True:
            part = left.read(_PART_BYTES)
            if part != right.read(_PART_BYTES):
                return False
            if not part:
                return True
