"""Unix datagram sockets that are connected to one which is bound to a file on the volume.

Such a socket keeps nothing busy, and its process may have nothing else to do with the volume. But
the first thing that it sends to a socket which is gone fails, and it is connected to nothing then.
So its process stands still with all others, and it is connected to the new socket before anybody
goes on (see replaying.datagrams). Nothing of it is replaced.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from holdfast.applications.rebind.handles.base import UntouchedDriver
from holdfast.applications.rebind.handles.process_traits import ProcessTraits
from holdfast.applications.rebind.handles.rings import refuse_requests
from holdfast.applications.rebind.handles.verdicts import recreated
from holdfast.applications.rebind.opening.outcomes import ReboundHandle
from holdfast.applications.rebind.opening.requests import OpenedFiles
from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.model.handle import Handle, JudgedHandle
from holdfast.system.proc import link


class SenderDriver(UntouchedDriver):
    """Descriptors of sockets that have no name on the volume, and are connected to one: the old one
    is gone when those that have it are parked."""

    def judge(self, handle: Handle, facts: ProcessTraits) -> JudgedHandle:
        return recreated(handle, "connected again; its process stands still with the others")

    def examine(
        self, process: StoppedProcess, handles: Sequence[Handle], directory: Path
    ) -> list[dict[str, Any]]:
        """Nothing but that it stands still. Raises Blocked."""
        refuse_requests(process, f"a socket that is connected to {handles[0].path}")
        return [{} for _ in handles]

    def rebind(
        self,
        process: StoppedProcess,
        notes: Sequence[HandleNote],
        openings: OpenedFiles,
        directory: Path,
    ) -> list[ReboundHandle]:
        """Nothing in the process: it is connected from outside."""
        return []

    def is_parked(self, process: StoppedProcess, note: HandleNote) -> bool:
        """Whether it is that socket still, and connected to no other name. Raises OSError when it
        has been closed."""
        handle = note.handle
        place = f"{process.folder(handle.thread_id)}/fd/{handle.number}"
        if link(place) != f"socket:[{handle.inode}]":
            return False
        with process.socket_of(handle) as end:
            try:
                return os.fsdecode(end.getpeername()) == handle.path
            except OSError as error:
                return error.errno == errno.ENOTCONN
