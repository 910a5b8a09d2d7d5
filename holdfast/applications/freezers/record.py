"""What is on disk of a freeze: enough for anybody to undo it, written before each act.

One JSON file per volume in the run directory, replaced atomically and synced; and beside it a lock
file. Invariant: whoever holds the lock is the only one who freezes or thaws for that volume; a
watchdog and its guard share it, so it is free exactly when both are gone. After a boot nobody is
frozen any more and the record is void. Must never lie on the volume itself. Its form has a version,
which is written from the second one on (FIRST_VERSION).
"""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from dataclasses import asdict, field
from pathlib import Path
from typing import Any

from holdfast.applications.freezers.protocol import Occasion, State
from holdfast.late_dataclass import dataclass
from holdfast.model.bounded import (
    FIRST_VERSION,
    read_json,
    typed,
    with_version,
    without_version,
)
from holdfast.model.mountpoint import MountPoint
from holdfast.system.boot import boot_id
from holdfast.system.files.durable import replace_durably

VERSION = FIRST_VERSION
"""Of the record's form: the fields below, and those of MountPoint."""


@dataclass
class Batch:
    """Processes that were frozen together."""

    freezer: str
    at_ns: int
    """CLOCK_MONOTONIC when it began."""
    state: State
    done: bool = False
    """False: noted, perhaps not carried out in full."""


@dataclass
class FreezeRecord:
    """One freeze of one volume. Times end in what they are: `_ns` CLOCK_MONOTONIC, others Unix."""

    id: str
    volume: str
    freezer: str
    seconds: float
    """For how long, at most."""
    deadline_ns: int
    """Counted from when the watchdog is ready to begin."""
    started: float
    started_ns: int
    started_ticks: int
    """Clock ticks after boot, as start times of processes."""
    cause: str
    spool: str
    """Folder that takes the receipt."""
    gate_run_directory: str = ""
    processes: list[list[Any]] = field(default_factory=list)
    """Who is to be frozen first: pid, start time, name."""
    mounts: list[dict[str, Any]] = field(default_factory=list)
    """Fields of MountPoint: who begins to use one of them is frozen, too."""
    spared: list[int] = field(default_factory=list)
    connections: list[int] = field(default_factory=list)
    server_pids: list[int] = field(default_factory=list)
    keepers: list[list[int]] = field(default_factory=list)
    """Watchdog and guard: pid and start time."""
    batches: list[Batch] = field(default_factory=list)
    failed: list[str] = field(default_factory=list)
    """What did not succeed, in words."""
    answered: bool = False
    """Everyone who was there at the beginning is frozen, and the command knows it."""
    boot_id: str = field(default_factory=boot_id)

    @property
    def occasion(self) -> Occasion:
        """What its freezers are made for."""
        gate = Path(self.gate_run_directory) if self.gate_run_directory else None
        return Occasion(self.id, self.volume, self.deadline_ns, self.started_ticks, gate)

    @property
    def mount_points(self) -> tuple[MountPoint, ...]:
        """The mounts that are watched."""
        return tuple(typed(MountPoint, values) for values in self.mounts)

    @property
    def of_this_boot(self) -> bool:
        """Whether anybody can still be frozen by it."""
        return self.boot_id == boot_id()


class RecordFile:
    """The record of one volume on disk, and its lock."""

    def __init__(self, run_directory: Path, volume: str) -> None:
        folder = run_directory / "freezes"
        self.volume = volume
        self.path = folder / f"{volume}.json"
        self.lock_path = folder / f"{volume}.lock"
        self.log_path = folder / f"{volume}.log"
        """Written by whoever mounts the volume anew meanwhile."""

    def load(self) -> FreezeRecord | None:
        """The record, or None when nothing is frozen. Raises ValueError when it is garbled, and
        NewerFormat."""
        try:
            values, _ = without_version(read_json(self.path.read_bytes()), str(self.path), VERSION)
            return typed(FreezeRecord, values)
        except FileNotFoundError:
            return None
        except ValueError as error:
            raise ValueError(f"{self.path}: {error}") from error

    def save(self, record: FreezeRecord) -> None:
        """Replace the record; durable on return. Raises OSError."""
        replace_durably(self.path, json.dumps(with_version(asdict(record), VERSION)))

    def remove(self) -> None:
        """Forget the freeze: everyone is thawed. Idempotent."""
        for path in (self.log_path, self.path):
            with suppress(FileNotFoundError):
                path.unlink()

    def lock(self) -> int | None:
        """Take the lock without waiting: a descriptor (close-on-exec), or None. Caller closes."""
        self.path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        descriptor = os.open(self.lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return None
        return descriptor
