"""One leg in use: an open container whose first bytes are the volume's data.

Owns the back end, and is ended by one owner: by whoever opened it until the roster takes it
in, by its retirement from then on. Every call may block for ever when storage hangs, so it is made
by a thread that has said so (see runtime.claims). Nothing is ever retried here: a failed leg is
judged elsewhere. A leg that comes back is a new Leg with a new back end.
"""

from __future__ import annotations

import errno
import mmap
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import field, replace

from holdfast.containers import BackEnd, open_container
from holdfast.errors import ContainerFailed, TooSmall
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.members.superblock import (
    PAGE_BYTES,
    REGION_BYTES,
    SLOT_BYTES,
    Superblock,
    bitmap_bytes,
    bitmap_offset,
    container_bytes_needed,
    erase_superblocks,
    find_superblock,
    holds_other_slot,
    search_superblock,
    write_superblock,
)
from holdfast.gate.runtime.claims import Hand
from holdfast.late_dataclass import dataclass
from holdfast.model.volume import DEFAULT_SECTOR_BYTES, LegState
from holdfast.system.processes.process import close_quietly
from holdfast.system.resources.memory import aligned_buffer

NO_SPACE = frozenset((errno.ENOSPC, errno.EDQUOT))
"""Not a failure of the leg: a reason to wait for room."""


@dataclass
class Leg:
    """An open container and its tail. Raises OSError as the back end gave it; EIO where a transfer
    was short."""

    number: int
    id: str
    url: str
    state: LegState
    back_end: BackEnd
    size_bytes: int
    """The volume's size for which its tail was laid out, at the end of `container_bytes`."""
    container_bytes: int
    sequence: int
    taken: bool = False
    """The roster took it in, which ends it from then on: other threads may know it."""
    missing: set[int] | None = field(default=None, repr=False, compare=False)
    """Regions that it lacks while it is being filled; None: not known."""
    _slot: mmap.mmap = field(
        default_factory=lambda: aligned_buffer(SLOT_BYTES), repr=False, compare=False
    )
    """From which superblocks are written."""
    _page: mmap.mmap = field(
        default_factory=lambda: aligned_buffer(PAGE_BYTES), repr=False, compare=False
    )
    """Into which the other slot is read then."""

    read: Callable[[memoryview, int], None] = field(init=False, repr=False, compare=False)
    """Fill the view from the leg, at that offset. The back end's own, for speed."""
    write: Callable[[memoryview, int], None] = field(init=False, repr=False, compare=False)
    """Store the view on the leg, at that offset; durable after the next flush."""
    flush: Callable[[], None] = field(init=False, repr=False, compare=False)
    """Make all that was written durable, as far as the container's own word goes."""

    def __post_init__(self) -> None:
        self.back_end.expect(self.container_bytes)
        self.use(self.back_end)

    def use(self, back_end: BackEnd) -> None:
        """Go on with that back end: the same container, behind a filter."""
        self.back_end = back_end
        self.read, self.write, self.flush = back_end.read, back_end.write, back_end.flush

    @property
    def descriptor(self) -> int:
        """Of this process, for its keeper to keep; -1: it has none of this host."""
        return self.back_end.descriptor

    @property
    def identity(self) -> int:
        """Tells this container from another one of the same name, on this host since its boot."""
        return self.back_end.identity

    def has(self, offset: int, length: int) -> bool:
        """Whether a leg that is being filled has that range: it was copied, or never lacking, and
        got every write since. Does not touch the leg; any thread may ask."""
        regions = range(offset // REGION_BYTES, (offset + length - 1) // REGION_BYTES + 1)
        return self.missing is not None and self.missing.isdisjoint(regions)

    def zero(self, offset: int, length: int, *, keep_allocated: bool) -> int:
        """Make the beginning of the range read as zeros; how much of it (see `zero_all`)."""
        return self.back_end.zero(offset, length, keep_allocated=keep_allocated)

    def next_data(self, offset: int) -> int:
        """Offset of the next byte that may not be zero, `size_bytes` when there is none."""
        return self.back_end.next_data(offset, self.size_bytes)

    def write_bitmap(self, page: memoryview, page_number: int) -> None:
        """Replace one page of the write-intent bitmap; durable after the next flush."""
        self.write(page, bitmap_offset(self.container_bytes, self.size_bytes) + page_number * 4096)

    def read_bitmap(self) -> bytes:
        """The write-intent bitmap as it is on the leg."""
        length = bitmap_bytes(self.size_bytes)
        view = memoryview(aligned_buffer(length))
        self.read(view, bitmap_offset(self.container_bytes, self.size_bytes))
        return bytes(view)

    def write_superblock(self, superblock: Superblock) -> None:
        """Replace the older of the two superblock slots; durable when it returns.

        Raises OSError, also when the container was truncated meanwhile.
        """
        held = self._holds_slot_beside(self.sequence + 1)
        self.back_end.check_whole()
        self.sequence += 1
        write_superblock(
            self.back_end,
            self.container_bytes,
            replace(
                superblock,
                leg_id=self.id,
                leg_number=self.number,
                state=self.state,
                sequence=self.sequence,
            ),
            self._slot,
        )
        if held and not self._holds_slot_beside(self.sequence):
            raise OSError(errno.EIO, "the container was truncated")

    def _holds_slot_beside(self, sequence: int) -> bool:
        return holds_other_slot(self.back_end, self.container_bytes, sequence, self._page)

    def erase(self) -> None:
        """Remove the superblocks: the container is no leg any more. Durable when it returns."""
        self.back_end.check_whole()
        erase_superblocks(self.back_end, self.container_bytes)

    def resize(self, size_bytes: int) -> None:
        """Move to the end of a container that was grown before; the caller writes the new tail.

        The old tail is zeroed by `clear_old_tail` once the new one is durable.
        """
        container_bytes = self.back_end.size_bytes()
        if container_bytes < container_bytes_needed(size_bytes):
            raise TooSmall(f"{self.url} was not grown", "Grow the container first.")
        self.size_bytes, self.container_bytes = size_bytes, container_bytes
        self.back_end.expect(container_bytes)

    def clear_old_tail(self, container_bytes: int, size_bytes: int) -> None:
        """Zero the tail of the time before a growth, which lies inside the data area now.

        Does nothing where the container did not move its end (a block device of the same size).
        Durable when it returns; idempotent.
        """
        start = bitmap_offset(container_bytes, size_bytes)
        if container_bytes < self.container_bytes:
            end = container_bytes // 4096 * 4096
            while start < end:
                start += self.zero(start, end - start, keep_allocated=False)
            self.flush()

    def close(self) -> None:
        """Let go of the container and its lock, while other threads may still use this object.

        A late thread gets an error or a short read. Blocks when storage hangs; idempotent.
        """
        self.back_end.release()

    def forget(self) -> None:
        """Give back what `close` kept; no thread may know this object any more. Idempotent."""
        self.back_end.close()

    def discard(self) -> None:
        """Close a leg whose only owner is the caller; one that was taken in is left to the roster.

        Blocks when storage hangs; idempotent.
        """
        if not self.taken:
            self.close()
            self.forget()


def zero_all(hand: Hand, leg: Leg, offset: int, length: int, *, keep_allocated: bool) -> None:
    """Make the range read as zeros, by a hand that is inside the leg.

    Each step is an entry of its own: storage that answers each of them does not hang, however long
    all of them take. Raises OSError, GivenUp.
    """
    done = leg.zero(offset, length, keep_allocated=keep_allocated)
    while done < length:
        hand.leave()
        hand.enter(leg.number)
        done += leg.zero(offset + done, length - done, keep_allocated=keep_allocated)


def open_leg(
    entry: LegEntry,
    size_bytes: int,
    *,
    whole: bool = True,
    inherited: int | None = None,
    sector_bytes: int = DEFAULT_SECTOR_BYTES,
    places: Iterable[int] = (),
    search_seconds: float = 0.0,
) -> tuple[Leg, Superblock | None]:
    """Open a leg's container and read its superblock. Blocks as long as storage does.

    Its tail is looked for at the container's end, where it was remembered (the entry, `places`),
    and where a container of just the size that is needed has it; then, for so many seconds,
    everywhere.

    `inherited`: a descriptor of it, with its lock, that an earlier worker had; owned from now on,
    and closed where this raises.
    `sector_bytes`: the smallest request that the volume makes; where the storage's direct I/O takes
    larger ones only, it goes through the page cache.
    Raises ContainerFailed when it cannot be opened or, with `whole`, is too small for the volume;
    BlockingIOError (an OSError) when another gate, or an earlier worker, still has it.
    """
    back_end = _back_end_of(entry.url, inherited)
    try:
        back_end.take_requests_of(sector_bytes)
        container_bytes = back_end.size_bytes()
        needed = container_bytes_needed(size_bytes)
        more_places = (*places, needed if size_bytes else 0)
        superblock, tail_end = _find_tail(
            back_end, entry, container_bytes, more_places, search_seconds
        )
        _check_size(entry.url, container_bytes, needed if whole else 0, superblock, tail_end)
    except BaseException as error:
        with suppress(OSError):
            back_end.close()
        if isinstance(error, OSError):
            raise ContainerFailed(f"{entry.url} cannot be read: {error.strerror}") from error
        raise
    leg = Leg(
        number=entry.number,
        id=entry.id,
        url=entry.url,
        state=entry.state,
        back_end=back_end,
        size_bytes=superblock.size_bytes if superblock else size_bytes,
        container_bytes=tail_end,
        sequence=superblock.sequence if superblock else 0,
    )
    return leg, superblock


def _back_end_of(url: str, inherited: int | None) -> BackEnd:
    """The opened or taken over back end, as `open_leg` asks for it. Raises BlockingIOError,
    HoldfastError."""
    try:
        return open_container(url).open() if inherited is None else _taken_over(url, inherited)
    except BlockingIOError:
        raise
    except OSError as error:
        raise ContainerFailed(
            f"{url} cannot be opened: {error.strerror}", "See that the storage is there."
        ) from error


def _taken_over(url: str, inherited: int) -> BackEnd:
    """Take over a descriptor; it is closed when this raises OSError, HoldfastError."""
    try:
        return open_container(url).take_over(inherited)
    except BaseException:
        close_quietly(inherited)
        raise


def _find_tail(
    back_end: BackEnd,
    entry: LegEntry,
    container_bytes: int,
    more_places: Sequence[int],
    search_seconds: float,
) -> tuple[Superblock | None, int]:
    """The superblock, and where its tail ends; without one, where a new tail is to end.

    It is still where it was when somebody enlarged the container, or a growth was cut short.
    """
    remembered = (entry.container_bytes, *more_places)
    known = [place for place in remembered if 0 < place <= container_bytes]
    found = find_superblock(back_end, [container_bytes, *known], entry.id)
    if found is None and search_seconds:
        found = search_superblock(back_end, container_bytes, search_seconds)
    place = entry.container_bytes if entry.container_bytes in known else container_bytes
    return found or (None, place)


def _check_size(
    url: str, container_bytes: int, needed: int, superblock: Superblock | None, tail_end: int
) -> None:
    """Raise ContainerFailed for a container that cannot hold what it, or the volume, says."""
    if superblock and container_bytes_needed(superblock.size_bytes) > tail_end:
        raise ContainerFailed(
            f"{url} says that it is a leg of {superblock.size_bytes} bytes, and has not that many",
            "Use another container.",
        )
    if container_bytes < needed:
        raise ContainerFailed(
            f"{url} has {container_bytes} bytes instead of {needed}: it was truncated",
            "Put the whole container back, or an empty one in its place.",
        )
