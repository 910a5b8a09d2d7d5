"""Adopted volumes that nobody uses: dismounting them, mounting them again, saying how they are.

Volumes with users go through a restoration, which is made of the same parts. Must never delete
anything: a volume that is forgotten stays mounted as it is.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import replace
from pathlib import Path

from holdfast.config import Settings
from holdfast.containers import device_behind, is_container_url
from holdfast.errors import AlreadyExists, DeadlinePassed, HoldsData, NotMounted, StorageFailed
from holdfast.model.mountpoint import MountPoint
from holdfast.model.volume import (
    Adoption,
    MountProperties,
    MountReport,
    Volume,
    VolumeReport,
    VolumeState,
)
from holdfast.system.boot import boot_id
from holdfast.system.cover import is_cover
from holdfast.system.expendable import in_expendable_child
from holdfast.system.mounts import Mount, mount_at
from holdfast.system.namespace import mount_namespace
from holdfast.system.proc import name_of
from holdfast.volumes.adopt import MEMORY_TYPES
from holdfast.volumes.capture import capture
from holdfast.volumes.dismount import dismount
from holdfast.volumes.health import health
from holdfast.volumes.nameless import nameless_image
from holdfast.volumes.progress import Progress, silent
from holdfast.volumes.properties import primary, properties
from holdfast.volumes.remount import Note, remount
from holdfast.volumes.source import identity_of, let_go_of_source, mountable_source


def detach_adopted(settings: Settings, volume: Volume, progress: Progress | None = None) -> Volume:
    """Dismount an adopted volume everywhere; the volume with its mounts as they were. Idempotent.

    Blocks while dirty pages are written. Raises InUse naming its users, with everything mounted as
    before; HoldsData for one that lives in memory.
    """
    say = progress or silent
    if _mounted(volume) is None:
        return volume
    if volume.mount.filesystem in MEMORY_TYPES:
        raise HoldsData(
            f"{volume.name} is {volume.mount.filesystem}: its files would end with the dismount",
            "holdfast migrate moves them to storage.",
        )
    points = capture(volume.mount.path)
    mount, adoption = properties(points, volume.mount.path)
    recorded = _adoption(volume)
    if adoption.source == recorded.source:  # whose loop device it is cannot be seen
        adoption = replace(adoption, loop_options=recorded.loop_options)
    kept = replace(volume, mount=_merged(volume.mount, mount), adoption=adoption)
    _refuse_nameless(volume, primary(points, volume.mount.path))
    say("dismount")
    points = dismount(points)
    let_go_of_source(adoption)
    return replace(kept, adoption=replace(adoption, points=points))


def _refuse_nameless(volume: Volume, point: MountPoint) -> None:
    """What the volume lies in must be found by a name when it is mounted nowhere."""
    image = nameless_image(point)
    if image:
        raise HoldsData(
            f"the image of {volume.name} has no name any more: {image} was deleted, or replaced by"
            f" another file. Its data would end with the dismount, or with the next boot",
            f"holdfast migrate {volume.name} file:/another.img moves it while it is used.",
        )


def attach_adopted(
    settings: Settings,
    volume: Volume,
    progress: Progress | None = None,
    note: Note | None = None,
) -> Volume:
    """Mount an adopted volume again where it was, from its own source; idempotent.

    After a reboot only the mounts of our own namespace come back: the others ended with it. Raises
    AlreadyExists when something else is mounted there, StorageFailed when its source is gone.
    """
    say = progress or silent
    adoption = _adoption(volume)
    present = _mounted(volume)
    if present is not None:
        return volume
    occupant = _occupant(volume)
    if occupant is not None:
        raise AlreadyExists(
            f"{occupant.source} is mounted at {volume.mount.path}", f"umount {volume.mount.path}"
        )
    say("find its storage")
    source, more = mountable_source(volume.mount, adoption)
    options = ",".join(filter(None, (adoption.super_options, more)))
    say("mount")
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
    adoption = _adoption(volume)
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
    points = _adoption(volume).points
    # Ours come last in the order of dismounting.
    return next((each for each in reversed(points) if each.path == volume.mount.path), points[-1])


def report_adopted(settings: Settings, volume: Volume) -> VolumeReport:
    """The volume as it is now. Blocks some seconds at most when its mount hangs."""
    adoption = _adoption(volume)
    path = volume.mount.path
    occupant = _occupant(volume)
    points: Sequence[MountPoint] = ()
    with suppress(NotMounted):
        points = capture(path) if occupant is not None else ()
    state, reason = VolumeState.DETACHED, ""
    if occupant is None and volume.attached:
        reason = f"nothing is mounted at {path}: holdfast volume attach {volume.name}"
    if occupant is not None and points:
        state, reason = _condition(volume, occupant, primary(points, path))
    return VolumeReport(
        name=volume.name,
        kind=volume.kind,
        state=state,
        mount=path,
        filesystem=volume.mount.filesystem,
        size_bytes=volume.size_bytes,
        device=occupant.source if occupant else "",
        id=volume.id,
        options=volume.mount.options,
        label=volume.mount.label,
        uuid=volume.mount.uuid,
        journal=str(volume.journal),
        epoch=0,
        source=adoption.source,
        reason=reason,
        mounts=tuple(map(_mount_report, reversed(points))),
    )


def is_same_storage(volume: Volume, mounted: Mount) -> bool:
    """Whether what is mounted is what was adopted: the same UUID, else the same source and type."""
    adoption = _adoption(volume)
    if mounted.filesystem != volume.mount.filesystem:
        return False
    if mounted.source == device_behind(adoption.source):
        return True
    if not is_container_url(adoption.source):
        return mounted.source == adoption.source
    if not volume.mount.uuid:
        return True
    found = identity_of(mounted.source)
    return found is None or found.uuid == volume.mount.uuid


def _mounted(volume: Volume) -> Mount | None:
    """The volume's own mount at its path, when it is there."""
    mounted = _occupant(volume)
    return mounted if mounted is not None and is_same_storage(volume, mounted) else None


def _occupant(volume: Volume) -> Mount | None:
    """What is mounted at its path; a cover is nothing."""
    mounted = mount_at(volume.mount.path)
    return None if mounted is None or is_cover(mounted) else mounted


def _condition(volume: Volume, mounted: Mount, point: MountPoint) -> tuple[VolumeState, str]:
    if not is_same_storage(volume, mounted):
        return VolumeState.FAILED, (
            f"{mounted.source} ({mounted.filesystem}) is mounted at {mounted.path} instead"
        )
    answer = health(point, wanted_read_only=_wants_read_only(volume))
    image = nameless_image(point)
    if answer.is_ok and image:
        return VolumeState.DEGRADED, (
            f"its image {image} was deleted or replaced, and lives as long as it is mounted:"
            f" holdfast migrate {volume.name} file:/another.img"
        )
    if answer.is_ok:
        return VolumeState.HEALTHY, ""
    return VolumeState.FAILED, f"{answer.condition}: {answer.finding.found}"


def _wants_read_only(volume: Volume) -> bool:
    fields = volume.mount.fstab.split()
    asked = fields[3].split(",") if len(fields) > 3 else []
    return "ro" in asked or "ro" in _adoption(volume).super_options.split(",")


def _adoption(volume: Volume) -> Adoption:
    if volume.adoption is None:
        raise StorageFailed(
            f"the catalog has lost what it knew of the adopted volume {volume.name}",
            f"holdfast volume delete {volume.name} forgets it; then adopt it again.",
        )
    return volume.adoption


def _merged(recorded: MountProperties, now: MountProperties) -> MountProperties:
    """What is now, with what a storage that does not answer could not say."""
    return replace(now, label=now.label or recorded.label, uuid=now.uuid or recorded.uuid)


def _make_directory(volume: Volume) -> None:
    path = Path(volume.mount.path)
    adoption = _adoption(volume)

    def make() -> None:
        if not path.exists():
            path.mkdir(adoption.below_mode or 0o755, parents=True)
            if adoption.below_uid is not None and adoption.below_gid is not None:
                os.chown(path, adoption.below_uid, adoption.below_gid)

    with suppress(DeadlinePassed):
        in_expendable_child(make, doing=volume.mount.path)


def _mount_report(point: MountPoint) -> MountReport:
    process = ""
    if point.namespace != mount_namespace(os.getpid()):
        name = ""
        with suppress(OSError):
            name = name_of(point.witness_pid)
        process = f"{name} (process {point.witness_pid})" if name else str(point.witness_pid)
    return MountReport(
        path=point.path,
        inside=point.inside,
        options=point.options,
        propagation=point.propagation,
        namespace=point.namespace,
        process=process,
    )
