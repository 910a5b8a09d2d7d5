"""What keeps a volume busy without any process: loop devices, swap files, mounts on top of it.

Their handles name process 0, so they are given apart from users: nobody may ever be stopped for
them. Reads /proc and /sys only. Not told by any kernel interface, and so not found here: files of
the NFS server, of process accounting, of storage targets (LIO) and of quota.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import suppress

from holdfast.applications.places import Places, inside_of, places_of
from holdfast.model.handle import Handle, HandleKind
from holdfast.model.mountpoint import MountPoint
from holdfast.system.mounts.namespace import mount_namespace
from holdfast.system.proc import read
from holdfast.system.proc_text import parse_swaps
from holdfast.system.storage.loop import loop_devices
from holdfast.system.storage.overlay_layers import named_layers


def held_by_kernel(mounts: Sequence[MountPoint]) -> list[Handle]:
    """What of the kernel itself uses the file systems of these mounts. Does not block."""
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
    for loop in loop_devices():
        below = _on(loop.backing_file, here, places)
        if below is not None:
            text = f"{loop.device} of {loop.backing_file}"
            yield _handle(HandleKind.LOOP, text, loop.backing_file, below)


def _swaps(places: Places) -> Iterator[Handle]:
    """proc_swaps(5): path, `file` or `partition`, …"""
    here = mount_namespace(os.getpid())
    with suppress(OSError):
        for swap in parse_swaps(read("/proc/swaps")):
            below = _on(swap.path, here, places) if swap.is_file else None
            if below is not None:
                yield _handle(HandleKind.SWAP, swap.path, swap.path, below)


def _on(path: str, namespace: int, places: Places) -> MountPoint | None:
    """The mount that a path leads through, seen from the namespace where the mount is."""
    mount = places.may_hold(path, namespace)
    if mount is None or not places.is_likely(path, mount, mount.namespace):
        return None
    return mount


def _handle(kind: HandleKind, text: str, path: str, mount: MountPoint) -> Handle:
    return Handle(kind=kind, pid=0, path=text, mount_id=mount.id, inside=inside_of(mount, path))
