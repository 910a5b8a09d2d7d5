r"""What a message of the kernel says of a block device: an error, or that it begins anew. Pure.

Every pattern holds from a message's first character to behind the device's name. So what strangers
choose (a process's name at its beginning, as in `NAME[1]: segfault …`, at most 15 characters; a
file's name further behind) can neither make a message of another one, nor name another device.
"""

from __future__ import annotations

import re
from enum import StrEnum

from holdfast.late_dataclass import dataclass


class Word(StrEnum):
    """What is said of the device. The values are for people."""

    DEVICE = "errors of the device"
    FILE_SYSTEM = "errors of its file system"
    READ_ONLY = "its file system refuses to write"
    ANEW = "used anew"
    """Mounted, dismounted, or another image is behind it: what was said before is past."""


@dataclass(frozen=True)
class Heard:
    """One message, as far as it is of interest."""

    device: str
    """The kernel's name of it: `sda`, `loop0`, `dm-3`."""
    kind: Word
    sector: int | None = None
    """Of 512 bytes, counted from the beginning of the whole disk."""


_DEVICE = r"(?P<device>[a-z][a-zA-Z0-9!_.-]{0,31})"

_BLOCK = (
    r"(?:I/O|critical medium|critical target|timeout|recoverable transport|protection"
    r"|critical nexus|reservation conflict) error, dev "
    + _DEVICE
    + r", sector (?P<sector>[0-9]{1,19}) op 0x[0-9a-f]+:\((?:READ|WRITE|FLUSH)\) "
)
"""blk_errors of block/blk-core.c, without those that are no fault: what a device does not support,
and what it is short of at the moment. Discarding and zeroing are tried where nobody knows whether
the device can."""

_XFS_FAULT = (
    r"(?:metadata I/O error|log I/O error|Metadata corruption|Metadata CRC error|Internal error"
    r"|Corruption |[Ww]riteback error|page discard|Filesystem has been shut down"
    r"|I/O Error Detected|(?:Log|Metadata) I/O Error)"
)

_PATTERNS = tuple(
    (re.compile(pattern), kind)
    for pattern, kind in (
        (_BLOCK, Word.DEVICE),
        (rf"Buffer I/O error on dev(?:ice)? {_DEVICE}, logical block ", Word.DEVICE),
        (rf"JBD2: (?:I/O|IO) error when updating journal superblock for {_DEVICE}-[0-9]+\.$",
         Word.DEVICE),
        (rf"JBD2: Detected IO errors [0-9-]* ?while flushing file data on {_DEVICE}-[0-9]+",
         Word.DEVICE),
        (rf"EXT4-fs error \(device {_DEVICE}\)", Word.FILE_SYSTEM),
        (rf"EXT4-fs \({_DEVICE}\): (?:I/O error|previous I/O error|failed to convert unwritten)",
         Word.FILE_SYSTEM),
        (rf"EXT4-fs warning \(device {_DEVICE}\): ext4_end_bio:[0-9]+: I/O error ",
         Word.FILE_SYSTEM),
        (rf"EXT4-fs \({_DEVICE}\): Remounting filesystem read-only", Word.READ_ONLY),
        (rf"Aborting journal on device {_DEVICE}-[0-9]+\.$", Word.READ_ONLY),
        (rf"XFS \({_DEVICE}\): {_XFS_FAULT}", Word.FILE_SYSTEM),
        (rf"BTRFS:? (?:error|critical) \(device {_DEVICE}(?: state [A-Z]+)?\)", Word.FILE_SYSTEM),
        (rf"BTRFS warning \(device {_DEVICE}(?: state [A-Z]+)?\): csum failed ", Word.FILE_SYSTEM),
        (rf"EXT4-fs \({_DEVICE}\): (?:mounted|unmounting) filesystem ", Word.ANEW),
        (rf"XFS \({_DEVICE}\): (?:Ending (?:clean|recovery)|Unmounting )", Word.ANEW),
        (rf"BTRFS info \(device {_DEVICE}\): (?:first mount|last unmount) of filesystem ",
         Word.ANEW),
        (rf"{_DEVICE}: detected capacity change from 0 to [0-9]+$", Word.ANEW),
        (rf"sd [0-9:]+: \[{_DEVICE}\] Attached SCSI (?:removable )?disk$", Word.ANEW),
    )
)  # fmt: skip


def is_within(name: str, device: str) -> bool:
    """Whether a name is this device's, or that of one of its partitions: `sda1`, `nvme0n1p2`."""
    number = r"p[0-9]+" if device[-1:].isdigit() else r"[0-9]+"
    return re.fullmatch(f"{re.escape(device)}(?:{number})?", name) is not None


def report_of(text: str) -> Heard | None:
    """What a message of the kernel says of a device; None: nothing of interest."""
    for pattern, kind in _PATTERNS:
        match = pattern.match(text)
        if match is not None:
            sector = match.groupdict().get("sector")
            return Heard(match["device"], kind, int(sector) if sector else None)
    return None
