"""From a copy and a history to a later moment: whether that can be proven, and doing it.

Invariant: an image is changed only when everything between its position and the other one is
there, and the other one is no place within a step. Functions here touch storage: for expendable
children.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

from holdfast.containers import BackEnd
from holdfast.copies.images import SYNC_BYTES, failed, settle
from holdfast.copies.moments import ends_step, local_time
from holdfast.copies.work import Pace, Tell
from holdfast.errors import HistoryFailed, Unreachable
from holdfast.gate.log.history.fence import take_fence
from holdfast.gate.log.history.layout import Mark
from holdfast.gate.log.history.reading import Gap, OneStep, read_frames, records_of
from holdfast.gate.log.history.segments import FoundSegment, find, in_order, open_directory
from holdfast.gate.log.segment import Kind, Record


class Way(NamedTuple):
    """How a position is reached."""

    base: int
    """From the copy at that position."""
    newest_ns: int
    """Time of the last record that is applied; 0: there is none."""


def find_way(path: Path, volume_id: bytes, target: int, bases: Sequence[int], tell: Tell) -> Way:
    """From which of these positions everything up to `target` is there: from the latest.

    Reads the history from the earliest one on. Raises Unreachable, OSError.
    """
    usable = sorted(base for base in bases if base <= target)
    if not usable:
        raise Unreachable(
            f"every complete copy is newer than position {target}",
            "Moments after a copy was made can be reached: holdfast copy list says from where.",
        )
    begin = _begin(path, volume_id)
    if usable[-1] < begin:
        raise Unreachable(
            f"the history begins at position {begin}, later than every copy of that time",
            "holdfast copy advance keeps a copy up with its history; make another one now.",
        )
    usable = [base for base in usable if base >= begin]
    step, gap, end, newest_ns, first = None, None, usable[-1], 0, usable[0]
    pace = Pace(tell, target - first)
    for item in read_frames(path, volume_id, first):
        if isinstance(item, OneStep):
            step = item.position if step is None else step
            continue
        if isinstance(item, Gap):
            if target <= item.position:
                end = target
                break
            gap, step, end = item, None, max(end, item.end)
            usable = [base for base in usable if base >= item.end]
            if not usable or target < item.end:
                usable = []
                break
            continue
        header, content = item
        for record in records_of(header, content):
            if record.end > target:
                break
            newest_ns = max(newest_ns, record.time_ns)
            step = None if ends_step(record) else step
        end = max(end, min(header.end, target))
        pace.done(end - first)
        if header.end >= target:
            break
    if not usable and gap is not None:
        raise Unreachable(
            f"a gap comes before it, from position {gap.position} ({_time(gap.before_ns)}) to"
            f" {gap.end} ({_time(gap.after_ns)}): {gap.reason}",
            f"The last moment before it: --at position:{gap.position}; or make a copy now.",
        )
    if end < target:
        raise Unreachable(
            f"the history ends at position {end}, before {target}",
            f"The last moment that it has: --at position:{end}",
        )
    if step is not None and step < target:
        raise Unreachable(
            f"position {target} lies in a step that begins at {step}: what is in between was never"
            " the volume",
            f"The last moment before it: --at position:{step}",
        )
    return Way(usable[-1], newest_ns)


class Reach(NamedTuple):
    """How far a history leads from a copy, of a volume whose gate does not run."""

    base: int
    """From the copy at that position."""
    position: int
    newest_ns: int
    """Time of the last record up to there; 0: there is none."""
    end: int
    """Where the history ends, whether it leads there or not."""
    lacking: str
    """What may have been acknowledged behind that position, in words; empty: nothing was."""


def reach_of(path: Path, volume_id: bytes, copies: Sequence[tuple[int, int]], tell: Tell) -> Reach:
    """How far it leads from the newest of these copies (position, good from) from which it does.

    Reads it from there on. Raises Unreachable, OSError: EBUSY while a gate writes it, here or on
    another host.
    """
    directory = open_directory(path)
    try:
        fence = take_fence(directory, path, make=False)
        try:
            segments = in_order(find(path), volume_id)
            begin = segments[0].page.base if segments else 0
            for base, good_from in sorted(copies, reverse=True):
                if not segments or base < begin:
                    continue
                found = _reach_from(path, volume_id, base, segments, tell)
                if found.position >= good_from:
                    return found
        finally:
            os.close(fence)
    finally:
        os.close(directory)
    raise Unreachable(
        "no copy becomes whole with what is left of the history",
        "Bring a leg back. See holdfast copy list, holdfast history NAME --verify.",
    )


def _reach_from(
    path: Path, volume_id: bytes, base: int, segments: Sequence[FoundSegment], tell: Tell
) -> Reach:
    position, end, newest_ns, step, gap = base, base, 0, None, ""
    is_closed, pace = False, Pace(tell, 1)
    # How it ended is told by its last record, which the copy may have already.
    first = min(base, segments[-1].page.base)
    for item in read_frames(path, volume_id, first, segments):
        pace.done(0)
        if isinstance(item, Gap):
            gap = gap or f"a gap comes then, up to position {item.end}: {item.reason}"
            end = item.end
        elif isinstance(item, OneStep):
            step = item.position if step is None and not gap else step
        else:
            header, content = item
            is_last = header.number == segments[-1].page.number
            for record in records_of(header, content):
                is_closed = is_last and record.kind is Kind.MARK and record.offset == Mark.CLOSED
                if not gap:
                    newest_ns = max(newest_ns, record.time_ns)
                    step = None if ends_step(record) else step
            end = header.end
            position = position if gap else end
    lacking = gap
    if step is not None:
        position, lacking = min(position, step), "what comes then was not written down to its end"
    elif not gap and not is_closed:
        lacking = (
            "its gate did not end properly: what was acknowledged while the history failed or was"
            " behind would be missing, and nobody is left who knows"
        )
    return Reach(base, position, newest_ns, end, lacking)


def end_of(path: Path, volume_id: bytes, base: int, tell: Tell) -> int:
    """Up to where everything from `base` on is there. Raises HistoryFailed, Unreachable."""
    try:
        if base < _begin(path, volume_id):
            raise Unreachable("the history does not reach back to it", "Make another copy.")
        end, pace = base, Pace(tell, 1)
        for item in read_frames(path, volume_id, base):
            if isinstance(item, Gap):
                break
            if not isinstance(item, OneStep):
                for _ in records_of(*item):
                    pass  # raises for what no gate writes
                end = item[0].end
            pace.done(0)
    except OSError as error:
        raise history_failed(error) from error
    return end


def replay(
    path: Path,
    volume_id: bytes,
    image: BackEnd,
    places: tuple[int, int],
    size_bytes: int,
    tell: Tell,
) -> None:
    """Bring an image from one of these positions to the other one; durable.

    What is written again has the same bytes: killed in between, it is brought there from the first
    one. Raises HistoryFailed (with a mixture in the image), ContainerFailed, TooSmall.
    """
    start, target = places
    pace, unsynced, end = Pace(tell, target - start), 0, start
    try:
        for item in read_frames(path, volume_id, start):
            if isinstance(item, Gap):
                if item.position >= target:
                    end = target
                    break
                raise HistoryFailed(
                    f"a gap begins at position {item.position}: {item.reason}",
                    "It was not there just now: see that nobody removes its files.",
                )
            if isinstance(item, OneStep):
                continue
            header, content = item
            for record in records_of(header, content):
                if record.end > target:
                    break
                if record.end <= start:
                    continue
                try:
                    unsynced += _apply(image, record, size_bytes)
                    if unsynced >= SYNC_BYTES:
                        settle(image)
                        unsynced = 0
                except OSError as error:
                    raise failed(error) from error
                pace.done(record.end - start)
            end = header.end
            if end >= target:
                break
    except OSError as error:
        raise history_failed(error) from error
    if end < target:  # what is newest can go without a trace
        raise HistoryFailed(
            f"the history ends at position {end}, and had {target} just now",
            "See that nobody changes its files: holdfast history NAME --verify.",
        )
    try:
        settle(image)
    except OSError as error:
        raise failed(error) from error


def history_failed(error: OSError) -> HistoryFailed:
    """The error with a mend."""
    return HistoryFailed(
        f"the history cannot be read: {error.strerror or error}",
        "See that its disk is there: holdfast history NAME --verify.",
    )


def _begin(path: Path, volume_id: bytes) -> int:
    segments = in_order(find(path), volume_id)
    if not segments:
        raise Unreachable("the history is empty", "Make a copy now, for later moments.")
    return segments[0].page.base


def _apply(image: BackEnd, record: Record, size_bytes: int) -> int:
    """Carry out one record; how many bytes. Raises OSError."""
    if record.kind not in (Kind.DATA, Kind.DISCARD):
        return 0
    if record.offset + record.length > size_bytes:
        raise OSError(errno.EFBIG, "the history has a write beyond the volume's end")
    if record.kind is Kind.DATA:
        image.write(record.payload, record.offset)
        return record.length
    done = 0
    while done < record.length:
        done += image.zero(record.offset + done, record.length - done, keep_allocated=False)
    return 0


def _time(time_ns: int) -> str:
    return local_time(time_ns / 1e9) if time_ns else "of no known time"
