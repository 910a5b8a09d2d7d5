"""The stack of one volume as the kernel shows it: device mount, loop device, file system mount.

Reads the mount table and sysfs only: it names what is there without touching it, so it never
blocks, whatever the state of gate and legs. Must never change anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from holdfast.config import Settings
from holdfast.gate.front.fuse_file import DEVICE_FILE
from holdfast.system.loop import LoopDevice, loop_devices_of
from holdfast.system.mounts import Mount, mount_at, mounts_from


@dataclass(frozen=True)
class Stack:
    """What of a volume's stack exists, from the bottom to the top."""

    device_file: Path
    """Where the gate shows its one file."""
    device_mount: Mount | None
    loops: tuple[LoopDevice, ...]
    """Normally none or one."""
    mounts: tuple[Mount, ...]
    """Mounts of those loop devices, oldest first."""

    @property
    def is_empty(self) -> bool:
        """Whether nothing of it exists."""
        return not (self.device_mount or self.loops or self.mounts)

    @property
    def loop_device(self) -> str:
        """`/dev/loopN` that is in use, or an empty string."""
        return self.loops[0].device if self.loops else ""

    def mount_of(self, path: str) -> Mount | None:
        """The mount of this stack at that path."""
        return next((mount for mount in reversed(self.mounts) if mount.path == path), None)


def examine_stack(settings: Settings, name: str) -> Stack:
    """What exists of the volume's stack now; does not block."""
    device_file = device_file_of(settings, name)
    loops = tuple(loop_devices_of(device_file))
    return Stack(
        device_file=device_file,
        device_mount=mount_at(device_file),
        loops=loops,
        mounts=tuple(mount for loop in loops for mount in mounts_from(loop.device)),
    )


def device_file_of(settings: Settings, name: str) -> Path:
    """The gate's device file of the volume of that name, as the mount table writes it."""
    return settings.gate_run_directory(name).absolute().resolve(strict=False) / DEVICE_FILE


def volume_of_device_file(settings: Settings, path: str) -> str | None:
    """The name of the volume whose gate shows its file at this path, or None."""
    folder = Path(path).parent
    parent = (settings.run_directory / "gates").absolute().resolve(strict=False)
    if Path(path).name == DEVICE_FILE and folder.parent == parent:
        return folder.name
    return None
