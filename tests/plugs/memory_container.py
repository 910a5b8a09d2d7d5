"""`memory:/name`: a container in this process. Faults are switched on from outside."""

from __future__ import annotations

import errno
import threading
from collections.abc import Callable
from typing import ClassVar

from holdfast.containers import BackEnd, Place, Traits
from holdfast.errors import HoldsData, InUse, InvalidUrl, NoSuchContainer, TooSmall
from holdfast.model.container import ContainerUrl


class Medium:
    """The bytes at one address, and what is wrong with them."""

    def __init__(self, size_bytes: int) -> None:
        self.content = bytearray(size_bytes)
        self.locked = False
        self.broken = False
        self.error = errno.EIO
        """Of each transfer while it is broken."""
        self.bad_place: int | None = None
        """A byte that cannot be read."""
        self.answers = threading.Event()
        """Cleared: every transfer hangs until it is set again."""
        self.answers.set()
        self.hanging = threading.Semaphore(0)
        """Released by each transfer that begins to hang."""
        self.flushes = 0
        self.on_flush: Callable[[], None] = lambda: None
        """Done by each flush; raises what it raises."""

    def touch(self) -> None:
        """What each transfer does first."""
        if not self.answers.is_set():
            self.hanging.release()
            self.answers.wait()
        if self.broken:
            raise OSError(self.error, "broken")


MEDIA: dict[str, Medium] = {}


class MemoryBackEnd:
    """An opened medium; see BackEnd."""

    descriptor = -1

    def __init__(self, medium: Medium) -> None:
        self.medium = medium
        self.identity = id(medium)
        self._expected_bytes = 0

    def size_bytes(self) -> int:
        return len(self.medium.content)

    def expect(self, size_bytes: int) -> None:
        self._expected_bytes = size_bytes

    def check_whole(self) -> None:
        if len(self.medium.content) < self._expected_bytes:
            raise OSError(errno.EIO, "the container was truncated")

    def take_requests_of(self, unit_bytes: int) -> None:
        pass

    def read(self, view: memoryview, offset: int) -> None:
        self.medium.touch()
        bad = self.medium.bad_place
        if bad is not None and offset <= bad < offset + len(view):
            raise OSError(errno.ENODATA, "bad sector")
        found = self.medium.content[offset : offset + len(view)]
        if len(found) < len(view):
            raise OSError(errno.EIO, "the container was truncated")
        view[:] = found

    def write(self, view: memoryview, offset: int) -> None:
        self.medium.touch()
        self.check_whole()
        self.medium.content[offset : offset + len(view)] = view

    def zero(self, offset: int, length: int, *, keep_allocated: bool) -> int:
        self.medium.touch()
        self.medium.content[offset : offset + length] = bytes(length)
        return length

    def flush(self) -> None:
        self.medium.touch()
        self.check_whole()
        self.medium.on_flush()
        self.medium.flushes += 1

    def next_data(self, offset: int, end: int) -> int:
        return offset

    def release(self) -> None:
        self.medium.locked = False

    def close(self) -> None:
        self.medium.locked = False


class MemoryContainer:
    """See Container for what each method promises."""

    traits: ClassVar[Traits] = Traits("memory", reads_zero_when_new=True, has_holes=False)
    example: ClassVar[str] = "memory:/name"
    image_path = device_path = ""

    def __init__(self, url: ContainerUrl) -> None:
        self._url = url

    @classmethod
    def parse(cls, text: str) -> ContainerUrl:
        if not text.startswith("/"):
            raise InvalidUrl(f"'memory:{text}' has no absolute path", "Write memory:/name.")
        return ContainerUrl("memory", text)

    @property
    def url(self) -> str:
        return str(self._url)

    def shown_by(self) -> list[str]:
        return []

    def place(self) -> Place:
        return Place(("memory", self._url.path), None)

    def room(self) -> None:
        pass

    def erase(self) -> None:
        medium = MEDIA[self._url.path]
        medium.content[:] = bytes(len(medium.content))

    def exists(self) -> bool:
        return self._url.path in MEDIA

    def create(self, size_bytes: int) -> bool:
        if self.exists():
            return False
        MEDIA[self._url.path] = Medium(size_bytes)
        return True

    def remove(self) -> None:
        MEDIA.pop(self._url.path, None)

    def check_unused(self) -> None:
        if self.exists() and MEDIA[self._url.path].locked:
            raise InUse(f"{self.url} is locked")

    def check_free(self, size_bytes: int) -> None:
        self.check_unused()
        if self.exists():
            content = MEDIA[self._url.path].content
            if any(content):
                raise HoldsData(f"{self.url} holds data")
            if len(content) < size_bytes:
                raise TooSmall(f"{self.url} is too small")

    def open(self, *, only_look: bool = False) -> MemoryBackEnd:
        if not self.exists():
            raise FileNotFoundError(errno.ENOENT, "no such memory")
        medium = MEDIA[self._url.path]
        if medium.locked:
            raise BlockingIOError(errno.EAGAIN, "locked")
        medium.locked = True
        return MemoryBackEnd(medium)

    def take_over(self, descriptor: int) -> BackEnd:
        raise OSError(errno.ENOTCONN, "it has no descriptor that anybody could take over")

    def grow(self, size_bytes: int) -> None:
        if not self.exists():
            raise NoSuchContainer(f"{self.url} does not exist")
        content = MEDIA[self._url.path].content
        content.extend(bytes(max(0, size_bytes - len(content))))

    def lies_on(self) -> str:
        return ""
