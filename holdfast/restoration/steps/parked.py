"""The stopped processes of a restoration: ours, or regained from the record of a dead runner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.parking.record import ParkingRecord
from holdfast.applications.rebind.rebind import Rebind
from holdfast.errors import UnreadableRecord
from holdfast.mountpoints.whereabouts import shown
from holdfast.restoration.records.record import ReplayResult
from holdfast.restoration.records.work import Work
from holdfast.restoration.storage.directory import parking_directory

_MOST_NOTES = 100


def record_directory(work: Work) -> Path:
    """The directory of the record of parked handles."""
    return parking_directory(work.settings, work.restoration.id)


def keep(work: Work, rebind: Rebind | None) -> None:
    """Remember the stopped processes; None: nobody is stopped any more."""
    work.live.stopped = rebind
    work.live.was_looked_for = True


def parked(work: Work) -> Rebind | None:
    """The stopped processes; None when none of them is left, or was stopped at all."""
    if not work.live.was_looked_for:
        may_be_stopped = work.record.stopping is not None
        keep(work, Rebind.regain(record_directory(work)) if may_be_stopped else None)
    return work.live.stopped


def refuse_unreadable(work: Work) -> None:
    """Raise UnreadableRecord when nobody can know what is parked: nothing must be done then.

    To be asked before the first step that goes on where another process stopped: afterwards it is
    too late to leave everything as it is.
    """
    if work.record.stopping is None:
        return
    try:
        ParkingRecord(record_directory(work)).load()
    except UnreadableRecord as error:
        raise UnreadableRecord(
            error.message,
            f"{error.mend} Or give the restoration up, which says what it leaves:"
            f" holdfast recover --abandon {work.restoration.volume}",
        ) from error


def outcomes_of(handles: Sequence[ReboundHandle]) -> ReplayResult:
    """What became of them, counted, and notes about single ones. Pure."""
    counts: dict[str, dict[str, dict[str, int]]] = {}
    notes = []
    for each in handles:
        kinds = counts.setdefault(str(each.handle.pid), {})
        kind = kinds.setdefault(str(each.handle.kind), {})
        kind[str(each.outcome)] = kind.get(str(each.outcome), 0) + 1
        if each.note:
            handle = f"{each.handle.pid} {shown(each.handle.path)}"
            notes.append(f"{handle}: {each.outcome}, {each.note}")
    return ReplayResult(counts, tuple(notes[:_MOST_NOTES]))
