"""Processes that have confined themselves with Landlock (landlock(7)).

Its rules are bound to inodes in the kernel's memory and end with the dismount: such a process keeps
its descriptors, and may open nothing on the volume any more. The kernel does not say who is
confined, so it is tried inside the stopped process, on an empty folder of ours that everybody may
list and no rule can name. Nothing is changed. With another security module (AppArmor, SELinux) the
result of the test would mean nothing, and is not asked for.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Sequence

from holdfast.applications.rebind.parking.placeholders import Placeholders
from holdfast.applications.rebind.parking.stopped_process import Processes, StoppedProcess
from holdfast.errors import Blocked
from holdfast.system.proc import read_record
from holdfast.system.processes.landlock import has_landlock

_UNCONFINED = (b"", b"unconfined", b"kernel")


def refuse_confined(processes: Processes, without: Collection[int] = ()) -> None:
    """Raises Blocked for those that would lose what their rules permit them; `without`: numbers of
    those that have nothing there to lose."""
    if not processes or not has_landlock():
        return
    placeholders = Placeholders()
    try:
        found = []
        for process in list(processes.values()):
            with processes.unless_it_ends(process):
                if process.pid not in without and _is_confined(process, placeholders.directory):
                    found.append(process)
    finally:
        placeholders.close()
    if found:
        raise _blocked(found)


def _blocked(found: Sequence[StoppedProcess]) -> Blocked:
    names = ", ".join(f"{each.name} (process {each.pid})" for each in found[:3])
    return Blocked(
        f"{names} confined itself with Landlock: its rules end with the dismount, and it could open"
        " nothing on the volume any more, only keep what it has open",
        "Restart it afterwards, and use --force.",
    )


def _is_confined(process: StoppedProcess, directory: int) -> bool:
    if _has_another_label(process.pid):
        return False
    tracee = process.tracee
    number = tracee.give(directory)
    try:
        tracee.write(tracee.scratch, b".\0")
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        opened = tracee.call("openat", number, tracee.scratch, flags, 0)
    except PermissionError:
        return True
    except ProcessLookupError:
        raise
    except OSError:
        return False
    finally:
        tracee.call("close", number)
    tracee.call("close", opened)
    return False


def _has_another_label(pid: int) -> bool:
    try:
        label = read_record(f"/proc/{pid}/attr/current").rstrip(b"\0\n")
    except OSError:
        return False
    return label.partition(b" ")[0] not in _UNCONFINED and not label.startswith(b"_")
