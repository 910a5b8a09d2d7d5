"""The memory of a stopped process: reading and writing it from outside.

Its user may write to it, and may let any address be a file on storage that never answers. So
addresses that the process has chosen are read patiently: only if the page is resident, or in an
expendable child with a time limit.
"""

from __future__ import annotations

import errno
import os
from functools import partial

from holdfast.applications.rebind.tracing.errors import gone
from holdfast.errors import HoldfastError
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.processes import ptrace
from holdfast.system.processes.pagemap import is_resident

_PAGE_SECONDS = 1.0
"""For a page of a process to be read from its file."""


class ProcessMemory:
    """The memory of one process, between `open` and `close`."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._memory = -1
        self._pagemap = -1

    def open(self) -> None:
        """Open it once all threads stand: a descriptor stays with the memory of a program even
        after execve(2) has replaced that. Raises ProcessLookupError."""
        try:
            self._memory = os.open(f"/proc/{self._pid}/mem", os.O_RDWR | os.O_CLOEXEC)
            self._pagemap = os.open(f"/proc/{self._pid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except FileNotFoundError as error:
            raise gone(self._pid) from error

    def close(self) -> None:
        """Idempotent."""
        for descriptor in (self._memory, self._pagemap):
            if descriptor >= 0:
                os.close(descriptor)
        self._memory = self._pagemap = -1

    def is_resident(self, address: int) -> bool:
        """Whether the page there can be read without waiting for a file system behind it."""
        return is_resident(self._pagemap, address)

    def read_patiently(self, address: int, length: int) -> bytes:
        """Read memory that the process has chosen: it may lie on storage that never answers.

        Raises OSError, also when it does not answer within a second.
        """
        if self.is_resident(address) and self.is_resident(address + length - 1):
            return self.read(address, length)
        try:
            return in_expendable_child(
                partial(self.read, address, length), _PAGE_SECONDS, "memory of a process"
            )
        except HoldfastError as error:
            raise OSError(errno.EFAULT, f"no answer from the memory at {address:#x}") from error

    def read(self, address: int, length: int) -> bytes:
        """Read memory of the process. Raises OSError. Blocks where its pages are on storage."""
        data = os.pread(self._memory, length, address)
        if len(data) != length:
            raise self._no_memory(address, len(data))
        return data

    def write(self, address: int, data: bytes) -> None:
        """Write memory of the process, read-only memory as well. Raises OSError."""
        written = os.pwrite(self._memory, data, address)
        if written != len(data):
            raise self._no_memory(address, written)

    def _no_memory(self, address: int, done_bytes: int) -> OSError:
        if not done_bytes or ptrace.has_ended(self._pid):  # 0: its memory is gone, it is ending
            return gone(self._pid)
        return OSError(errno.EFAULT, f"no memory at {address:#x}")
