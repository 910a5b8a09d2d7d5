"""`file:/path.img`: an image file in any directory.

Invariant: an image that exists is never truncated or overwritten by anything here, nor taken when
somebody else may have made it or may read it (see trust); a new one is sparse, owner-only, and
durable together with its name. Must never follow the path into creating
folders: a missing parent usually means storage that is not mounted.
"""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from contextlib import suppress
from pathlib import Path
from typing import ClassVar

from holdfast.containers.back_end import DescriptorBackEnd, image_back_end
from holdfast.containers.contents import check_empty
from holdfast.containers.local_path import LocalPath
from holdfast.containers.protocol import Place, SharedRoom, Traits
from holdfast.containers.trust import check_place, open_believed, refuse_link
from holdfast.errors import (
    DeadlinePassed,
    InUse,
    InvalidUrl,
    NoSuchContainer,
    TooSmall,
)
from holdfast.system.children.run import run
from holdfast.system.mounts.mount_table import mount_holding
from holdfast.system.storage.block import mounted_at, swap_paths
from holdfast.system.storage.loop_backing import devices_showing

_STAT_UNIT_BYTES = 512
"""Of st_blocks, stat(2)."""


class FileContainer(LocalPath):
    """An image file; see Container for what each method promises."""

    traits: ClassVar[Traits] = Traits("image", reads_zero_when_new=True, has_holes=True)
    example: ClassVar[str] = "file:/absolute/path.img"
    kind: ClassVar[str] = "file"
    below: ClassVar[str] = "the storage below it"

    @property
    def image_path(self) -> str:
        """The image itself."""
        return self._url.path

    @property
    def device_path(self) -> str:
        """None: a loop device may show it, under a name that changes."""
        return ""

    def shown_by(self) -> list[str]:
        """Loop devices that have it as their backing file, under whatever name."""
        return [each.device for each in devices_showing(self._path)]

    def place(self) -> Place:
        """The file, else the folder that it would be made in."""
        room = self.room()
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return Place(("path", os.path.realpath(self._path)), room)
        return Place(("file", status.st_dev, status.st_ino), room)

    def room(self) -> SharedRoom:
        """The room below it: a sparse image may promise more than its file system has."""
        found = os.statvfs(self._path.parent)
        free_bytes = found.f_bavail * found.f_frsize
        try:
            status = self._path.stat()
        except FileNotFoundError:
            return SharedRoom(self.url, self._path.parent.stat().st_dev, free_bytes)
        allocated_bytes = status.st_blocks * _STAT_UNIT_BYTES
        return SharedRoom(self.url, status.st_dev, free_bytes, status.st_size, allocated_bytes)

    def erase(self) -> None:
        """Punch one hole through all of it."""
        length = self._path.stat().st_size
        run(["fallocate", "--punch-hole", "--offset=0", f"--length={length}", str(self._path)])

    def create(self, size_bytes: int) -> bool:
        """Create the image, sparse; durable with its name when it returns. False: it existed."""
        self._check_parent()
        try:
            descriptor = open_believed(self._path, os.O_RDWR | os.O_CREAT | os.O_EXCL)
        except FileExistsError:
            refuse_link(self._path)
            return False
        except OSError as error:
            raise self._failed("cannot be created", error) from error
        try:
            try:
                os.ftruncate(descriptor, size_bytes)
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            self._sync_parent()
        except BaseException as error:
            with suppress(OSError):
                self._path.unlink()
            if isinstance(error, OSError):
                raise self._failed(f"cannot have {size_bytes} bytes", error) from error
            raise
        return True

    def remove(self) -> None:
        """Delete the image; durable when it returns; nothing happens when there is none."""
        try:
            self._path.unlink()
            self._sync_parent()
        except FileNotFoundError:
            return
        except OSError as error:
            raise self._failed("cannot be deleted", error) from error

    def check_unused(self) -> None:
        """Raise InUse when another gate, a loop device or the kernel's swap uses the image, or may:
        who cannot be asked is not believed to leave it alone."""
        try:
            back_end = self.open(only_look=True)
        except FileNotFoundError:
            return
        except BlockingIOError:
            raise self._locked() from None
        except OSError as error:
            raise self._failed("cannot be opened for writing", error) from error
        back_end.close()
        if os.path.realpath(self._path) in swap_paths():
            raise InUse(f"{self._path} is in use as swap", "Free it: swapoff.")
        try:
            devices = self.shown_by()
        except DeadlinePassed as error:
            raise InUse(f"{self._path} may be attached: {error}", error.mend) from error
        except OSError as error:
            raise self._failed("cannot be examined", error) from error
        if devices:
            self._refuse_attached(devices[0])
        os.close(open_believed(self._path, os.O_RDONLY))

    def _refuse_attached(self, device: str) -> None:
        """Raise InUse; the mend is that of the mount, where there is one: losetup would not free
        it."""
        path = mounted_at(device)
        if path is not None:
            raise InUse(
                f"{self._path} is attached as {device} and mounted at {path}",
                f"Use another image; or free it: umount {path}.",
            )
        raise InUse(f"{self._path} is attached as {device}", f"Free it: losetup -d {device}.")

    def check_free(self, size_bytes: int) -> None:
        """Raise unless the image is absent (and can be made), or empty, unused and large enough."""
        self._check_parent()
        try:
            status = self._path.lstat()
        except FileNotFoundError:
            check_place(self._path)
            return
        except OSError as error:
            raise self._failed("cannot be examined", error) from error
        refuse_link(self._path)
        self._check_regular(status)
        self.check_unused()
        try:
            check_empty(str(self._path), status.st_size, has_holes=True)
        except OSError as error:
            raise self._failed("cannot be read", error) from error
        if status.st_size < size_bytes:
            raise TooSmall(
                f"{self._path} has {status.st_size} bytes, {size_bytes} are needed",
                "Delete the empty image, Holdfast makes it in the right size; or enlarge it.",
            )

    def open(self, *, only_look: bool = False) -> DescriptorBackEnd:
        """Open it under the exclusive lock; with direct I/O where the file system allows it."""
        flags = os.O_RDWR | os.O_DIRECT
        try:
            descriptor = open_believed(self._path, flags, in_use=True, keep_mode=only_look)
        except OSError as error:
            if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
                raise
            flags = os.O_RDWR
            descriptor = open_believed(self._path, flags, in_use=True, keep_mode=only_look)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return image_back_end(descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def take_over(self, descriptor: int) -> DescriptorBackEnd:
        """Take over a descriptor that was opened as `open` does."""
        return image_back_end(descriptor)

    def grow(self, size_bytes: int) -> None:
        """Make the image at least that large, sparse; durable when it returns."""
        try:
            descriptor = open_believed(self._path, os.O_RDWR, in_use=True)
        except FileNotFoundError as error:
            raise NoSuchContainer(f"{self._path} does not exist") from error
        except OSError as error:
            raise self._failed("cannot be opened", error) from error
        try:
            if os.fstat(descriptor).st_size < size_bytes:
                os.ftruncate(descriptor, size_bytes)
            os.fsync(descriptor)
        except OSError as error:
            if error.errno in (errno.EFBIG, errno.ENOSPC, errno.EDQUOT):
                raise TooSmall(
                    f"{self._path} cannot grow to {size_bytes} bytes: {error.strerror}",
                    "Replace the leg by one that lies on larger storage: holdfast leg replace.",
                ) from error
            raise self._failed("cannot grow", error) from error
        finally:
            os.close(descriptor)

    def lies_on(self) -> str:
        """The folder that holds the image, links resolved; blocks as the storage does."""
        return str(Path(os.path.realpath(self._path)).parent)

    def _check_parent(self) -> None:
        parent = self._path.parent
        try:
            is_folder = stat.S_ISDIR(parent.stat().st_mode)
        except (FileNotFoundError, NotADirectoryError):
            is_folder = False
        except OSError as error:
            raise self._failed("cannot be reached", error) from error
        if not is_folder:
            raise NoSuchContainer(
                f"the folder {parent} does not exist",
                f"Mount the storage that belongs there, or make it: mkdir -p {parent}.",
            )
        self._check_not_among_devices()

    def _check_not_among_devices(self) -> None:
        """What is written below /dev is in memory, and mostly a device that is not there now."""
        mount = mount_holding(os.path.realpath(self._path.parent))
        if mount is not None and (mount.filesystem == "devtmpfs" or mount.path == "/dev"):
            raise InvalidUrl(
                f"{self._path} is in the folder of devices, which is memory: no image can be there",
                f"See that the device is there, and write block:{self._path}.",
            )

    def _check_regular(self, status: os.stat_result) -> None:
        if stat.S_ISBLK(status.st_mode):
            raise InvalidUrl(f"{self._path} is a block device", f"Write block:{self._path}.")
        if not stat.S_ISREG(status.st_mode):
            raise InvalidUrl(
                f"{self._path} is not a regular file", "Name an image file inside a folder."
            )

    def _sync_parent(self) -> None:
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
