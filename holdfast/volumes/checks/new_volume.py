"""What must be true before a volume is made: of its values, its mount path and its containers.

Invariant: nothing is changed here. Each container is examined in an expendable child, so storage
that hangs is an error with a deadline, not a hang.
"""

from __future__ import annotations

import os
import shlex
import stat
from collections.abc import Sequence
from pathlib import Path

from holdfast.config import Settings
from holdfast.containers import Container, open_container, parse_container_url
from holdfast.errors import (
    AlreadyExists,
    ContainerFailed,
    ForeignLeg,
    HoldsData,
    InUse,
    InvalidOption,
    InvalidSize,
    TooSmall,
    Untrusted,
)
from holdfast.errors.families import about
from holdfast.gate.members.superblock import container_bytes_needed, read_superblock
from holdfast.late_dataclass import dataclass
from holdfast.model.size import BLOCK_BYTES, MAXIMUM_VOLUME_BYTES, MINIMUM_VOLUME_BYTES, format_size
from holdfast.model.volume import Volume, check_name
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.files.trusted import open_parent
from holdfast.system.mounts.mount_table import is_under, mount_at
from holdfast.system.storage.filesystem import kind_of
from holdfast.volumes.checks.foundation import check_not_own_leg, check_state_directory
from holdfast.volumes.checks.room import STRUCTURE_SHARE


@dataclass(frozen=True)
class MountPlace:
    """The directory a volume is to be mounted at, as it is before."""

    path: str
    """With links resolved, as the mount table will write it."""
    exists: bool
    owner_uid: int = 0
    owner_gid: int = 0
    mode: int = 0o755


@dataclass(frozen=True)
class ContainerPlace:
    """What was found out about one container."""

    url: str
    exists: bool
    identity: tuple[object, ...]
    """Equal for two URLs that name the same container."""
    file_system: int
    """st_dev of the storage that an image takes its room from; 0 for block devices."""
    room_bytes: int
    """What is free there."""


def check_values(volume: Volume) -> None:
    """Name, size and file system. Raises InvalidName, InvalidSize, InvalidOption."""
    check_name(volume.name)
    kind = kind_of(volume.mount.filesystem)
    size_bytes = volume.size_bytes
    if size_bytes % BLOCK_BYTES:
        raise InvalidSize(f"{size_bytes} bytes are not a multiple of 4096", "Round it to 4K.")
    minimum_bytes = max(MINIMUM_VOLUME_BYTES, kind.minimum_bytes)
    if size_bytes < minimum_bytes:
        raise InvalidSize(
            f"{format_size(size_bytes)} is too small for {kind.name}",
            f"It needs at least {minimum_bytes >> 20}M; ext4 needs least.",
        )
    if size_bytes > MAXIMUM_VOLUME_BYTES:
        raise InvalidSize(
            f"{format_size(size_bytes)} is too large for a volume", "The largest volume has 16T."
        )


def check_mount_place(settings: Settings, volume: Volume, others: Sequence[Volume]) -> MountPlace:
    """The mount path: absolute, empty or still to be made, not in anyone's way."""
    wanted = volume.mount.path
    if not wanted.startswith("/") or os.path.normpath(wanted) == "/":
        raise InvalidOption(f"{wanted!r} cannot be a mount path", "Write an absolute path.")
    place = in_expendable_child(lambda: _examine_mount_path(wanted), doing=wanted)
    if mount_at(place.path) is not None:
        raise AlreadyExists(
            f"something is mounted at {place.path} already", "Use another path, or unmount it."
        )
    for other in others:
        if other.name == volume.name:
            continue
        if place.path == other.mount.path:
            raise AlreadyExists(
                f"{place.path} is where the volume {other.name} is mounted", "Use another path."
            )
        if is_under(place.path, other.mount.path):
            raise InvalidOption(
                f"{place.path} lies on the volume {other.name}, which could not be detached then",
                "Use a path outside of other volumes.",
            )
    in_expendable_child(
        lambda: check_state_directory(settings, volume.name, place.path),
        doing=str(settings.state_directory),
    )
    return place


def _examine_mount_path(wanted: str) -> MountPlace:
    path = Path(os.path.realpath(wanted))
    if str(path) != os.path.normpath(wanted) and not _are_own_links(wanted):
        raise InvalidOption(
            f"a symbolic link that others can change leads from {wanted} to {path}",
            "Write the path itself, where that is meant.",
        )
    try:
        status = path.stat()
    except FileNotFoundError:
        return MountPlace(str(path), exists=False)
    except NotADirectoryError:
        raise InvalidOption(
            f"{wanted} lies below a file", "Name a directory that can be made."
        ) from None
    if not stat.S_ISDIR(status.st_mode):
        raise InvalidOption(f"{wanted} is not a directory", "Name an empty or absent directory.")
    if not path.is_mount() and any(path.iterdir()):
        raise HoldsData(
            f"{wanted} is not empty: mounting there would hide its files",
            "Move them away, and copy them onto the volume later; or use another path.",
        )
    return MountPlace(str(path), True, status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))


def _are_own_links(wanted: str) -> bool:
    """Whether nobody else can have made, or can exchange, what is on the way as far as it goes."""
    there = Path(os.path.normpath(wanted))
    while not os.path.lexists(there):
        there = there.parent
    try:
        with open_parent(there / "in it"):
            return True
    except (Untrusted, OSError):
        return False


def check_containers(
    settings: Settings, volume: Volume, mount_path: str, others: Sequence[Volume] = ()
) -> list[ContainerPlace]:
    """Every leg and spare: its own, free, large enough, with room, and not on the volume itself."""
    urls = [str(parse_container_url(url)) for url in (*volume.leg_urls, *volume.spare_urls)]
    taken = {url: other.name for other in others for url in (*other.leg_urls, *other.spare_urls)}
    places: list[ContainerPlace] = []
    for url in urls:
        with about(url):
            owner = taken.get(url, volume.name)
            if owner != volume.name:
                raise ForeignLeg(f"{url} belongs to the volume {owner}", "Use another container.")
            place = check_container(settings, volume.name, mount_path, url, volume.size_bytes)
            for earlier in places:
                if earlier.identity == place.identity:
                    raise InvalidOption(
                        f"{earlier.url} and {url} are the same container",
                        "Each leg needs a container of its own.",
                    )
        places.append(place)
    _check_room(volume, places)
    return places


def check_container(
    settings: Settings, name: str, mount_path: str, url: str, size_bytes: int
) -> ContainerPlace:
    """One container that is to become a leg of a volume of `size_bytes`; also for leg add.

    Raises OwnLeg, ForeignLeg, HoldsData, InUse, TooSmall, NoSuchContainer, ContainerFailed,
    DeadlinePassed.
    """
    return in_expendable_child(
        lambda: _examine_container(settings, name, mount_path, url, size_bytes), doing=url
    )


def _examine_container(
    settings: Settings, name: str, mount_path: str, url: str, size_bytes: int
) -> ContainerPlace:
    container = open_container(url)
    needed_bytes = container_bytes_needed(size_bytes)
    check_not_own_leg(settings, name, mount_path, url)
    exists = container.exists()
    try:
        if exists:
            _check_no_superblock(url)
        container.check_free(needed_bytes)
        place = container.place()
    except OSError as error:
        raise ContainerFailed(
            f"{url} cannot be examined: {error.strerror}", "Repair the storage, or use another."
        ) from error
    room = place.room
    if room is None:
        return ContainerPlace(url, exists, place.identity, 0, 0)
    room_bytes = room.free_bytes + room.allocated_bytes
    return ContainerPlace(url, exists, place.identity, room.file_system, room_bytes)


def _check_no_superblock(url: str) -> None:
    container = open_container(url)
    try:
        back_end = container.open(only_look=True)
    except BlockingIOError:
        container.check_unused()  # says by whom, where that can be told
        raise InUse(
            f"{url} is in use by another gate", "holdfast volume list shows whose leg it is."
        ) from None
    except OSError:
        return  # check_free says what is wrong with it, in better words
    try:
        superblock = read_superblock(back_end, back_end.size_bytes())
    finally:
        back_end.close()
    if superblock is not None:
        raise ForeignLeg(
            f"{url} is leg {superblock.leg_number} of the volume with id {superblock.volume_id}",
            f"Remove it there first (holdfast leg remove). Where that volume has no gate any more"
            f" (ungate, restore), it is a copy of it; when that is of no use any more:"
            f" {_to_clear(container)}.",
        )


def _to_clear(container: Container) -> str:
    """The command that lets a container be used like a new one."""
    if container.image_path:
        return f"rm {shlex.quote(container.image_path)}"
    return f"blkdiscard --force --zeroout {shlex.quote(container.device_path)}"


def _check_room(volume: Volume, places: Sequence[ContainerPlace]) -> None:
    images = [place for place in places if place.file_system]
    for file_system in {place.file_system for place in images}:
        same = [place for place in images if place.file_system == file_system]
        needed_bytes = len(same) * (
            container_bytes_needed(volume.size_bytes)
            - volume.size_bytes
            + volume.size_bytes // STRUCTURE_SHARE
        )
        room_bytes = min(place.room_bytes for place in same)
        if room_bytes < needed_bytes:
            raise TooSmall(
                f"{same[0].url} has {format_size(room_bytes)} of room: too little even for the"
                f" structures of an empty volume of {format_size(volume.size_bytes)}",
                "Use larger storage, or a smaller volume.",
            )
