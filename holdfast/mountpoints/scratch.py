"""Where something can be mounted in a mount namespace of our own, out of everybody's sight."""

from __future__ import annotations

from pathlib import Path

from holdfast.errors import StorageFailed

EMPTY_DIRECTORIES = (
    "/sys/kernel/debug",
    "/sys/kernel/tracing",
    "/sys/kernel/security",
    "/mnt",
    "/media",
)
"""Empty directories that every host has, to mount on where nobody else sees it."""


def scratch_directory() -> str:
    """A directory where something can be mounted. Raises StorageFailed."""
    for path in EMPTY_DIRECTORIES:
        if Path(path).is_dir():
            return path
    raise StorageFailed("this host has no directory to mount on", "Make /mnt.")
