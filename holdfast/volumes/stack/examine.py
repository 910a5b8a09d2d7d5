"""The stack of one volume as the kernel shows it: connection, block device, file system mounts.

Reads the mount table and sysfs only: it names what is there without touching it, so it never
blocks, whatever the state of gate and legs. Must never change anything.
"""

from __future__ import annotations

from holdfast.config import Settings
from holdfast.late_dataclass import dataclass
from holdfast.system.mounts.mount_table import Mount, mounts_from
from holdfast.volumes.gate_device import gate_device


@dataclass(frozen=True)
class Stack:
    """What of a volume's stack exists, from the bottom to the top."""

    is_connected: bool
    """Whether the kernel has its end of the gate."""
    devices: tuple[str, ...]
    """Block devices that show the gate: normally none or one."""
    mounts: tuple[Mount, ...]
    """Mounts of those devices, oldest first."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it exists."""
        return not (self.is_connected or self.devices or self.mounts)

    @property
    def device(self) -> str:
        """The block device that is in use, or an empty string."""
        return self.devices[0] if self.devices else ""

    def mount_of(self, path: str) -> Mount | None:
        """The mount of this stack at that path."""
        return next((mount for mount in reversed(self.mounts) if mount.path == path), None)


def examine_stack(settings: Settings, name: str) -> Stack:
    """What exists of the volume's stack now; does not block."""
    devices = gate_device().devices(settings, name)
    return Stack(
        is_connected=gate_device().is_connected(settings, name),
        devices=devices,
        mounts=tuple(mount for device in devices for mount in mounts_from(device)),
    )
