"""The image of an adopted volume that lost its name, or got another one, while it is mounted.

Who removes an image, or renames another file over it, leaves a file that only the loop device
leads to. Invariant: such a device is never let go of by us while it has the only data; the kernel
would let go of it by itself after a dismount where it came from `mount -o loop` (autoclear).
"""

from __future__ import annotations

import errno
from collections.abc import Sequence
from functools import partial

from holdfast.containers import image_behind, image_url
from holdfast.errors import HoldfastError
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.capture import disk_of
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.storage.block import disk_sequence
from holdfast.system.storage.loop import DELETED, LoopDevice, keep_attached, loop_device_at
from holdfast.system.storage.loop_backing import devices_showing

_ASK_SECONDS = 3.0
"""Longer than a loop device is waited for. Storage that does not answer is no reason to believe
that its names are gone."""


def nameless_image(point: MountPoint) -> str:
    """The path at which the image of this mount was, when it has no name any more; else empty.

    Asks the image's file system for some seconds at most.
    """
    loop = _loop_of(point)
    if loop is None or not loop.deleted:
        return ""
    names = (loop.backing_file, loop.backing_file + DELETED)
    return "" if any(_leads_to(name, loop) for name in names) else loop.backing_file


def present_source(source: str, point: MountPoint) -> str:
    """What leads to the storage of this mount now: `source` as recorded, unless its image was
    renamed or deleted since: then the name that the kernel has for it."""
    loop = _loop_of(point)
    path = image_behind(source)
    if not path or loop is None or loop.backing_file == path or _leads_to(path, loop):
        return source
    found = loop.deleted or _leads_to(loop.backing_file, loop)
    return image_url(loop.backing_file) if found else source


def renamed_image(source: str, point: MountPoint) -> str:
    """What the image of this mount is called now, when `source` leads to another file, or to none,
    since it was recorded; else empty. That the device is the same is said by its disk's number."""
    loop, path = _loop_of(point), image_behind(source)
    if not path or loop is None or not point.disk_sequence:
        return ""
    if disk_sequence(disk_of(point)) != point.disk_sequence:
        return ""
    if (loop.backing_file == path and not loop.deleted) or _leads_to(path, loop):
        return ""
    return loop.backing_file + (DELETED if loop.deleted else "")


def keep_nameless(point: MountPoint, source: str = "") -> str:
    """Before a dismount: keep the loop device of an image that has no name, or that `source` does
    not lead to any more. Returns it, or empty."""
    loop = _loop_of(point)
    if loop is None or not (nameless_image(point) or renamed_image(source, point)):
        return ""
    kept = in_expendable_child(partial(keep_attached, loop), _ASK_SECONDS, point.source)
    return point.source if kept else ""


def kept_device(path: str, points: Sequence[MountPoint]) -> str:
    """The device that these mounts were made from where it still shows the image that was at
    `path` and has no name any more; else empty. That it is the same is said by the number of the
    disk, which no other gets in one boot."""
    for point in points:
        if point.disk_sequence and disk_sequence(disk_of(point)) == point.disk_sequence:
            return point.source if nameless_image(point) == path else ""
    return ""


def _loop_of(point: MountPoint) -> LoopDevice | None:
    return loop_device_at(point.source)


def _leads_to(path: str, loop: LoopDevice) -> bool:
    """Whether the file of that name is what the device shows; also when nobody answers."""
    try:
        return in_expendable_child(partial(_is_shown, path, loop), _ASK_SECONDS, path)
    except HoldfastError:
        return True


def _is_shown(path: str, loop: LoopDevice) -> bool:
    """Whoever looks at a name whose server has died lets the kernel call the file deleted, too."""
    try:
        return bool(devices_showing(path, [loop]))
    except OSError as error:
        return error.errno not in (errno.ENOENT, errno.ENOTDIR, errno.ELOOP)
