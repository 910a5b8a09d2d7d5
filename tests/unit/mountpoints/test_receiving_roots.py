"""Roots of mounts come through a socket: all of them, or an error; never a wait for the rest."""

from __future__ import annotations

import os
import resource
import socket

from holdfast.errors import StorageFailed
from holdfast.mountpoints.remount import _receive_roots


def send(count: int) -> socket.socket:
    ours, theirs = socket.socketpair()
    with theirs:
        socket.send_fds(theirs, [b"r"], [0] * count)
    return ours


def test_all_of_them() -> None:
    with send(20) as channel:
        found = _receive_roots(channel, 20)
    assert len(found) == 20
    assert not any(map(os.get_inheritable, found))
    for each in found:
        os.close(each)


def test_no_room_for_all_of_them() -> None:
    channel = send(20)
    pid = os.fork()
    if pid == 0:
        status = 1
        try:
            room = channel.fileno() + 10
            resource.setrlimit(resource.RLIMIT_NOFILE, (room, room))
            _receive_roots(channel, 20)
        except StorageFailed:
            status = 0
        finally:
            os._exit(status)
    channel.close()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 0
