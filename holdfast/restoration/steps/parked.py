"""The stopped processes of a restoration: ours, or regained from the record of a dead runner."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from holdfast.applications.rebind.agent.harboured import with_parked_handles
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.parking.record import Parked, ParkingRecord
from holdfast.applications.rebind.rebind import Rebind
from holdfast.errors import UnreadableRecord
from holdfast.mountpoints.whereabouts import shown
from holdfast.restoration.records.record import ReplayResult, RestorationRecord
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
    record = ParkingRecord(record_directory(work))
    try:
        written = record.load()
        forgotten = forgotten_by(written, work.record)
        if forgotten:
            raise UnreadableRecord(
                f"the record {record.directory} of what is parked is gone, or its end is: it does"
                f" not have what {forgotten} had",
                "Put it back where somebody has it. Processes that are parked run again at their"
                " deadline, with errors in place of their files.",
            )
    except UnreadableRecord as error:
        raise UnreadableRecord(
            error.message,
            f"{error.mend} Or give the restoration up, which says what it leaves:"
            f" holdfast recover --abandon {work.restoration.volume}",
        ) from error


def forgotten_by(written: Parked | None, record: RestorationRecord) -> str:
    """Who has parked handles that nothing is written of, in words; empty: nobody.

    The processes themselves say that they have.
    """
    if record.frozen is None or (written is not None and written.has_begun):
        return ""
    names = dict(record.frozen.processes)
    pids = with_parked_handles(names)
    return ", ".join(f"{names[pid]} (process {pid})" for pid in pids)


def outcomes_of(handles: Sequence[ReboundHandle]) -> ReplayResult:
    """What became of them, counted, and notes about single ones. Pure."""
    counts: dict[str, dict[str, dict[str, int]]] = {}
    more: dict[str, int] = {}
    notes = []
    for each in handles:
        kinds = counts.setdefault(str(each.handle.pid), {})
        kind = kinds.setdefault(str(each.handle.kind), {})
        kind[str(each.outcome)] = kind.get(str(each.outcome), 0) + 1
        if each.more_bytes:
            pid = str(each.handle.pid)
            more[pid] = more.get(pid, 0) + each.more_bytes
        if each.note:
            handle = f"{each.handle.pid} {shown(each.handle.path)}"
            notes.append(f"{handle}: {each.outcome}, {each.note}")
    return ReplayResult(counts, tuple(notes[:_MOST_NOTES]), more)
