"""Undoing what a crash left of a volume's stack: only what is dead, never what lives.

Dead means: no gate of that volume runs, and its device file, asked in an expendable child, answers
that its server is gone. What does not answer at all may still live and is left alone. A dismount
is lazy only here, and only after the orderly one was refused: the device below is gone, so the
processes that still use it can reach nothing any more.
"""

from __future__ import annotations

import errno
import os
import time
from contextlib import suppress
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import CommandFailed, DeadlinePassed, GateGone, HoldfastError, InUse
from holdfast.gate.processes.launch import gate_is_running
from holdfast.gate.processes.remains import living_processes, record_end, wake
from holdfast.model.recovery import Left
from holdfast.system.expendable import in_expendable_child
from holdfast.system.loop import detach_loop, loop_devices
from holdfast.system.mounts import mount_at, mounts, unmount
from holdfast.system.own_group import remove_group
from holdfast.volumes.stack.abandoned import end_abandoned, find_abandoned
from holdfast.volumes.stack.examine import Stack, examine_stack, volume_of_device_file

_PROBE_SECONDS = 3.0
_DISMOUNT_SECONDS = 20.0
_ENDING_SECONDS = 3.0
_POLL_SECONDS = 0.01
_SERVER_GONE = (errno.ENOTCONN, errno.ESHUTDOWN, errno.ECONNABORTED, errno.EIO)


def recover(settings: Settings) -> list[str]:
    """Clean up after every volume whose gate died; one sentence per thing done. Idempotent."""
    done: list[str] = []
    for name in volumes_with_traces(settings):
        try:
            done += clean_volume(settings, name)
        except (GateGone, InUse, DeadlinePassed, CommandFailed) as error:
            done.append(Left(f"{name} was left as it is: {error}"))
    return done


def volumes_with_traces(settings: Settings) -> list[str]:
    """Names of the volumes of which a run directory, a device mount or a loop device exists."""
    gates = settings.run_directory / "gates"
    names = {entry.name for entry in gates.iterdir()} if gates.is_dir() else set()
    paths = [mount.path for mount in mounts()] + [loop.backing_file for loop in loop_devices()]
    names.update(filter(None, (volume_of_device_file(settings, path) for path in paths)))
    return sorted(names)


def clean_volume(settings: Settings, name: str) -> list[str]:
    """Take away what is left of one volume's stack when its gate is dead.

    Does nothing while the gate runs. Raises GateGone when the gate seems dead and its device file
    does not say so.
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
    done += _detach_nameless(settings, name)
    stack = examine_stack(settings, name)
    if stack.is_empty:
        return done
    if stack.device_mount is not None:
        _check_dead(stack.device_file, name)
    done += _dismount_file_systems(stack)
    done += _detach(stack)
    while mount_at(stack.device_file) is not None:
        done.append(_dismount(str(stack.device_file)))
    return done


def _wake(settings: Settings, name: str) -> list[str]:
    """Let a gate go on both processes of which somebody stopped."""
    woken = wake(settings.gate_run_directory(name))
    return [f"let the gate of {name} go on: {_listed(woken)} stood still"] if woken else []


def _still_living(run_directory: Path) -> list[int]:
    """Which processes of a gate do not end; those that were killed just now are about to."""
    deadline = time.monotonic() + _ENDING_SECONDS
    while (living := living_processes(run_directory)) and time.monotonic() < deadline:
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
        return end_abandoned(settings, name)
    except (HoldfastError, OSError):
        return []  # whoever asks the device next says what is the matter


def record_ends(settings: Settings) -> None:
    """Write the receipts of gates that ended without a word, and let go whoever waits for them.

    Never fails.
    """
    gates = settings.run_directory / "gates"
    with suppress(OSError):
        for entry in list(gates.iterdir()):
            known = settings.gate_state_directory(entry.name).is_dir()
            if known and _record_end(settings, entry.name):
                _end_connection(settings, entry.name)


def _check_dead(device_file: Path, name: str) -> None:
    def answers() -> bool:
        try:
            os.close(os.open(device_file, os.O_RDONLY | os.O_CLOEXEC))
        except OSError as error:
            if error.errno in _SERVER_GONE:
                return False
            raise
        return True

    try:
        alive = in_expendable_child(answers, _PROBE_SECONDS, str(device_file))
    except DeadlinePassed:
        alive = True
    if alive:
        raise GateGone(
            f"nobody answers for the gate of {name}, yet its connection is still open",
            "A process of it is stopped or about to end: look for it (fuser -v /dev/fuse).",
        )


def _dismount_file_systems(stack: Stack) -> list[str]:
    done = []
    for mount in reversed(stack.mounts):
        inner = [each.path for each in mounts() if each.path.startswith(f"{mount.path}/")]
        if inner:
            raise InUse(
                f"{inner[-1]} is mounted below the dead {mount.path}", f"umount {inner[-1]}"
            )
        done.append(_dismount(mount.path))
    return done


def _dismount(path: str) -> str:
    try:
        in_expendable_child(lambda: unmount(path), _DISMOUNT_SECONDS, path)
    except (InUse, DeadlinePassed, CommandFailed):
        unmount(path, lazy=True)
        return f"dismounted the dead {path}; processes still have it open"
    return f"dismounted the dead {path}"


def _detach_nameless(settings: Settings, name: str) -> list[str]:
    """The mount namespace in which the gate's device was mounted ended with the gate."""
    named = examine_stack(settings, name).loops
    done = []
    for loop in find_abandoned(settings, name).loops:
        if loop not in named:
            with suppress(InUse):
                detach_loop(loop.device, loop.backing_file)
                done.append(f"detached {loop.device} from the dead gate of {name}")
    return done


def _detach(stack: Stack) -> list[str]:
    done = []
    for loop in stack.loops:
        try:
            detach_loop(loop.device, loop.backing_file)
            done.append(f"detached {loop.device} from the dead {stack.device_file}")
        except InUse:
            done.append(f"{loop.device} detaches when its last user closes it")
    return done
