"""Block devices: size, and who uses them.

Owns the ioctls and sysfs paths of block devices. Opening or
examining a device node may hang; the rest reads /sys and /proc. Must never write to a device.
"""

from __future__ import annotations

import fcntl
import os
import stat
import struct
from contextlib import suppress
from pathlib import Path

from holdfast.system.mounts.mount_table import mounts
from holdfast.system.proc import read
from holdfast.system.proc_text import parse_swaps
from holdfast.system.statx import direct_io_offset_unit

_BLKGETSIZE64 = 0x80081272  # linux/fs.h
_SYS_DEV_BLOCK = Path("/sys/dev/block")
_SYS_CLASS_BLOCK = Path("/sys/class/block")
_FINISHED_FIELDS = (0, 4, 11, 15)
"""Of `stat` (Documentation/block/stat.rst): reads, writes, discards and flushes that are done."""
_SYSFS_SECTOR_BYTES = 512
"""The unit of the file `size`, whatever the device's own sectors are."""


def device_size_bytes(descriptor: int) -> int:
    """Size of an opened block device. Raises OSError."""
    answer = fcntl.ioctl(descriptor, _BLKGETSIZE64, bytes(8))
    size_bytes: int = struct.unpack("=Q", answer)[0]
    return size_bytes


def known_size_bytes(device: str) -> int:
    """Size of a block device as sysfs tells it; 0 when it is none. Does not touch the device."""
    try:
        sectors = int((_SYS_CLASS_BLOCK / Path(device).name / "size").read_text())
    except (OSError, ValueError):
        return 0
    return sectors * _SYSFS_SECTOR_BYTES


def free_devices() -> list[str]:
    """Every block device that has a size, and no other one built on it (of several paths to a disk
    and the one above them, that). Touches none."""
    found = []
    for folder in sorted(_SYS_CLASS_BLOCK.iterdir()):
        with suppress(OSError):
            if known_size_bytes(folder.name) and not any((folder / "holders").iterdir()):
                found.append(f"/dev/{folder.name.replace('!', '/')}")
    return found


def device_number(path: str | os.PathLike[str]) -> str:
    """`major:minor` of a block device node. Raises OSError; blocks as stat does."""
    number = Path(path).stat().st_rdev
    return f"{os.major(number)}:{os.minor(number)}"


def finished_requests(name: str) -> int | None:
    """How many requests the device of this name (`sda1`) has finished since the boot, as sysfs
    tells it without touching it; None: there is no such device."""
    try:
        fields = (_SYS_CLASS_BLOCK / name / "stat").read_text().split()
        return sum(int(fields[index]) for index in _FINISHED_FIELDS if index < len(fields))
    except (OSError, ValueError):
        return None


def disk_sequence(number: str) -> int:
    """Which disk, or image in a loop device, is behind this `major:minor` now; 0 when unknown.

    The kernel never gives the same number twice in one boot (sysfs diskseq, Linux 5.15), as it does
    with device numbers. A partition has its disk's. Does not touch the device.
    """
    folder = Path(os.path.realpath(_SYS_DEV_BLOCK / number))
    for place in (folder, folder.parent):
        with suppress(OSError, ValueError):
            return int((place / "diskseq").read_text())
    return 0


def mounted_at(path: str | os.PathLike[str]) -> str | None:
    """Where this block device is mounted (one place), or None."""
    wanted = device_number(path)
    for mount in mounts():
        if mount.device_number == wanted:
            return mount.path
        if mount.source.startswith("/dev/"):  # btrfs mounts under a device number of its own
            with suppress(OSError):
                if device_number(mount.source) == wanted:
                    return mount.path
    return None


def swap_paths() -> list[str]:
    """Paths of the devices and files that the kernel swaps to."""
    return [swap.path for swap in parse_swaps(read("/proc/swaps"))]


def is_swap(path: str | os.PathLike[str]) -> bool:
    """Whether the kernel swaps to this block device."""
    wanted = device_number(path)
    for name in swap_paths():
        with suppress(OSError):
            if name.startswith("/dev/") and device_number(name) == wanted:
                return True
    return False


def holders(path: str | os.PathLike[str]) -> list[str]:
    """Names of the devices built on this one: device mapper, RAID, bcache."""
    folder = _SYS_DEV_BLOCK / device_number(path) / "holders"
    try:
        return sorted(entry.name for entry in folder.iterdir())
    except FileNotFoundError:
        return []


def partitions(path: str | os.PathLike[str]) -> list[str]:
    """Names of the partitions that the kernel sees on this device."""
    folder = _SYS_DEV_BLOCK / device_number(path)
    try:
        return sorted(entry.name for entry in folder.iterdir() if (entry / "partition").exists())
    except FileNotFoundError:
        return []


def sector_bytes(device: str) -> int:
    """Logical sector of a block device, as sysfs tells it without touching it; 0: it is none."""
    return _sector_bytes(_SYS_CLASS_BLOCK / Path(os.path.realpath(device)).name)


def _sector_bytes(folder: Path) -> int:
    for place in (folder, folder.resolve().parent):  # a partition has its disk's
        with suppress(OSError, ValueError):
            return int((place / "queue/logical_block_size").read_text())
    return 0


def direct_io_unit(descriptor: int) -> int:
    """What offsets and lengths of direct I/O on this file or device must be a multiple of.

    1 where nothing is known to forbid anything. Asks the kernel, which remembers (statx(2) since
    Linux 6.1), else the disk that the file lies on.
    """
    unit = direct_io_offset_unit(f"/proc/self/fd/{descriptor}")
    if unit:
        return unit
    status = os.fstat(descriptor)
    number = status.st_rdev if stat.S_ISBLK(status.st_mode) else status.st_dev
    return _sector_bytes(_SYS_DEV_BLOCK / f"{os.major(number)}:{os.minor(number)}") or 1
