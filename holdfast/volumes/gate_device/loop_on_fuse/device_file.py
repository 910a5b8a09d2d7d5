"""The one file of a gate's FUSE file system: where it is, and whose it is.

Reads names and the mount table; does not block.
"""

from __future__ import annotations

from pathlib import Path

from holdfast.config import Settings
from holdfast.gate.runtime.shared_page import DEVICE_FILE
from holdfast.system.mounts.mount_table import Mount, mount_at

GATE_TYPE = "fuse.holdfast"
"""How the mount table names every gate's file system (see system/fuse/wire.py)."""


def device_file_of(settings: Settings, name: str) -> Path:
    """The gate's device file of the volume of that name, as the mount table writes it."""
    return settings.gate_run_directory(name).absolute().resolve(strict=False) / DEVICE_FILE


def device_mount(settings: Settings, name: str) -> Mount | None:
    """The mount of the gate's file system at its file, in our own mount namespace."""
    return mount_at(device_file_of(settings, name))


def volume_of_device_file(settings: Settings, path: str) -> str | None:
    """The name of the volume whose gate shows its file at this path, or None."""
    folder = Path(path).parent
    parent = (settings.run_directory / "gates").absolute().resolve(strict=False)
    if Path(path).name == DEVICE_FILE and folder.parent == parent:
        return folder.name
    return None
