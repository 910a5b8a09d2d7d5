"""What `volume show` says of an adopted volume.

Reads the mount tables; asks the mount itself in an expendable child. Must never change anything.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from holdfast.adopted.nameless_image import nameless_image
from holdfast.adopted.present import adoption_of, is_same_storage, occupant_of
from holdfast.adopted.properties import primary
from holdfast.config import Settings
from holdfast.errors import NotMounted
from holdfast.model.mountpoint import MountPoint
from holdfast.model.plan import Cause
from holdfast.model.volume import MountReport, Volume, VolumeReport, VolumeState
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.health import CAUSES, health
from holdfast.system.mounts.mount_table import Mount
from holdfast.system.mounts.namespace import mount_namespace
from holdfast.system.proc import name_of


def report_adopted(settings: Settings, volume: Volume) -> VolumeReport:
    """The volume as it is now. Blocks some seconds at most when its mount hangs."""
    adoption = adoption_of(volume)
    path = volume.mount.path
    occupant = occupant_of(volume)
    points: Sequence[MountPoint] = ()
    with suppress(NotMounted):
        points = capture(path) if occupant is not None else ()
    state, reason, mend = VolumeState.DETACHED, "", ""
    cause: Cause | None = None
    if occupant is None and volume.attached:
        reason, mend = f"nothing is mounted at {path}", f"holdfast volume attach {volume.name}"
    if occupant is not None and points:
        state, reason, mend, cause = _condition(volume, occupant, primary(points, path))
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
        mend=mend,
        wanted=volume.attached,
        mounts=tuple(map(_mount_report, reversed(points))),
        lost_by=cause,
    )


def _condition(
    volume: Volume, mounted: Mount, point: MountPoint
) -> tuple[VolumeState, str, str, Cause | None]:
    if not is_same_storage(volume, mounted):
        return (
            VolumeState.FAILED,
            f"{mounted.source} ({mounted.filesystem}) is mounted at {mounted.path} instead",
            f"Dismount that, then holdfast volume attach {volume.name}",
            None,
        )
    answer = health(point, wanted_read_only=_wants_read_only(volume))
    image = nameless_image(point)
    if answer.is_ok and image:
        return (
            VolumeState.DEGRADED,
            f"its image {image} was deleted or replaced, and lives as long as it is mounted",
            f"holdfast migrate {volume.name} file:/another.img",
            None,
        )
    if answer.is_ok:
        return VolumeState.HEALTHY, "", "", None
    reason = f"{answer.condition}: {answer.finding.found}"
    mend = f"holdfast assess {volume.name}"
    cause = None if answer.is_asked_for else CAUSES.get(answer.condition)
    return VolumeState.FAILED, reason, mend, cause


def _wants_read_only(volume: Volume) -> bool:
    fields = volume.mount.fstab.split()
    asked = fields[3].split(",") if len(fields) > 3 else []
    return "ro" in asked or "ro" in adoption_of(volume).super_options.split(",")


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
