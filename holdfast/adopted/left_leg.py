"""Whether a device is a leg that a volume left behind when its gate was taken away in place.

Such a leg has the same file system, with the same UUID, as of the moment when it was left: mounted
in place of what the volume stays on, everything written since would be missing. Its superblock
tells, under whatever name the device is found. Must never write.
"""

from __future__ import annotations

import os
from functools import partial

from holdfast.errors import HoldfastError
from holdfast.gate.members.superblock import SLOT_BYTES, SLOTS, decode
from holdfast.model.size import BLOCK_BYTES
from holdfast.system.children.expendable import in_expendable_child

_SECONDS = 20.0
"""As long as its UUID is waited for."""


def is_left_leg(device: str, left_gate: str) -> bool:
    """Whether the end of this device says that it is a leg of the volume with this id.

    False for no id, and where it cannot be read. Blocks for 20 s at most.
    """
    if not left_gate:
        return False
    try:
        return in_expendable_child(partial(_is_of, device, left_gate), _SECONDS, device)
    except (HoldfastError, OSError):
        return False


def _is_of(device: str, left_gate: str) -> bool:
    descriptor = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
    try:
        end = os.lseek(descriptor, 0, os.SEEK_END) // BLOCK_BYTES * BLOCK_BYTES
        start = max(0, end - SLOTS * SLOT_BYTES)
        content = os.pread(descriptor, end - start, start)
    finally:
        os.close(descriptor)
    slots = (content[at : at + SLOT_BYTES] for at in range(0, len(content), SLOT_BYTES))
    return any(found is not None and found.volume_id == left_gate for found in map(decode, slots))
