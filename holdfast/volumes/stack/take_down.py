"""Taking a stack down from the top: file system, block device, gate.

Every step runs where it cannot hang the caller, and is done already when there is nothing to do.
Must never dismount lazily: a file system that is still in use is the caller's to name.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress

from holdfast.config import Settings
from holdfast.errors import DeadlinePassed, InUse
from holdfast.gate.outside import launch
from holdfast.gate.outside.run_directory import remove_run_directory
from holdfast.gate.processes.remains import lingering_processes
from holdfast.gate.runtime.shared_page import STOPPED, open_page
from holdfast.model.reporter import SILENT, Reporter
from holdfast.mountpoints.busy import users_in_words
from holdfast.mountpoints.capture import capture_device
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts.mount_table import Mount, unmount
from holdfast.system.mounts.users import users_of_device
from holdfast.system.resources.own_group import remove_group
from holdfast.volumes.gate_device import gate_device
from holdfast.volumes.stack.examine import Stack, examine_stack

DISMOUNT_SECONDS = 120.0
"""Dirty pages of a large cache are written first; the kernel's hung-task watchdog has the same."""

STOP_SECONDS = 30.0
"""A gate flushes its legs and journal before it stops."""

_POLL_SECONDS = 0.01


def dismount_one(mount: Mount, name: str) -> None:
    """Dismount the volume's file system at this place. Raises InUse naming who keeps it busy."""
    try:
        in_expendable_child(
            lambda: unmount(mount.path), DISMOUNT_SECONDS, f"the file system at {mount.path}"
        )
    except InUse:
        raise InUse(
            f"{name} is in use: {users_in_words(capture_device(mount.device_number))}",
            "Let them finish or stop them, then try again.",
        ) from None


def dismount_stack(settings: Settings, name: str) -> None:
    """Dismount whatever shows the volume in our own mount namespace. Idempotent. Raises InUse."""
    for mount in reversed(examine_stack(settings, name).mounts):
        dismount_one(mount, name)


def take_down(
    settings: Settings,
    name: str,
    was: Stack,
    *,
    refused: Callable[[], None] = lambda: None,
    reporter: Reporter = SILENT,
) -> None:
    """Take away the block device and stop the gate of a volume that is mounted nowhere. Idempotent.

    Durable and clean when it returns. `was` is the stack as it was mounted, `refused` is called
    when the device is still open. Raises InUse, DeadlinePassed.
    """
    reporter.say("detach the block device")
    try:
        close_device(settings, name, was)
    except InUse:
        refused()
        raise
    reporter.say("stop the gate")
    stop_gate(settings, name)
    remove_run_directory(settings.gate_run_directory(name))


def close_device(settings: Settings, name: str, was: Stack | None = None) -> None:
    """Take away the block device. Raises InUse while another mount namespace has it."""
    mounts = (was or examine_stack(settings, name)).mounts
    try:
        gate_device().close(settings, name)
    except InUse as error:
        others = [
            str(user)
            for mount in mounts
            for user in users_of_device(mount.device_number, foreign_namespaces=True)
        ]
        if not others:
            raise
        raise InUse(
            f"{error.message} in another mount namespace: {'; '.join(others)}", error.mend
        ) from error


def stop_gate(settings: Settings, name: str) -> bool:
    """Stop the gate and wait until its processes have ended; False when it did not run.

    The legs are flushed and marked clean by the gate. Raises InUse, DeadlinePassed.
    """
    stopped = launch.stop_gate(settings.gate_run_directory(name), STOP_SECONDS)
    deadline = time.monotonic() + STOP_SECONDS
    while stopped and gate_device().is_connected(settings, name):
        if time.monotonic() > deadline:
            raise DeadlinePassed(
                f"the kernel has not let go of the gate of {name}", "holdfast recover"
            )
        time.sleep(_POLL_SECONDS)
    return stopped


def abandon_gate(settings: Settings, name: str, pids: Sequence[int]) -> None:
    """Kill the gate's processes at once: what it withholds fails, and its legs stay as they are.

    For a volume that is to be destroyed and whose storage is gone. Both are stopped before either
    is killed, or the one would restore the other. Raises DeadlinePassed.
    """
    run_directory = settings.gate_run_directory(name)
    for number in (signal.SIGSTOP, signal.SIGKILL):
        for pid in pids:
            with suppress(ProcessLookupError):
                os.kill(pid, number)
    with suppress(OSError):
        open_page(run_directory)[STOPPED] = 1  # its end needs no receipt: it was wanted
    deadline = time.monotonic() + STOP_SECONDS
    while launch.gate_is_running(run_directory) or lingering_processes(run_directory):
        if time.monotonic() > deadline:
            raise DeadlinePassed(f"the gate of {name} does not end", "Look for its processes.")
        time.sleep(_POLL_SECONDS)
    remove_group(run_directory.name)
