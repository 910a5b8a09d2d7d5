"""What every kind of container offers: the one interface between gate and storage.

All calls touch the storage and may block for ever when it hangs: call them from an expendable
process, or from a thread that may be abandoned. None of them retries.
"""

from __future__ import annotations

from typing import Protocol


class Container(Protocol):
    """A place where bytes live, addressed by one URL."""

    @property
    def url(self) -> str:
        """The URL, normalised."""
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

    def open(self, *, only_look: bool = False) -> int:
        """A new descriptor, O_RDWR | O_CLOEXEC, O_DIRECT where the container allows it.

        `only_look`: it belongs to no volume yet, and nothing of it is changed, not even its mode.
        Takes the exclusive lock that keeps other gates away (flock; O_EXCL for block devices).
        Raises OSError as the kernel gave it; BlockingIOError when another gate holds the lock.
        """
        ...

    def size_bytes(self, descriptor: int) -> int:
        """Current size of the opened container in bytes. Raises OSError."""
        ...

    def grow(self, size_bytes: int) -> None:
        """Make the container at least that large, keeping its content; durable on return.

        Raises TooSmall where that is impossible. Never shrinks.
        """
        ...

    def lies_on(self) -> str:
        """Path or device whose file system holds this container, for the check against loops."""
        ...
