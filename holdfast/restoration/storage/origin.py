"""Where the files of a copy come from: a mounted file system, a directory of one, a container.

Asks storage in expendable children only.
"""

from __future__ import annotations

import os
import shlex
from contextlib import suppress
from pathlib import Path

from holdfast.containers import image_behind, is_container_url, open_container, path_of
from holdfast.errors import Blocked, CommandFailed, InUse, NoSuchContainer
from holdfast.late_dataclass import dataclass
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.model.source import Source
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.messages.printable import printable
from holdfast.system.mounts.all_namespaces import all_mount_points
from holdfast.system.mounts.detached import mount_detached
from holdfast.system.mounts.mount_table import mount_holding, mounts_under
from holdfast.system.mounts.users import users_of_device
from holdfast.system.storage.block import device_number
from holdfast.system.storage.filesystem import identify
from holdfast.system.storage.loop import attach_private_loop


@dataclass(frozen=True)
class Origin:
    """The file system that files are copied from."""

    filesystem: str
    device: str
    path: str = ""
    """Where it, or the directory that is copied, is mounted; empty: nowhere."""
    super_options: str = ""
    inside: str = ""
    """Which directory of the file system is copied; empty: all of it."""

    def options_among(self, names: frozenset[str]) -> list[str]:
        """Those of the mount's options that have these names."""
        words = self.super_options.split(",")
        return [word for word in words if word.partition("=")[0] in names]


def origin_of_mount(point: MountPoint, path: str) -> Origin:
    """A volume that is copied as a whole. Does not block."""
    return Origin(point.filesystem, point.source, path, point.super_options)


def origin_of_contents(contents: str) -> Origin:
    """A directory or container. Raises HoldfastError, OSError where storage hangs or is gone."""
    if is_container_url(contents):
        device = path_of(contents)
        found = in_expendable_child(lambda: identify(device), doing=contents)
        return Origin(found.type if found is not None else "", device)
    path = in_expendable_child(lambda: os.path.realpath(contents), doing=contents)
    mount = mount_holding(path)
    if mount is None:
        return Origin("", "", path)
    inside = os.path.normpath(f"{mount.root}/{os.path.relpath(path, mount.path)}").strip("/")
    return Origin(mount.filesystem, mount.source, path, mount.super_options, inside)


def contents_as_they_are(contents: str) -> tuple[int, int, int] | None:
    """What differs when an image is exchanged or written to; None: it is no image. Raises OSError,
    HoldfastError."""
    image = image_behind(contents) if is_container_url(contents) else ""
    return in_expendable_child(lambda: _stamp(image), doing=contents) if image else None


def _stamp(image: str) -> tuple[int, int, int]:
    status = Path(image).stat()
    return status.st_ino, status.st_size, status.st_mtime_ns


def check_as_known(contents: str, known: Source) -> None:
    """Raise Blocked where an image is not what whoever made it has left there. Raises
    HoldfastError where its storage hangs."""
    if known.stamp is None:
        return
    found = None
    with suppress(OSError):
        found = contents_as_they_are(contents)
    if found != known.stamp:
        raise Blocked(
            f"{contents} was changed or exchanged since it was made",
            "Look who has done that, then try again.",
        )


def check_at_rest(contents: str) -> None:
    """Raise InUse when a container is mounted for writing anywhere: what is read of it while it is
    written would not fit together, or cannot be mounted at all. Asks its storage: may block."""
    try:
        numbers = {device_number(device) for device in open_container(contents).shown_by()}
    except OSError:
        return  # whoever opens it says what is wrong
    for point in all_mount_points() if numbers else ():
        if "rw" in point.super_options.split(",") and _number_below(point) in numbers:
            users = "; ".join(str(user) for user in users_of_device(point.device))
            raise InUse(
                f"{contents} is mounted for writing at {printable(point.path)}"
                + (f", used by {users}" if users else ""),
                f"Dismount it there (umount {printable(point.path)}) or mount it read-only, or name"
                " a snapshot of it.",
            )


def check_there(contents: str) -> None:
    """Raise NoSuchContainer where there is no such image or device. Asks its storage: may block."""
    path = path_of(contents)
    if path and not os.path.lexists(path):
        raise NoSuchContainer(f"{path} is not there", "Mount its disk, or name other contents.")


def check_mountable(contents: str) -> None:
    """Raise Blocked when an image cannot be mounted without being written to, as it is when it is
    copied from. Where it is no image, or cannot be read, others say so. May block."""
    image = image_behind(contents)
    found = identify(image) if image else None
    if found is None or not found.type:
        return
    options = options_of_contents(found.type)
    try:
        device, loop = attach_private_loop(image, sector_bytes=512, read_only=True)
    except OSError:
        return
    try:
        os.close(mount_detached(found.type, options, source=device, read_only=True))
    except CommandFailed as error:
        once = ",".join(["loop", *options])
        raise Blocked(
            f"{contents} cannot be mounted without writing to it: {error.message}",
            "Copied in use it has a log to be replayed, by mounting it once:"
            f" mount -o {once} {shlex.quote(image)} /mnt && umount /mnt.",
        ) from error
    finally:
        os.close(loop)


def options_of_contents(filesystem: str) -> dict[str, str]:
    """What a copy is mounted with while the storage that it is a copy of may be mounted, too."""
    return {"nouuid": ""} if filesystem == "xfs" else {}


def _number_below(point: MountPoint) -> str:
    """The number of the block device below a mount; btrfs has numbers of its own."""
    if point.source.startswith("/dev/"):
        with suppress(OSError):
            return device_number(point.source)
    return point.device


def about_mounts_below(origin: Origin) -> list[Finding]:
    """Other file systems that are mounted below a directory whose contents are copied: each file
    system is copied by itself. Does not block."""
    if not origin.path:
        return []
    below = sorted({mount.path for mount in mounts_under(origin.path)} - {origin.path})
    if not below:
        return []
    return [
        Finding(
            "mounts below the source",
            Verdict.NEEDS_FORCE,
            ", ".join(below),
            "What is mounted there is not copied, and the directory is empty afterwards.",
            "Copy it by hand, or dismount it when what lies beneath is meant.",
        )
    ]
