"""Mounting an adopted volume again where it was.

Invariant: only the storage that was adopted is mounted; its UUID says so.
"""

from __future__ import annotations

import os
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from holdfast.adopted.present import adoption_of, occupant_of, own_mount
from holdfast.adopted.source import mountable_source
from holdfast.config import Settings
from holdfast.errors import AlreadyExists, DeadlinePassed
from holdfast.model.mountpoint import MountPoint
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import Volume
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.remount import Note, remount
from holdfast.system.boot import boot_id
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts.namespace import mount_namespace


def attach_adopted(
    settings: Settings,
    volume: Volume,
    reporter: Reporter = SILENT,
    note: Note | None = None,
) -> Volume:
    """Mount an adopted volume again where it was, from its own source; idempotent.

    After a reboot only the mounts of our own namespace come back: the others ended with it. Raises
    AlreadyExists when something else is mounted there, StorageFailed when its source is gone.
    """
    adoption = adoption_of(volume)
    present = own_mount(volume)
    if present is not None:
        return volume
    occupant = occupant_of(volume)
    if occupant is not None:
        raise AlreadyExists(
            f"{occupant.source} is mounted at {volume.mount.path}", f"umount {volume.mount.path}"
        )
    reporter.say("find its storage")
    source, more = mountable_source(volume.mount, adoption)
    options = ",".join(filter(None, (adoption.super_options, more)))
    reporter.say("mount")
    _make_directory(volume)
    wanted = present_points(volume)
    for root in remount(wanted, source, volume.mount.filesystem, options, note).values():
        os.close(root)
    points = capture(volume.mount.path)
    return replace(volume, adoption=replace(adoption, points=points, boot_id=boot_id()))


def present_points(volume: Volume) -> tuple[MountPoint, ...]:
    """Where it is to be mounted now: as recorded in this boot, else in our own namespace alone.

    Numbers of namespaces are used again: one counts while the process that showed it is in it.
    """
    adoption = adoption_of(volume)
    own, process = mount_namespace(os.getpid()), os.getpid()
    if adoption.boot_id == boot_id():
        return tuple(
            replace(point, witness_pid=process) if point.namespace == own else point
            for point in adoption.points
            if point.namespace in (own, _namespace_of(point.witness_pid))
        )
    if not adoption.points:
        return ()
    home = primary_of_record(volume).namespace
    return tuple(
        replace(point, namespace=own, witness_pid=process)
        for point in adoption.points
        if point.namespace == home
    )


def _namespace_of(pid: int) -> int:
    with suppress(OSError):
        return mount_namespace(pid)
    return 0


def primary_of_record(volume: Volume) -> MountPoint:
    """The recorded mount at the volume's own path, in the namespace it was adopted in."""
    points = adoption_of(volume).points
    # Ours come last in the order of dismounting.
    return next((each for each in reversed(points) if each.path == volume.mount.path), points[-1])


def _make_directory(volume: Volume) -> None:
    path = Path(volume.mount.path)
    adoption = adoption_of(volume)

    def make() -> None:
        if not path.exists():
            path.mkdir(adoption.below_mode or 0o755, parents=True)
            if adoption.below_uid is not None and adoption.below_gid is not None:
                os.chown(path, adoption.below_uid, adoption.below_gid)

    with suppress(DeadlinePassed):
        in_expendable_child(make, doing=volume.mount.path)
