"""`past:/path`: a volume as it was at a moment, over a copy that is only read.

Made by a clone that is filled in the background (`make_past`), which then uses it as a leg until
another container has everything. Invariant: nothing is ever written to the copy, and nothing of it
is believed that somebody else wrote since. Must never be taken for a plain image: what its file
does not have, the copy has.
"""

from __future__ import annotations

import errno
import fcntl
import os
from contextlib import ExitStack
from pathlib import Path
from typing import ClassVar

from holdfast.containers.back_end import image_back_end
from holdfast.containers.file import FileContainer
from holdfast.containers.local_path import LocalPath
from holdfast.containers.past_back_end import PastBackEnd
from holdfast.containers.past_layout import PAGE_BYTES, PastHeader, decode_header, unit_of
from holdfast.containers.protocol import Place, SharedRoom, Traits
from holdfast.containers.trust import open_believed
from holdfast.errors import HoldsData, InvalidUrl, TooSmall, Untrusted
from holdfast.model.container import ContainerUrl
from holdfast.system.boot import boot_id


class PastContainer(LocalPath):
    """A past view; see Container for what each method promises."""

    traits: ClassVar[Traits] = Traits(
        "past view", reads_zero_when_new=False, has_holes=True, is_named_by_people=False
    )
    example: ClassVar[str] = "past:/absolute/path.past"
    kind: ClassVar[str] = "past"
    below: ClassVar[str] = "the storage below it, or below the copy that it reads from"

    def __init__(self, url: ContainerUrl) -> None:
        super().__init__(url)
        self._file = FileContainer(ContainerUrl("file", url.path))

    @property
    def image_path(self) -> str:
        """None: its file is not what it shows."""
        return ""

    @property
    def device_path(self) -> str:
        """None."""
        return ""

    def shown_by(self) -> list[str]:
        """None shows it."""
        return []

    def place(self) -> Place:
        """That of its file."""
        return self._file.place()

    def room(self) -> SharedRoom:
        """What its file may still take."""
        found = self._file.room()
        return SharedRoom(
            self.url, found.file_system, found.free_bytes, found.size_bytes, found.allocated_bytes
        )

    def erase(self) -> None:
        """It is never empty."""
        raise HoldsData(f"{self.url} is a past view", "Delete the clone that reads from it.")

    def create(self, size_bytes: int) -> bool:
        """False where it is there; else raises InvalidUrl: `make_past` makes one."""
        if self.exists():
            return False
        raise self._only_by_a_clone()

    def remove(self) -> None:
        """Delete its file; the copy stays."""
        self._file.remove()

    def check_unused(self) -> None:
        """Raise InUse when a gate has it."""
        try:
            self.open(only_look=True).close()
        except FileNotFoundError:
            return
        except BlockingIOError:
            raise self._locked() from None
        except OSError as error:
            raise self._failed("cannot be opened", error) from error

    def check_free(self, size_bytes: int) -> None:
        """Raises HoldsData where it is there, else InvalidUrl."""
        if self.exists():
            raise HoldsData(f"{self.url} holds a volume as it was", "Use another container.")
        raise self._only_by_a_clone()

    def _only_by_a_clone(self) -> InvalidUrl:
        return InvalidUrl(
            f"{self.url}: a past view is made by holdfast clone --into alone",
            "Name an image (file:/path.img) or a device.",
        )

    def open(self, *, only_look: bool = False) -> PastBackEnd:
        """Its file under the exclusive lock, the copy under a shared one: others may read it, too.

        Raises Untrusted where either is not what it was.
        """
        with ExitStack() as stack:
            maps = open_believed(self._path, os.O_RDWR, in_use=True, keep_mode=only_look)
            stack.callback(os.close, maps)
            fcntl.flock(maps, fcntl.LOCK_EX | fcntl.LOCK_NB)
            header = self._header(maps)
            own = _open_direct(f"/proc/self/fd/{maps}", os.O_RDWR)
            stack.callback(os.close, own)
            base = self._open_base(header)
            stack.callback(os.close, base)
            opened = (image_back_end(own), image_back_end(maps), image_back_end(base))
            found = PastBackEnd(header, *opened, boot_id())
            stack.pop_all()
        return found

    def _header(self, descriptor: int) -> PastHeader:
        end = os.lseek(descriptor, 0, os.SEEK_END)
        page = os.pread(descriptor, PAGE_BYTES, end - PAGE_BYTES) if end > PAGE_BYTES else b""
        header = decode_header(page, end)
        if header is None:
            raise Untrusted(
                f"{self._path} is no past view, or was truncated", "Delete its clone, make another."
            )
        return header

    def _open_base(self, header: PastHeader) -> int:
        path = Path(header.base_path)
        descriptor = open_believed(path, os.O_RDONLY, in_use=True, keep_mode=True)
        try:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError as error:
                words = f"another process has the copy {path}"
                raise OSError(errno.EBUSY, words) from error  # not this view: no gate has that
            status = os.fstat(descriptor)
            is_same = status.st_ino == header.base_inode and status.st_size >= header.base_bytes
            if not is_same or header.base_written_ns not in (0, status.st_mtime_ns):
                raise Untrusted(
                    f"the copy {path} is not what {self.url} was made from any more",
                    "Delete the clone that reads from it, and make another one.",
                )
            return _direct_if_it_can(descriptor)
        except BaseException:
            os.close(descriptor)
            raise

    def take_over(self, descriptor: int) -> PastBackEnd:
        """Never: no descriptor says all of it."""
        raise OSError(errno.EBADF, os.strerror(errno.EBADF))

    def grow(self, size_bytes: int) -> None:
        """Raises TooSmall for more than it has."""
        descriptor = open_believed(self._path, os.O_RDONLY, in_use=True, keep_mode=True)
        try:
            if self._header(descriptor).size_bytes < size_bytes:
                raise TooSmall(
                    f"{self.url} cannot grow",
                    "Wait until the clone is filled: holdfast volume show says how far it is.",
                )
        finally:
            os.close(descriptor)

    def lies_on(self) -> str:
        """The folder of its file."""
        return self._file.lies_on()


def make_past(url: str, size_bytes: int, base: os.PathLike[str] | str, base_bytes: int) -> int:
    """Make a past view of so many bytes, which reads as that image; its file's inode. Durable.

    Nobody may change the image as long as the view is used. Raises HoldsData when something is
    there, NoSuchContainer, Untrusted, ContainerFailed, OSError.
    """
    kind, _, path = url.partition(":")
    container = FileContainer(ContainerUrl("file", path))
    status = Path(base).lstat()
    try:
        header = PastHeader(
            base_path=str(base),
            base_bytes=base_bytes,
            base_inode=status.st_ino,
            base_written_ns=max(0, status.st_mtime_ns),
            size_bytes=size_bytes,
            unit_bytes=unit_of(size_bytes),
        )
        page = header.encode()
    except ValueError as error:
        raise InvalidUrl(f"{base}: {error}", "Use a copy with a shorter name.") from error
    if kind != PastContainer.kind or not container.create(header.file_bytes):
        raise HoldsData(f"{path} is there already", "Name one that is not there yet.")
    descriptor = open_believed(Path(path), os.O_RDWR)
    try:
        os.pwrite(descriptor, page, header.file_bytes - PAGE_BYTES)
        os.fsync(descriptor)
        return os.fstat(descriptor).st_ino
    finally:
        os.close(descriptor)


def remove_past(url: str, inode: int) -> None:
    """Delete the file of a past view, unless another file is there; durable, idempotent.

    `inode`: what `make_past` said; 0: nobody heard it, then only a view or an empty file goes.
    Raises OSError, ContainerFailed.
    """
    container = PastContainer(PastContainer.parse(url.partition(":")[2]))
    try:
        status = Path(container.lies_on(), Path(url).name).lstat()
    except FileNotFoundError:
        return
    if status.st_ino == inode or (not inode and (not status.st_blocks or _is_view(container))):
        container.remove()


def _is_view(container: PastContainer) -> bool:
    try:
        container.open(only_look=True).close()
    except Untrusted:
        return False
    return True


def past_url(path: object) -> str:
    """The URL of a past view whose file is there."""
    return str(ContainerUrl(PastContainer.kind, str(path)))


def _open_direct(path: str, flags: int) -> int:
    try:
        return os.open(path, flags | os.O_DIRECT | os.O_CLOEXEC)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
        return os.open(path, flags | os.O_CLOEXEC)


def _direct_if_it_can(descriptor: int) -> int:
    """The same file, with direct I/O where its file system allows it."""
    flags = fcntl.fcntl(descriptor, fcntl.F_GETFL)
    try:
        fcntl.fcntl(descriptor, fcntl.F_SETFL, flags | os.O_DIRECT)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.EOPNOTSUPP):
            raise
    return descriptor
