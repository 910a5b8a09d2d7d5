"""A mount namespace for each test process: `leave_shared_mounts`.

A new mount namespace is a copy of the whole table. Without this, a test that makes one would hold
every mount that the test processes beside it have at that moment: their file systems would stay
mounted, and their loop devices attached, after they had unmounted them.
"""

from __future__ import annotations

import ctypes
import subprocess

_CLONE_NEWNS = 0x00020000  # <linux/sched.h>


def leave_shared_mounts() -> None:
    """Give the calling thread, and whom it starts from now on, mounts of their own. Needs root.

    Nothing propagates to or from the host any more; what was shared on it is shared here, so that
    a namespace copied from this one is what it would be on the host.
    """
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.unshare(_CLONE_NEWNS) != 0:
        raise OSError(ctypes.get_errno(), "unshare(CLONE_NEWNS)")
    command = ["findmnt", "--noheadings", "--output", "PROPAGATION", "/"]
    propagation = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)
    if "shared" in propagation:
        subprocess.run(["mount", "--make-rshared", "/"], check=True)
