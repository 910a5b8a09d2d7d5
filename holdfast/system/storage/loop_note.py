"""What was noted on a loop device when it was attached: which file system its file lies on.

A device that is being attached, detached or written back cannot be opened, so it cannot be asked
(open_mutex in the kernel). Its node in /dev can be read all the same: there the note is an extended
attribute that only root of the host may write, and that everybody's mount namespace and
HOLDFAST_HOME sees. It counts for one disk sequence number, which belongs to one file, and never
comes again in one boot; the file system keeps its number for as long as the device has the file.
Only for files whose stat(2) never names another file system, as an overlay's may after a copy-up.
"""

from __future__ import annotations

import os
from contextlib import suppress

from holdfast.system.storage.loop import attachment, filesystem_behind

_NAME = "trusted.holdfast.filesystem"
"""Names in `trusted.` need CAP_SYS_ADMIN in the initial user namespace (xattr(7))."""


def note_filesystem(device: str) -> None:
    """Ask the device which file system its file lies on, and note it. Idempotent.

    Blocks as that file system does. Nothing is noted where the kernel numbers no disks (before
    Linux 5.15), where /dev has no extended attributes, or by who is root of a container only.
    """
    sequence = attachment(device)
    if not sequence:
        return
    with suppress(OSError):
        filesystem = filesystem_behind(device)
        if attachment(device) == sequence:  # nobody gave it another file meanwhile
            os.setxattr(device, _NAME, b"%d %d" % (sequence, filesystem))


def noted_filesystem(device: str) -> int | None:
    """st_dev of what the file behind the device lies on, where that was noted. Does not block."""
    try:
        sequence, filesystem = map(int, os.getxattr(device, _NAME).split())
    except (OSError, ValueError):
        return None
    # The device's own number, not its node's: in a container a node may be another device's.
    return filesystem if sequence and sequence == attachment(device) else None
