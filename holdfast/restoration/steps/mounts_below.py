"""What is mounted below the volume: parked by Dismount, put back by whoever mounts the volume."""

from __future__ import annotations

from holdfast.errors import HoldfastError
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mount_below import ParkedMounts
from holdfast.model.restoration import Mode
from holdfast.mountpoints.below.looking import in_words_parked, mounts_below, parked_now
from holdfast.mountpoints.below.returning import put_back
from holdfast.mountpoints.remount import Covered
from holdfast.restoration.records.work import Work
from holdfast.restoration.storage.directory import parked_mounts_directory


def parks_below(mode: Mode) -> bool:
    """Whether what is mounted below goes along: not while the volume is away on purpose."""
    return mode not in (Mode.PARK, Mode.STALE)


def to_be_parked(work: Work) -> ParkedMounts | None:
    """What is to be parked before the dismount, durably recorded; None: nothing lies below.

    What was parked already when another process did this stays in the record.
    """
    if not parks_below(work.intent.mode):
        return None
    before = work.record.parked_mounts
    found = {each.mount.id: each for each in (before.mounts if before is not None else ())}
    found |= {each.mount.id: each for each in mounts_below(work.points)}
    if not found:
        return None
    identifier = work.restoration.id
    folder = parked_mounts_directory(work.settings, identifier)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    name = f"holdfast-parked-{identifier}"
    work.remember(parked_mounts=ParkedMounts(name, str(folder), tuple(found.values())))
    return work.record.parked_mounts


def put_mounts_back(work: Work, covered: Covered) -> None:
    """Put them back on what is mounted now, while its covers keep everybody out; told where one
    stays parked. Idempotent, and raises nothing: those who wait at the covers go on."""
    parked = work.record.parked_mounts
    if parked is None:
        return
    notes: list[Finding] = []
    try:
        notes += put_back(parked, work.points, covered.roots)
    except (HoldfastError, OSError) as error:
        for each, now in parked_now(parked):
            words = f"{in_words_parked(each, now)} ({error})"
            notes.append(Finding("nested mount", Verdict.LIMITED, words))
    work.tell(notes)
