"""The record of a restoration: what it writes down so that another process can go on.

Owns its form in the catalog, and its version. `read_record` is the only way in, `checked_json` the
only way out. One dataclass says what is to be done (Intent); each step has one for what it found
out. A part that is None has not happened yet. Invariants: what is read has exactly these types, its
parts agree with each other, and everything else is refused; what is written can be read again. What
only lives in memory is in `work`.
"""

from __future__ import annotations

import json
from dataclasses import asdict, field
from typing import Any

from holdfast.errors import CannotRecord, UnreadableRecord
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import read_json, seconds, typed
from holdfast.model.finding import Finding
from holdfast.model.mount_below import ParkedMounts
from holdfast.model.mountpoint import MountPoint, crowd_in_words
from holdfast.model.permission_mark import PermissionMark
from holdfast.model.restoration import Mode, Restoration
from holdfast.model.swap_file import SwapFile
from holdfast.model.volume import Volume
from holdfast.restoration.copying.sides import CopySource
from holdfast.restoration.records.first_version import from_first_version
from holdfast.restoration.storage.saved_writes import SavedWrites
from holdfast.system.fuse.cover_server import CoverServer

MOST_TOLD = 200
"""Findings that are written down at once: a stranger may give rise to as many as he likes."""

VERSION = 1
"""Of the form below. A record without a version is of 0.1.0, see first_version."""


@dataclass(frozen=True)
class Intent:
    """What is to be done; written before anything is made, and never changed."""

    mode: Mode
    old: Volume
    """The volume as it was before."""
    points: tuple[MountPoint, ...]
    """Where it was mounted when it was assessed; of a stale one: where it is mounted now."""
    deadline_seconds: float
    """How long processes may be stopped."""
    new: Volume | None = None
    """The volume as it will be on other storage."""
    existed: tuple[str, ...] = ()
    """Containers of the new storage that were there before: they are emptied, never deleted."""
    stale_points: tuple[MountPoint, ...] = ()
    """Mounts that are in no table any more."""
    device: CopySource | None = None
    """Where the old contents are read once more after the dismount; None: nowhere."""
    predicted_pause_seconds: float | None = None
    is_dead: bool = False
    """Nothing can be read from the old mount (Facts); of a stale one: its file system is gone."""
    is_broken: bool = False
    """Nothing can be written to the old mount."""
    refuses_confined: bool = False
    """Users who would lose what Landlock permits them are a reason not to begin."""
    saves_writes: bool = False
    """Whether what is only in memory is kept where the old storage has failed."""
    findings: tuple[Finding, ...] = ()
    """Of the plan, without those that are in order."""


@dataclass(frozen=True)
class CopyPass:
    """One pass of the online copy."""

    seconds: float
    bytes: int
    files: int


@dataclass(frozen=True)
class PrepareResult:
    """The new container is made and filled; everybody runs."""

    started: float
    """Unix time, seconds."""
    seconds: float
    passes: tuple[CopyPass, ...]
    bytes: int
    """Written in all passes."""
    entries: int
    """Names in the tree."""
    predicted_pause_seconds: float
    lost: tuple[str, ...] = ()
    """What the new file system could not keep, first ones only, in words."""
    not_kept: dict[str, int] | None = None
    """How many files lack what; None: the copy is completed later, by Restore."""


@dataclass(frozen=True)
class FreezeBegun:
    """Freeze writes this before it stops anybody: from now on processes may be parked."""

    deadline_seconds: float
    """From that moment until the deadline."""
    frozen_at: float
    """Unix time, seconds; 0: not known."""


@dataclass(frozen=True)
class FreezeResult:
    """Freeze: who was stopped."""

    processes: tuple[tuple[int, str], ...]
    """Process ids and names."""
    calls_made_again: int = 0
    """System calls that had failed because of the dead mount."""
    calls_failed: tuple[str, ...] = ()
    """Those whose errors their programs see, in words."""


@dataclass(frozen=True)
class FlushResult:
    """Flush: the pass of the copy that found everybody stopped."""

    seconds: float
    bytes: int


@dataclass(frozen=True)
class CompareResult:
    """Restore: the copy was compared with the dismounted source."""

    entries: int
    late_bytes: int
    """Written by this last pass."""
    lost: tuple[str, ...] = ()


@dataclass(frozen=True)
class RestoreResult:
    """Restore: the new contents are complete and in place."""

    copied_until: float
    """Unix time, seconds."""
    not_kept: dict[str, int] | None = None


@dataclass(frozen=True)
class ReplayResult:
    """Replay, or Dismount when it was undone: what became of the handles."""

    outcomes: dict[str, dict[str, dict[str, int]]]
    """Process id → kind of handle → outcome → how many."""
    notes: tuple[str, ...] = ()
    """Handles that did not come back as they were, first ones only, in words."""
    more_bytes: dict[str, int] = field(default_factory=dict)
    """Process id → memory that it uses more, because it was shared copy-on-write before; those with
    none are left out."""


@dataclass(frozen=True)
class RestorationRecord:
    """Everything that is written down of one restoration, beside its entry in the catalog."""

    intent: Intent
    prepared: PrepareResult | None = None
    stopping: FreezeBegun | None = None
    frozen: FreezeResult | None = None
    captured: tuple[MountPoint, ...] | None = None
    """Where it was mounted when everybody stood; None: as in the intent."""
    flushed: FlushResult | None = None
    saved: SavedWrites | None = None
    """Flush: what was only in memory of storage that has failed; None: it has not, or nobody
    wants that."""
    tokens: dict[str, int] | None = None
    """Lock: path of each update lock → its fencing token."""
    cover: CoverServer | None = None
    """Who answers at the covered mount points."""
    swaps: tuple[SwapFile, ...] = ()
    """Swap files of the volume, which are off from before Freeze until the end."""
    asked: tuple[PermissionMark, ...] = ()
    """Dismount: marks of those who are asked for permission, and are not stopped."""
    parked_mounts: ParkedMounts | None = None
    """Dismount: what is mounted below, and where it is kept meanwhile; None: nothing is."""
    forced: tuple[Finding, ...] | None = None
    """Dismount: what it took to dismount a broken mount; None: it was not broken."""
    verified: CompareResult | None = None
    restored: RestoreResult | None = None
    replayed: ReplayResult | None = None
    findings: tuple[Finding, ...] = ()
    """Beside those of the plan: what was found on the way."""
    version: int = VERSION

    @property
    def points(self) -> tuple[MountPoint, ...]:
        """Where the volume is to be mounted."""
        return self.intent.points if self.captured is None else self.captured

    @property
    def predicted_pause_seconds(self) -> float | None:
        """The last prediction of the pause."""
        if self.prepared is not None:
            return self.prepared.predicted_pause_seconds
        return self.intent.predicted_pause_seconds

    @property
    def not_kept(self) -> dict[str, int] | None:
        """How many files lack what in the new file system; None: it is not known yet."""
        if self.restored is not None and self.restored.not_kept is not None:
            return self.restored.not_kept
        return None if self.prepared is None else self.prepared.not_kept


def read_record(restoration: Restoration) -> RestorationRecord:
    """What an entry of the catalog has as its record.

    Raises UnreadableRecord when it is damaged, or was written by a newer version. Pure.
    """
    version = _version_of(restoration.record)
    if isinstance(version, int) and version > VERSION:
        raise UnreadableRecord(
            f"the restoration of {restoration.volume} was begun by a newer version of Holdfast"
            f" (its record has the form {version}, this version knows {VERSION})",
            f"Use that version; or give it up: holdfast recover --abandon {restoration.volume}",
        )
    try:
        return _read(restoration, restoration.record)
    except ValueError as error:
        raise UnreadableRecord(
            f"the record of the restoration of {restoration.volume} is damaged: {error}",
            "Give it up, which says what it leaves:"
            f" holdfast recover --abandon {restoration.volume}",
        ) from error


def checked_json(restoration: Restoration, record: RestorationRecord) -> dict[str, Any]:
    """Plain values, as `as_json`, which `read_record` will read.

    Raises CannotRecord when it could not: nobody could finish or undo it after our death.
    """
    values = as_json(record)
    try:
        _read(restoration, read_json(json.dumps(values)))
    except ValueError as error:
        raise CannotRecord(
            f"what is found out of {restoration.volume} could not be read again: {error}"
            f"{crowd_in_words(record.points)}",
            "Dismount what is there, or end that process, then try again.",
        ) from error
    return values


def _version_of(values: object) -> object:
    return values.get("version", 0) if isinstance(values, dict) else 0


def _read(restoration: Restoration, values: Any) -> RestorationRecord:
    """The record that these values are. Raises ValueError."""
    if _version_of(values) == 0:
        values = from_first_version(values, str(restoration.strategy))
    record = typed(RestorationRecord, values)
    _check(record, restoration.volume)
    return record


def as_json(record: RestorationRecord) -> dict[str, Any]:
    """Plain values, which `read_record` reads. Pure."""
    return asdict(record)


def _check(record: RestorationRecord, volume: str) -> None:
    """Raise ValueError where the parts contradict each other, or the entry."""
    intent = record.intent
    if record.version != VERSION:
        raise ValueError(f"there is no version {record.version}")
    if (intent.new is not None) != intent.mode.has_new_storage:
        raise ValueError(f"new storage and the mode {intent.mode} contradict each other")
    if bool(intent.stale_points) != (intent.mode is Mode.STALE):
        raise ValueError(f"stale mounts and the mode {intent.mode} contradict each other")
    for each in filter(None, (intent.old, intent.new)):
        if each.name != volume:
            raise ValueError(f"it is of the volume {each.name[:40]!r}")
        if each.is_adopted != (each.adoption is not None):
            raise ValueError("a volume is adopted and is not")
    seconds(intent.deadline_seconds, "deadline_seconds")
    if record.stopping is not None:
        seconds(record.stopping.deadline_seconds, "deadline_seconds")
