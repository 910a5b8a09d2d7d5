"""Unix sockets that are bound to a file, as the kernel's socket monitor lists them (sock_diag(7)).

Unlike /proc/net/unix it names the file by device and inode. Sees one network namespace: the
caller's. Must never be asked for a namespace other than from an expendable child, which enters it.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Iterator

from holdfast.late_dataclass import dataclass

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_DUMP = 0x301
"""NLM_F_REQUEST | NLM_F_DUMP, linux/netlink.h."""
_NLMSG_ERROR, _NLMSG_DONE = 2, 3
_SHOW = 0x17
"""UDIAG_SHOW_NAME | _VFS | _PEER | _RQLEN, linux/unix_diag.h."""
_NAME, _FILE, _PEER, _QUEUE, _SHUTDOWN = 0, 1, 2, 4, 6
_ESTABLISHED, _LISTEN = 1, 10
"""TCP_ESTABLISHED, TCP_LISTEN of net/tcp_states.h."""
_HEAD = struct.Struct("=xBBxI")
"""struct unix_diag_msg: type, state, inode."""
_SHUT_BOTH = b"\3"
"""SHUTDOWN_MASK of net/sock.h."""
_HEADER_BYTES = 16
_RECEIVE_BYTES = 1 << 16
_MINOR_BITS = 20
"""The kernel's own dev_t, linux/kdev_t.h."""


@dataclass(frozen=True)
class BoundSocket:
    """A Unix socket that keeps the file it is bound to in use."""

    inode: int
    """Of the socket itself: `socket:[…]` of descriptors."""
    file_inode: int
    """Lower 32 bits of the inode number of the file."""
    device: tuple[int, int]
    name: str
    """As it was given to bind(2): possibly relative, possibly in another root."""
    listening: bool
    connected: bool = False
    type: int = socket.SOCK_STREAM
    backlog: int = 0
    """Of one that listens: how many connections may wait, but one (listen(2))."""
    peer: int = 0
    """Of one that is connected the inode of the other socket; 0: that has been closed, or nobody
    has accepted the connection yet."""
    is_bound: bool = True
    """False: a datagram socket that is bound to no file, but connected; or the other end of a
    connection that is, which may have another name, or none."""
    shut: int = 0
    """For what shutdown(2) was called: 1 receiving, 2 sending, 3 both."""
    reaches: bool = False
    """Of a datagram socket that is connected, whether it can be connected again: see sockets."""
    is_over: bool = False
    """Whether nothing can be sent or received any more but what is there already."""

    @property
    def is_connection(self) -> bool:
        """Whether it is an end of a connection: stream or seqpacket."""
        return self.connected and self.type != socket.SOCK_DGRAM


def bound_sockets() -> list[BoundSocket]:
    """Every bound Unix socket of this network namespace, and every datagram socket that is
    connected. Raises OSError where it is not offered."""
    return [bound for body in _bodies() if (bound := _parse(body)) is not None]


def other_ends() -> dict[int, int]:
    """Of every Unix socket of this network namespace that is connected the number of the other
    one. Raises OSError as `bound_sockets`."""
    found = {}
    for body in _bodies():
        peer = _attributes(body).get(_PEER)
        if peer is not None:
            found[_HEAD.unpack_from(body)[2]] = struct.unpack_from("=I", peer)[0]
    return found


def _bodies() -> Iterator[bytes]:
    """What the kernel says of each socket."""
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as channel:
        request = struct.pack("=BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, _SHOW, 0, 0)
        header = struct.pack(
            "=IHHII", _HEADER_BYTES + len(request), _SOCK_DIAG_BY_FAMILY, _DUMP, 1, 0
        )
        channel.send(header + request)
        while True:
            for kind, body in _messages(channel.recv(_RECEIVE_BYTES)):
                if kind == _NLMSG_DONE:
                    return
                if kind == _NLMSG_ERROR:
                    number = -struct.unpack_from("=i", body)[0]
                    raise OSError(number, os.strerror(number), "sock_diag")
                yield body


def _messages(data: bytes) -> Iterator[tuple[int, bytes]]:
    while len(data) >= _HEADER_BYTES:
        length, kind = struct.unpack_from("=IH", data)
        yield kind, data[_HEADER_BYTES:length]
        data = data[(length + 3) & ~3 :]


def _attributes(body: bytes) -> dict[int, bytes]:
    found = {}
    rest = body[_HEAD.size + 8 :]  # behind a cookie
    while len(rest) >= 4:
        length, kind = struct.unpack_from("=HH", rest)
        if length < 4:
            break
        found[kind] = rest[4:length]
        rest = rest[(length + 3) & ~3 :]
    return found


def _parse(body: bytes) -> BoundSocket | None:
    kind_of_socket, state, inode = _HEAD.unpack_from(body)
    told = _attributes(body)
    file, peer = told.get(_FILE, b""), told.get(_PEER, b"")
    shut = told.get(_SHUTDOWN, b"\0")
    has_peer = bool(peer)  # 0: that is gone; the state says only that there was a connect(2)
    is_bound = len(file) >= 8
    if not is_bound and not (kind_of_socket == socket.SOCK_DGRAM and any(peer)):
        return None
    file_inode, device = struct.unpack_from("=II", file) if is_bound else (0, 0)
    queue = told.get(_QUEUE, bytes(8))
    return BoundSocket(
        inode=inode,
        file_inode=file_inode,
        device=(device >> _MINOR_BITS, device & ((1 << _MINOR_BITS) - 1)),
        name=os.fsdecode(told.get(_NAME, b"").rstrip(b"\0")),
        listening=state == _LISTEN,
        connected=has_peer if kind_of_socket == socket.SOCK_DGRAM else state == _ESTABLISHED,
        type=kind_of_socket,
        backlog=struct.unpack_from("=II", queue)[1] if state == _LISTEN else 0,
        peer=struct.unpack_from("=I", peer)[0] if has_peer else 0,
        is_bound=is_bound,
        shut=shut[0] & _SHUT_BOTH[0],
        is_over=shut == _SHUT_BOTH,
    )
