"""Places of histories: judged and made. For `histories` alone, which decides."""

from __future__ import annotations

import os
from contextlib import suppress
from pathlib import Path

from holdfast.config import Settings
from holdfast.containers import open_container
from holdfast.errors import HistoryFailed, HoldsData, InvalidUrl, OwnLeg
from holdfast.gate.log.history.own_place import stranger_in
from holdfast.model.history import HistoryPlace
from holdfast.model.size import format_size
from holdfast.system.files.trusted import own_directory
from holdfast.system.storage.standing import parts_below
from holdfast.volumes.checks.foundation import foundation_of, stands_on


def normal(directory: str) -> str:
    """Its path as it is recorded. Raises InvalidUrl."""
    path = Path(directory)
    if not path.is_absolute() or "\0" in directory or ".." in path.parts:
        raise InvalidUrl(
            f"{directory!r} is no place for a history", "Give a directory by its absolute path."
        )
    return str(path)


# In expendable children: these touch storage.


def check_place(settings: Settings, name: str, mount_path: str, directory: str) -> None:
    """Raise OwnLeg where the history would wait for what it is to keep."""
    parent = Path(directory).parent
    if not parent.is_dir():
        raise HistoryFailed(f"there is no directory {parent}", "Make it, or mount its disk.")
    try:
        other = stranger_in(Path(directory)) if os.path.lexists(directory) else ""
    except OSError as error:
        raise HistoryFailed(
            f"{directory} cannot be looked at: {error.strerror}", "Name a directory."
        ) from error
    if other:
        raise HoldsData(
            f"{directory} has something else in it: {other}",
            "A history has a directory of its own: name one that is not there yet.",
        )
    words = stands_on(settings, name, mount_path, directory)
    if not words and (below := foundation_of(settings, directory).volumes):
        words = f"stands on the volume {below[0]}"
    if words:
        raise OwnLeg(f"{directory} {words}", "Use storage that Holdfast does not manage.")


def check_empty(directory: str) -> None:
    """Raise HoldsData where there is anything, also what was once a history. Raises OSError."""
    if os.path.lexists(directory) and any(Path(directory).iterdir()):
        raise HoldsData(
            f"{directory} is not empty",
            "A history is begun in a directory of its own: name one that is not there yet.",
        )


def make_place(directory: str) -> bool:
    """The directory, ours alone; whether it was not there. Raises Untrusted, HistoryFailed."""
    is_new = not os.path.lexists(directory)
    try:
        own_directory(directory)
    except OSError as error:
        raise HistoryFailed(
            f"{directory} cannot be made: {error.strerror}", "See that its disk can be written."
        ) from error
    return is_new


def unmake_place(directory: str) -> None:
    """What was made in vain, unless there is something in it."""
    with suppress(OSError):
        Path(directory).rmdir()


def against(place: HistoryPlace, urls: list[str]) -> tuple[str, ...]:
    """What speaks against a place: no limit, legs on the same storage."""
    directory = place.directory
    parent = directory if os.path.lexists(directory) else str(Path(directory).parent)
    free = os.statvfs(parent)
    found = []
    if not place.limit_bytes:
        room = format_size(free.f_bavail * free.f_frsize)
        found.append(
            f"without --limit it may fill its file system, where {room} are free: whoever else"
            " writes there finds no room"
        )

    def below(path: str) -> set[str]:
        parts = parts_below([path], may_block=True)
        found = {part.block_device for part in parts if part.block_device}
        return found | {part.mount.device_number for part in parts if part.mount is not None}

    ours = below(parent)
    for url in urls:
        if not ours.isdisjoint(below(open_container(url).lies_on())):
            found.append(f"it shares a disk with the leg {url}: what destroys that takes both")
    return tuple(found)
