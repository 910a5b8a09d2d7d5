"""Making a container forget that it was a leg.

Called in expendable children. Must never touch a container whose superblock is another volume's.
"""

from __future__ import annotations

from holdfast.containers import Container, open_container
from holdfast.errors import ContainerFailed, ForeignLeg, Refused
from holdfast.gate.members.superblock import erase_superblocks, find_superblock, search_superblock

_SEARCH_SECONDS = 3.0
"""How long to look for the tail of a container that was enlarged."""


def erase_leg(url: str, volume_id: str, *, remove_image: bool) -> None:
    """Erase the superblocks of a leg of this volume and, when asked to, delete its image.

    The file system on it stays readable when it is kept. Idempotent: does nothing to a container
    that is not there. An image without our superblock is deleted only when it is empty: creating
    the volume was interrupted then. Raises ForeignLeg for another volume's leg, ContainerFailed.
    """
    container = open_container(url)
    if not container.exists():
        return
    try:
        device = container.open()
        try:
            container_bytes = device.size_bytes()
            found = find_superblock(device, [container_bytes]) or search_superblock(
                device, container_bytes, _SEARCH_SECONDS
            )
            superblock, container_bytes = found or (None, container_bytes)
            if superblock is not None and superblock.volume_id != volume_id:
                raise ForeignLeg(
                    f"{url} is a leg of the volume with id {superblock.volume_id}", "It was kept."
                )
            if superblock is not None:
                erase_superblocks(device, container_bytes)
        finally:
            device.close()
    except OSError as error:
        raise ContainerFailed(
            f"{url} cannot be erased: {error.strerror}",
            "It still carries the volume's superblock: wipe it when the storage is back.",
        ) from error
    if remove_image and (superblock is not None or _is_empty(container)):
        container.remove()


def _is_empty(container: Container) -> bool:
    try:
        container.check_free(0)
    except Refused:
        return False
    return True
