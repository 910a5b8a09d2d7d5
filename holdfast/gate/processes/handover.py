"""What keeper and worker of one gate hand to each other when one of them dies; its begin and end.

Invariant: what lies in the run directory is made before the first worker and removed after the
last one, and never while either of the pair serves.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import field
from pathlib import Path

from holdfast.errors import InUse
from holdfast.gate.front import FRONT_END, FrontEnd
from holdfast.gate.members.configuration import FILE_NAME
from holdfast.gate.processes.remains import record_end
from holdfast.gate.runtime import shared_page
from holdfast.late_dataclass import dataclass
from holdfast.system.mounts.namespace import keep_mount_namespace
from holdfast.system.processes.process_state import start_time
from holdfast.system.resources.own_group import remove_group


@dataclass(frozen=True)
class Handover:
    """Directories, the shared page, the front end's descriptor and the listening socket."""

    state_directory: Path
    run_directory: Path
    cells: memoryview
    page: int
    """Descriptor of the shared page, which its name may be lost for."""
    connection: int
    listener: socket.socket
    keeper_pid: int = 0
    predecessor_pid: int = 0
    """The worker before, 0 for the first one."""
    force: bool = False
    """Start from what is there although a newer leg may be away."""
    kept: Mapping[int, int] = field(default_factory=dict)
    """Descriptors, in a worker that takes over, of legs that cannot be found by their names."""

    def front(self) -> FrontEnd:
        """The front end, resumed by this process."""
        return FRONT_END.resume(self.run_directory, self.connection)


def prepare_gate(state_directory: Path, run_directory: Path, *, force: bool) -> Handover:
    """Make what all processes of the gate share: device, connection, socket, page.

    Raises HoldfastError, OSError.
    """
    with suppress(OSError):  # a full disk keeps nobody from starting
        record_end(state_directory, run_directory)
    if is_shown(run_directory):
        try:
            take_device_away(run_directory)  # left by a gate that is gone
        except OSError as error:
            raise InUse(
                f"the device of an earlier gate is still in use: {error.strerror}",
                "holdfast recover cleans up what is dead.",
            ) from error
    (run_directory / FILE_NAME).unlink(missing_ok=True)
    listener = listen(run_directory)
    page, cells = shared_page.create_page(run_directory)
    cells[shared_page.KEEPER_GENERATION] = 1
    cells[shared_page.KEEPER_PID] = os.getpid()
    cells[shared_page.KEEPER_STARTED] = start_time(os.getpid())
    cells[shared_page.SOCKET_INODE] = (run_directory / shared_page.SOCKET_FILE).lstat().st_ino
    keep_mount_namespace()
    connection = FRONT_END.open(run_directory).descriptor
    return Handover(state_directory, run_directory, cells, page, connection, listener, force=force)


def listen(run_directory: Path) -> socket.socket:
    """A control socket at its name, in the place of whatever is there. Raises OSError."""
    path = run_directory / shared_page.SOCKET_FILE
    path.unlink(missing_ok=True)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listener.bind(str(path))
        path.chmod(0o600)
        listener.listen(64)
        listener.setblocking(False)
    except BaseException:
        listener.close()
        raise
    return listener


def take_device_away(run_directory: Path) -> None:
    """Whoever's it was. Raises OSError EBUSY while something uses it."""
    FRONT_END.resume(run_directory, -1).close()


def close_front(handover: Handover) -> None:
    """Take the device away; one that is still in use stays, for whoever cleans up to see."""
    try:
        take_device_away(handover.run_directory)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise


def clean_up(handover: Handover) -> None:
    """Remove what a gate leaves in the run directory; the page stays while the device is mounted.

    It says what the gate was, to whoever finds the device dead.
    """
    run_directory = handover.run_directory
    (run_directory / shared_page.SOCKET_FILE).unlink(missing_ok=True)
    (run_directory / FILE_NAME).unlink(missing_ok=True)
    if not is_shown(run_directory):
        (run_directory / shared_page.FILE_NAME).unlink(missing_ok=True)
        FRONT_END.resume(run_directory, -1).device().unlink(missing_ok=True)
    remove_group(run_directory.name)


def is_shown(run_directory: Path) -> bool:
    """Whether the device is there; does not touch it, as it may be dead, or hang."""
    return FRONT_END.resume(run_directory, -1).is_shown()
