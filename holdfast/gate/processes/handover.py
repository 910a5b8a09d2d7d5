"""What keeper and worker of one gate hand to each other when one of them dies; its begin and end.

Invariant: what lies in the run directory is made before the first worker and removed after the
last one, and never while either of the pair serves.
"""

from __future__ import annotations

import errno
import socket
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.errors import InUse
from holdfast.gate.members.configuration import FILE_NAME
from holdfast.gate.processes.remains import record_end
from holdfast.gate.runtime import shared_page
from holdfast.system import fuse
from holdfast.system.mounts import mount_at
from holdfast.system.namespace import keep_mount_namespace
from holdfast.system.own_group import remove_group

DEVICE_FILE = "device"
"""In the run directory: the regular file on which the gate's file system is mounted."""

SOCKET_FILE = "control"
"""In the run directory: the control socket."""


@dataclass(frozen=True)
class Post:
    """Directories, the shared page, the kernel connection and the listening socket."""

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


def open_post(state_directory: Path, run_directory: Path, *, force: bool) -> Post:
    """Make what all processes of the gate share: device, connection, socket, page.

    Raises HoldfastError, OSError.
    """
    with suppress(OSError):  # a full disk keeps nobody from starting
        record_end(state_directory, run_directory)
    device = run_directory / DEVICE_FILE
    if is_mounted(run_directory):
        try:
            fuse.unmount_file(device)  # left by a gate that is gone
        except OSError as error:
            raise InUse(
                f"the device of an earlier gate is still in use: {error.strerror}",
                "holdfast recover cleans up what is dead.",
            ) from error
    device.touch(mode=0o600)
    (run_directory / FILE_NAME).unlink(missing_ok=True)
    listener = listen(run_directory)
    page, cells = shared_page.create_page(run_directory)
    cells[shared_page.KEEPER_GENERATION] = 1
    cells[shared_page.SOCKET_INODE] = (run_directory / SOCKET_FILE).lstat().st_ino
    keep_mount_namespace()
    connection = fuse.open_connection()
    fuse.mount_file(connection, device)
    return Post(state_directory, run_directory, cells, page, connection, listener, force=force)


def listen(run_directory: Path) -> socket.socket:
    """A control socket at its name, in the place of whatever is there. Raises OSError."""
    path = run_directory / SOCKET_FILE
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


def unmount_device(post: Post) -> None:
    """Take the device away; one that is still in use stays, for whoever cleans up to see."""
    try:
        fuse.unmount_file(post.run_directory / DEVICE_FILE)
    except OSError as error:
        if error.errno != errno.EBUSY:
            raise


def clean_up(post: Post) -> None:
    """Remove what a gate leaves in the run directory; the page stays while the device is mounted.

    It says what the gate was, to whoever finds the device dead.
    """
    run_directory = post.run_directory
    (run_directory / SOCKET_FILE).unlink(missing_ok=True)
    (run_directory / FILE_NAME).unlink(missing_ok=True)
    if not is_mounted(run_directory):
        (run_directory / shared_page.FILE_NAME).unlink(missing_ok=True)
        (run_directory / DEVICE_FILE).unlink(missing_ok=True)
    remove_group(run_directory.name)


def is_mounted(run_directory: Path) -> bool:
    """Whether the device is mounted; asks the mount table, as the device may be dead, or hang."""
    return mount_at(run_directory.resolve() / DEVICE_FILE) is not None
