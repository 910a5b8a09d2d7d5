"""A cover over a mount point whose file system is away: whoever looks below it waits.

It is a FUSE file system of which nothing but the root can be reached: requests stay in the kernel's
queue, unread, so those who wait can be killed, until `release`. Then each is answered ESTALE, and
the kernel walks that path once more from its beginning (LOOKUP_REVAL), onto what is mounted there
by then. Invariants: nothing can be made on a cover; its servers (`cover_server`) outlive whoever
made it, and end when the cover is mounted nowhere; nothing that one who waits there has made keeps
the others waiting. Must never be looked at by a process that matters: a stat(2) of its root waits
like everything else.
"""

from __future__ import annotations

import os
import select
import stat
import uuid
from dataclasses import replace

from holdfast.errors import HoldfastError
from holdfast.late_dataclass import dataclass
from holdfast.system.fuse import wire
from holdfast.system.fuse.cover_server import BUFFER_BYTES, SUBTYPE, CoverServer, start_server
from holdfast.system.mounts.detached import mount_detached
from holdfast.system.statx import number_for_ever

_ANSWER_SECONDS = 5.0
"""The kernel asks for INIT while it mounts."""


@dataclass(frozen=True)
class Covers:
    """Two covers that are mounted nowhere yet: descriptors (O_PATH) of their roots."""

    directory: int
    file: int
    server: CoverServer

    def close(self) -> None:
        """Close the descriptors. Mounted covers live on; if none is mounted, their servers end."""
        os.close(self.directory)
        os.close(self.file)


def make_covers(deadline_ns: int) -> Covers:
    """Make a cover for directories and one for files, served from now on; caller closes.

    From `deadline_ns` (CLOCK_MONOTONIC) on those who wait get EIO. Raises HoldfastError, OSError.
    """
    connections: list[int] = []
    roots: list[int] = []
    name = f"holdfast-{uuid.uuid4().hex}"
    try:
        for kind in (stat.S_IFDIR, stat.S_IFREG):
            connections.append(wire.open_connection())
            roots.append(_mount(connections[-1], kind, name))
            _greet(connections[-1])
        server = start_server(connections, deadline_ns, name)
    except BaseException:
        for root in roots:
            os.close(root)
        raise
    finally:
        for connection in connections:
            os.close(connection)
    directory, file = roots
    oldest = number_for_ever(directory)
    return Covers(directory, file, replace(server, oldest_mount=oldest))


def _mount(connection: int, kind: int, name: str) -> int:
    options = {
        "fd": str(connection),
        "rootmode": f"{kind:o}",
        "user_id": "0",
        "group_id": "0",
        "allow_other": "",
        # So that whoever walks through the root asks for its attributes: the kernel begins a walk
        # anew, but not the look for a name that is about to be made (mkdir, symlink, bind).
        "default_permissions": "",
        "subtype": SUBTYPE,
    }
    return mount_detached("fuse", options, source=name)


def _greet(connection: int) -> None:
    """Answer INIT, the one request that is answered at once."""
    poller = select.poll()
    poller.register(connection, select.POLLIN)
    if not poller.poll(int(_ANSWER_SECONDS * 1000)):
        raise HoldfastError("the kernel does not begin to speak FUSE", "holdfast doctor")
    request = os.read(connection, BUFFER_BYTES)
    _, opcode, unique, *_ = wire.IN_HEADER.unpack_from(request)
    if opcode != wire.INIT:
        raise HoldfastError(f"the kernel began to speak FUSE with {opcode}", "holdfast doctor")
    os.write(connection, wire.init_reply(unique, memoryview(request)[wire.IN_HEADER.size :]))
