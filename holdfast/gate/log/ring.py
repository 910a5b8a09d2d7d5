"""The log ring: the newest writes in memory that outlives every process of a gate, not the host.

A file on the run directory's tmpfs, of one size, mapped and locked. Positions count the bytes ever
appended; the record at a position lies at its remainder by the size of the area. Invariants:
between `begin` and `end` lie records without gaps; one that is not whole belongs to a write that
was never begun, and is stepped over; nothing is written over before it was trimmed. A process that
is killed executes none of its instructions any more, so whoever comes next need not fear that it
still writes.

`append` may run in many threads; `trim` and `begin_anew` are serialised by the caller.
"""

from __future__ import annotations

import errno
import mmap
import os
import struct
import time
import uuid
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

from holdfast.gate.log.ring_layout import (
    AREA,
    ASKED,
    BEGIN,
    BOOT,
    BYTES,
    CARRIED,
    DEAD,
    END,
    FILES_END,
    HEAD_BYTES,
    IN_USE,
    KIND,
    LENGTH,
    LIVED,
    MAGIC_CELL,
    OFFSET,
    POSITION,
    RECORDED,
    STATE,
    TIME,
    UNIT_BYTES,
    UNSETTLED,
    VERSION_CELL,
    VOLUME,
    Reserver,
    padded,
)
from holdfast.gate.log.segment import Kind, Record
from holdfast.model.bounded import NewerFormat
from holdfast.model.size import MAXIMUM_VOLUME_BYTES
from holdfast.system.blake2 import blake2b
from holdfast.system.boot import boot_id

FILE_NAME = "ring"
"""In the run directory."""

AREA_BYTES = 32 << 20
"""Room for records: at a gigabyte a second, what is written while a disk flushes its cache. Not
more, as all of it is locked in memory."""

SPARE_BYTES = 2 << 20
"""Not available to ordinary appends: kept for what must be appended so that older records can be
trimmed, at most owed.MOST_UNITS sectors."""

LONGEST_BYTES = 1 << 20
"""The largest payload: of the kernel's requests."""

VERSION = 1
_MAGIC = int.from_bytes(b"HFLOGRNG", "little")

_PAIR = struct.Struct("=QQ")
_DAMAGED = "the ring is damaged at position {}"


class Ring:
    """The ring of one gate; `find`, or `begin_anew`, comes first."""

    def __init__(self, path: Path, volume_id: str, reserver: Reserver) -> None:
        self._path = path
        self._volume = _PAIR.unpack(blake2b(volume_id.encode(), digest_size=16).digest())
        self.reserver = reserver
        self.new_area_bytes = AREA_BYTES
        """Size of a new ring; an existing one may have another size."""
        self._bytes = memoryview(b"")
        self.cells = memoryview(b"").cast("Q")
        """The whole of it."""

    def find(self, minimum_position: int) -> bool:
        """Map the ring that an earlier process of this gate has used. False: there is none, it is
        of another boot or volume, it is dead or was never used, or it ends before that position.

        Raises NewerFormat, OSError.
        """
        found = self._map()
        if found is None or found.cast("Q")[END] < minimum_position:
            return False
        self._use(found)
        self.cells[ASKED] = 0
        return True

    def _map(self) -> memoryview | None:
        """The ring that is there, if it belongs to this gate and is whole."""
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        except FileNotFoundError:
            return None
        try:
            status = os.fstat(descriptor)
            size_bytes = status.st_size
            if size_bytes < HEAD_BYTES:
                return None
            head = memoryview(os.pread(descriptor, HEAD_BYTES, 0)).cast("Q")
            if head[MAGIC_CELL] != _MAGIC:
                return None
            if head[VERSION_CELL] > VERSION:
                raise NewerFormat("the log ring", head[VERSION_CELL], VERSION)
            area, begin, end = head[AREA], head[BEGIN], head[END]
            theirs = (*head[BOOT : BOOT + 2], *head[VOLUME : VOLUME + 2])
            if size_bytes != HEAD_BYTES + area or theirs != (*_this_boot(), *self._volume):
                return None
            if head[STATE] != IN_USE:
                return None
            if begin > end or end - begin > area or (begin | end | area) % UNIT_BYTES:
                return None
            return _mapped(descriptor, status)
        finally:
            os.close(descriptor)

    def _create(self, position: int, files_end: int) -> None:
        """Begin in a new file, which replaces the old one in one step. Raises OSError."""
        size_bytes = HEAD_BYTES + self.new_area_bytes
        temporary = self._path.with_suffix(".new")
        temporary.unlink(missing_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
        descriptor = os.open(temporary, flags, 0o600)
        try:
            _allocate(descriptor, size_bytes, self._path.parent)
            found = memoryview(mmap.mmap(descriptor, size_bytes))
            cells = found.cast("Q")
            cells[VERSION_CELL] = VERSION
            cells[AREA] = self.new_area_bytes
            cells[BOOT], cells[BOOT + 1] = _this_boot()
            cells[VOLUME], cells[VOLUME + 1] = self._volume
            cells[BEGIN] = cells[RECORDED] = cells[END] = position
            cells[FILES_END] = files_end
            cells[MAGIC_CELL] = _MAGIC
            temporary.replace(self._path)
        except BaseException:
            with suppress(OSError):
                temporary.unlink()
            raise
        finally:
            os.close(descriptor)
        self._use(found)

    def _use(self, found: memoryview) -> None:
        self._bytes, self.cells = found, found.cast("Q")

    @property
    def begin(self) -> int:
        """Position of the oldest record."""
        return int(self.cells[BEGIN])

    @property
    def end(self) -> int:
        """Position after the newest one."""
        return int(self.cells[END])

    @property
    def carried(self) -> int:
        """Position up to which the history is durable; -1: there is none, or nobody knows."""
        return int(self.cells[CARRIED]) - 1

    @carried.setter
    def carried(self, position: int) -> None:
        self.cells[CARRIED] = position + 1

    @property
    def lived_ns(self) -> int:
        """How long the history had been kept when `carried` was said."""
        return int(self.cells[LIVED])

    @lived_ns.setter
    def lived_ns(self, lived_ns: int) -> None:
        self.cells[LIVED] = lived_ns

    @property
    def recorded(self) -> int:
        """The position that was trimmed to last: the next trim forgets what is before it."""
        return int(self.cells[RECORDED])

    @property
    def unsettled(self) -> bool:
        """Whether the history has not been told what the legs have, after the host went down."""
        return bool(self.cells[UNSETTLED])

    @unsettled.setter
    def unsettled(self, value: bool) -> None:
        self.cells[UNSETTLED] = int(value)

    @property
    def files_end(self) -> int:
        """The position at which records in files ended and this ring began; 0: there were no
        files."""
        return int(self.cells[FILES_END])

    @property
    def area_bytes(self) -> int:
        """Room for records."""
        return len(self._bytes) - HEAD_BYTES

    @property
    def spare_bytes(self) -> int:
        """What ordinary appends leave free."""
        return min(SPARE_BYTES, self.area_bytes // 8)

    @property
    def is_crowded(self) -> bool:
        """Whether more than half of it is in use."""
        return (self.end - self.begin) * 2 > self.area_bytes

    def ask_once(self) -> bool:
        """Whether to ask for room: it is crowded, and nobody has asked since the last trim."""
        if self.cells[ASKED] or not self.is_crowded:
            return False
        self.cells[ASKED] = 1
        return True

    def append(
        self,
        slot: memoryview,
        kind: Kind,
        offset: int,
        length: int,
        payload: memoryview | None,
        *,
        spare: bool = False,
    ) -> bool:
        """Append one record; False when there is no room. Never blocks.

        The record belongs to the thread of that slot until the thread clears LOGGED. `spare`: it
        may use the room that ordinary appends leave free.
        """
        size = 0 if payload is None else len(payload)
        left_bytes = 0 if spare else self.spare_bytes
        position = self.reserver.reserve(
            self.cells, slot, offset, length, size, time.time_ns(), left_bytes
        )
        if position < 0:
            return False
        place = HEAD_BYTES + position % self.area_bytes
        if payload is not None:
            self._bytes[place + UNIT_BYTES : place + UNIT_BYTES + size] = payload
        self.cells[place // 8 + KIND] = kind
        return True

    def trim(self, position: int) -> None:
        """Forget what no leg needs: all legs have that position (of a record, or the end) in one of
        their superblocks.

        Everything before the *previous* such position is forgotten: the other superblock has that
        one, and a leg whose newest superblock cannot be read goes back to it.
        """
        if self.begin < self.cells[RECORDED]:
            self.cells[BEGIN] = self.cells[RECORDED]
        if self.begin < position <= self.end:
            self.cells[RECORDED] = position
        self.cells[ASKED] = 0

    def begin_anew(self, position: int, files_end: int = 0) -> None:
        """Forget every record, and continue at that position or above. Raises OSError.

        Later processes do not find it before it is `in_use`. Whoever has `cells` keeps the old
        ones.
        """
        self._create(padded(position), files_end)

    def in_use(self) -> None:
        """From now on it has every write that the legs have not flushed."""
        if self.cells[STATE] != DEAD:
            self.cells[STATE] = IN_USE

    def shut(self) -> None:
        """Declare it dead: there will be writes that it lacks. Nobody appends to it or finds it any
        more."""
        self.reserver.shut(self.cells)

    def forget_files(self) -> None:
        """Note that files are not needed any more."""
        self.cells[FILES_END] = 0

    def records(self, from_position: int) -> Iterator[Record]:
        """The whole records from that position (of a record, or the end) to the present end.

        A payload is a view into the ring, valid until it is trimmed. Raises OSError(EIO) when no
        record is at that position, and when the ring does not hold what was written.
        """
        end, area = self.end, self.area_bytes
        position = from_position
        if not self.begin <= position <= end or position % UNIT_BYTES:
            raise OSError(errno.EIO, f"the ring has no position {position}")
        while position < end:
            first = (HEAD_BYTES + position % area) // 8
            header = self.cells[first : first + UNIT_BYTES // 8]
            size = header[BYTES]
            fits = UNIT_BYTES <= size <= min(end - position, area - position % area)
            if header[POSITION] != position or not fits or size % UNIT_BYTES:
                raise OSError(errno.EIO, _DAMAGED.format(position))
            if header[KIND]:
                yield self._record(position, header)
            position += size
            if self.begin > position:
                raise OSError(errno.EIO, f"the ring was emptied up to {self.begin} meanwhile")

    def _record(self, position: int, header: memoryview) -> Record:
        """Check a header. Raises OSError(EIO) for one that no gate writes."""
        offset, length, size = header[OFFSET], header[LENGTH], header[BYTES]
        kind = _KINDS.get(header[KIND])
        payload_bytes = length if kind is Kind.DATA else 0
        if (
            kind is None
            or offset + length > MAXIMUM_VOLUME_BYTES
            or payload_bytes > LONGEST_BYTES
            or size != UNIT_BYTES + padded(payload_bytes)
        ):
            raise OSError(errno.EIO, _DAMAGED.format(position))
        start = HEAD_BYTES + position % self.area_bytes + UNIT_BYTES
        payload = self._bytes[start : start + payload_bytes]
        end = position + size
        return Record(position, end, kind, header[TIME], offset, length, payload, 0)


_ahead: list[tuple[os.stat_result, memoryview]] = []
"""What `map_ahead` has mapped, and nobody has used yet."""


def map_ahead(path: Path) -> None:
    """Map the file that is there, whatever it is, for a ring that this process may find later.

    All of it comes into memory when that is locked: milliseconds for each mapping. Never fails.
    """
    with suppress(OSError, ValueError):
        descriptor = os.open(path, os.O_RDWR | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            status = os.fstat(descriptor)
            _ahead.append((status, memoryview(mmap.mmap(descriptor, status.st_size))))
        finally:
            os.close(descriptor)


def _mapped(descriptor: int, status: os.stat_result) -> memoryview:
    """The whole file, mapped now or before; what else was is let go of."""
    ahead = [
        view
        for found, view in _ahead
        if os.path.samestat(found, status) and len(view) == status.st_size
    ]
    _ahead.clear()
    return ahead[0] if ahead else memoryview(mmap.mmap(descriptor, status.st_size))


def holds_records(path: Path) -> bool:
    """Whether a ring of this boot is there that the next gate needs. Never fails."""
    try:
        with path.open("rb") as file:
            found = file.read(HEAD_BYTES)
    except OSError:
        return False
    if len(found) < HEAD_BYTES:
        return False
    head = memoryview(found).cast("Q")
    of_this_boot = tuple(head[BOOT : BOOT + 2]) == _this_boot()
    is_used = head[MAGIC_CELL] == _MAGIC and head[STATE] == IN_USE
    return is_used and of_this_boot and head[BEGIN] != head[END]


def _allocate(descriptor: int, size_bytes: int, directory: Path) -> None:
    """Reserve its room. Raises OSError that says how much is missing, and where."""
    try:
        os.posix_fallocate(descriptor, 0, size_bytes)
    except OSError as error:
        if error.errno != errno.ENOSPC:
            raise
        words = f"{directory} has no room for the journal ({size_bytes >> 20} MiB)"
        raise OSError(errno.ENOSPC, words) from error


_KINDS = {kind.value: kind for kind in Kind}


def _this_boot() -> tuple[int, int]:
    first, second = _PAIR.unpack(uuid.UUID(boot_id()).bytes)
    return first, second
