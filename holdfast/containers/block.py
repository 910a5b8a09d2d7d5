"""`block:/dev/name`: any block device (disk, partition, LUN, logical volume, RBD).

Invariant: a device that anything uses, or that carries any signature, is never taken. Must never
create, shrink or delete a device; its size belongs to whoever made it.
"""

from __future__ import annotations

import errno
import fcntl
import mmap
import os
import stat
from typing import ClassVar

from holdfast.containers.back_end import DescriptorBackEnd, disk_back_end
from holdfast.containers.contents import EDGE_BYTES, check_empty
from holdfast.containers.local_path import LocalPath
from holdfast.containers.protocol import Place, Traits
from holdfast.errors import (
    HoldsData,
    InUse,
    InvalidUrl,
    NoSuchContainer,
    TooSmall,
)
from holdfast.system.children.run import run
from holdfast.system.storage.block import (
    device_size_bytes,
    holders,
    is_swap,
    mounted_at,
    partitions,
)


class BlockContainer(LocalPath):
    """A block device; see Container for what each method promises."""

    traits: ClassVar[Traits] = Traits("device", reads_zero_when_new=False, has_holes=False)
    example: ClassVar[str] = "block:/dev/name"
    kind: ClassVar[str] = "block"
    below: ClassVar[str] = "the device"

    @property
    def image_path(self) -> str:
        """None: no loop device is needed."""
        return ""

    @property
    def device_path(self) -> str:
        """The device itself."""
        return self._url.path

    def shown_by(self) -> list[str]:
        """Itself."""
        return [os.path.realpath(self._path)]

    def place(self) -> Place:
        """The device, by whatever name."""
        return Place(("device", self._path.stat().st_rdev), None)

    def room(self) -> None:
        """None: all of its bytes are there already, as far as can be told from here."""

    def erase(self) -> None:
        """Zero its edges, where all that tells of contents lies, and erase every signature."""
        back_end = self.open()
        try:
            aligned_bytes = back_end.size_bytes() // 4096 * 4096
            edge_bytes = min(EDGE_BYTES, aligned_bytes)
            with mmap.mmap(-1, edge_bytes) as zeros, memoryview(zeros) as view:
                back_end.write(view, 0)
                back_end.write(view, aligned_bytes - edge_bytes)
            back_end.flush()
        finally:
            back_end.close()
        run(["wipefs", "--all", "--quiet", str(self._path)])

    def create(self, size_bytes: int) -> bool:
        """False for a device that exists; block devices are never created here."""
        self._check_device()
        return False

    def remove(self) -> None:
        """Do nothing: a device belongs to whoever made it."""

    def check_unused(self) -> None:
        """Raise InUse when a mount, swap, device mapper, RAID or another gate uses the device."""
        self._check_device()
        try:
            path = mounted_at(self._path)
            if path is not None:
                raise InUse(f"{self._path} is mounted at {path}", f"Free it: umount {path}.")
            if is_swap(self._path):
                raise InUse(f"{self._path} is in use as swap", f"Free it: swapoff {self._path}.")
            users = holders(self._path)
            if users:
                raise InUse(f"{self._path} is part of {', '.join(users)}", "Use another device.")
            self.open().close()
        except BlockingIOError:
            raise InUse(
                f"{self._path} is in exclusive use",
                "A gate, a file system or a RAID has it: lsblk, holdfast volume list.",
            ) from None
        except OSError as error:
            raise self._failed("cannot be opened for writing", error) from error

    def check_free(self, size_bytes: int) -> None:
        """Raise unless the device exists, is unused, empty and large enough."""
        self.check_unused()
        try:
            parts = partitions(self._path)
            if parts:
                raise HoldsData(
                    f"{self._path} has partitions: {', '.join(parts)}",
                    "Use one of them, or erase the table on purpose (wipefs -a).",
                )
            own_bytes = self._size_bytes()
            check_empty(str(self._path), own_bytes, has_holes=False)
        except OSError as error:
            raise self._failed("cannot be read", error) from error
        if own_bytes < size_bytes:
            raise TooSmall(
                f"{self._path} has {own_bytes} bytes, {size_bytes} are needed",
                "Use a larger device, or enlarge this one.",
            )

    def open(self, *, only_look: bool = False) -> DescriptorBackEnd:
        """Direct I/O, exclusive (O_EXCL) and locked (flock).

        Raises BlockingIOError for both ways of being taken.
        """
        flags = os.O_RDWR | os.O_EXCL | os.O_CLOEXEC
        try:
            descriptor = os.open(self._path, flags | os.O_DIRECT)
        except OSError as error:
            if error.errno == errno.EBUSY:
                raise BlockingIOError(error.errno, error.strerror, self._path) from error
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            descriptor = os.open(self._path, flags)
        try:
            if not stat.S_ISBLK(os.fstat(descriptor).st_mode):
                raise OSError(errno.ENOTBLK, "not a block device", self._path)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return disk_back_end(descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def take_over(self, descriptor: int) -> DescriptorBackEnd:
        """Take over a descriptor that was opened as `open` does."""
        return disk_back_end(descriptor)

    def grow(self, size_bytes: int) -> None:
        """Check that the device has grown to that size already; it cannot be grown from here."""
        try:
            own_bytes = self._size_bytes()
        except OSError as error:
            raise self._failed("cannot be opened", error) from error
        if own_bytes < size_bytes:
            raise TooSmall(
                f"{self._path} has {own_bytes} bytes, {size_bytes} are needed",
                "Enlarge the device first (lvextend, the storage system), then try again.",
            )

    def lies_on(self) -> str:
        """The device node itself, links resolved."""
        return os.path.realpath(self._path)

    def _size_bytes(self) -> int:
        descriptor = os.open(self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            return device_size_bytes(descriptor)
        finally:
            os.close(descriptor)

    def _check_device(self) -> None:
        try:
            mode = self._path.stat().st_mode
        except (FileNotFoundError, NotADirectoryError):
            raise NoSuchContainer(
                f"there is no device {self._path}", "lsblk lists the devices of this host."
            ) from None
        except OSError as error:
            raise self._failed("cannot be examined", error) from error
        if stat.S_ISREG(mode):
            raise InvalidUrl(f"{self._path} is a file", f"Write file:{self._path}.")
        if not stat.S_ISBLK(mode):
            raise InvalidUrl(f"{self._path} is not a block device", "lsblk lists those.")
