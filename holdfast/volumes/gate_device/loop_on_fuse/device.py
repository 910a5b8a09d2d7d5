"""A loop device on the one file of a gate's FUSE file system; `protocol` says what calls promise.

The gate mounts the file system itself; here the loop device is attached to its file. Finding reads
the mount table and sysfs only. Invariant: a device file and a loop device count as a gate's when
their path, or the file's inode, says so; numbers of loop devices are used again.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from pathlib import Path

from holdfast.config import Settings
from holdfast.errors import InUse
from holdfast.mountpoints.capture import capture_device
from holdfast.mountpoints.dead import dismount_dead_path
from holdfast.mountpoints.dismount import dismount
from holdfast.system.mounts.mount_table import mount_at, mount_holding, mounts
from holdfast.system.mounts.namespace import mount_namespace
from holdfast.system.mounts.users import users_of_device
from holdfast.system.storage.loop import (
    LoopDevice,
    attach_loop,
    detach_loop,
    loop_device_at,
    loop_devices,
    loop_devices_of,
    set_loop_capacity,
)
from holdfast.system.storage.loop_note import note_filesystem
from holdfast.volumes.gate_device.loop_on_fuse.abandoned import (
    NAMELESS,
    end_abandoned,
    find_abandoned,
)
from holdfast.volumes.gate_device.loop_on_fuse.dead import check_dead
from holdfast.volumes.gate_device.loop_on_fuse.device_file import (
    GATE_TYPE,
    device_file_of,
    device_mount,
    volume_of_device_file,
)
from holdfast.volumes.gate_device.protocol import ShownGate, Unanswered


class LoopOnFuse:
    """The gate's one file, and a loop device that has it as its backing file."""

    def attach(self, settings: Settings, name: str, sector_bytes: int) -> str:
        """As the protocol says: a loop device with direct I/O.

        It is noted on it, for everybody who looks for an image, that it shows a gate: while the
        gate stands still it may tell nobody.
        """
        attached = self.devices(settings, name)
        device = attach_loop(device_file_of(settings, name), sector_bytes=sector_bytes)
        if device not in attached:
            note_filesystem(device)
        return device

    def devices(self, settings: Settings, name: str) -> tuple[str, ...]:
        """As the protocol says."""
        return tuple(loop.device for loop in _loops(settings, name))

    def is_connected(self, settings: Settings, name: str) -> bool:
        """As the protocol says: the file system is mounted here."""
        return device_mount(settings, name) is not None

    def resized(self, device: str) -> None:
        """As the protocol says."""
        set_loop_capacity(device)

    def check_unused(self, settings: Settings, name: str) -> None:
        """As the protocol says: the file is mounted here alone, and only loop has it open."""
        found = device_mount(settings, name)
        if found is None:
            return
        _dismount_copies(found.device_number, name)
        users = users_of_device(found.device_number)
        if users:
            raise InUse(
                f"the gate's device of {name} is in use: {'; '.join(map(str, users))}",
                f"Let them finish or stop them: {found.path} is the gate's own.",
            )

    def close(self, settings: Settings, name: str) -> None:
        """As the protocol says."""
        for loop in _loops(settings, name):
            try:
                detach_loop(loop)
            except InUse as error:
                raise InUse(
                    f"{loop.device} of {name} is still open",
                    "It is freed when its last user ends; then try again.",
                ) from error

    def gate_behind(self, settings: Settings, path: str) -> ShownGate | None:
        """As the protocol says; of a loop device the gate that its backing file shows."""
        loop = loop_device_at(path)
        file = loop.backing_file if loop is not None else path
        name = volume_of_device_file(settings, file)
        if name is not None:
            return ShownGate(name, is_ours=True)
        mount = mount_holding(file)
        if mount is None or mount.filesystem != GATE_TYPE:
            return None
        return ShownGate(Path(mount.path).parent.name, is_ours=False)

    def volumes(self, settings: Settings) -> set[str]:
        """As the protocol says."""
        paths = [mount.path for mount in mounts()] + [loop.backing_file for loop in loop_devices()]
        return set(filter(None, (volume_of_device_file(settings, path) for path in paths)))

    def unanswered(self, settings: Settings, name: str) -> Unanswered:
        """As the protocol says."""
        left = find_abandoned(settings, name)
        words = f"FUSE connection {', '.join(sorted(left.devices))}"
        return Unanswered(left.waiting(), words)

    def answer_with_errors(self, settings: Settings, name: str) -> list[str]:
        """As the protocol says."""
        return end_abandoned(settings, name)

    def check_dead(self, settings: Settings, name: str) -> None:
        """As the protocol says."""
        if device_mount(settings, name) is not None:
            check_dead(device_file_of(settings, name), name)

    def clear(self, settings: Settings, name: str) -> list[str]:
        """As the protocol says."""
        named = _loops(settings, name)
        done = []
        # The mount namespace in which the file was mounted may have ended with the gate.
        for loop in find_abandoned(settings, name).loops:
            if loop not in named:
                with suppress(InUse):
                    detach_loop(loop)
                    done.append(f"detached {loop.device} from the dead gate of {name}")
        device_file = device_file_of(settings, name)
        for loop in named:
            try:
                detach_loop(loop)
                done.append(f"detached {loop.device} from the dead {device_file}")
            except InUse:
                done.append(f"{loop.device} detaches when its last user closes it")
        while mount_at(device_file) is not None:
            done.append(dismount_dead_path(str(device_file)))
        return done

    def orphan(self, device: str) -> Callable[[], object] | None:
        """As the protocol says: somebody detached the file lazily."""
        loop = loop_device_at(device)
        if loop is None or loop.backing_file not in NAMELESS:
            return None
        return partial(detach_loop, loop)


def _loops(settings: Settings, name: str) -> list[LoopDevice]:
    return loop_devices_of(device_file_of(settings, name))


def _dismount_copies(number: str, name: str) -> None:
    """A mount namespace that was made while the volume was attached has a copy of the mount that is
    the gate's file, too, and would keep the gate from ending. Nobody has any use for it.

    Raises InUse, with everything as it was, for one that is used or locked.
    """
    own = mount_namespace(os.getpid())
    copies = [point for point in capture_device(number) if point.namespace != own]
    try:
        dismount(copies, others=False)
    except InUse as error:
        raise InUse(
            f"the gate's device of {name} has a copy elsewhere: {error.message}", error.mend
        ) from error
