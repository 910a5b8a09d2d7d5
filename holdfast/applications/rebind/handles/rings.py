"""Rings of io_uring in a stopped process whose requests may be under way while it stands."""

from __future__ import annotations

import re

from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.system.proc import link, names, read, read_record

_RING = "anon_inode:[io_uring]"
_POLLED = re.compile(rb"^\s+op=\d+", re.MULTILINE)
"""A request that waits until a descriptor is ready, io_uring/fdinfo.c."""
_HELPER, _WAITS = b"iou-wrk-", (b"unix_", b"__skb_wait")
"""A thread of the kernel that carries out a request, and where it waits for a Unix socket."""


def has_requests(process: StoppedProcess) -> bool:
    """Whether io_uring may hold a socket, or take something out of it, while all threads stand."""
    folder = f"/proc/{process.pid}"
    rings = [name for name in names(f"{folder}/fd") if _link(f"{folder}/fd/{name}") == _RING]
    if not rings:
        return False
    if any(_POLLED.search(read(f"{folder}/fdinfo/{name}")) for name in rings):
        return True
    return any(
        read_record(f"{folder}/task/{name}/comm").startswith(_HELPER)
        and read_record(f"{folder}/task/{name}/wchan").startswith(_WAITS)
        for name in names(f"{folder}/task")
    )


def _link(path: str) -> str:
    try:
        return link(path)
    except OSError:
        return ""
