"""Ending a FUSE connection by its number, without any of Holdfast's own code."""

from __future__ import annotations

import subprocess

_PROGRAM = (
    "mount -t fusectl fusectl /sys/fs/fuse/connections;"
    ' [ ! -e "/sys/fs/fuse/connections/$1" ] || echo 1 >"/sys/fs/fuse/connections/$1/abort"'
)


def abort_connection(number: int) -> None:
    """What waits for its server fails from now on; for the end of a test whose gate cannot end."""
    command = ["unshare", "--mount", "--propagation", "private", "sh", "-c", _PROGRAM, "sh"]
    subprocess.run([*command, str(number)], check=True, timeout=20)
