"""A worker starts a keeper when the one before has died.

It is a new program, not a fork of the worker: a fork would take along locked memory, threads' locks
and a deeper stack each time. Descriptors of legs are handed over only to be closed there, on a
thread of its own, because closing one on hung storage may block.
"""

from __future__ import annotations

import os
import socket
import sys
from collections.abc import Iterable

from holdfast.gate.channel import make_channel
from holdfast.gate.post import Post


def start_keeper(post: Post, leg_descriptors: Iterable[int]) -> tuple[socket.socket, int]:
    """Start a keeper for this process; the worker's end of the new channel, and its pid."""
    keeper_end, worker_end = make_channel()
    handed = [post.connection, post.listener.fileno(), keeper_end.fileno()]
    closing = list(leg_descriptors)
    arguments = [
        sys.executable,
        "-m",
        "holdfast.gate",
        "resume",
        str(post.state_directory),
        str(post.run_directory),
        *(str(descriptor) for descriptor in handed),
        str(os.getpid()),
        ",".join(map(str, closing)),
    ]
    for descriptor in (*handed, *closing):
        os.set_inheritable(descriptor, True)
    try:
        pid = os.posix_spawn(sys.executable, arguments, dict(os.environ))
    finally:
        for descriptor in (*handed, *closing):
            os.set_inheritable(descriptor, False)
    keeper_end.close()
    return worker_end, pid
