"""The control socket under its name: made anew when somebody removed it while the gate runs.

The keeper looks, and gives the worker the new one. Invariant: the listening descriptor has one
number in each process, whatever stands behind it; the page names the inode of a socket only when
the worker has been sent it. Never blocks.
"""

from __future__ import annotations

import os
import socket
from contextlib import suppress

from holdfast.gate.processes.channel import send_descriptor
from holdfast.gate.processes.handover import Handover, listen
from holdfast.gate.runtime import shared_page

LISTENER = "listener"
"""Name of the message that brings a new socket."""


def tend(handover: Handover, channel: socket.socket) -> None:
    """Make the socket anew when its name is gone, or leads elsewhere. Tried again at every call."""
    inode = _inode(handover)
    if inode and inode == handover.cells[shared_page.SOCKET_INODE]:
        return
    with suppress(OSError):
        handover.run_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        with listen(handover.run_directory) as fresh:
            os.dup2(fresh.fileno(), handover.listener.fileno(), inheritable=False)
        inode = _inode(handover)
        if send_descriptor(channel, LISTENER, handover.listener.fileno()):
            handover.cells[shared_page.SOCKET_INODE] = inode


def take_over(listener: socket.socket, descriptor: int) -> None:
    """Put a new socket in the place of the old one; owns `descriptor`. Raises OSError."""
    try:
        os.dup2(descriptor, listener.fileno(), inheritable=False)
    finally:
        os.close(descriptor)


def _inode(handover: Handover) -> int:
    try:
        return (handover.run_directory / shared_page.SOCKET_FILE).lstat().st_ino
    except OSError:
        return 0
