"""Detaching a volume: file system, loop device, gate; its legs are plain images afterwards.

Invariant: while anyone uses the volume nothing is changed.
"""

from __future__ import annotations

import shutil

from holdfast.config import Settings
from holdfast.errors import GateGone, VolumeHeld
from holdfast.gate.client import GateClient
from holdfast.gate.launch import gate_is_running
from holdfast.model.volume import Volume
from holdfast.volumes.dismounting import detach_loops, dismount, stop_gate
from holdfast.volumes.progress import Progress, silent
from holdfast.volumes.recover import clean_volume
from holdfast.volumes.stack import examine_stack


def detach_volume(settings: Settings, volume: Volume, progress: Progress | None = None) -> None:
    """Take the volume's stack down; durable and clean when it returns. Idempotent.

    Blocks while dirty pages are written. Raises InUse naming who uses it, VolumeHeld while it is
    held, DeadlinePassed.
    """
    say = progress or silent
    name = volume.name
    run_directory = settings.gate_run_directory(name)
    if not gate_is_running(run_directory):
        clean_volume(settings, name)
        shutil.rmtree(run_directory, ignore_errors=True)
        return
    _refuse_held(settings, name)
    say("unmount")
    stack = examine_stack(settings, name)
    for mount in reversed(stack.mounts):
        dismount(mount, name)
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
