"""Who keeps a file system from being dismounted, in words for people.

Reads /proc, /sys and tracefs only; blocks for a few seconds at most, when processes hang. Must
never change anything.
"""

from __future__ import annotations

from collections.abc import Sequence

from holdfast.model.listing import first_of
from holdfast.model.mountpoint import MountPoint
from holdfast.mountpoints.capture import foreign_namespaces, nested_mounts
from holdfast.mountpoints.overlays import overlays_on, overlays_without_names
from holdfast.system.mounts.mount_table import is_under
from holdfast.system.mounts.uprobes import Uprobe, perf_events, uprobes
from holdfast.system.mounts.users import (
    descriptors_on_their_way,
    users_of_device,
    waiting_to_open_fifos,
)
from holdfast.system.storage.loop import loop_devices

_SHOWN = 5


def users_in_words(points: Sequence[MountPoint]) -> str:
    """Who keeps these mounts busy, for people: processes, other mounts, loop devices."""
    words = [str(user) for device_number in {each.device for each in points}
             for user in users_of_device(device_number, suspects=True)]  # fmt: skip
    words += [f"something is mounted at {each.path}" for each in nested_mounts(points)]
    words += namespaces_in_words(points)
    words += [
        f"the uprobe {_named(each)}"
        for each in uprobes()
        if any(is_under(each.path, point.path) for point in points)
    ]
    words += [
        f"{loop.device} is attached to {loop.backing_file}"
        for loop in loop_devices()
        if any(is_under(loop.backing_file, point.path) for point in points)
    ]
    return "; ".join(words) or _nobody()


def _nobody() -> str:
    """What to say where no table names anybody."""
    perhaps = {
        "descriptors that nobody has received yet, in sockets of": descriptors_on_their_way(),
        "a FIFO that has lost its name, for whose other end there waits": waiting_to_open_fifos(),
        "a uprobe among the perf events of": perf_events(),
    }
    words = [f"{what} {first_of(users, _SHOWN)}" for what, users in perhaps.items() if users]
    if not words:
        return "the kernel names nobody"
    return f"perhaps {', or '.join(words)}; else the kernel names nobody"


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
    words = [
        *([first_of(named, _SHOWN)] if named else []),
        "a mount that was detached lazily",
        "a namespace without processes",
        _uprobes(),
    ]
    return ", ".join(words[:-1]) + f", or {words[-1]}"


def _uprobes() -> str:
    """Which are set, and who may have one in his perf events."""
    found = [*map(_named, uprobes()), *perf_events()]
    return f"a uprobe ({first_of(found, _SHOWN)})" if found else "a uprobe that nobody tells of"


def _named(uprobe: Uprobe) -> str:
    return f"{uprobe.event} in {uprobe.path}"


def namespaces_in_words(points: Sequence[MountPoint]) -> list[str]:
    """Which mount namespaces of other user namespaces keep these mounts: they are locked there."""
    witnesses = {point.namespace: point.witness_pid for point in points}
    return [
        f"the mount namespace of process {witnesses[number]}, which belongs to another user"
        " namespace, has a copy that is locked there"
        for number in sorted(foreign_namespaces(points))
    ]
