"""A volume as the other kind: a plain mount that is to have a gate, a gated one that is to lose it.

Owns what stays of it then, and what keeps a gate from being. Changes nothing.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from holdfast.adopted.properties import primary
from holdfast.config import Settings
from holdfast.errors import AlreadyExists
from holdfast.gate.processes.remains import living_processes
from holdfast.model.mountpoint import MountPoint
from holdfast.model.volume import ADOPTED, GATED, Adoption, JournalMode, Volume
from holdfast.mountpoints.surplus.recording import recordable
from holdfast.system.boot import boot_id
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.fuse.wire import open_connection
from holdfast.volumes.checks.foundation import check_state_directory
from holdfast.volumes.checks.new_volume import check_values


def with_gate(
    volume: Volume,
    points: Sequence[MountPoint],
    journal: JournalMode,
    hold_timeout_seconds: float,
    hang_timeout_seconds: float,
) -> Volume:
    """An adopted volume as one that has a gate, still without legs. Pure.

    Its mount options are those of the mount it is called by; `target.design` adds the file
    system's own. Times in seconds.
    """
    options = primary(points, volume.mount.path).options
    return replace(
        volume,
        kind=GATED,
        adoption=None,
        mount=replace(volume.mount, options=options),
        journal=journal,
        hold_timeout_seconds=hold_timeout_seconds,
        hang_timeout_seconds=hang_timeout_seconds,
    )


def without_gate(volume: Volume, points: Sequence[MountPoint]) -> Volume:
    """A gated volume as a plain mount, whose container and options `target.design` fills in."""
    return replace(
        volume,
        kind=ADOPTED,
        leg_urls=(),
        spare_urls=(),
        journal=JournalMode.NONE,
        mount=replace(volume.mount, options=primary(points, volume.mount.path).options),
        adoption=Adoption(
            source="", points=recordable(points), boot_id=boot_id(), left_gate=volume.id
        ),
    )


def check_gate_can_be(settings: Settings, volume: Volume) -> None:
    """Raise what keeps this volume, which has none, from having a gate on this host.

    AlreadyExists for what another volume of that name has left, OwnLeg for a state directory on
    managed storage, MissingFuse, InvalidSize.
    """
    check_values(volume)
    os.close(open_connection())
    name = volume.name
    place = settings.gate_state_directory(name)
    pids = living_processes(settings.gate_run_directory(name))
    if pids:
        raise AlreadyExists(
            f"the gate of another volume named {name} runs (processes {', '.join(map(str, pids))})",
            f"holdfast volume delete {name} forgets this mount; adopt it under another name.",
        )
    if place.exists() and any(place.iterdir()):
        raise AlreadyExists(
            f"another volume named {name} has left its state in {place}",
            "Move that directory away when its legs are of no use any more; or adopt this mount"
            " under another name.",
        )
    check = partial(check_state_directory, settings, name, volume.mount.path)
    in_expendable_child(check, doing=str(settings.state_directory))
