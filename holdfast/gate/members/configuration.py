"""gate.json: what one gate must find again after a crash, and nothing else.

Owned by the gate while it runs (the worker rewrites it when its legs or its epoch change); written
by `provision` before the gate starts for the first time. Lives in the volume's state directory, on
storage that is not managed. Replaced atomically and durably, so it is never half written. While the
gate runs, a second copy lies in its run directory, in memory: a worker that takes over goes on with
that when the state directory's disk is full, fails, or has a damaged file.

Its form has a version, which is written from the second one on (FIRST_VERSION). One of a newer
version is never taken for a damaged one: nobody writes over it.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict, field, replace
from pathlib import Path
from typing import Any

from holdfast.errors import HoldfastError, NewerVersion, NoSuchVolume, StorageFailed
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import (
    FIRST_VERSION,
    NewerFormat,
    read_json,
    seconds,
    typed,
    whole,
    with_version,
    without_version,
)
from holdfast.model.history import HistoryPlace, history_place
from holdfast.model.size import MAXIMUM_VOLUME_BYTES
from holdfast.model.volume import (
    DEFAULT_SECTOR_BYTES,
    SECTOR_SIZES,
    JournalFailurePolicy,
    JournalMode,
    LegState,
)
from holdfast.system.files.durable import replace_durably

FILE_NAME = "gate.json"

HISTORY = "history"
"""In the descriptor: where every write is kept. Stays when that ends, for people."""

VERSION = FIRST_VERSION + 1
"""Of its form: the fields below. The first version knows no history, and would go on without: the
second is written while there is one."""


@dataclass(frozen=True)
class LegEntry:
    """One leg as the gate knows it. `number` is never used again for another leg."""

    number: int
    id: str
    url: str
    state: LegState = LegState.IN_SYNC
    reason: str = ""
    position: int = 0
    """Recorded position when the leg was in sync last: what it certainly holds."""
    replaces: int = 0
    """Number of the leg that leaves when this one is in sync, 0: none. It may have left."""
    container_bytes: int = 0
    """Where its tail ends, which stays when the container is enlarged. 0: not known yet."""
    excluded_epoch: int = 0
    """The first epoch since it was in sync last that went on without it, also while it is brought
    up to date: a container that carries this one or a later one was used apart from us. 0: not
    known."""


@dataclass(frozen=True)
class GateConfiguration:
    """Everything a gate needs to start. Times in seconds, sizes in bytes."""

    name: str
    volume_id: str
    size_bytes: int
    epoch: int
    legs: tuple[LegEntry, ...]
    spare_urls: tuple[str, ...] = ()
    journal: JournalMode = JournalMode.UNFLUSHED
    journal_failure: JournalFailurePolicy = JournalFailurePolicy.DEGRADE
    hang_timeout_seconds: float = 5.0
    hold_timeout_seconds: float = 600.0
    """0: answer EIO at once when no leg is left."""
    resync_bytes_per_second: int = 200 << 20
    recorded_position: int = 0
    """Journal position that every in-sync leg's superblock has reached durably."""
    clean_epoch: int = 1
    """Epoch in which all members were last in sync: since then the bitmap has every write."""
    last_number: int = 0
    """The highest number that any leg had, so that the next one gets another."""
    descriptor: dict[str, Any] = field(default_factory=dict)
    """Volume properties repeated in every superblock, for attach without a catalog."""

    @property
    def sector_bytes(self) -> int:
        """The smallest request that the volume's block device makes."""
        found = self.descriptor.get("sector_bytes", DEFAULT_SECTOR_BYTES)
        if found not in SECTOR_SIZES:
            raise StorageFailed(
                f"the superblocks of {self.name} name sectors of {found!r} bytes",
                "They are damaged: mount a leg by itself (mount -o loop,ro).",
            )
        return int(found)

    @property
    def history(self) -> HistoryPlace | None:
        """Where every write is kept, and for how long; None: nowhere.

        What a descriptor says counts only while the journal is continuous.
        """
        if self.journal is not JournalMode.CONTINUOUS:
            return None
        try:
            return history_place(self.descriptor.get(HISTORY))
        except ValueError as error:
            raise StorageFailed(
                f"what is recorded of the history of {self.name} is damaged: {error}",
                f"holdfast history {self.name} --off, then attach it.",
            ) from error

    def with_leg(self, leg: LegEntry) -> GateConfiguration:
        """The same with this leg added, or replaced where its number exists."""
        others = tuple(entry for entry in self.legs if entry.number != leg.number)
        legs = tuple(sorted((*others, leg), key=lambda entry: entry.number))
        return replace(self, legs=legs, last_number=max(self.last_number, leg.number))

    def without_leg(self, number: int) -> GateConfiguration:
        """The same without the leg of that number."""
        legs = tuple(leg for leg in self.legs if leg.number != number)
        return replace(self, legs=legs, last_number=max(self.last_number, number))


def load_configuration(state_directory: Path) -> GateConfiguration:
    """Read gate.json. Raises NoSuchVolume when there is none, StorageFailed when it is unreadable,
    NewerVersion."""
    path = state_directory / FILE_NAME
    try:
        return configuration_from(read_json(path.read_bytes()), str(path))
    except FileNotFoundError as error:
        raise NoSuchVolume(
            f"there is no gate at {state_directory}",
            "holdfast volume attach NAME --leg URL rebuilds it from a leg's superblock.",
        ) from error
    except (OSError, ValueError) as error:
        raise StorageFailed(
            f"{path} cannot be read: {error}",
            "If another version of Holdfast wrote it, use that one. Otherwise move it away:"
            " holdfast volume attach NAME --leg URL rebuilds it from a superblock.",
        ) from error


def configuration_from(values: object, whose: str) -> GateConfiguration:
    """What gate.json, or a running gate, says; every number within bounds. `whose` names that one.

    Raises NewerVersion, ValueError.
    """
    try:
        values, _ = without_version(values, whose, VERSION)
    except NewerFormat as error:
        raise NewerVersion(str(error.strerror), "Use that version: nothing was changed.") from error
    found = typed(GateConfiguration, values)
    whole(found.size_bytes, "size_bytes", 1, MAXIMUM_VOLUME_BYTES)
    for number in (found.epoch, found.recorded_position, found.clean_epoch, found.last_number):
        whole(number, "an epoch, position or number")
    for duration in (found.hang_timeout_seconds, found.hold_timeout_seconds):
        seconds(duration, "a time-out")
    return found


def save_configuration(state_directory: Path, configuration: GateConfiguration) -> None:
    """Replace gate.json; durable when it returns. Raises OSError; the old one is there then."""
    replace_durably(state_directory / FILE_NAME, text_of(configuration))


def text_of(configuration: GateConfiguration) -> str:
    """What is written down of it."""
    return json.dumps(as_json(configuration), indent=1)


def as_json(configuration: GateConfiguration) -> dict[str, Any]:
    """Plain values, which `configuration_from` reads. Pure."""
    has_history = configuration.journal is JournalMode.CONTINUOUS
    return with_version(asdict(configuration), VERSION if has_history else FIRST_VERSION)


def load_running(
    state_directory: Path, run_directory: Path, least_epoch: int
) -> tuple[GateConfiguration, bool]:
    """What a worker goes on with, and whether that is the copy, which is written first.

    `least_epoch`: that gate.json is known to have; an older copy could not be replaced. Where there
    is none, waits for the state directory, and raises as `load_configuration` does. A copy of a
    newer version is what the gate goes on with: NewerVersion, and the file is not looked at.
    """
    try:
        copy = load_configuration(run_directory)
    except (NoSuchVolume, StorageFailed):
        return load_configuration(state_directory), False
    if copy.epoch < least_epoch:
        return load_configuration(state_directory), False
    return copy, True


def why_behind(state_directory: Path, copy: GateConfiguration) -> str:
    """Why gate.json is not what a worker went on with; empty: it is. Blocks as its storage does."""
    try:
        saved = load_configuration(state_directory)
    except HoldfastError as error:
        return error.message
    if saved.volume_id != copy.volume_id or saved.epoch < copy.epoch:
        return "it is older than what the gate had"
    return ""


def keep_copy(run_directory: Path, configuration: GateConfiguration) -> None:
    """Put the copy in its place; where that is impossible, remove the outdated one. Never fails."""
    try:
        save_configuration(run_directory, configuration)
    except OSError:
        with suppress(OSError):
            (run_directory / FILE_NAME).unlink()
