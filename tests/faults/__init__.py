"""Fault injectors: each breaks storage from outside the code under test, at run time.

Everything is a small class used as a context manager, or a function on a path. An injector undoes
nothing of what it did to data; it only takes away its own processes, mounts and devices.
"""

from tests.faults.block_device import LoopLeg
from tests.faults.fuse_leg import FuseLeg
from tests.faults.images import (
    copy_image,
    destroy_superblock,
    flip_bits,
    replace_by_copy,
    truncate_to_zero,
)
from tests.faults.memory import MemoryHog
from tests.faults.nbd_leg import NbdLeg
from tests.faults.own_disk import hanging, own_disk, shut_down, take_room
from tests.faults.power_cut import PowerCut, stopped
from tests.faults.small_disk import SmallDisk

__all__ = [
    "FuseLeg",
    "LoopLeg",
    "MemoryHog",
    "NbdLeg",
    "PowerCut",
    "SmallDisk",
    "copy_image",
    "destroy_superblock",
    "flip_bits",
    "hanging",
    "own_disk",
    "replace_by_copy",
    "shut_down",
    "stopped",
    "take_room",
    "truncate_to_zero",
]
