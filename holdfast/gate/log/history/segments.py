"""The segments of a history on disk: found, checked, put in order, read frame by frame.

Invariant: a file is believed only when it is ours (a regular file, of our user, for nobody else to
read or write), and a frame only when its checksum continues the one before.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import re
import resource
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Protocol, TypeVar

from holdfast.gate.log.history.layout import (
    FRAME_HEADER_BYTES,
    MOST_FRAME_BYTES,
    PAGE_BYTES,
    FrameHeader,
    SegmentPage,
    checksum_of,
    decode_frame_header,
    decode_page,
    frame_file_bytes,
)
from holdfast.late_dataclass import dataclass

PREFIX = "segment-"
HIGH_NUMBERS = 64
"""How many of the numbers below 1024, which every process may have, are the history's."""

NAME = re.compile(r"segment-([0-9]{12,19})", re.ASCII)
"""Names of segments: their numbers, with leading zeros."""


def segment_name(number: int) -> str:
    """Of its file."""
    return f"{PREFIX}{number:012}"


@dataclass(frozen=True)
class FoundSegment:
    """A segment with a page that is whole."""

    path: Path
    page: SegmentPage
    size_bytes: int


def out_of_the_way(descriptor: int) -> int:
    """The same at a high number; the low one is closed. Raises OSError.

    A thread with a table of its own writes here, in which low numbers are free that mean something
    to others (a log, a bell): what these write by mistake must never come to lie in a segment.
    """
    try:
        most, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        return fcntl.fcntl(
            descriptor, fcntl.F_DUPFD_CLOEXEC, max(3, min(most, 1024) - HIGH_NUMBERS)
        )
    finally:
        os.close(descriptor)


def open_directory(path: Path) -> int:
    """A descriptor of the history's directory. Raises OSError, which names it; EPERM when it is not
    ours alone."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
    try:
        descriptor = out_of_the_way(os.open(path, flags))
    except OSError as error:
        raise OSError(error.errno, f"{path}: {error.strerror}") from error
    try:
        _check_ours(os.fstat(descriptor), path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def open_segment_file(directory: int, path: Path, flags: int) -> int:
    """Open a file of the history, direct where its file system can. Raises OSError."""
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    try:
        descriptor = os.open(path.name, flags | os.O_DIRECT, 0o600, dir_fd=directory)
    except OSError as error:
        if error.errno != errno.EINVAL:
            raise
        # It may have made the file, and refused afterwards.
        descriptor = os.open(path.name, flags & ~os.O_EXCL, 0o600, dir_fd=directory)
    descriptor = out_of_the_way(descriptor)
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(errno.EPERM, f"{path} is no regular file")
        _check_ours(status, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _check_ours(status: os.stat_result, path: Path) -> None:
    """Raise OSError(EPERM) when others own it or may get at it."""
    if status.st_uid != os.geteuid() or stat.S_IMODE(status.st_mode) & 0o077:
        raise OSError(errno.EPERM, f"{path} is not ours alone (owner and mode are checked)")


def names(directory: int) -> list[tuple[int, str]]:
    """Numbers and names of all files that have the name of a segment, in order."""
    found = ((NAME.fullmatch(name), name) for name in os.listdir(directory))
    return sorted((int(match[1]), name) for match, name in found if match)


def find(path: Path) -> list[FoundSegment]:
    """The segments whose pages are whole, by number. Raises OSError, NewerFormat.

    One that was removed meanwhile is passed over; so is one whose page cannot be read, or does not
    fit its name: a bad place in an old one must not keep anybody from the others.
    """
    directory = open_directory(path)
    try:
        found = [look_at(directory, path, number) for number, _ in names(directory)]
    finally:
        os.close(directory)
    return [each for each in found if each is not None]


def look_at(directory: int, path: Path, number: int) -> FoundSegment | None:
    """The segment of that number; None: it is not there, or see `find`. Raises OSError,
    NewerFormat."""
    place = path / segment_name(number)
    try:
        descriptor = open_segment_file(directory, place, os.O_RDONLY)
    except FileNotFoundError:
        return None
    try:
        page = decode_page(_first_page(descriptor))
        size_bytes = os.fstat(descriptor).st_size
    finally:
        os.close(descriptor)
    if page is None or page.number != number:
        return None
    return FoundSegment(place, page, size_bytes)


def _first_page(descriptor: int) -> bytes:
    """Empty where the disk has a bad place. Raises OSError."""
    with mmap.mmap(-1, PAGE_BYTES) as buffer:
        try:
            return bytes(buffer[: os.preadv(descriptor, [buffer], 0)])
        except OSError as error:
            if error.errno != errno.EIO:
                raise
            return b""


class HasPage(Protocol):
    """What can be put in order."""

    @property
    def page(self) -> SegmentPage:
        """Its first page."""
        ...


Segment = TypeVar("Segment", bound=HasPage)


def in_order(segments: Sequence[Segment], volume_id: bytes) -> list[Segment]:
    """Those that make up the history of that volume, oldest first. Pure.

    From the newest back: each names its predecessor. Where that is not there (removed, or its page
    is damaged) the next lower number goes before it, and reading finds a gap. Others are left over:
    a writer that was given up began them, and nothing follows them.
    """
    left = sorted(
        (each for each in segments if each.page.volume_id == volume_id),
        key=lambda each: each.page.number,
    )
    places = {each.page.salt: place for place, each in enumerate(left)}
    chain: list[Segment] = []
    place = len(left) - 1
    while place >= 0:
        segment = left[place]
        chain.append(segment)
        before = places.get(segment.page.follows, place)
        place = before if before < place else place - 1
        while place >= 0 and left[place].page.base > segment.page.base:
            place -= 1
    return chain[::-1]


def frames(
    directory: int, segment: FoundSegment, skip_to: int = 0
) -> Iterator[tuple[FrameHeader, memoryview]]:
    """The valid frames of a segment in order, and the bytes of their records.

    Ends without an error where no valid frame is. Those that end at `skip_to` or before are passed
    over by their headers, and their bytes not looked at. The bytes are valid until the next one is
    asked for. Raises OSError when it cannot be read.
    """
    descriptor = open_segment_file(directory, segment.path, os.O_RDONLY)
    buffer = memoryview(mmap.mmap(-1, frame_file_bytes(MOST_FRAME_BYTES)))
    try:
        position, previous = segment.page.base, segment.page.checksum
        place, filled, start = PAGE_BYTES, 0, PAGE_BYTES
        while True:
            # The buffer has `filled` bytes of the file from `start` on.
            if start + filled - place < PAGE_BYTES:
                start, filled = place, os.preadv(descriptor, [buffer], place)
            frame = buffer[place - start : filled]
            header = decode_frame_header(frame)
            if header is None or (header.number, header.previous) != (
                segment.page.number,
                previous,
            ):
                return
            if header.position != position:
                return
            if header.end > skip_to:
                if len(frame) < header.file_bytes:
                    start, filled = place, os.preadv(descriptor, [buffer], place)
                    frame = buffer[:filled]
                if len(frame) < FRAME_HEADER_BYTES + header.size_bytes:
                    return
                if checksum_of(frame, header.size_bytes) != header.checksum:
                    return
                yield header, frame[FRAME_HEADER_BYTES : FRAME_HEADER_BYTES + header.size_bytes]
            place += header.file_bytes
            position, previous = header.end, header.checksum
    finally:
        os.close(descriptor)


def reserve(descriptor: int, offset: int, length: int) -> None:
    """Have the file system keep room. Where it cannot, a write finds out. Raises OSError.

    Not posix_fallocate(3) alone, which writes bytes there, and must not where the file is open
    O_DIRECT: EINVAL.
    """
    try:
        os.posix_fallocate(descriptor, offset, length)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise


def write_all(descriptor: int, content: memoryview, place: int) -> None:
    """Raises OSError; a short write is one: ENOSPC."""
    done = os.pwrite(descriptor, content, place)
    if done != len(content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
