"""What is mounted at the place of an adopted volume now, and whether that is its own storage.

Reads the mount table; asks a device for its UUID. Must never change anything.
"""

from __future__ import annotations

from holdfast.adopted.source import identity_of
from holdfast.containers import device_behind, is_container_url
from holdfast.errors import StorageFailed
from holdfast.model.volume import Adoption, Volume
from holdfast.system.fuse.cover_server import is_cover
from holdfast.system.mounts.mount_table import Mount, mount_at


def is_same_storage(volume: Volume, mounted: Mount) -> bool:
    """Whether what is mounted is what was adopted: the same UUID, else the same source and type."""
    adoption = adoption_of(volume)
    if mounted.filesystem != volume.mount.filesystem:
        return False
    if mounted.source == device_behind(adoption.source):
        return True
    if not is_container_url(adoption.source):
        return mounted.source == adoption.source
    if not volume.mount.uuid:
        return True
    found = identity_of(mounted.source)
    return found is None or found.uuid == volume.mount.uuid


def own_mount(volume: Volume) -> Mount | None:
    """The volume's own mount at its path, when it is there."""
    mounted = occupant_of(volume)
    return mounted if mounted is not None and is_same_storage(volume, mounted) else None


def occupant_of(volume: Volume) -> Mount | None:
    """What is mounted at its path; a cover is nothing."""
    mounted = mount_at(volume.mount.path)
    return None if mounted is None or is_cover(mounted) else mounted


def adoption_of(volume: Volume) -> Adoption:
    """How the volume was adopted. Raises StorageFailed when the catalog has lost it."""
    if volume.adoption is None:
        raise StorageFailed(
            f"the catalog has lost what it knew of the adopted volume {volume.name}",
            f"holdfast volume delete {volume.name} forgets it; then adopt it again.",
        )
    return volume.adoption
