"""A front end without a kernel: tests make the requests, and see the answers."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from holdfast.gate.data.fast_path import Wire
from holdfast.gate.front.front_end import READ, WRITE, FrontEnded, Request
from holdfast.system.resources.memory import aligned_buffer

LONGEST_BYTES = 64 << 10


@dataclass
class Asked:
    """One request and what became of it."""

    request: Request
    answered: threading.Event = field(default_factory=threading.Event)
    data: bytes = b""
    refused: bool = False

    def result(self, timeout_seconds: float = 20.0) -> bytes:
        """What was read, once it was answered."""
        assert self.answered.wait(timeout_seconds), f"nobody answered {self.request}"
        assert not self.refused, "EIO"
        return self.data


class Kernel:
    """What outlives every process of the gate: requests that nobody has answered."""

    def __init__(self) -> None:
        self.waiting: queue.SimpleQueue[Request | None] = queue.SimpleQueue()
        self.unanswered: dict[int, Asked] = {}
        self.made = 0
        self.size_told = 0
        self.shown = True

    def ask(self, kind: int, offset: int = 0, length: int = 0, payload: bytes = b"") -> Asked:
        """Make a request; does not wait."""
        self.made += 1
        request = Request(kind, self.made, offset, length or len(payload), memoryview(payload))
        asked = self.unanswered[request.tag] = Asked(request)
        self.waiting.put(request)
        return asked

    def write(self, offset: int, payload: bytes) -> Asked:
        """Ask for a write."""
        return self.ask(WRITE, offset, payload=payload)

    def read(self, offset: int, length: int) -> Asked:
        """Ask for a read."""
        return self.ask(READ, offset, length)


class MemoryInbox:
    """See Inbox. As with a real one, the payload is in the buffer of whoever received it."""

    def __init__(self, front: MemoryFront) -> None:
        self._front = front
        self.buffer = memoryview(aligned_buffer(LONGEST_BYTES))
        self.wire: Wire | None = None

    def received(self, length: int) -> Request | None:
        raise NotImplementedError

    def failed(self, error: OSError) -> None:
        raise error

    def next(self) -> Request:
        request = self._front.kernel.waiting.get()
        if request is None or self._front.dead:
            self._front.kernel.waiting.put(request)  # for the other threads, or the next process
            raise FrontEnded
        if request.kind == WRITE:
            self.buffer[: request.length] = request.payload
            return request._replace(payload=self.buffer[: request.length])
        return request


class MemoryFront:
    """See FrontEnd."""

    descriptor = -1

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.dead = False
        """The process that has it was killed: nothing that it says arrives."""
        self._size_bytes: Callable[[], int] = lambda: 0

    @classmethod
    def open(cls, run_directory: Path) -> MemoryFront:
        return cls(Kernel())

    @classmethod
    def resume(cls, run_directory: Path, descriptor: int) -> MemoryFront:
        raise AssertionError("it has no descriptor: make another one of the same kernel")

    def device(self) -> Path:
        return Path()

    def is_shown(self) -> bool:
        return self.kernel.shown

    def serve(self, size_bytes: Callable[[], int], token: int) -> None:
        self._size_bytes = size_bytes

    def inbox(self, *, brief: bool = False) -> MemoryInbox:
        return MemoryInbox(self)

    def prepare(self, inboxes: int) -> None:
        pass

    def answer(self, request: Request, data: memoryview | None = None) -> bool:
        return self._answer(request, data, refused=False)

    def refuse(self, request: Request) -> bool:
        return self._answer(request, None, refused=True)

    def _answer(self, request: Request, data: memoryview | None, *, refused: bool) -> bool:
        if self.dead:
            raise FrontEnded
        asked = self.kernel.unanswered.pop(request.tag, None)
        if asked is None:
            return False
        asked.data, asked.refused = bytes(data or b""), refused
        asked.answered.set()
        return True

    def resend(self) -> None:
        for asked in list(self.kernel.unanswered.values()):
            self.kernel.waiting.put(asked.request._replace(resent=True))

    def resized(self) -> None:
        self.kernel.size_told = self._size_bytes()

    def close(self) -> None:
        self.kernel.shown = False
        self.kernel.waiting.put(None)
