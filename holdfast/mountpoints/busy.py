"""Who keeps a file system from being dismounted, in words for people.

Reads /proc and /sys only; blocks for a few seconds at most, when processes hang. Must never change
anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.capture import foreign_namespaces, nested_mounts
from holdfast.mountpoints.overlays import overlays_on, overlays_without_names
from holdfast.system.mounts.mount_table import is_under
from holdfast.system.mounts.users import descriptors_on_their_way, users_of_device
from holdfast.system.storage.loop import loop_devices

_SHOWN = 5


def users_in_words(points: Sequence[MountPoint]) -> str:
    """Who keeps these mounts busy, for people: processes, other mounts, loop devices."""
    words = [str(user) for device_number in {each.device for each in points}
             for user in users_of_device(device_number, suspects=True)]  # fmt: skip
    words += [f"something is mounted at {each.path}" for each in nested_mounts(points)]
    words += namespaces_in_words(points)
    words += [
        f"{loop.device} is attached to {loop.backing_file}"
        for loop in loop_devices()
        if any(is_under(loop.backing_file, point.path) for point in points)
    ]
    return "; ".join(words) or _nobody()


def _nobody() -> str:
    """What to say where no table names anybody."""
    on_their_way = [str(each) for each in descriptors_on_their_way()]
    if not on_their_way:
        return "the kernel names nobody"
    more = len(on_their_way) - _SHOWN
    on_their_way = [*on_their_way[:_SHOWN], *([f"{more} more"] if more > 0 else [])]
    return (
        "perhaps descriptors that nobody has received yet, in sockets of "
        + ", ".join(on_their_way)
        + "; else the kernel names nobody"
    )


def suspects(points: Sequence[MountPoint]) -> str:
    """What may keep a file system that is mounted nowhere, and was at these, for people."""
    named = [
        f"the overlay at {each.path}, with a layer in {layer}"
        for each, layer in overlays_on(points)
    ]
    named += [
        f"the overlay at {each.path}, whose layers have no absolute path"
        for each in overlays_without_names()
    ]
    more = len(named) - _SHOWN
    named = [*named[:_SHOWN], *([f"{more} more of those"] if more > 0 else [])]
    words = [
        *named,
        "a mount that was detached lazily",
        "a namespace without processes",
        "a uprobe (/sys/kernel/tracing/uprobe_events)",
    ]
    return ", ".join(words[:-1]) + f", or {words[-1]}"


def namespaces_in_words(points: Sequence[MountPoint]) -> list[str]:
    """Which mount namespaces of other user namespaces keep these mounts: they are locked there."""
    witnesses = {point.namespace: point.witness_pid for point in points}
    return [
        f"the mount namespace of process {witnesses[number]}, which belongs to another user"
        " namespace, has a copy that is locked there"
        for number in sorted(foreign_namespaces(points))
    ]
