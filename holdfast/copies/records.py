"""What is written down of copies: one file for each, in the state directory.

Not in the catalog: where the catalog was lost, a copy without its position would be lost with it.
Invariant: a record is replaced whole, and durable before what it promises is done.
"""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import NewerVersion, StateFailed
from holdfast.model.bounded import NewerFormat, read_json, typed, with_version, without_version
from holdfast.model.copy import VolumeCopy
from holdfast.system.files.durable import replace_durably, sync_directory
from holdfast.system.files.trusted import own_directory

VERSION = 1
_MOST_BYTES = 64 << 10
"""A path of 4096 bytes, escaped, and names."""


class CopyRecords:
    """The copies of this host."""

    def __init__(self, settings: Settings) -> None:
        self._directory = settings.state_directory / "copies"

    def all(self) -> list[VolumeCopy]:
        """Oldest first. Raises StateFailed for one that is damaged, NewerVersion."""
        paths = sorted(self._directory.glob("*.json")) if self._directory.is_dir() else []
        return sorted((_read(path) for path in paths), key=lambda each: (each.made, each.id))

    def of(self, volume: str) -> list[VolumeCopy]:
        """The copies of one volume, oldest first; also images that are being made of it."""
        return [each for each in self.all() if each.volume == volume]

    def save(self, copy: VolumeCopy) -> None:
        """Durable on return. Raises OSError, Untrusted."""
        own_directory(self._directory)
        text = json.dumps(with_version(asdict(copy), VERSION))
        replace_durably(self._path(copy), text)

    def remove(self, copy: VolumeCopy) -> None:
        """Forget it; durable on return, idempotent. Raises OSError."""
        with suppress(FileNotFoundError):
            self._path(copy).unlink()
            sync_directory(self._directory)

    def _path(self, copy: VolumeCopy) -> Path:
        return self._directory / f"{copy.id}.json"


def _read(path: Path) -> VolumeCopy:
    try:
        values, _ = without_version(
            read_json(path.read_bytes(), _MOST_BYTES), "the record of a copy", VERSION
        )
        copy = typed(VolumeCopy, values)
        if path.name != f"{copy.id}.json":
            raise ValueError("it is named otherwise")
    except NewerFormat as error:
        raise NewerVersion(str(error), "Use that version of Holdfast.") from error
    except (OSError, ValueError) as error:
        raise StateFailed(
            f"the record of a copy {path} cannot be read: {error}",
            "Move it away: the copy itself stays, and another one can be made.",
        ) from error
    return copy
