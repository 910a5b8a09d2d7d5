"""One restoration at work in this process: its record, and what it has in its hands.

Owns the two kinds of state that every step works with. The record is durable: it changes only
through `Work`, which writes it before anything is built on it. `Live` ends with this process, so
nothing that a later process needs may be in it.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import field, replace
from typing import Any, Protocol

from holdfast.applications.rebind.rebind import Rebind
from holdfast.config import Settings
from holdfast.containers import image_behind
from holdfast.errors import CannotRecord, StorageFailed
from holdfast.late_dataclass import dataclass
from holdfast.model.finding import Finding
from holdfast.model.mountpoint import MountPoint
from holdfast.model.restoration import Mode, Restoration
from holdfast.model.volume import Volume
from holdfast.mountpoints.remount import Covered
from holdfast.restoration.copying.process.child import Copying
from holdfast.restoration.records.record import (
    FreezeBegun,
    Intent,
    RestorationRecord,
    checked_json,
    read_record,
)
from holdfast.restoration.storage.old_and_new import containers_of

_log = logging.getLogger(__name__)

LONGEST_RESERVE_SECONDS = 10.0
_RESERVE_SHARE = 0.25
"""How much of the time until the deadline is kept back for undoing."""

_UNDO_FACTOR = 1.5
"""Undoing takes the same steps in reverse, without copying. So it takes about as long as they did;
half as much again is a margin."""
_LARGEST_SHARE = 0.5
"""Never is more than this share of the time kept back."""


class Ledger(Protocol):
    """Keeps, durably, how far a restoration has come (catalog.restorations)."""

    def note(
        self,
        identifier: str,
        stage: Any = None,
        record: Any = None,
        deadline_ns: int | None = None,
    ) -> None:
        """Replace what is known of it."""

    def record(self, identifier: str, step: Any) -> None:
        """Write what became of a step."""


@dataclass
class Live:
    """What this process alone has: descriptors, processes, moments."""

    copying: Copying | None = None
    """The process that copies."""
    asked: dict[int, int] = field(default_factory=dict)
    """Processes that are asked for permission and are not stopped, with their start times."""
    stopped: Rebind | None = None
    """The stopped processes, as far as they are known, see steps.parked."""
    was_looked_for: bool = False
    """Whether `stopped` is known: None means then that nobody is stopped."""
    covered: Covered | None = None
    """What is mounted, with the roots of the mounts; from Remount to Replay."""
    left_out: tuple[str, ...] = ()
    """What could not be mounted again when it was undone, in words."""
    taken_seconds: float = 0.0
    """From Freeze until the volume was dismounted."""
    thawed_at: float | None = None
    """Unix time, seconds."""


@dataclass
class Work:
    """One restoration at work in this process. Raises UnreadableRecord when it is made of an entry
    whose record cannot be read."""

    settings: Settings
    ledger: Ledger
    restoration: Restoration
    say: Callable[[str], None] = lambda words: None
    percent: Callable[[float], None] = lambda percent: None
    find: Callable[[Finding], None] = lambda finding: None
    live: Live = field(default_factory=Live)
    record: RestorationRecord = field(init=False)
    """As it is on disk; changed by `remember` only."""

    def __post_init__(self) -> None:
        """Read the record."""
        self.record = read_record(self.restoration)

    def remember(self, **parts: Any) -> None:
        """Make parts of the record durable; they are there when this returns.

        Raises StorageFailed, CannotRecord; nothing has changed then.
        """
        record = replace(self.record, **parts)
        self.ledger.note(self.restoration.id, record=checked_json(self.restoration, record))
        self.record = record

    def remember_if_possible(self, **parts: Any) -> None:
        """As `remember`, but what fails raises nothing: processes are stopped, and the step must go
        on. When this process writes the receipt, the parts are in it, unless nobody could read
        them."""
        record = replace(self.record, **parts)
        try:
            values = checked_json(self.restoration, record)
        except CannotRecord as error:
            _log.error("%s", error)
            return
        self.record = record
        with suppress(StorageFailed):
            self.ledger.note(self.restoration.id, record=values)

    def tell(self, findings: Sequence[Finding]) -> None:
        """Add findings to the receipt."""
        if findings:
            self.remember_if_possible(findings=(*self.record.findings, *findings))
        for each in findings:
            self.find(each)

    def begin_waiting(
        self, deadline_ns: int, *, deadline_seconds: float, frozen_at: float = 0.0
    ) -> None:
        """Make it known, durably, until when processes may be stopped from now on.

        `deadline_seconds`: from now until then. `frozen_at`: Unix seconds; 0: as it was.
        """
        before = self.record.stopping
        frozen_at = frozen_at or (0.0 if before is None else before.frozen_at)
        record = replace(self.record, stopping=FreezeBegun(deadline_seconds, frozen_at))
        values = checked_json(self.restoration, record)
        self.ledger.note(self.restoration.id, record=values, deadline_ns=deadline_ns)
        self.record = record
        self.restoration = replace(self.restoration, deadline_ns=deadline_ns)

    def end_copying(self) -> None:
        """End the process that copies, and its mounts with it. Idempotent."""
        copying, self.live.copying = self.live.copying, None
        if copying is not None:
            copying.close()

    def seconds_left(self) -> float:
        """Seconds until undoing must begin, so that it ends before the deadline. Infinite while
        nobody is stopped."""
        if not self.restoration.deadline_ns:
            return float("inf")
        whole_seconds = self._deadline_seconds()
        reserve_seconds = min(LONGEST_RESERVE_SECONDS, whole_seconds * _RESERVE_SHARE)
        largest_seconds = whole_seconds * _LARGEST_SHARE
        undo_seconds = min(self.live.taken_seconds * _UNDO_FACTOR, largest_seconds)
        return self._until_deadline_seconds() - max(reserve_seconds, undo_seconds)

    def note_time_taken(self) -> None:
        """Note, after the dismount, how long it took: undoing takes about as long on this host."""
        if self.restoration.deadline_ns:
            passed_seconds = self._deadline_seconds() - self._until_deadline_seconds()
            self.live.taken_seconds = max(0.0, passed_seconds)

    def _deadline_seconds(self) -> float:
        stopping = self.record.stopping
        return self.intent.deadline_seconds if stopping is None else stopping.deadline_seconds

    def _until_deadline_seconds(self) -> float:
        return (self.restoration.deadline_ns - time.clock_gettime_ns(time.CLOCK_MONOTONIC)) / 1e9

    @property
    def intent(self) -> Intent:
        """What is to be done."""
        return self.record.intent

    @property
    def old(self) -> Volume:
        """The volume as it was before."""
        return self.intent.old

    @property
    def new(self) -> Volume | None:
        """The volume as it will be on other storage; None: it stays on its own."""
        return self.intent.new

    @property
    def in_place(self) -> bool:
        """Whether its contents stay where they are, and a gate comes or goes."""
        return self.intent.mode is Mode.IN_PLACE

    @property
    def changes_file_system(self) -> bool:
        """Whether another file system is mounted afterwards."""
        return self.new is not None and not self.in_place

    @property
    def new_containers(self) -> tuple[str, ...]:
        """The containers of the new storage that were made, or emptied, for it."""
        urls = () if self.new is None else containers_of(self.new)
        return urls[1:] if self.in_place else urls

    @property
    def left_containers(self) -> tuple[str, ...]:
        """The containers that the volume leaves with what it had."""
        urls = containers_of(self.old)
        if not self.in_place or self.new is None:
            return urls
        stays = urls if self.old.is_adopted else containers_of(self.new)
        return tuple(url for url in urls if url not in stays)

    @property
    def points(self) -> tuple[MountPoint, ...]:
        """Where the volume is to be mounted."""
        return self.record.points

    @property
    def own_pids(self) -> frozenset[int]:
        """Processes of ours that may be seen on the volume, and must not be stopped."""
        copying = self.live.copying
        return frozenset({copying.pid} if copying is not None else ())

    def image_urls(self) -> list[str]:
        """The containers of both sides that are images, without repetition."""
        sides = filter(None, (self.old, self.new))
        return list(dict.fromkeys(url for volume in sides for url in images_of(volume)))


def images_of(volume: Volume) -> list[str]:
    """The containers of a volume that are images."""
    return [url for url in containers_of(volume) if image_behind(url)]
