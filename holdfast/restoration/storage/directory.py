"""The directory in which one restoration keeps what must survive its process.

Owns its name, and the file that allows a later process to finish the restoration.
"""

from __future__ import annotations

import shutil
import time
from contextlib import suppress
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import UnreadableRecord
from holdfast.system.files.durable import sync_directory

RESTORATIONS = "restorations"
NEW_GATE, OLD_GATE = "new-gate", "old-gate"
_MAY_FINISH, _PARKING, _SAVED = "may-finish", "parking", "saved-writes"
_BEGUN_BY_THEN_SECONDS = 600.0
"""Between the directory and its entry in the catalog is one transaction: it waits 10 s at most."""


def directory_of(settings: Settings, identifier: str) -> Path:
    """The directory of one restoration: parking record, states of gates.

    Raises UnreadableRecord when that is no name: what lies there is deleted in the end.
    """
    if identifier in ("", ".", "..") or "/" in identifier or "\0" in identifier:
        raise UnreadableRecord(
            f"{identifier!r} cannot be the id of a restoration",
            "The catalog is damaged: move it away, then holdfast volume attach.",
        )
    return settings.state_directory / RESTORATIONS / identifier


def parking_directory(settings: Settings, identifier: str) -> Path:
    """The directory of the record of parked handles, see rebind.parking."""
    return directory_of(settings, identifier) / _PARKING


def saved_writes_directory(settings: Settings, identifier: str) -> Path:
    """The directory of what was only in memory, see saved_writes."""
    return directory_of(settings, identifier) / _SAVED


def parked_mounts_directory(settings: Settings, identifier: str) -> Path:
    """Where mounts that lie on the volume are parked. Nothing below it is ever deleted: what stays
    parked there is somebody's storage."""
    return settings.run_directory / "parked-mounts" / directory_of(settings, identifier).name


def make_directory(settings: Settings, identifier: str) -> None:
    """Make it, durably, with the file that allows to finish the restoration after a death."""
    folder = directory_of(settings, identifier)
    folder.mkdir(mode=0o700, parents=True)
    (folder / _MAY_FINISH).touch(mode=0o600)
    sync_directory(folder)
    sync_directory(folder.parent)


def forbid_finish(settings: Settings, identifier: str) -> None:
    """Let it be undone only, from now on; durable also where the catalog has no room to say so.

    Removing a file needs no room. Idempotent.
    """
    folder = directory_of(settings, identifier)
    with suppress(OSError):
        (folder / _MAY_FINISH).unlink()
        sync_directory(folder)


def may_finish(settings: Settings, identifier: str) -> bool:
    """Whether nobody has begun to undo it."""
    folder = directory_of(settings, identifier)
    return not folder.exists() or (folder / _MAY_FINISH).exists()


def left_directories(settings: Settings) -> list[str]:
    """The restorations that have a directory."""
    try:
        return sorted(each.name for each in (settings.state_directory / RESTORATIONS).iterdir())
    except FileNotFoundError:
        return []


def never_began(settings: Settings, identifier: str) -> bool:
    """Whether the directory was made a while ago for one that has not done anything."""
    folder = directory_of(settings, identifier)
    try:
        age_seconds = time.time() - folder.stat().st_mtime
        found = {each.name for each in folder.iterdir()}
        return age_seconds > _BEGUN_BY_THEN_SECONDS and found <= {_MAY_FINISH}
    except OSError:  # it is being removed
        return False


def forget_directory(settings: Settings, identifier: str) -> None:
    """The restoration has ended: nothing of it is needed any more. Idempotent."""
    shutil.rmtree(directory_of(settings, identifier), ignore_errors=True)
