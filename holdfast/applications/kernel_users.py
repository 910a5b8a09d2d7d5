"""What keeps a volume busy without any process: loop devices, swap files, mounts on top of it.

Their handles name process 0, so they are given apart from users: nobody may ever be stopped for
them. Not told by any kernel interface, and so not found here: files of the NFS server, of process
accounting, of storage targets (LIO) and of quota.

The kernel tells loop devices and swap files by a path, and not in which mount namespace; anybody
may have the volume mounted at such a path in one of his own. So what lies on the volume by its
path alone is asked where it is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator, Sequence
from contextlib import suppress

from holdfast.applications.places import Places, inside_of, places_of
from holdfast.errors import HoldfastError
from holdfast.model.handle import Handle, HandleKind
from holdfast.model.mountpoint import MountPoint
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts.namespace import mount_namespace
from holdfast.system.proc import read
from holdfast.system.proc_text import parse_swaps
from holdfast.system.storage.loop import loop_devices
from holdfast.system.storage.loop_backing import backing_identities
from holdfast.system.storage.overlay_layers import named_layers


def held_by_kernel(mounts: Sequence[MountPoint]) -> list[Handle]:
    """What of the kernel itself uses the file systems of these mounts.

    Reads /proc and /sys; blocks some seconds at most, and only where what may lie on them does not
    say so: it counts as theirs.
    """
    if not mounts:
        return []
    places = places_of(mounts)
    return [*_nested(places), *_layers(places), *_loops(places), *_swaps(places)]


def _nested(places: Places) -> Iterator[Handle]:
    for mount in (*places.wanted, *places.others):
        below = places.by_id.get(mount.parent)
        if below is not None and below.id != mount.id:
            yield _handle(HandleKind.MOUNT, mount.path, mount.path, below)


def _layers(places: Places) -> Iterator[Handle]:
    """Layers of overlays: an overlay keeps their super blocks, though not their mounts."""
    for mount in places.others:
        if mount.filesystem == "overlay":
            for layer in named_layers(mount.super_options):
                below = _on(layer, mount.namespace, places)
                if below is not None:
                    text = f"overlay mounted at {mount.path} with a layer in {layer}"
                    yield _handle(HandleKind.OTHER, text, layer, below)


def _loops(places: Places) -> Iterator[Handle]:
    here = mount_namespace(os.getpid())
    likely = [
        (loop, below)
        for loop in loop_devices()
        if (below := _on(loop.backing_file, here, places)) is not None
    ]
    told = backing_identities(loop.device for loop, _ in likely)
    for loop, below in likely:
        if loop.device not in told or not _is_elsewhere(told[loop.device][0], places):
            text = f"{loop.device} of {loop.backing_file}"
            yield _handle(HandleKind.LOOP, text, loop.backing_file, below)


def _swaps(places: Places) -> Iterator[Handle]:
    """proc_swaps(5): path, `file` or `partition`, …"""
    here = mount_namespace(os.getpid())
    with suppress(OSError):
        for swap in parse_swaps(read("/proc/swaps")):
            below = _on(swap.path, here, places) if swap.is_file else None
            if below is not None and not _file_is_elsewhere(swap.path, places):
                yield _handle(HandleKind.SWAP, swap.path, swap.path, below)


def _is_elsewhere(device: int, places: Places) -> bool:
    """Whether that st_dev is known to be of another file system. Not so for any of btrfs: its
    subvolumes have numbers that no mount table shows."""
    number = f"{os.major(device)}:{os.minor(device)}"
    return number in {mount.device for mount in places.others}


def _file_is_elsewhere(path: str, places: Places) -> bool:
    """Whether the path leads, from here, to a file that is known to be on another file system."""
    try:
        status = in_expendable_child(lambda: os.lstat(path), doing=path)
    except (OSError, HoldfastError):
        return False
    return stat.S_ISREG(status.st_mode) and _is_elsewhere(status.st_dev, places)


def _on(path: str, namespace: int, places: Places) -> MountPoint | None:
    """The mount that a path leads through, seen from the namespace where the mount is."""
    mount = places.may_hold(path, namespace)
    if mount is None or not places.is_likely(path, mount, mount.namespace):
        return None
    return mount


def _handle(kind: HandleKind, text: str, path: str, mount: MountPoint) -> Handle:
    return Handle(kind=kind, pid=0, path=text, mount_id=mount.id, inside=inside_of(mount, path))
