"""Detaching a volume: file system, loop device, gate; its legs are plain images afterwards.

Invariant: while anyone uses the volume nothing is changed.
"""

from __future__ import annotations

import shutil

from holdfast.config import Settings
from holdfast.errors import GateGone, LastLeg, VolumeHeld
from holdfast.gate.client import GateClient
from holdfast.gate.launch import gate_is_running
from holdfast.model.volume import LegState, Volume
from holdfast.system.loop import LoopDevice, detach_loop, loop_devices
from holdfast.system.mounts import mount_at
from holdfast.volumes.dismounting import detach_loops, dismount, stop_gate
from holdfast.volumes.progress import Progress, silent
from holdfast.volumes.recover import clean_volume
from holdfast.volumes.stack import examine_stack


def detach_volume(
    settings: Settings,
    volume: Volume,
    progress: Progress | None = None,
    *,
    may_end: bool = False,
) -> None:
    """Take the volume's stack down; durable and clean when it returns. Idempotent.

    Blocks while dirty pages are written. Raises InUse naming who uses it, VolumeHeld while it is
    held, LastLeg when nobody could find its data afterwards (unless it `may_end` with the gate),
    DeadlinePassed.
    """
    say = progress or silent
    name = volume.name
    run_directory = settings.gate_run_directory(name)
    if not gate_is_running(run_directory):
        clean_volume(settings, name)
        _dismount_orphans(volume)
        shutil.rmtree(run_directory, ignore_errors=True)
        return
    _refuse_held(settings, name)
    if not may_end:
        _refuse_nameless(settings, name)
    say("unmount")
    stack = examine_stack(settings, name)
    for mount in reversed(stack.mounts):
        dismount(mount, name)
    _dismount_orphans(volume)
    say("detach the loop device")
    detach_loops(stack, name)
    say("stop the gate")
    stop_gate(settings, name)
    shutil.rmtree(run_directory, ignore_errors=True)


def _refuse_held(settings: Settings, name: str) -> None:
    try:
        shown = GateClient(settings.gate_run_directory(name)).show()
    except GateGone:
        return
    if shown["held"] and not shown["hold_expired"]:
        raise VolumeHeld(
            f"{name} is held ({shown['hold_reason']}): its dirty data cannot be written",
            f"Bring a leg back or add one, or holdfast volume release {name}.",
        )


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

    Somebody detached the gate's device file lazily: the loop device names it no more, and the stack
    does not show it. Raises InUse.
    """
    path = volume.mount.path
    while (mount := mount_at(path)) is not None:
        loops = [loop for loop in loop_devices() if loop.device == mount.source]
        if not any(_is_nameless(loop) for loop in loops):
            return  # somebody else's
        dismount(mount, volume.name)
        for loop in loops:
            detach_loop(loop.device, loop.backing_file)


def _is_nameless(loop: LoopDevice) -> bool:
    """Whether the kernel shows the root of a file system that is mounted nowhere as its file."""
    return loop.backing_file in ("", "/")
