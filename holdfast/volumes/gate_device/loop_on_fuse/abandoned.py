"""What waits for a gate of which no process lives: its connections are found, and ended.

A connection outlives its gate where a killed process cannot close it: a thread of it hangs inside
dead storage, or somebody has a copy of the descriptor. Nobody will ever answer, so every `sync` of
the host hangs. Invariant: only what provably belongs to that gate is touched; numbers of
connections and loop devices are used again, the inode of a gate's device file is drawn anew at each
start. Blocks a few seconds at most.
"""

from __future__ import annotations

import os

from holdfast.config import Settings
from holdfast.gate.processes.remains import abandoned_inode
from holdfast.late_dataclass import dataclass
from holdfast.system.fuse.connections import abort_connection, waiting_requests
from holdfast.system.mounts.mount_table import mount_at
from holdfast.system.storage.loop import LoopDevice, loop_devices
from holdfast.system.storage.loop_backing import backing_identities
from holdfast.volumes.gate_device.loop_on_fuse.device_file import device_file_of

NAMELESS = ("", "/")
"""What the kernel shows for a file of a file system that is mounted nowhere any more."""


@dataclass(frozen=True)
class Abandoned:
    """What is left in the kernel of one gate."""

    devices: frozenset[str]
    """`major:minor` of its file system: normally none or one."""
    loops: tuple[LoopDevice, ...]
    """Its loop devices, also those that name it no more."""

    def waiting(self) -> int:
        """How many requests have no answer. Raises HoldfastError, OSError."""
        return sum(map(waiting_requests, self.devices))


def find_abandoned(settings: Settings, name: str) -> Abandoned:
    """What is left of a gate of which no process lives; nothing for one that does."""
    inode = abandoned_inode(settings.gate_run_directory(name))
    if not inode:
        return Abandoned(frozenset(), ())
    device_file = device_file_of(settings, name)
    loops = [each for each in loop_devices() if each.backing_file in (*NAMELESS, str(device_file))]
    files = backing_identities(each.device for each in loops).items()
    numbers = {device: number for device, (number, own_inode) in files if own_inode == inode}
    found = {
        loop: f"{os.major(numbers[loop.device])}:{os.minor(numbers[loop.device])}"
        for loop in loops
        if loop.device in numbers
    }
    mounted = mount_at(device_file)
    own = {mounted.device_number} if mounted is not None else set()
    return Abandoned(frozenset({*found.values(), *own}), tuple(found))


def end_abandoned(settings: Settings, name: str) -> list[str]:
    """End it; what waited for it gets errors now. One sentence for each that waited. Idempotent.

    Raises HoldfastError, OSError where the kernel does not let us.
    """
    done = []
    for device in find_abandoned(settings, name).devices:
        waiting = waiting_requests(device)
        abort_connection(device)
        if waiting:
            done.append(
                f"ended the connection {device} of {name}, for which {waiting} requests waited"
            )
    return done
