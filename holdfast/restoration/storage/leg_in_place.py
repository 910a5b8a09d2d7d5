"""The end of a container: changed so that it is a leg, or one no more, and changed back.

For a volume that gets a gate, or loses it, where it lies: nothing is copied. Invariants: nothing is
written before everybody has left the container and nobody else has it; what was at its end is kept
before (`container_end`), so that all is undone by putting it back.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TypeVar

from holdfast.config import Settings
from holdfast.containers import image_behind, open_container
from holdfast.errors import ContainerFailed, DeadlinePassed, InUse, StorageFailed, TooSmall
from holdfast.gate.data.owing.owed_file import FILE_NAME as OWED
from holdfast.gate.members.configuration import (
    GateConfiguration,
    LegEntry,
    load_configuration,
    save_configuration,
)
from holdfast.gate.members.provision import provision_leg
from holdfast.gate.members.superblock import bitmap_offset, find_superblock
from holdfast.model.size import BLOCK_BYTES
from holdfast.model.volume import LegState, Volume
from holdfast.restoration.storage.container_end import (
    keep_end,
    layout_for,
    look,
    put_end_back,
    zero_end,
)
from holdfast.restoration.storage.directory import NEW_GATE, OLD_GATE, directory_of
from holdfast.system.children.expendable import in_expendable_child

_SECONDS = 30.0
_LET_GO_SECONDS = 5.0
_POLL_SECONDS = 0.02

Result = TypeVar("Result")


def become_leg(settings: Settings, identifier: str, file_system: str, seconds: float) -> None:
    """Write the superblocks of the gate that was prepared to the end of its first leg. Durable.

    `file_system`: the UUID of what lies there. Raises InUse when somebody else has it,
    TooSmall when its file system has grown, StorageFailed when another one is there.
    """
    folder = directory_of(settings, identifier)
    configuration = load_configuration(folder / NEW_GATE)
    first = configuration.legs[0]
    work = partial(_write_tail, folder, configuration, first, file_system, _deadline_in(seconds))
    entry = _in_child(work, seconds, first.url)
    save_configuration(folder / NEW_GATE, configuration.with_leg(entry))


def _write_tail(
    folder: Path,
    configuration: GateConfiguration,
    entry: LegEntry,
    file_system: str,
    deadline: float,
) -> LegEntry:
    _patiently(open_container(entry.url).check_unused, deadline)
    span, container_bytes = look(entry.url)
    size_bytes = configuration.size_bytes
    if span is None or span.uuid != file_system:
        words = f"{entry.url} does not hold the file system with UUID {file_system} any more"
        raise StorageFailed(words, "See what is there now.")
    if span.size_bytes > size_bytes:
        raise TooSmall(f"the file system in {entry.url} has grown meanwhile", "Try again.")
    layout = layout_for(container_bytes, size_bytes)
    if layout.more_bytes and not image_behind(entry.url):
        raise TooSmall(f"{entry.url} has shrunk meanwhile", "Try again.")
    keep_end(folder, entry.url, layout.offset, layout.end, entry.id)
    zero_end(entry.url, layout.offset, layout.end)
    return _patiently(partial(provision_leg, configuration, entry), deadline)


def cease_to_be_leg(
    settings: Settings, identifier: str, old: Volume, url: str, seconds: float
) -> None:
    """Take the superblocks of a gate that has ended from its leg, which has everything. Durable.

    The gate's state is in the restoration's directory by now. Raises StorageFailed when the leg
    does not have everything that was acknowledged, InUse when somebody else has it.
    """
    folder = directory_of(settings, identifier)
    configuration = load_configuration(folder / OLD_GATE)
    entry = next((each for each in configuration.legs if each.url == url), None)
    if entry is None or entry.state is not LegState.IN_SYNC:
        raise StorageFailed(f"{url} is no leg in sync of {old.name} any more", "Name another leg.")
    if (folder / OLD_GATE / OWED).exists():
        raise StorageFailed(
            f"{old.name} has flushed writes that no leg can take",
            f"Copy it: holdfast volume ungate {old.name} URL.",
        )
    work = partial(_take_tail, folder, configuration, entry, _deadline_in(seconds))
    _in_child(work, seconds, url)


def _take_tail(
    folder: Path, configuration: GateConfiguration, entry: LegEntry, deadline: float
) -> None:
    _patiently(open_container(entry.url).check_unused, deadline)
    back_end = _patiently(open_container(entry.url).open, deadline)
    try:
        found = find_superblock(back_end, [entry.container_bytes, back_end.size_bytes()], entry.id)
    finally:
        back_end.close()
    if found is None:
        raise StorageFailed(f"{entry.url} has no superblock", "Name another leg.")
    superblock, end = found
    known = superblock.volume_id, superblock.leg_id, superblock.epoch, superblock.state
    if known != (configuration.volume_id, entry.id, configuration.epoch, LegState.IN_SYNC):
        raise StorageFailed(f"{entry.url} is not what the gate had", "Name another leg.")
    end = end // BLOCK_BYTES * BLOCK_BYTES
    offset = bitmap_offset(end, superblock.size_bytes)
    keep_end(folder, entry.url, offset, end, entry.id)
    zero_end(entry.url, offset, end)


def as_it_was(settings: Settings, identifier: str, url: str) -> bool:
    """Let the container end as it did before `become_leg` or `cease_to_be_leg`; whether one of
    them had begun. Durable. Idempotent. Raises HoldfastError."""
    work = partial(put_end_back, directory_of(settings, identifier), url)
    return _in_child(work, _SECONDS, url)


def _in_child(work: partial[Result], seconds: float, url: str) -> Result:
    try:
        return in_expendable_child(work, min(max(seconds, 0.0), _SECONDS), url)
    except OSError as error:
        raise ContainerFailed(
            f"the end of {url} cannot be changed: {error}",
            "See to that storage (its room, the kernel's log), then try again.",
        ) from error


def _deadline_in(seconds: float) -> float:
    return time.monotonic() + min(_LET_GO_SECONDS, max(seconds, 0.0))


def _patiently(function: Callable[[], Result], deadline: float) -> Result:
    """Call it again, until that monotonic time, while somebody has the container.

    A loop device that goes by itself takes a moment after the dismount; and whoever watches disks
    (udev) looks at each that was open for writing, and locks it meanwhile.
    """
    while True:
        try:
            return function()
        except (InUse, DeadlinePassed, ContainerFailed, BlockingIOError) as error:
            locked = not isinstance(error, ContainerFailed)
            locked = locked or isinstance(error.__cause__, BlockingIOError)
            if not locked or time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
