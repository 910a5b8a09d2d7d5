"""What every kind of container offers: the one interface between gate and storage.

All calls touch the storage and may block for ever when it hangs: call them from an expendable
process, or from a thread that may be abandoned. None of them retries.
"""

from __future__ import annotations

from typing import ClassVar, Protocol

from holdfast.containers.back_end import BackEnd
from holdfast.late_dataclass import dataclass
from holdfast.model.container import ContainerUrl


@dataclass(frozen=True)
class Traits:
    """What others need to know of a kind of container, in place of which kind it is."""

    noun: str
    """What people call one: `image`, `device`."""
    reads_zero_when_new: bool
    """What `create` made, or `check_free` passed, needs no zeros written to read as zeros."""
    has_holes: bool
    """SEEK_DATA says where nothing was written; a hole can be punched."""
    is_named_by_people: bool = True
    """Whether commands take one; else Holdfast makes it by itself, for a time."""


@dataclass(frozen=True)
class SharedRoom:
    """A container that takes its room, as it grows, from storage that others use as well."""

    url: str
    file_system: int
    """st_dev of that storage: containers with the same share what is free."""
    free_bytes: int
    size_bytes: int = 0
    allocated_bytes: int = 0


@dataclass(frozen=True)
class Place:
    """Where a container is, or would be made."""

    identity: tuple[object, ...]
    """Equal for two URLs that name the same container."""
    room: SharedRoom | None
    """None where all of its bytes are there already."""


class Container(Protocol):
    """A place where bytes live, addressed by one URL."""

    traits: ClassVar[Traits]
    example: ClassVar[str]
    """A URL of this kind, for people."""

    def __init__(self, url: ContainerUrl) -> None: ...

    @classmethod
    def parse(cls, text: str) -> ContainerUrl:
        """The address in what follows `kind:`, normalised. Raises InvalidUrl."""
        ...

    @property
    def url(self) -> str:
        """The URL, normalised."""
        ...

    @property
    def image_path(self) -> str:
        """The image file on this host that it is; empty: it is none. A loop device shows it."""
        ...

    @property
    def device_path(self) -> str:
        """The block device on this host that it is; empty: it is none."""
        ...

    def shown_by(self) -> list[str]:
        """The block devices on this host that show its bytes now. Raises OSError."""
        ...

    def place(self) -> Place:
        """The place where it is, or would be made. Raises OSError."""
        ...

    def room(self) -> SharedRoom | None:
        """What it may still take from storage that it shares; None: nothing. Raises OSError."""
        ...

    def erase(self) -> None:
        """Make a container that was checked to be empty read as empty again; its size stays.

        Durable on return. Raises OSError, HoldfastError.
        """
        ...

    def exists(self) -> bool:
        """Whether there is something at the address."""
        ...

    def create(self, size_bytes: int) -> bool:
        """Make the container of that size, sparse where it can be; durable when it returns.

        Returns False when it existed already (nothing is changed then, whatever its size).
        Raises ContainerFailed; NoSuchContainer where this kind cannot be created.
        """
        ...

    def remove(self) -> None:
        """Undo `create`: delete the image. Does nothing for containers we cannot create."""
        ...

    def check_unused(self) -> None:
        """Raise InUse when something has the container: a gate, a mount, a loop device, swap."""
        ...

    def check_free(self, size_bytes: int) -> None:
        """Raise unless the container may become a leg with `size_bytes` bytes in all.

        InUse: mounted, a loop device's backing file, opened exclusively. HoldsData: it carries
        any signature or any byte that is not zero in its first or last MiB (a Holdfast
        superblock is judged by the caller before). TooSmall: less than `size_bytes`.
        """
        ...

    def open(self, *, only_look: bool = False) -> BackEnd:
        """The container, opened for reading and writing, past any cache where it allows that.

        `only_look`: it belongs to no volume yet, and nothing of it is changed, not even its mode.
        Takes the exclusive lock that keeps other gates away (flock; O_EXCL for block devices).
        Raises OSError as the kernel gave it; BlockingIOError when another gate holds the lock.
        """
        ...

    def take_over(self, descriptor: int) -> BackEnd:
        """The container that another process had opened, lock included. Raises OSError.

        `descriptor`: what that process's BackEnd said; the new one owns it. Where this raises, it
        is the caller's as before.
        """
        ...

    def grow(self, size_bytes: int) -> None:
        """Make the container at least that large, keeping its content; durable on return.

        Raises TooSmall where that is impossible. Never shrinks.
        """
        ...

    def lies_on(self) -> str:
        """Path or device whose file system holds this container, for the check against loops."""
        ...
