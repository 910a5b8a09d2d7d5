"""Nodes in memory, of FIFOs and devices, that processes have in the place of their own.

They work, so whoever has one may go on with it for good.
"""

from __future__ import annotations

import errno
import os

from holdfast.applications.rebind.parking.notes import HandleNote
from holdfast.applications.rebind.parking.placeholders import NODE_LINK, is_placeholder_node
from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.applications.rebind.tracing.errors import gone
from holdfast.system.proc import link


def is_parked(process: StoppedProcess, note: HandleNote) -> bool:
    """Whether a descriptor is of a node of ours. Raises ProcessLookupError when it has been
    closed: while everybody stands still, by the end of its process only."""
    try:
        if link(f"{process.folder(note.handle.thread_id)}/fd/{note.handle.number}") != NODE_LINK:
            return False
    except FileNotFoundError as error:
        raise gone(process.pid) from error
    except OSError as error:
        if error.errno != errno.ENAMETOOLONG:
            raise
        return False
    with process.copy_of(note.handle) as copy:
        return is_placeholder_node(copy)


def keep(process: StoppedProcess, note: HandleNote) -> None:
    """Let its node of ours be what it has from now on: with the owner and mode that its own had."""
    was = note.details.was
    if was is None or not is_parked(process, note):
        return
    with process.copy_of(note.handle) as copy:
        os.fchown(copy, was.user_id, was.group_id)
        os.fchmod(copy, was.mode & 0o7777)
