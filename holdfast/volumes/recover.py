"""Undoing what a crash left of a volume's stack: only what is dead, never what lives.

Dead means: no gate of that volume runs, and its device says that nobody serves it any more. What
does not answer at all may still live and is left alone. A dismount is lazy only here, and only
after the orderly one was refused: the device below is gone, so the processes that still use it can
reach nothing any more.
"""

from __future__ import annotations

import time
from contextlib import suppress
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import GateGone, HoldfastError, InUse
from holdfast.gate.outside.launch import gate_is_running
from holdfast.gate.processes.remains import lingering_processes, record_end, wake
from holdfast.mountpoints.dead import dismount_dead_path
from holdfast.system.mounts.mount_table import mounts
from holdfast.system.resources.own_group import remove_group
from holdfast.volumes.gate_device import gate_device
from holdfast.volumes.stack.examine import Stack, examine_stack

_ENDING_SECONDS = 3.0
_POLL_SECONDS = 0.01


def volumes_with_traces(settings: Settings) -> list[str]:
    """Names of the volumes of which a run directory, or anything in the kernel, is left."""
    gates = settings.run_directory / "gates"
    names = {entry.name for entry in gates.iterdir()} if gates.is_dir() else set()
    return sorted(names | gate_device().volumes(settings))


def clean_volume(settings: Settings, name: str) -> list[str]:
    """Take away what is left of one volume's stack when its gate is dead.

    Does nothing while the gate runs; what is done, in words. Idempotent. The caller has the turn on
    the volume. Raises InUse, DeadlinePassed, CommandFailed, and GateGone when the gate seems dead
    and its device file does not say so.
    """
    run_directory = settings.gate_run_directory(name)
    if gate_is_running(run_directory):
        return []
    done = _wake(settings, name)
    if done and gate_is_running(run_directory):
        return done
    living = _still_living(run_directory)
    if living:
        raise GateGone(
            f"the gate of {name} does not answer, and lives: processes {_listed(living)}",
            "Look what they do (/proc/PID/stack); killed, the volume gets errors until attached.",
        )
    done += _end_connection(settings, name)
    if _record_end(settings, name):
        done.append(f"recorded that all processes of the gate of {name} were killed")
    remove_group(name)
    gate_device().check_dead(settings, name)
    done += _dismount_file_systems(examine_stack(settings, name))
    return done + gate_device().clear(settings, name)


def _wake(settings: Settings, name: str) -> list[str]:
    """Let a gate go on both processes of which somebody stopped."""
    woken = wake(settings.gate_run_directory(name))
    return [f"let the gate of {name} go on: {_listed(woken)} stood still"] if woken else []


def _still_living(run_directory: Path) -> list[int]:
    """Which processes of a gate do not end; those that were killed just now are about to."""
    deadline = time.monotonic() + _ENDING_SECONDS
    while (living := lingering_processes(run_directory)) and time.monotonic() < deadline:
        time.sleep(_POLL_SECONDS)
    return living


def _listed(pids: list[int]) -> str:
    return " and ".join(map(str, pids))


def _record_end(settings: Settings, name: str) -> bool:
    """Write the receipt of a gate that ended without a word; whether there was one."""
    try:
        return record_end(settings.gate_state_directory(name), settings.gate_run_directory(name))
    except OSError:
        return False  # no room for a receipt must not keep anyone from cleaning up


def _end_connection(settings: Settings, name: str) -> list[str]:
    try:
        return gate_device().answer_with_errors(settings, name)
    except (HoldfastError, OSError):
        return []  # the next question to the device says what is wrong


def record_ends(settings: Settings) -> None:
    """Write the receipts of gates that were killed, and end what waits for them.

    Never fails.
    """
    gates = settings.run_directory / "gates"
    with suppress(OSError):
        for entry in list(gates.iterdir()):
            known = settings.gate_state_directory(entry.name).is_dir()
            if known and _record_end(settings, entry.name):
                _end_connection(settings, entry.name)


def _dismount_file_systems(stack: Stack) -> list[str]:
    done = []
    for mount in reversed(stack.mounts):
        inner = [each.path for each in mounts() if each.path.startswith(f"{mount.path}/")]
        if inner:
            raise InUse(
                f"{inner[-1]} is mounted below the dead {mount.path}", f"umount {inner[-1]}"
            )
        done.append(dismount_dead_path(mount.path))
    return done
