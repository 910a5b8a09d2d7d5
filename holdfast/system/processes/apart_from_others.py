"""Process numbers, shared memory and a network that a process and its children have for themselves.

Must never be called by a process that matters: it cannot go back.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct

_LIBC = ctypes.CDLL(None, use_errno=True)
_NEW_IPC, _NEW_PID, _NEW_NET = 0x08000000, 0x20000000, 0x40000000  # <linux/sched.h>
_SIOCGIFFLAGS, _SIOCSIFFLAGS, _IFF_UP = 0x8913, 0x8914, 1  # <linux/sockios.h>, <linux/if.h>
_INTERFACE = struct.Struct("16sH22x")  # struct ifreq


def part_from_others() -> None:
    """The next child is the first of its own process numbers: when it ends, the kernel kills all
    that came from it (pid_namespaces(7)). Raises OSError."""
    if _LIBC.unshare(_NEW_IPC | _NEW_PID | _NEW_NET) != 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def raise_loopback() -> None:
    """Let a new network speak to itself: there, the device is down at first. Raises OSError."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        answer = fcntl.ioctl(any_socket, _SIOCGIFFLAGS, _INTERFACE.pack(b"lo", 0))
        name, flags = _INTERFACE.unpack(answer)
        fcntl.ioctl(any_socket, _SIOCSIFFLAGS, _INTERFACE.pack(name, flags | _IFF_UP))
