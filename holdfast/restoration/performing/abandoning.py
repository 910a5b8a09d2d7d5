"""Giving up a restoration as it stands, when it can be neither finished nor undone.

Works also where its record cannot be read: less is known then of what it leaves. Must never mount,
dismount or delete anything, and ends whatever fails on the way.
"""

from __future__ import annotations

import time
from contextlib import suppress

from holdfast.applications.rebind.agent.harboured import let_leave, with_parked_handles
from holdfast.applications.rebind.rebind import Rebind
from holdfast.catalog import Catalog
from holdfast.config import Settings
from holdfast.coordination.update_lock import UpdateLock
from holdfast.errors import HoldfastError, NoSuchVolume, StorageFailed
from holdfast.late_dataclass import dataclass
from holdfast.model.mountpoint import MountPoint
from holdfast.model.plan import StepName
from holdfast.model.receipt import Receipt
from holdfast.model.restoration import Mode, Restoration, RestorationHeading
from holdfast.model.volume import Volume
from holdfast.mountpoints.below.looking import in_words_parked, left_in_words, parked_now
from holdfast.mountpoints.uncovering import uncover
from holdfast.restoration.performing.receipts import ABANDONED, receipt_of
from holdfast.restoration.records.record import RestorationRecord, read_record
from holdfast.restoration.records.work import images_of
from holdfast.restoration.storage.container_end import KEPT
from holdfast.restoration.storage.directory import (
    NEW_GATE,
    OLD_GATE,
    directory_of,
    forget_directory,
    parking_directory,
)
from holdfast.restoration.storage.leg_in_place import as_it_was
from holdfast.restoration.storage.old_and_new import containers_of
from holdfast.restoration.storage.permission_marks import unasked_in_words
from holdfast.restoration.storage.swap_files import off_in_words
from holdfast.system.boot import boot_id
from holdfast.system.fuse.cover_server import FILE_SYSTEM as COVER_TYPE
from holdfast.system.fuse.cover_server import release
from holdfast.system.mounts.all_namespaces import all_mount_points


@dataclass(frozen=True)
class _Known:
    """What is known of it."""

    heading: RestorationHeading
    volume: Volume | None
    """As the catalog has it; None: it is not there any more."""
    restoration: Restoration | None = None
    record: RestorationRecord | None = None
    unreadable: str = ""
    """Why the record is not known, in words."""

    @property
    def points(self) -> tuple[MountPoint, ...]:
        """Where the volume was mounted."""
        if self.record is not None:
            return self.record.points
        adoption = self.volume.adoption if self.volume is not None else None
        return adoption.points if adoption is not None else ()

    @property
    def paths(self) -> set[str]:
        """The same, by name."""
        own = {self.volume.mount.path} if self.volume is not None else set()
        return own | {point.path for point in self.points}

    @property
    def sides(self) -> list[tuple[Volume, str]]:
        """The storage that it leaves, and what that is."""
        if self.record is None:
            return [(self.volume, "the old storage")] if self.volume is not None else []
        intent = self.record.intent
        sides = [(intent.old, "the old storage")]
        if intent.new is not None and intent.mode is not Mode.IN_PLACE:
            sides.append((intent.new, "the new one, incomplete"))
        return sides


def abandon(settings: Settings, catalog: Catalog, heading: RestorationHeading) -> list[str]:
    """Give it up; what is left, in words. The caller has its turn on the volume.

    Whoever is stopped goes on, with errors in place of what is parked. Raises UnreadableRecord when
    not even its id can be one.
    """
    folder = directory_of(settings, heading.id)
    known = _known(catalog, heading)
    words = [f"the {heading.strategy} of {heading.volume} was given up as it stood"]
    if known.unreadable:
        words.append(f"{known.unreadable}: a container that it made is not named here, and stays")
    if heading.boot_id == boot_id() or known.unreadable:
        words += _let_go(settings, known)
        _take_covers_away(known)
    for volume, _ in known.sides:
        for url in images_of(volume):
            with suppress(HoldfastError, OSError):
                UpdateLock(url, heading.volume, heading.id).give_back()
    words += _end_of_container(settings, known)
    words += _what_is_where(known)
    saved = known.record.saved if known.record is not None else None
    if saved is not None and not saved.put_back_on:
        count = sum(1 for each in saved.files if each.name)
        words.append(f"what was saved from memory, of {count} files, was put back nowhere")
    place = settings.gate_state_directory(heading.volume)
    if known.volume is not None and known.volume.is_adopted and place.exists():
        words.append(f"{place} has the state of the gate that it was to get: it stays")
    catalog.restorations.end(heading.id, _receipt(known, ABANDONED + "; ".join(words[1:])))
    if any((folder / name).exists() for name in (NEW_GATE, OLD_GATE)):
        words.append(f"{folder} has the state of a gate: it stays")
    elif (folder / KEPT).exists():
        words.append(f"{folder} stays")
    else:
        forget_directory(settings, heading.id)
    return words


def _known(catalog: Catalog, heading: RestorationHeading) -> _Known:
    volume = None
    with suppress(NoSuchVolume, StorageFailed):
        volume = catalog.volume(heading.volume)
    try:
        restoration = catalog.restorations.of(heading.volume)
        if restoration is None:
            return _Known(heading, volume)
        return _Known(heading, volume, restoration, read_record(restoration))
    except StorageFailed as error:
        return _Known(heading, volume, unreadable=error.message)


def _let_go(settings: Settings, known: _Known) -> list[str]:
    """Let every parked process go on."""
    try:
        rebind = Rebind.regain(parking_directory(settings, known.heading.id))
    except (HoldfastError, OSError) as error:
        return [
            f"who is parked could not be taken over ({error}): they go on by themselves at the"
            " deadline, with errors in place of their files"
        ]
    if rebind is None:
        return _let_forgotten_go(known)
    pids = ", ".join(map(str, sorted(rebind.pids)))
    try:
        rebind.release()
    except OSError as error:
        return [f"the processes {pids} could not be let go: {error}"]
    if not pids:
        return ["what was set aside on the new storage for processes that have ended stays so"]
    return [f"errors in place of their files have the processes {pids}"]


def _let_forgotten_go(known: _Known) -> list[str]:
    """Let those go on of whom nothing is written that says what was parked."""
    frozen = None if known.record is None else known.record.frozen
    pids = [] if frozen is None else with_parked_handles(pid for pid, _ in frozen.processes)
    for pid in pids:
        with suppress(OSError):  # it has ended
            let_leave(pid)
    if not pids:
        return []
    words = ", ".join(map(str, sorted(pids)))
    return [f"errors in place of their files have the processes {words}"]


def _end_of_container(settings: Settings, known: _Known) -> list[str]:
    """Let the container of a volume that was to stay where it is end as before, unless programs may
    have run on what was to come."""
    restoration, record = known.restoration, known.record
    if restoration is None or record is None or record.intent.new is None:
        return []
    url = containers_of(record.intent.new)[0]
    if record.intent.mode is not Mode.IN_PLACE:
        return []
    kept = directory_of(settings, restoration.id) / KEPT
    try:
        if restoration.has_finished(StepName.RESTORE):
            return [f"{url} is as it is to be afterwards; how it ended before is in {kept}"]
        if not as_it_was(settings, restoration.id, url):
            return []
        kept.unlink()
    except (HoldfastError, OSError) as error:
        return [f"{url} does not end as before, as {kept} has it: {error}"]
    return [f"{url} ends as before"]


def _take_covers_away(known: _Known) -> None:
    covers = {
        each.device
        for each in all_mount_points()
        if each.path in known.paths and each.filesystem == COVER_TYPE
    }
    for device in covers:
        uncover(device)
    if known.record is not None and known.record.cover is not None:
        release(known.record.cover)


def _what_is_where(known: _Known) -> list[str]:
    """Which mounts and containers of it there are."""
    words = []
    there = {(each.namespace, each.path): each for each in all_mount_points()}
    for point in known.points:
        each = there.get((point.namespace, point.path))
        shown = f"{each.source} ({each.filesystem}) is" if each is not None else "nothing is"
        words.append(f"{shown} mounted at {point.path}")
    parked = known.record.parked_mounts if known.record is not None else None
    if parked is not None:
        words += [in_words_parked(*each) for each in parked_now(parked)]
        words += left_in_words(parked)
    words += off_in_words(known.record.swaps) if known.record is not None else []
    words += unasked_in_words(known.record.asked) if known.record is not None else []
    words += [f"{', '.join(containers_of(volume))} stays: {what}" for volume, what in known.sides]
    name = known.heading.volume
    return [*words, f"{name} counts as being on its old storage: holdfast volume attach {name}"]


def _receipt(known: _Known, outcome: str) -> Receipt:
    if known.restoration is not None and known.record is not None:
        return receipt_of(known.restoration, known.record, outcome)
    now, heading = time.time(), known.heading
    return Receipt(
        id=heading.id,
        volume=heading.volume,
        strategy=heading.strategy,
        cause="",
        started=now,
        finished=now,
        outcome=outcome,
    )
