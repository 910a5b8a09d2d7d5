"""What handles point to while nothing is there for them: a dead file, an empty folder, no memory.

An application sees these only when the deadline passes before its handles are rebound. Invariant:
nothing that is written to a placeholder is accepted (a file answers ENOTCONN to everything, memory
raises SIGBUS), nothing of it is in any mount table, and it goes away with its last user. A FIFO is
the exception: what is written there is read by whoever has its other end, as before.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import threading
from contextlib import suppress
from functools import cached_property
from struct import pack

from holdfast.system.files.beneath import reopen
from holdfast.system.fuse import wire
from holdfast.system.mounts.detached import mount_detached

_OPEN_NO_FLUSH = 1 << 5  # FOPEN_NOFLUSH of <linux/fuse.h>: close(2) succeeds on a dead connection
_REQUEST_BYTES = wire.MAXIMUM_TRANSFER_BYTES + 4096  # the kernel refuses to fill less
MEMORY_NAME = "holdfast-parked"
"""Of the files in memory that take the place of maps and programs."""
MEMORY_LINK = f"/memfd:{MEMORY_NAME} (deleted)"
"""What links in /proc to such a file say."""
NODE_NAME = "holdfast-parked"
NODE_LINK = f"/{NODE_NAME} (deleted)"
"""What links in /proc to a FIFO or a device say that takes the place of another one."""
_DIRECTORY_BYTES, _DIRECTORY_MODE = 4096, 0o555
_EXECUTABLE_MODE = 0o555
_SOCKET_MARK = 0x486F6C64
""""Hold": nobody marks a Unix socket, which no firewall sees."""


class Placeholders:
    """Descriptors of placeholders, made when first asked for; `close` closes ours."""

    def __init__(self) -> None:
        self._made: list[int] = []
        self.ends: dict[str, int] = {}
        """Ends of FIFOs that take the place of others, by the key of those (see parked_pipes)."""
        self.devices: dict[str, int] = {}
        """What takes the place of open devices, by the key of those."""

    @cached_property
    def file(self) -> int:
        """A descriptor that is open for reading and writing and fails with ENOTCONN."""
        return self.keep(_dead_file())

    @cached_property
    def directory(self) -> int:
        """A descriptor of an empty folder that takes nothing."""
        root = mount_detached(
            "tmpfs",
            {"size": str(_DIRECTORY_BYTES), "mode": f"{_DIRECTORY_MODE:04o}"},
            read_only=True,
        )
        try:
            return self.keep(os.open(f"/proc/self/fd/{root}", os.O_RDONLY | os.O_DIRECTORY))
        finally:
            os.close(root)

    @cached_property
    def place(self) -> int:
        """The same folder, opened with O_PATH."""
        return self.keep(os.open(f"/proc/self/fd/{self.directory}", os.O_PATH))

    @cached_property
    def memory(self) -> int:
        """A file of no bytes to map: whoever touches the map gets SIGBUS."""
        return self.keep(os.memfd_create(MEMORY_NAME, os.MFD_CLOEXEC))

    @cached_property
    def program(self) -> int:
        """A regular file that may be executed, for /proc/PID/exe."""
        writable = os.memfd_create(MEMORY_NAME, os.MFD_CLOEXEC)
        try:
            os.fchmod(writable, _EXECUTABLE_MODE)
            return self.keep(os.open(f"/proc/self/fd/{writable}", os.O_RDONLY))
        finally:
            os.close(writable)  # a file that somebody writes cannot be a program

    @cached_property
    def socket(self) -> int:
        """A socket that is bound to nothing: what listened there does not accept any more."""
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as made:
            made.setsockopt(socket.SOL_SOCKET, socket.SO_MARK, _SOCKET_MARK)
            return self.keep(made.detach())

    def new_fifo(self) -> int:
        """An O_PATH descriptor of a FIFO that has no name; nobody but root can open it by that."""
        return self._new_node(stat.S_IFIFO)

    def open_device(self, key: str, device: int, flags: int) -> int:
        """The same character device, opened by a node that has no name, once for each key."""
        if key not in self.devices:
            place = self._new_node(stat.S_IFCHR, device)
            self.devices[key] = self.keep(reopen(place, flags))
        return self.devices[key]

    def _new_node(self, kind: int, device: int = 0) -> int:
        os.mknod(NODE_NAME, kind, device, dir_fd=self._folder)
        try:
            return self.keep(os.open(NODE_NAME, os.O_PATH | os.O_NOFOLLOW, dir_fd=self._folder))
        finally:
            os.unlink(NODE_NAME, dir_fd=self._folder)

    @cached_property
    def _folder(self) -> int:
        options = {"size": str(_DIRECTORY_BYTES), "mode": "0700"}
        return self.keep(mount_detached("tmpfs", options, devices=True))

    def keep(self, descriptor: int) -> int:
        """Close it when all are closed."""
        self._made.append(descriptor)
        return descriptor

    def close(self) -> None:
        """Close our descriptors; those that were given live on. Idempotent."""
        while self._made:
            os.close(self._made.pop())


def is_placeholder_file(descriptor: int) -> bool:
    """Whether a file that is on a detached mount is ours: it fails with ENOTCONN."""
    try:
        os.pread(descriptor, 1, 0)
    except OSError as error:
        return error.errno == errno.ENOTCONN
    return False


def is_placeholder_socket(descriptor: int) -> bool:
    """Whether a socket is ours: of no name, with a mark that takes CAP_NET_ADMIN to set."""
    with socket.socket(fileno=os.dup(descriptor)) as copy:
        return (
            copy.family == socket.AF_UNIX
            and copy.getsockopt(socket.SOL_SOCKET, socket.SO_MARK) == _SOCKET_MARK
            and not copy.getsockname()
        )


def is_placeholder_directory(descriptor: int) -> bool:
    """Whether the root of a detached mount is ours: one page, read-only, nobody may write to it."""
    mode, space = os.fstat(descriptor).st_mode, os.fstatvfs(descriptor)
    return (
        stat.S_ISDIR(mode)
        and stat.S_IMODE(mode) == _DIRECTORY_MODE
        and space.f_blocks * space.f_frsize == _DIRECTORY_BYTES
        and bool(space.f_flag & os.ST_RDONLY)
    )


def is_placeholder_node(descriptor: int) -> bool:
    """Whether a FIFO or a device with the right link is ours, and not given to its owner for good
    (see
    `parked_nodes.keep`): it is root's, who alone could have made it, and nobody may open it."""
    status = os.fstat(descriptor)
    is_node = stat.S_ISFIFO(status.st_mode) or stat.S_ISCHR(status.st_mode)
    return is_node and not (stat.S_IMODE(status.st_mode) or status.st_uid)


def _dead_file() -> int:
    """Open the one file of a FUSE file system whose server then dies."""
    connection = wire.open_connection()
    server = threading.Thread(target=_serve_until_opened, args=(connection,), daemon=True)
    root = -1
    try:
        root = mount_detached(
            "fuse",
            {
                "fd": str(connection),
                "rootmode": f"{stat.S_IFREG:o}",
                "user_id": "0",
                "group_id": "0",
                "allow_other": "",
            },
        )
        server.start()  # not earlier: nothing can be read before the mount
        return os.open(f"/proc/self/fd/{root}", os.O_RDWR | os.O_CLOEXEC)
    finally:
        if server.ident is not None:
            server.join(timeout=5)
        os.close(connection)  # the last one: the kernel aborts the connection
        if root >= 0:
            os.close(root)


def _serve_until_opened(connection: int) -> None:
    """Answer what comes up to and including the first OPEN."""
    opcode = 0
    while opcode != wire.OPEN:
        try:
            request = os.read(connection, _REQUEST_BYTES)
        except OSError:
            return
        _, opcode, unique, *_ = wire.IN_HEADER.unpack_from(request)
        if opcode == wire.INIT:
            reply = wire.init_reply(unique, memoryview(request)[wire.IN_HEADER.size :])
        elif opcode == wire.OPEN:
            flags = pack("<QII", 0, _OPEN_NO_FLUSH, 0)
            reply = wire.OUT_HEADER.pack(16 + len(flags), 0, unique) + flags
        elif opcode == wire.GETATTR:
            reply = wire.attributes_reply(unique, 0)
        elif opcode in wire.NO_REPLY:
            continue
        else:
            reply = wire.plain_reply(unique)
        with suppress(OSError):
            os.write(connection, reply)
