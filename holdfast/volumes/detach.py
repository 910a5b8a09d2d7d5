"""Detaching a volume: file system, block device, gate; its legs are plain images afterwards.

Invariant: while anyone uses the volume, in whatever mount namespace, nothing is changed; what
fails later on mounts it again.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from contextlib import suppress

from holdfast.config import Settings
from holdfast.errors import GateGone, LastLeg
from holdfast.gate.outside.client import GateClient
from holdfast.gate.outside.launch import gate_is_running
from holdfast.gate.outside.run_directory import remove_run_directory
from holdfast.model.mountpoint import MountPoint
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import LegState, Volume
from holdfast.mountpoints.capture import capture_device, in_dismount_order
from holdfast.mountpoints.dismount import dismount
from holdfast.mountpoints.placing import Manner
from holdfast.mountpoints.remount import remount
from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.storage.block import device_number
from holdfast.volumes.checks.held import held
from holdfast.volumes.gate_device import gate_device
from holdfast.volumes.recover import clean_volume
from holdfast.volumes.stack.examine import Stack, examine_stack
from holdfast.volumes.stack.take_down import take_down


def detach_volume(
    settings: Settings,
    volume: Volume,
    reporter: Reporter = SILENT,
    *,
    may_end: bool = False,
) -> None:
    """Take the volume's stack down; durable and clean when it returns. Idempotent.

    Blocks while dirty pages are written. Raises InUse naming who uses it, VolumeHeld while it is
    held, LastLeg when nobody could find its data afterwards (unless it `may_end` with the gate),
    DeadlinePassed.
    """
    name = volume.name
    run_directory = settings.gate_run_directory(name)
    if not gate_is_running(run_directory):
        clean_volume(settings, name)
        _dismount_orphans(volume)
        remove_run_directory(run_directory)
        return
    _refuse_held(settings, name)
    if not may_end:
        _refuse_nameless(settings, name)
    reporter.say("unmount")
    stack = examine_stack(settings, name)
    gate_device().check_unused(settings, name)
    points = dismount(_points_of(stack), must_sync=False, note=reporter.find)
    _dismount_orphans(volume)
    take_down(settings, name, stack, refused=lambda: _mount_again(points), reporter=reporter)


def _points_of(stack: Stack) -> tuple[MountPoint, ...]:
    """Every mount of the volume's file system, in all mount namespaces."""
    devices = {mount.device_number for mount in stack.mounts}
    for device in stack.devices:
        with suppress(OSError):
            devices.add(device_number(device))
    found = [point for device in devices for point in capture_device(device)]
    return in_dismount_order(found)


def _mount_again(points: Sequence[MountPoint]) -> None:
    if points:
        old = points[-1]
        manner = Manner(undoing=True)
        for root in remount(points, old.source, old.filesystem, manner=manner).values():
            os.close(root)


def _refuse_held(settings: Settings, name: str) -> None:
    try:
        shown = GateClient(settings.gate_run_directory(name)).show()
    except GateGone:
        return
    if shown["held"] and not shown["hold_expired"]:
        on_purpose = bool(shown.get("held_on_purpose"))
        raise held(name, str(shown["hold_reason"]), on_purpose=on_purpose)


def _refuse_nameless(settings: Settings, name: str) -> None:
    """The current data must be found by a name when the gate has let go of it."""
    try:
        shown = GateClient(settings.gate_run_directory(name)).look()
    except GateGone:
        return
    if any(leg["state"] == LegState.IN_SYNC for leg in shown["legs"]):
        return
    for leg in shown["legs"]:
        if leg["number"] in shown["nameless"]:
            raise LastLeg(
                f"leg {leg['number']} of {name} ({leg['url']}) has the only current data, and"
                f" {leg['reason']}: nobody would find it again",
                f"Give it its name back where it has another one now (mv); or: holdfast leg add"
                f" {name} {leg['url']}, or any other URL, and wait until that is in sync.",
            )


def _dismount_orphans(volume: Volume) -> None:
    """Dismount what is still mounted at the volume's place from a device whose file has no name.

    Somebody took the gate's connection away from under the device, which the stack does not show
    any more. Raises InUse.
    """
    path = volume.mount.path
    while (mount := mount_at(path)) is not None:
        close = gate_device().orphan(mount.source) if mount.is_from(mount.source) else None
        if close is None:
            return  # somebody else's
        dismount(capture_device(mount.device_number), must_sync=False)
        close()
