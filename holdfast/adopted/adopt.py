"""Adopting a mount: Holdfast learns all about it and changes nothing.

Invariant: nothing is mounted, written or put into the data path. What cannot be managed without
harm is refused here, with the reason.
"""

from __future__ import annotations

import os
import sys
import uuid
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from holdfast.adopted.properties import properties
from holdfast.config import Settings
from holdfast.containers import is_container_url
from holdfast.errors import (
    AlreadyExists,
    CannotAdopt,
    HoldfastError,
    InvalidOption,
    NotMounted,
    OwnLeg,
)
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.model.volume import ADOPTED, JournalMode, Volume, check_name
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.health import health
from holdfast.mountpoints.obstacles import obstacles
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.storage.block import known_size_bytes
from holdfast.volumes.checks.foundation import file_systems_below
from holdfast.volumes.gate_device import gate_device

PSEUDO_TYPES = frozenset({
    "autofs", "binder", "binfmt_misc", "bpf", "cgroup", "cgroup2", "configfs", "debugfs", "devpts",
    "devtmpfs", "efivarfs", "fusectl", "hugetlbfs", "mqueue", "nfsd", "nsfs", "proc", "pstore",
    "resctrl", "rpc_pipefs", "securityfs", "selinuxfs", "smackfs", "sysfs", "tracefs",
})  # fmt: skip
"""Windows into the kernel: there is no data in them to restore."""

MEMORY_TYPES = frozenset({"tmpfs", "ramfs"})
"""Their contents end with the dismount."""

_SYSTEM_PATHS = ("/", "/usr", "/etc", "/bin", "/sbin", "/lib", "/lib64", "/dev", "/proc", "/sys",
                 "/run", "/var", "/boot")  # fmt: skip
_GATE_TYPE = "fuse.holdfast"
_ANSWER_SECONDS = 5.0


def adopt_volume(settings: Settings, name: str, path: str, others: Sequence[Volume]) -> Volume:
    """The volume that stands for the mount at this path; nothing on the host is changed.

    Raises InvalidName, InvalidOption, NotMounted when nothing is mounted there, AlreadyExists for
    a name or a mount that is taken, OwnLeg and CannotAdopt for what Holdfast must not manage.
    """
    check_name(name)
    place = _mount_point(path)
    if any(other.name == name for other in others):
        raise AlreadyExists(f"there is a volume named {name!r} already", "Choose another name.")
    points = capture(place)
    own = mount_at(place)
    point = None if own is None else next((p for p in points if p.id == own.identifier), None)
    if point is None:
        raise NotMounted(f"{place} was dismounted just now", "Mount it, then adopt it.")
    _check_kind(point, place)
    _check_free(settings, points, place, others)
    _check_not_below_us(settings, points, place)
    mount, adoption = properties(points, place)
    return Volume(
        name=name,
        id=str(uuid.uuid4()),
        kind=ADOPTED,
        size_bytes=_size_bytes(point),
        mount=mount,
        journal=JournalMode.NONE,
        attached=True,
        adoption=adoption,
    )


def limits_of(volume: Volume) -> list[Finding]:
    """What will not be possible with an adopted volume, or only with a loss; empty: nothing known.

    Does not block longer than its mount takes to answer.
    """
    if volume.adoption is None:
        return []
    found = obstacles(volume.adoption.points, parks_below=True)
    filesystem = volume.mount.filesystem
    if filesystem in MEMORY_TYPES:
        found.append(
            Finding(
                "contents in memory",
                Verdict.LIMITED,
                f"{filesystem} keeps its files in memory",
                "It can be migrated to storage, and not be dismounted: its contents would be lost.",
            )
        )
    elif not is_container_url(volume.adoption.source):
        found.append(
            Finding(
                "no container",
                Verdict.LIMITED,
                f"its source is {volume.adoption.source}, served by {filesystem}",
                "It can be mounted again from the same source, and migrated to a container; a"
                " snapshot or a check of it is its server's business.",
            )
        )
    if volume.adoption.swap_files:
        found.append(
            Finding(
                "swap",
                Verdict.BLOCKS,
                f"the kernel swaps to {', '.join(volume.adoption.swap_files)}",
                "A file system with an active swap file cannot be dismounted.",
                f"swapoff {volume.adoption.swap_files[0]}",
            )
        )
    if volume.adoption.points:
        answer = health(volume.adoption.points[-1])
        if not answer.is_ok:
            found.append(answer.finding)
    return found


def _mount_point(path: str) -> str:
    """The path as the mount table writes it. Resolving stops before the mount itself: it may be
    dead."""
    if not path.startswith("/") or not path.isprintable():
        raise InvalidOption(
            f"{path!r} is not an absolute path", "Write it from the root: /srv/data."
        )
    normal = os.path.normpath("/" + path.lstrip("/"))
    if mount_at(normal) is not None:
        return normal

    def resolve() -> str:
        parent, last = os.path.split(normal)
        inner = os.path.join(os.path.realpath(parent), last)  # noqa: PTH118 - text
        return os.path.realpath(inner) if os.path.islink(inner) else inner  # noqa: PTH114

    real = in_expendable_child(resolve, _ANSWER_SECONDS, normal)
    if mount_at(real) is None:
        raise NotMounted(
            f"{path} is not a mount point", "findmnt lists them; name the path of one of them."
        )
    return real


def _check_kind(point: MountPoint, path: str) -> None:
    if point.filesystem in PSEUDO_TYPES:
        raise CannotAdopt(
            f"{path} is {point.filesystem}: a window into the kernel, without data of its own",
            "Adopt a mount that holds files.",
        )
    if path in _SYSTEM_PATHS:
        raise CannotAdopt(
            f"{path} is part of the running system, and cannot be dismounted under it",
            "Adopt the mounts that hold data, not the system itself.",
        )


def _check_free(
    settings: Settings, points: Sequence[MountPoint], path: str, others: Sequence[Volume]
) -> None:
    if any(point.filesystem == _GATE_TYPE for point in points):
        raise CannotAdopt(f"{path} is a gate's own device file", "It belongs to a volume already.")
    for device in {point.source for point in points}:
        gate = gate_device().gate_behind(settings, device)
        if gate is not None:
            raise AlreadyExists(
                f"{path} is the volume {gate.volume} already, with a gate",
                "It needs no adoption: holdfast volume show.",
            )
    places = {point.path for point in points}
    for other in others:
        if other.is_adopted and other.mount.path in places:
            raise AlreadyExists(
                f"the file system at {path} is the volume {other.name} already",
                f"holdfast volume show {other.name}",
            )


def _check_not_below_us(settings: Settings, points: Sequence[MountPoint], path: str) -> None:
    """What Holdfast itself needs while the volume is away must not lie on it."""
    devices = {point.device for point in points}
    program = Path(sys.executable).parent
    package = Path(__file__).parent
    for place in (settings.state_directory, settings.run_directory, program, package):
        try:
            # What is swapped out to a file there is read back before the volume is away.
            ask = partial(file_systems_below, settings, str(place), swap=False)
            below = in_expendable_child(ask, _ANSWER_SECONDS, str(place))
        except OSError as error:
            raise CannotAdopt(
                f"{place} cannot be examined: {error}", "Look at that path."
            ) from error
        if not devices.isdisjoint(below):
            raise OwnLeg(
                f"{place}, which Holdfast itself needs, lies on the file system at {path}",
                "Move it to storage that is not managed (HOLDFAST_HOME for the state).",
            )


def _size_bytes(point: MountPoint) -> int:
    def ask() -> int:
        found = os.statvfs(point.path)
        return found.f_blocks * found.f_frsize

    size_bytes = known_size_bytes(point.source) if point.source.startswith("/dev/") else 0
    if size_bytes:
        return size_bytes
    try:
        return in_expendable_child(ask, _ANSWER_SECONDS, point.path)
    except (HoldfastError, OSError):
        return 0
