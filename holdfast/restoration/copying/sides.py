"""Both sides of a copy, as the process that copies needs to know them. Values only."""

from __future__ import annotations

from holdfast.late_dataclass import dataclass
from holdfast.model.volume import DEFAULT_SECTOR_BYTES


@dataclass(frozen=True)
class CopyTarget:
    """Where to copy to."""

    path: str
    """Image file or block device."""
    size_bytes: int
    """How much of it belongs to the file system; 0: all."""
    filesystem: str
    label: str
    uuid: str
    make: bool = True
    """Whether to make the file system first: what is there is lost."""
    options: str = ""
    """Of the file system, where they decide how what is copied is stored."""
    sector_bytes: int = DEFAULT_SECTOR_BYTES
    """As the device will have it from which it is mounted for applications."""


@dataclass(frozen=True)
class CopySource:
    """Where to copy from: what is mounted at a path (without mounts below), or the file system on a
    device or in an image."""

    path: str = ""
    device: str = ""
    filesystem: str = ""
    options: str = ""
    """Of the file system on `device`."""
    read_only: bool = True
    """As the kernel has it when it is mounted elsewhere, too: both must agree."""
    is_image: bool = False
    """Whether `device` is an image, or a device that is to be read in part."""
    offset_bytes: int = 0
    size_bytes: int = 0
    sector_bytes: int = 512
