"""Sockets that a stopped process makes for us: in its network namespace, with its label."""

from __future__ import annotations

import errno
import socket

from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.system.proc import read_record
from holdfast.system.proc_text import field


def make_socket(process: StoppedProcess, kind: int, thread_id: int | None) -> int:
    """A new Unix socket of this type; its number inside. Raises OSError."""
    arguments = ("socket", socket.AF_UNIX, kind, 0)
    try:
        return process.tracee.call(*arguments, thread_id=thread_id)
    except OSError as error:
        if error.errno != errno.EMFILE or not process.tracee.allow_more_descriptors():
            raise
        return process.tracee.call(*arguments, thread_id=thread_id)


def as_seen(process: StoppedProcess) -> tuple[int, int, int]:
    """What the other end sees when this process calls listen(2) or connect(2) now."""
    status = read_record(f"/proc/{process.pid}/task/{process.tracee.executor}/status")
    user, group = (int((field(status, name) or b"").split()[1]) for name in (b"Uid", b"Gid"))
    return process.pid, user, group
