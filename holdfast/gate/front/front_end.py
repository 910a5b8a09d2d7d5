"""What a front end offers: the one interface between the kernel's block layer and the data path.

A front end shows one device of the volume's size, hands over what the kernel asks of it, and takes
the answers. It may be used by several threads, and by one process of the gate after another, each
of which resumes it by its descriptor. It never waits for storage.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple, Protocol

from holdfast.gate.data.fast_path import Wire

READ, WRITE, FLUSH, ZERO = range(4)
"""Kinds of requests. ZERO: the range reads as zeros afterwards."""


class Request(NamedTuple):
    """One request as the kernel made it. Whoever carries it out may be given up for another."""

    kind: int
    tag: int
    """By which the front end finds the request when it is answered."""
    offset: int = 0
    length: int = 0
    payload: memoryview = memoryview(b"")
    """What a WRITE writes: in the inbox that read it, and only read from there."""
    keep_allocated: bool = False
    """Of a ZERO: it is not to give its room back."""
    resent: bool = False
    """The kernel sends it again, because a process of the gate died without answering."""


class FrontEnded(Exception):
    """No request will come any more, and no answer is wanted."""


class NoRequest(Exception):
    """What was readable was no request: a question that is answered, or one taken back."""


class Inbox(Protocol):
    """One thread's way to receive requests."""

    buffer: memoryview
    """For what a READ reads: as long as the longest one, page-aligned, in memory already."""

    wire: Wire | None
    """How compiled code receives and answers here; None: it cannot."""

    def next(self) -> Request:
        """Wait for a request. Its payload is valid until the next call.

        Raises FrontEnded; OSError for what nobody expects; NoRequest from a `brief` inbox.
        """
        ...

    def received(self, length: int) -> Request | None:
        """The request, of that many bytes, that compiled code has received; None: it was a
        question, which is answered now."""
        ...

    def failed(self, error: OSError) -> None:
        """Deal with an error of the connection in compiled code. Returns if there was just no
        request.

        Raises FrontEnded; OSError for what nobody expects.
        """
        ...


class FrontEnd(Protocol):
    """The plug to the kernel."""

    descriptor: int
    """By which another process of the gate resumes it; readable while a request waits."""

    @classmethod
    def open(cls, run_directory: Path) -> FrontEnd:
        """Show a new device in the gate's run directory. Raises HoldfastError, OSError."""
        ...

    @classmethod
    def resume(cls, run_directory: Path, descriptor: int) -> FrontEnd:
        """The front end that another process of the gate opened; -1: its device alone."""
        ...

    def device(self) -> Path:
        """What the front end shows: a block device, or a file that a loop device shows as one."""
        ...

    def is_shown(self) -> bool:
        """Whether the device is there. Does not touch it: it may be dead, or hang."""
        ...

    def serve(self, size_bytes: Callable[[], int], token: int) -> None:
        """Answer questions about the device from now on: its size, the number it is known by."""
        ...

    def inbox(self, *, brief: bool = False) -> Inbox:
        """For a thread that is about to serve.

        `brief`: for one with a deadline, which calls `next` when something is readable: it does not
        wait for more when that was no request.
        """
        ...

    def prepare(self, inboxes: int) -> None:
        """Have so many inboxes ready for threads that will begin to serve."""
        ...

    def answer(self, request: Request, data: memoryview | None = None) -> bool:
        """It was carried out; `data`: what a READ read. False: it was answered before.

        Raises FrontEnded; OSError for what nobody expects.
        """
        ...

    def refuse(self, request: Request) -> bool:
        """It failed: whoever made it gets EIO. As `answer`."""
        ...

    def resend(self) -> None:
        """Ask for every request that was received and not answered, by whomever. Raises OSError."""
        ...

    def resized(self) -> None:
        """The volume's size has changed: the kernel asks for it again. Raises OSError."""
        ...

    def close(self) -> None:
        """Take the device away. Idempotent. Raises OSError EBUSY while something uses it."""
        ...
