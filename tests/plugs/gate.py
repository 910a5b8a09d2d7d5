"""A gate without kernel and disk: memory legs, a memory front end, the real data path between."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic_ns
from typing import Any, NoReturn

from holdfast.gate.data.compiled import TAKE
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.data.task import LegTask
from holdfast.gate.front.serving import Server
from holdfast.gate.members.configuration import (
    HISTORY,
    GateConfiguration,
    LegEntry,
    keep_copy,
    load_running,
    why_behind,
)
from holdfast.gate.members.provision import provision
from holdfast.gate.processes.control.administrative_hold import AdministrativeHold
from holdfast.gate.processes.control.verbs import Verbs
from holdfast.gate.processes.control.view import GateView
from holdfast.gate.repair.changes import Changes
from holdfast.gate.repair.history_switching import HistorySwitch
from holdfast.gate.repair.names import Names
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.repair.start import start_first
from holdfast.gate.repair.taking_over import take_over
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import Hand, Hands
from holdfast.gate.runtime.incidents import Incidents
from holdfast.model.history import HistoryPlace
from holdfast.model.volume import JournalMode
from tests.plugs.memory_container import MEDIA, Medium
from tests.plugs.memory_front import Kernel, MemoryFront
from tests.plugs.rival import RivalCoordinator
from tests.waiting import wait_until

SIZE = 4 << 20
BLOCK = 4096
PATIENCE_SECONDS = 20.0


class MemoryGate:
    """One life after the other of a gate; the legs and the kernel outlive them."""

    def __init__(
        self,
        state_directory: Path,
        legs: int,
        coordinator: RivalCoordinator | None = None,
        hang_timeout_seconds: float = 5.0,
        journal: JournalMode = JournalMode.NONE,
    ) -> None:
        self.state_directory = state_directory
        self.run_directory = state_directory / "run"
        self.run_directory.mkdir()
        history = state_directory / "history"
        history.mkdir(mode=0o700)
        (history / "lock").touch(mode=0o600)
        kept = {HISTORY: HistoryPlace(str(history)).as_json()}
        self.kernel = Kernel()
        self.coordinator = coordinator or RivalCoordinator()
        self.cells = memoryview(bytearray(shared_page.SIZE_BYTES)).cast("Q")
        self.failure: BaseException | None = None
        entries = tuple(
            LegEntry(number, f"leg-{number}", self.url(number)) for number in range(1, legs + 1)
        )
        provision(
            state_directory,
            GateConfiguration(
                "plugs",
                "volume",
                SIZE,
                1,
                entries,
                journal=journal,
                descriptor=kept if journal is JournalMode.CONTINUOUS else {},
                hang_timeout_seconds=hang_timeout_seconds,
            ),
            create=True,
        )
        self._new_worker()
        self.run(lambda hand: start_first(self.recovery, hand, force=False))
        self.server.start()

    def verbs(self) -> Verbs:
        """What answers an administrator."""
        names = Names(self.mirror, lambda question: True)
        return Verbs(
            GateView(self.mirror, self.recovery.resyncs),
            Changes(self.mirror, self.recovery),
            HistorySwitch(self.recovery, self._cannot_end),
            names,
            AdministrativeHold(
                self.mirror.hold, self.incidents, self.server.idle, self.mirror.wake
            ),
            self.front,
        )

    def _cannot_end(self) -> NoReturn:
        raise NotImplementedError("there is no other process to take over")

    def url(self, number: int) -> str:
        """Where leg `number` is."""
        return f"memory:/{self.state_directory.name}/{number}"

    def new_front(self) -> Any:
        """Another one to the same kernel."""
        return MemoryFront(self.kernel)

    def medium(self, number: int) -> Medium:
        """What leg `number` lies on."""
        return MEDIA[f"/{self.state_directory.name}/{number}"]

    def states(self) -> dict[int, str]:
        """What the gate says of its legs."""
        return {leg.number: str(leg.state) for leg in self.mirror.roster.configuration.legs}

    def run(self, function: Callable[[Hand], Any]) -> None:
        """Have it done by a thread that may touch legs, and wait."""
        LegTask(self.mirror.hands, function).result(PATIENCE_SECONDS)

    def give_up_hanging(self, number: int) -> None:
        """What a worker's main loop does with those that are inside that leg for too long."""
        for hand in self.mirror.hands.all():
            if hand.give_up(monotonic_ns(), inside=number):
                self.mirror.give_up(hand, number, 0.0)
                self.server.replace(hand)

    def bring_back(self, number: int) -> None:
        """The leg's storage is there again, and those that failed were let go of."""
        for leg in self.mirror.roster.retired.take():
            leg.close()
        entry = self.mirror.roster.entry(number)
        self.run(lambda hand: self.recovery.bring_back(hand, entry))

    def kill_worker(self) -> None:
        """Nothing that this worker still says arrives; the next one takes over."""
        self.front.dead = True
        self.kernel.waiting.put(None)
        for leg in [*self.mirror.roster.present.values(), *self.mirror.roster.retired.take()]:
            leg.back_end.release()
        self._new_worker()
        while self.kernel.waiting.qsize():
            self.kernel.waiting.get()
        self.run(lambda hand: take_over(self.recovery, hand))
        self.front.resend()
        self.server.start()

    def close(self) -> None:
        """End serving."""
        for number in range(1, len(self.mirror.roster.configuration.legs) + 1):
            self.medium(number).answers.set()
        self.front.close()
        wait_until(self.server.stopped.is_set)
        self.run(self.recovery.upkeep.close_cleanly)
        assert self.failure is None, self.failure

    def _new_worker(self) -> None:
        configuration, is_copy = load_running(
            self.state_directory,
            self.run_directory,
            self.cells[shared_page.REMEMBERED_EPOCH] - 1,
        )
        hands = Hands(self.cells, TAKE)
        self.incidents = incidents = Incidents(
            "plugs",
            self.state_directory / "spool",
            lambda: shared_page.renew_plan(self.cells),
        )
        self.mirror = Mirror(
            self.state_directory,
            self.run_directory,
            configuration,
            self.cells,
            hands,
            incidents,
            self.coordinator,
            keep_copy=lambda now: keep_copy(self.run_directory, now),
        )
        if is_copy and (behind := why_behind(self.state_directory, configuration)):
            self.mirror.memory.save_soon(behind)
        self.recovery = Recovery(self.mirror, lambda question: True)
        self.front = self.new_front()
        self.front.serve(lambda: self.mirror.size_bytes, 1)
        self.server = Server(self.front, self.mirror, self._end)
        self.mirror.journalling.open()

    def _end(self) -> NoReturn:

        self.failure = sys.exception()
        raise SystemExit


@contextmanager
def written_gate(
    directory: Path, legs: int, coordinator: RivalCoordinator | None = None
) -> Iterator[MemoryGate]:
    """One whose first block says g. It ends whatever a test has left: requests that wait get EIO,
    the coordinator answers again."""
    gate = MemoryGate(directory, legs, coordinator)
    gate.kernel.write(0, b"g" * BLOCK).result()
    yield gate
    gate.mirror.hold.set_timeout(0.0)
    gate.coordinator.broken = False
    gate.coordinator.answers.set()
    gate.close()
