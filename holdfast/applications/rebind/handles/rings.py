"""Requests of io_uring and Linux AIO that may be under way while their process is stopped."""

from __future__ import annotations

import re

from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.errors import Blocked
from holdfast.system.proc import link, names, read, read_record

_RING = "anon_inode:[io_uring]"
_POLLED = re.compile(rb"^\s+op=\d+", re.MULTILINE)
"""A request that waits until a descriptor is ready, io_uring/fdinfo.c."""
_HELPER = b"iou-wrk-"
"""A thread of the kernel that carries out a request."""
_HELPERS = (_HELPER, b"iou-sqp-")
"""And one that looks for requests, and would begin new ones. They make no calls."""
SOCKETS, PIPES = (b"unix_", b"__skb_wait"), (b"pipe_", b"anon_pipe_", b"fifo_pipe_")
"""Where it waits for a Unix socket (net/unix/af_unix.c), and for a pipe (fs/pipe.c)."""
_CONTEXT = b" /[aio]"
"""The memory of a context of io_setup(2), fs/aio.c. What is under way there is told nowhere."""


def rings_of(process: StoppedProcess) -> list[str]:
    """The numbers of its descriptors of rings of io_uring."""
    folder = f"/proc/{process.pid}/fd"
    return [name for name in names(folder) if _link(f"{folder}/{name}") == _RING]


def end_requests(process: StoppedProcess) -> None:
    """Let requests that are done let go of their files: the kernel does that when the thread that
    made them is in the kernel once more, and no table names them until then."""
    folder = f"/proc/{process.pid}/task"
    for thread_id in tuple(process.tracee.threads) if rings_of(process) else ():
        if not read_record(f"{folder}/{thread_id}/comm").startswith(_HELPERS):
            process.tracee.call("getpid", thread_id=thread_id)


def _has_requests(process: StoppedProcess, waits: tuple[bytes, ...] = SOCKETS) -> bool:
    """Whether io_uring may hold such a file, or take something out of it, while all threads stand.
    `waits`: where threads of the kernel wait for those."""
    folder = f"/proc/{process.pid}"
    rings = rings_of(process)
    if not rings:
        return False
    if any(_POLLED.search(read(f"{folder}/fdinfo/{name}")) for name in rings):
        return True
    return any(
        read_record(f"{folder}/task/{name}/comm").startswith(_HELPER)
        and read_record(f"{folder}/task/{name}/wchan").startswith(waits)
        for name in names(f"{folder}/task")
    )


def refuse_requests(process: StoppedProcess, what: str, waits: tuple[bytes, ...] = SOCKETS) -> None:
    """Raises Blocked, naming `what` cannot be moved, when such a request may be under way."""
    if _has_requests(process, waits):
        raise Blocked(
            f"process {process.pid}: {what} cannot be moved: a ring of io_uring has requests that"
            " wait for something",
            "Let them end, or end the process; then try again.",
        )


def has_context(process: StoppedProcess) -> bool:
    """Whether it uses Linux AIO: requests may wait there."""
    return _CONTEXT in read(f"/proc/{process.pid}/maps")


def _link(path: str) -> str:
    try:
        return link(path)
    except OSError:
        return ""
