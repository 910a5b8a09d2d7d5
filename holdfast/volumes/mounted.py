"""The mounts of a volume by its name: for commands that need it to be mounted.

Reads the mount tables only; touches no storage.
"""

from __future__ import annotations

from holdfast.errors import NotAttached, NotMounted
from holdfast.model.mountpoint import MountPoint
from holdfast.model.volume import Volume
from holdfast.volumes.capture import capture


def mounts_of(volume: Volume) -> tuple[MountPoint, ...]:
    """Every mount of the volume, in all mount namespaces, in the order to dismount them.

    Does not block. Raises NotAttached when it is not mounted where it belongs.
    """
    try:
        return capture(volume.mount.path)
    except NotMounted:
        raise NotAttached(
            f"{volume.name} is not mounted at {volume.mount.path}",
            f"holdfast volume attach {volume.name}. Who still uses what was detached lazily"
            " (umount -l) is seen then.",
        ) from None
