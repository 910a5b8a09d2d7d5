"""Mounts that were made `noexec` while programs ran from them.

The option binds whoever maps or starts a program, not what runs already. So these mounts are
without it while handles move, and have it again before anybody goes on. After our death the next
agent does both; none of the stopped has run in between. Where another namespace owns the mount, an
expendable child enters that.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial

from holdfast.applications.rebind.parking.stopped_process import StoppedProcess
from holdfast.errors import HoldfastError
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts.mount_api import forbid_execution
from holdfast.system.mounts.namespace import enter_mount_namespace


@contextmanager
def execution_permitted(
    bases: Mapping[int, int], processes: Sequence[StoppedProcess]
) -> Iterator[None]:
    """Within the context the new mounts of running programs let those be mapped.

    A mount that cannot be changed stays as it is: what runs from it is lost then, and told.
    """
    found = {
        note.handle.mount_id: process.pid
        for process in processes
        for note in process.notes
        if note.details.noexec and note.handle.mount_id in bases
    }
    try:
        for mount_id, pid in found.items():
            _set(bases[mount_id], pid, forbidden=False)
        yield
    finally:
        for mount_id, pid in found.items():
            _set(bases[mount_id], pid, forbidden=True)


def _set(mount: int, pid: int, *, forbidden: bool) -> None:
    try:
        forbid_execution(mount, forbidden=forbidden)
    except OSError as error:
        if error.errno == errno.EINVAL:  # it belongs to another namespace
            with suppress(HoldfastError, OSError):
                in_expendable_child(partial(_set_elsewhere, mount, pid, forbidden))


def _set_elsewhere(mount: int, pid: int, forbidden: bool) -> None:
    enter_mount_namespace(pid)
    forbid_execution(mount, forbidden=forbidden)
