"""The line between worker and keeper: probes are asked for here, and answered.

The worker must not fork for a probe: a child would inherit descriptors of hung storage. The keeper
has none, so expendable children are cheap and clean there. One datagram per message (JSON).
"""

from __future__ import annotations

import errno
import json
import os
import select
import signal
import socket
from time import monotonic
from typing import Any

from holdfast.containers import open_container
from holdfast.errors import HoldfastError
from holdfast.gate.members.superblock import read_superblock
from holdfast.system.processes.process import close_all_except, fork_reporting

_MESSAGE_BYTES = 1 << 16


def make_channel() -> tuple[socket.socket, socket.socket]:
    """Two connected ends: for the keeper and for the worker."""
    keeper, worker = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (keeper, worker):
        end.setblocking(False)
    return keeper, worker


def send(end: socket.socket, message: dict[str, Any]) -> bool:
    """Send one message; False when the other side is gone or does not keep up."""
    try:
        end.send(json.dumps(message).encode())
    except OSError:
        return False
    return True


def send_descriptor(end: socket.socket, name: str, descriptor: int) -> bool:
    """Send a descriptor; the other side receives it under that name. As `send`."""
    try:
        socket.send_fds(end, [json.dumps({name: 0}).encode()], [descriptor])
    except OSError:
        return False
    return True


def receive(end: socket.socket) -> dict[str, Any] | None:
    """The next message, or None when there is none. A descriptor in it belongs to the caller.

    Raises OSError when there was no room for that.
    """
    try:
        data, descriptors, flags, _ = socket.recv_fds(end, _MESSAGE_BYTES, 1)
    except OSError:
        return None
    if flags & socket.MSG_CTRUNC:
        raise OSError(errno.EMFILE, "no room for a descriptor that was sent")
    if not data:
        return None
    message: dict[str, Any] = json.loads(data)
    for descriptor in descriptors:
        os.set_inheritable(descriptor, False)
        message = dict.fromkeys(message, descriptor)
    return message


class Probe:
    """A child that looks at a container and may be forgotten when it hangs.

    At most one per leg runs: a child that is stuck inside the kernel is waited for, not repeated.
    """

    def __init__(self, number: int, url: str, timeout_seconds: float) -> None:
        self.number = number
        self.url = url
        self.deadline = monotonic() + timeout_seconds
        self.pid, self.pipe = fork_reporting(lambda pipe: _look(url, pipe), os.O_NONBLOCK)

    def answer(self) -> dict[str, Any] | None:
        """What the child found, an error once its deadline has passed, or None: wait."""
        try:
            data = os.read(self.pipe, _MESSAGE_BYTES)
        except BlockingIOError:
            if monotonic() < self.deadline:
                return None
            os.kill(self.pid, signal.SIGKILL)
            data = b'{"error": "no answer"}'
        try:
            found: dict[str, Any] = json.loads(data or b'{"error": "the probe died"}')
        except ValueError:
            found = {"error": "the probe's answer is cut off"}
        return {"probe": self.number, "url": self.url, **found}

    def close(self) -> None:
        """Let go of the pipe."""
        os.close(self.pipe)


def wait(descriptors: list[int], timeout_seconds: float) -> set[int]:
    """Wait until one of the descriptors is readable (or has ended), or for that long."""
    poller = select.poll()
    for descriptor in descriptors:
        poller.register(descriptor, select.POLLIN)
    return {descriptor for descriptor, _ in poller.poll(max(0, int(timeout_seconds * 1000) + 1))}


def _look(url: str, pipe: int) -> None:
    """The child: open the container as a leg is opened, read its superblock, answer."""
    close_all_except({pipe})
    try:
        container = open_container(url)
        back_end = container.open()
        superblock = read_superblock(back_end, back_end.size_bytes())
        back_end.close()  # and its lock, before the worker is told that it may open it
        found: dict[str, Any] = {"error": ""}
        if superblock is not None:
            found |= {
                "volume_id": superblock.volume_id,
                "leg_id": superblock.leg_id,
                "epoch": superblock.epoch,
                "position": superblock.position,
            }
    except HoldfastError as error:
        found = {"error": error.message}
    except OSError as error:
        found = {"error": error.strerror or str(error)}
    os.write(pipe, json.dumps(found).encode())
