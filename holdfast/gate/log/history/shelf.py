"""Which segments a directory has, as far as whoever writes there has looked, and which may go.

The newest one is looked at when the directory is opened: whoever writes goes on from it. The older
ones are looked at some at a time, as a disk that turns has thousands of them in as many places, and
nobody waits for that. Nothing is removed before all were looked at. Raises OSError, NewerFormat.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from holdfast.gate.log.history.layout import SegmentPage
from holdfast.gate.log.history.retention import KeptSegment, lost_with, superfluous
from holdfast.gate.log.history.segments import (
    FoundSegment,
    in_order,
    look_at,
    names,
    segment_name,
)

AT_ONCE = 4
"""Segments that are looked at between two rounds of the writer: some 40 ms on a disk that turns."""


class Shelf:
    """Of one writer. What it has seen it does not look at again."""

    def __init__(self, path: Path, volume_id: bytes) -> None:
        self._path = path
        self._volume_id = volume_id
        self._unseen: list[int] = []
        """Numbers, ascending."""
        self._seen: dict[str, KeptSegment | None] = {}
        """By name; None: it has no page that is whole."""
        self.kept: list[KeptSegment] = []
        """Those that count, oldest first, as far as they were looked at. Replaced, never changed
        but at its end."""

    def open(self, directory: int) -> FoundSegment | None:
        """The newest segment; None: there is none. OSError(EMEDIUMTYPE): it is of another volume's
        history."""
        there = names(directory)
        seen = {name: self._seen[name] for _, name in there if name in self._seen}
        newest: FoundSegment | None = None
        for number, name in reversed(there):
            newest = look_at(directory, self._path, number)
            seen[name] = _kept(newest)
            if newest is not None:
                break
        if newest is not None and newest.page.volume_id != self._volume_id:
            words = f"{self._path} has the history of another volume"
            raise OSError(errno.EMEDIUMTYPE, words)
        self._seen = seen
        self._unseen = [number for number, name in there if name not in seen]
        self._arrange()
        return newest

    def look_further(self, directory: int) -> bool:
        """Look at some that were not; whether all were, now. One that cannot be looked at counts as
        damaged: nobody who writes needs it."""
        for number in self._unseen[-AT_ONCE:]:
            try:
                found = look_at(directory, self._path, number)
            except OSError:
                found = None
            self._seen[segment_name(number)] = _kept(found)
        was_unseen = bool(self._unseen)
        del self._unseen[-AT_ONCE:]
        if was_unseen and not self._unseen:
            self._arrange()
        return not self._unseen

    def _arrange(self) -> None:
        known = [each for each in self._seen.values() if each is not None]
        self.kept = in_order(known, self._volume_id)

    def has(self, page: SegmentPage) -> bool:
        """Whether that segment was there when the directory was opened."""
        name = segment_name(page.number)
        found = self._seen.get(name)
        return found.page.salt == page.salt if found is not None else page.number in self._unseen

    def add(self, segment: KeptSegment) -> None:
        """It was begun."""
        self._seen[segment.name] = segment
        self.kept.append(segment)

    def forget(self, name: str) -> None:
        """It was removed."""
        self._seen.pop(name, None)
        self.kept = [each for each in self.kept if each.name != name]

    def ends_with(self, size_bytes: int) -> None:
        """The newest one takes so much, now that nobody writes it any more."""
        self.kept[-1] = self._seen[self.kept[-1].name] = self.kept[-1]._replace(
            size_bytes=size_bytes
        )

    def retain(
        self,
        directory: int,
        lived_ns: int,
        limits: tuple[int, int],
        needed: Sequence[int],
        lose: Callable[[Sequence[int]], None],
        *,
        is_full: bool,
    ) -> None:
        """Remove what is too old, or too much (`limits`: ns, bytes); then what was begun in vain,
        or is damaged, and older than what is left. Where the disk is full, nothing that is too old
        stays, though it is `needed`. `lose` is told before of positions that cannot be kept."""
        if self._unseen:
            return
        count = superfluous(self.kept, lived_ns, *limits, () if is_full else needed)
        lost = lost_with(self.kept, count, needed)
        if lost:
            lose(lost)
        for segment in self.kept[:count]:
            with suppress(FileNotFoundError):
                os.unlink(segment.name, dir_fd=directory)
            self.forget(segment.name)
        if not count:
            return
        for number, name in names(directory):
            found = self._seen.get(name)
            is_ours = found is None or found.page.volume_id == self._volume_id
            if number < self.kept[0].page.number and is_ours:
                os.unlink(name, dir_fd=directory)
                self.forget(name)


def _kept(segment: FoundSegment | None) -> KeptSegment | None:
    if segment is None:
        return None
    return KeptSegment(segment.path.name, segment.page, segment.size_bytes)
