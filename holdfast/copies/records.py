"""What is written down of copies, of those that follow, of points, and of histories that are to
begin: one file for each, in the state directory.

Not in the catalog: where the catalog was lost, a copy without its position would be lost with it.
Invariant: a record is replaced whole, and durable before what it promises is done.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Generic, TypeVar

from holdfast.config import Settings
from holdfast.errors import InvalidOption, NewerVersion, StateFailed
from holdfast.model.bounded import (
    FIRST_VERSION,
    NewerFormat,
    read_json,
    typed,
    with_version,
    without_version,
)
from holdfast.model.copy import VolumeCopy
from holdfast.model.following import Following
from holdfast.model.history import HistoryAnew
from holdfast.model.hook import BegunHook
from holdfast.model.point import BegunGroup, RestorePoint
from holdfast.model.schedule import PointSchedule
from holdfast.system.files.durable import replace_durably, sync_directory
from holdfast.system.files.trusted import own_directory

Kept = TypeVar(
    "Kept",
    bound=VolumeCopy
    | RestorePoint
    | Following
    | PointSchedule
    | BegunHook
    | BegunGroup
    | HistoryAnew,
)

VERSION = 3
"""Without the key `version` it is the first. One is written in the oldest form that says all of it:
an older Holdfast would remove what it does not know to be in use."""
_LATER = (("becomes_leg", "leaves_for", "group"), ("into", "reads_from"))
"""What the second and the third have beyond the one before: a copy that is to become a leg, a leg
that is to become a copy, a point of a group; a clone that is being filled."""
_MOST_BYTES = 64 << 10
"""A path of 4096 bytes, escaped, and names."""


class _Records(Generic[Kept]):
    """What is kept of one kind on this host."""

    def __init__(self, directory: Path, kind: type[Kept], subject: str, advice: str) -> None:
        self._directory = directory
        self._kind = kind
        self._subject = subject
        self._advice = advice

    def all(self) -> list[Kept]:
        """Oldest first. Raises StateFailed for one that is damaged, NewerVersion."""
        paths = sorted(self._directory.glob("*.json")) if self._directory.is_dir() else []
        return sorted((self._read(path) for path in paths), key=lambda each: (each.made, each.id))

    def of(self, volume: str) -> list[Kept]:
        """Those of one volume, oldest first; also images that are being made of it."""
        return [each for each in self.all() if each.volume == volume]

    def save(self, record: Kept) -> None:
        """Durable on return. Raises OSError, Untrusted, InvalidOption for what is too long."""
        own_directory(self._directory)
        values, version = asdict(record), FIRST_VERSION
        for number, names in enumerate(_LATER, FIRST_VERSION + 1):
            for name in values.keys() & set(names):
                if values[name]:
                    version = number
                else:
                    del values[name]
        text = json.dumps(with_version(values, version))
        if len(text) > _MOST_BYTES:
            raise InvalidOption(f"{self._subject} would be too long", "Use shorter words.")
        replace_durably(self._path(record), text)

    def remove(self, record: Kept) -> None:
        """Forget it; durable on return, idempotent. Raises OSError."""
        with suppress(FileNotFoundError):
            self._path(record).unlink()
            sync_directory(self._directory)

    def _path(self, record: Kept) -> Path:
        return self._directory / f"{record.id}.json"

    def _read(self, path: Path) -> Kept:
        try:
            values, _ = without_version(
                read_json(path.read_bytes(), _MOST_BYTES), self._subject, VERSION
            )
            record = typed(self._kind, values)
            if path != self._path(record):
                raise ValueError("it is named otherwise")
        except NewerFormat as error:
            raise NewerVersion(str(error), "Use that version of Holdfast.") from error
        except (OSError, ValueError) as error:
            raise StateFailed(
                f"{self._subject} {path} cannot be read: {error}", self._advice
            ) from error
        return record


class CopyRecords(_Records[VolumeCopy]):
    """The copies of this host."""

    def __init__(self, settings: Settings) -> None:
        directory = settings.state_directory / "copies"
        advice = "Move it away: the copy itself stays, and another one can be made."
        super().__init__(directory, VolumeCopy, "the record of a copy", advice)


class PointRecords(_Records[RestorePoint]):
    """The restore points of this host."""

    def __init__(self, settings: Settings) -> None:
        directory = settings.state_directory / "points"
        advice = "Move it away: the moment can be named by its time, or position:NUMBER."
        super().__init__(directory, RestorePoint, "the record of a point", advice)


class FollowingRecords(_Records[Following]):
    """Which copies of this host are brought on by themselves."""

    def __init__(self, settings: Settings) -> None:
        directory = settings.state_directory / "following"
        advice = "Move it away, and say again: holdfast copy set NAME COPY --lag TIME"
        super().__init__(directory, Following, "the record of a copy that follows", advice)

    def find(self, identifier: str) -> Following | None:
        """Of that copy. Raises StateFailed."""
        return next((each for each in self.all() if each.id == identifier), None)

    def forget(self, identifier: str) -> None:
        """That copy does not follow any more, or is no more. Durable, idempotent; the caller has
        the turn. Raises StateFailed, OSError."""
        found = self.find(identifier)
        if found is not None:
            self.remove(found)


class PointScheduleRecords(_Records[PointSchedule]):
    """For which volumes of this host points are made by themselves."""

    def __init__(self, settings: Settings) -> None:
        directory = settings.state_directory / "schedules"
        advice = "Move it away, and say again: holdfast point schedule NAME --hourly NUMBER"
        super().__init__(directory, PointSchedule, "the schedule of points", advice)

    def find(self, volume: str) -> PointSchedule | None:
        """Of that volume. Raises StateFailed."""
        return next(iter(self.of(volume)), None)


class BegunHookRecords(_Records[BegunHook]):
    """Which hooks after points of this host are owed."""

    def __init__(self, settings: Settings) -> None:
        directory = settings.state_directory / "hooks"
        advice = "Move it away, and run by hand what is to be run after that point."
        super().__init__(directory, BegunHook, "the record of a hook", advice)


class HistoryAnewRecords(_Records[HistoryAnew]):
    """Which histories of this host begin when their volumes are restored."""

    def __init__(self, settings: Settings) -> None:
        directory = settings.state_directory / "histories"
        advice = "Move it away, and begin the history: holdfast history NAME --at DIRECTORY"
        super().__init__(directory, HistoryAnew, "the record of a history", advice)


class BegunGroupRecords(_Records[BegunGroup]):
    """Which groups of points of this host are not whole."""

    def __init__(self, settings: Settings) -> None:
        directory = settings.state_directory / "groups"
        advice = (
            "Move it away, and look at holdfast point list: not all of its points may be there."
        )
        super().__init__(directory, BegunGroup, "the record of a group of points", advice)
