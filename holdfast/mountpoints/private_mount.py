"""Mounting new storage where nobody sees it: in a mount namespace of an expendable child's own.

Copies of that mount go to the places where it is wanted (see `placing`). Must never be called
outside an expendable child: the process is in another mount namespace afterwards.
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from holdfast.errors import StorageFailed
from holdfast.mountpoints.scratch import scratch_directory
from holdfast.system.children.run import run
from holdfast.system.mounts import mount_api
from holdfast.system.mounts.mount_table import MNT_DETACH
from holdfast.system.mounts.visitor import Visitor
from holdfast.system.storage.loop import attach_private_loop, open_attached
from holdfast.system.storage.loop_attributes import loop_attributes
from holdfast.system.storage.loop_backing import devices_showing

REMOUNT_SECONDS = 60.0
"""Replaying the log of a file system that was not dismounted in order takes longest."""

_SECTOR_BYTES = 512
"""What mount(8) gives the loop devices that it makes."""


def mount_privately(
    visitor: Visitor, source: str, filesystem: str, options: str, *, hears_of_others: bool = False
) -> int:
    """The new file system's root, mounted in a namespace of this process alone.

    `hears_of_others`: for one that stays for long, see `Visitor.retire`.
    """
    if filesystem == "fuse" or filesystem.startswith("fuse."):
        tree = _mount_staged(visitor, source, filesystem, options)
        visitor.retire()
        spot = mount_api.open_place(scratch_directory())
        mount_api.attach_tree(tree, spot)
        return tree
    device, loop, options = _attached(source, options)
    visitor.retire(hears_of_others=hears_of_others)
    place_of_work = scratch_directory()
    _mount(device, place_of_work, filesystem, options)
    if loop >= 0:
        os.close(loop)  # it detaches by itself after the last dismount from now on
    return mount_api.open_place(place_of_work)


def _attached(source: str, options: str) -> tuple[str, int, str]:
    """What to mount of an image with the option `loop`, the loop device's descriptor, and the
    options that are left.

    A device that shows it already is taken, as mount(8) does, and stays while it is open here: a
    second one would be a second cache of the same bytes, and where the first is mounted two file
    systems would write to them. Before this process leaves our mount namespace: the kernel names
    the image by the mount that it was opened through, and one that nobody else has would be named
    wrongly.
    """
    words = dict(word.partition("=")[::2] for word in options.split(",") if word)
    if "loop" not in words:
        return source, -1, options
    offset_bytes, limit_bytes = int(words.get("offset") or 0), int(words.get("sizelimit") or 0)
    read_only = "ro" in words
    try:
        device, loop = _showing(source, (offset_bytes, limit_bytes, read_only))
        if loop < 0:
            device, loop = attach_private_loop(
                source,
                limit_bytes,
                offset_bytes=offset_bytes,
                sector_bytes=_SECTOR_BYTES,
                read_only=read_only,
            )
    except OSError as error:
        raise StorageFailed(
            f"{source} cannot be attached to a loop device: {error.strerror}",
            "Look at the image, and at its rights.",
        ) from error
    left = [
        word
        for word in options.split(",")
        if word and word.partition("=")[0] not in ("loop", "offset", "sizelimit")
    ]
    return device, loop, ",".join(left)


def _showing(image: str, part: tuple[int, int, bool]) -> tuple[str, int]:
    """A loop device that shows this part of an image, in that way, and a descriptor that keeps it;
    -1: there is none. Raises OSError, DeadlinePassed."""
    for each in devices_showing(image):
        descriptor = open_attached(each)
        if descriptor is None:
            continue
        found = loop_attributes(Path(each.device).name)
        if (found.offset_bytes, found.limit_bytes, found.is_read_only) == part:
            return each.device, descriptor
        os.close(descriptor)
    return "", -1


def _mount_staged(visitor: Visitor, source: str, filesystem: str, options: str) -> int:
    """A FUSE server is started in our own namespace: in the child's it would keep that alive.

    Its mount is taken away from where it was made at once; what a kill leaves there is harmless.
    """
    folder = tempfile.mkdtemp(prefix="holdfast-", dir="/run")
    run(["mount", "--no-mtab", "--bind", "--make-private", "--", folder, folder])
    try:
        _mount(source, folder, filesystem, options)
        spot = mount_api.open_place(folder)
        tree = mount_api.clone_tree(spot)
        os.close(spot)
        visitor.dismount(folder, MNT_DETACH)
    finally:
        visitor.dismount(folder, MNT_DETACH)
        Path(folder).rmdir()
    return tree


def _mount(source: str, path: str, filesystem: str, options: str) -> None:
    """mount(8): it sorts options into flags and data, and knows the helpers of each type."""
    words = [word for word in options.split(",") if word]
    if filesystem == "btrfs":
        # The top level: subvolumes are directories below it, and each point names its own.
        names = ("subvol", "subvolid")
        words = [word for word in words if word.partition("=")[0] not in names] + ["subvolid=5"]
    command = ["mount", "--no-mtab", "-t", filesystem]
    if words:
        command += ["-o", ",".join(words)]
    run([*command, "--", source, path], deadline_seconds=REMOUNT_SECONDS)
