"""A gate on image files, between its real front end and a kernel that a test plays."""

from __future__ import annotations

import os
import socket
from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from holdfast.gate.runtime import shared_page
from holdfast.model.receipt import Receipt
from holdfast.model.volume import JournalMode
from tests.plugs.gate import SIZE, MemoryGate
from tests.plugs.wire_kernel import WireFront, WireKernel
from tests.waiting import wait_until

SLOW_NS = 1_000_000_000


class FileGate(MemoryGate):
    """Its legs are files; everything that a worker has is there but for its processes."""

    kernel: WireKernel  # type: ignore[assignment]

    def __init__(
        self, state_directory: Path, legs: int, journal: JournalMode = JournalMode.NONE
    ) -> None:
        self.folder = state_directory / "legs"
        self.folder.mkdir(parents=True, mode=0o700)
        self.wire = WireKernel()
        super().__init__(state_directory, legs, journal=journal)
        self.kernel = self.wire

    def url(self, number: int) -> str:
        """In a folder of its own."""
        return f"file:{self.folder}/{number}.img"

    def image(self, number: int) -> Path:
        """The container of leg `number`."""
        return self.folder / f"{number}.img"

    def data(self, number: int) -> bytes:
        """What leg `number` holds of the volume."""
        with self.image(number).open("rb") as file:
            return file.read(SIZE)

    def new_front(self) -> WireFront:
        """Another one to the same kernel."""
        return WireFront(self.wire, self.run_directory)

    def counters(self) -> shared_page.Counters:
        """As anybody reads them."""
        return shared_page.count(self.cells)

    def believe_slow(self) -> None:
        """Have the gate go by legs that take a second for everything, and threads that wake up at
        once, whatever it has measured on a busy host."""
        pace = self.server.fast.pace
        pace[:] = memoryview(array("Q", [1, *[SLOW_NS] * (len(pace) - 1)]))

    def idle(self) -> bool:
        """Whether every request was answered, and counted."""
        return not self.wire.unanswered and not any(
            hand.cells[shared_page.BUSY_SINCE] for hand in self.mirror.hands.all()
        )

    def await_idle(self) -> None:
        """Let nothing be under way; in no time as a rule."""
        for _ in range(1000):
            if self.idle():
                return
            os.sched_yield()
        wait_until(self.idle)

    def close_incidents(self) -> list[Receipt]:
        """What a worker's main loop does when all is well again."""
        self.await_idle()
        for incident in self.incidents.open:
            incident.resolve("continued")
        return self.incidents.collect(self.mirror.hands.all())

    def close(self) -> None:
        """End serving."""
        self.wire.gates.shutdown(socket.SHUT_RDWR)
        wait_until(self.server.stopped.is_set)
        self.run(self.recovery.upkeep.close_cleanly)
        assert self.failure is None, self.failure
        for leg in [*self.mirror.roster.present.values(), *self.mirror.roster.retired.take()]:
            leg.close()
            leg.forget()
        os.close(self.front.descriptor)


@contextmanager
def file_gate(
    directory: Path, legs: int, journal: JournalMode = JournalMode.NONE
) -> Iterator[FileGate]:
    """Ends whatever a test has left: requests that wait get EIO."""
    gate = FileGate(directory, legs, journal)
    yield gate
    gate.mirror.hold.set_timeout(0.0)
    gate.close()
