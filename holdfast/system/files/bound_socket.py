"""A Unix socket as its descriptor tells it: where it is bound, who listens, all that was set on it.

Owns the options of socket(7) and unix(7) that a new socket must get to be like another one. Asks no
storage, but for `file_of`, whose descriptor may be asked.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterable, Sequence
from contextlib import suppress
from typing import Any

_FILE_OF, _NAMESPACE_OF = 0x89E0, 0x894C
"""SIOCUNIXFILE of <linux/un.h>, SIOCGSKNS of <linux/sockios.h>."""

# <asm-generic/socket.h>
_SEND_BYTES, _RECEIVE_BYTES, _FORCE_SEND_BYTES, _FORCE_RECEIVE_BYTES = 7, 8, 32, 33
_PEER_CREDENTIALS, _GET_FILTER, _PEER_GROUPS = 17, 26, 59
_NUMBERS = {
    1: "SO_DEBUG",
    2: "SO_REUSEADDR",
    5: "SO_DONTROUTE",
    6: "SO_BROADCAST",
    _SEND_BYTES: "SO_SNDBUF",
    _RECEIVE_BYTES: "SO_RCVBUF",
    9: "SO_KEEPALIVE",
    10: "SO_OOBINLINE",
    11: "SO_NO_CHECK",
    12: "SO_PRIORITY",
    16: "SO_PASSCRED",
    18: "SO_RCVLOWAT",
    29: "SO_TIMESTAMP",
    34: "SO_PASSSEC",
    35: "SO_TIMESTAMPNS",
    36: "SO_MARK",
    40: "SO_RXQ_OVFL",
    42: "SO_PEEK_OFF",
    45: "SO_SELECT_ERR_QUEUE",
    46: "SO_BUSY_POLL",
    76: "SO_PASSPIDFD",
    83: "SO_PASSRIGHTS",
}
_STRUCTURES = {13: (8, "SO_LINGER"), 20: (16, "SO_RCVTIMEO"), 21: (16, "SO_SNDTIMEO")}
"""With their sizes: struct linger, struct timeval."""
_FORCED = {_SEND_BYTES: _FORCE_SEND_BYTES, _RECEIVE_BYTES: _FORCE_RECEIVE_BYTES}
"""What sets them beyond the limits of sysctl; the kernel doubles what it is given."""

_CREDENTIALS = struct.Struct("=iII")
"""struct ucred."""
_MOST_GROUPS_BYTES = 4 << 16
"""NGROUPS_MAX of <linux/limits.h>."""
_LIBC = ctypes.CDLL(None, use_errno=True)

Options = tuple[tuple[int, str], ...]
"""By number what getsockopt(2) gives, in hexadecimal."""


def file_of(descriptor: int) -> int:
    """An O_PATH descriptor of the file that it is bound to; caller closes.

    Needs CAP_NET_ADMIN. Raises OSError ENOENT when it is bound to none.
    """
    found = int(fcntl.ioctl(descriptor, _FILE_OF, 0))
    os.set_inheritable(found, False)
    return found


def network_of(descriptor: int) -> int:
    """The number of the network namespace that it was made in. Needs CAP_NET_ADMIN there."""
    namespace = int(fcntl.ioctl(descriptor, _NAMESPACE_OF, 0))
    try:
        return os.fstat(namespace).st_ino
    finally:
        os.close(namespace)


def open_network_of(descriptor: int) -> int:
    """That namespace itself; caller closes."""
    return int(fcntl.ioctl(descriptor, _NAMESPACE_OF, 0))


def listener_of(end: socket.socket) -> tuple[int, int, int]:
    """Process, user and group that a client sees: who called listen(2), as we count them."""
    data = end.getsockopt(socket.SOL_SOCKET, _PEER_CREDENTIALS, _CREDENTIALS.size)
    process, user, group = _CREDENTIALS.unpack(data)
    return process, user, group


def groups_of_listener(end: socket.socket) -> tuple[int, ...]:
    """Its further groups, Linux 4.13; none where the kernel does not tell."""
    with suppress(OSError):
        buffer = ctypes.create_string_buffer(_MOST_GROUPS_BYTES)
        count = _ask(end, _PEER_GROUPS, buffer, len(buffer)) // 4
        return struct.unpack_from(f"={count}I", buffer)
    return ()


def is_filtered(end: socket.socket) -> bool:
    """Whether a program was attached to it (SO_ATTACH_FILTER, SO_ATTACH_BPF)."""
    try:
        return _ask(end, _GET_FILTER, None, 0) > 0  # only its length is asked for
    except OSError:
        return True  # one that the kernel does not tell


def _ask(end: socket.socket, number: int, buffer: Any, size: int) -> int:
    """getsockopt(2), beyond the 1024 bytes of Python; the length of the answer."""
    length = ctypes.c_uint(size)
    if _LIBC.getsockopt(end.fileno(), socket.SOL_SOCKET, number, buffer, ctypes.byref(length)):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return length.value


def options_of(end: socket.socket) -> Options:
    """All options that the kernel tells."""
    found = []
    for number in _NUMBERS:
        with suppress(OSError):
            found.append((number, end.getsockopt(socket.SOL_SOCKET, number, 4).hex()))
    for number, (size, _) in _STRUCTURES.items():
        with suppress(OSError):
            found.append((number, end.getsockopt(socket.SOL_SOCKET, number, size).hex()))
    return tuple(found)


def set_options(end: socket.socket, options: Iterable[tuple[int, str]]) -> list[str]:
    """Let it have these; the names of those that it does not take."""
    now = dict(options_of(end))
    return [
        _NUMBERS.get(number) or _STRUCTURES[number][1]
        for number, value in options
        if now.get(number) != value and not _set(end, number, bytes.fromhex(value))
    ]


def _set(end: socket.socket, number: int, value: bytes) -> bool:
    given = value
    if number in _FORCED:
        given = struct.pack("=i", struct.unpack("=i", value)[0] // 2)
    with suppress(OSError):
        end.setsockopt(socket.SOL_SOCKET, _FORCED.get(number, number), given)
        size = _STRUCTURES[number][0] if number in _STRUCTURES else 4
        return end.getsockopt(socket.SOL_SOCKET, number, size) == value
    return False


def check_options(options: Sequence[tuple[int, str]]) -> None:
    """Raises ValueError for what `options_of` cannot have given."""
    for number, value in options:
        size = _STRUCTURES[number][0] if number in _STRUCTURES else 4
        if number not in _NUMBERS and number not in _STRUCTURES:
            raise ValueError(f"there is no option {number} of a socket")
        if len(bytes.fromhex(value)) != size:
            raise ValueError(f"option {number} of a socket has {size} bytes")
