"""The worker: serves the kernel's requests, and can be killed at any instruction.

The main thread touches no leg. It watches: threads that hang, deadlines, the keeper, probes, the
control socket. Everything it must know again after a kill is on the legs, in gate.json or in the
shared page. It ends on purpose only when the device was unmounted: an error in the main loop, or in
any thread, is a death like any other, which the keeper mends; where there is none, not before there
is one.
"""

from __future__ import annotations

import logging
import os
import socket
import threading
from contextlib import suppress
from time import monotonic, monotonic_ns
from typing import NoReturn

from holdfast.gate.data.compiled import TAKE
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.data.task import LegRounds, LegTask
from holdfast.gate.front.serving import Server
from holdfast.gate.front.staffing import Staffing
from holdfast.gate.members.configuration import keep_copy, load_running, why_behind
from holdfast.gate.members.epoch_memory import STATE
from holdfast.gate.members.retirement import Retirement
from holdfast.gate.processes.asker import Asker
from holdfast.gate.processes.channel import receive, send, wait
from holdfast.gate.processes.companion import Companion
from holdfast.gate.processes.control.administrative_hold import AdministrativeHold
from holdfast.gate.processes.control.connections import Control
from holdfast.gate.processes.control.verbs import Verbs
from holdfast.gate.processes.control.view import GateView
from holdfast.gate.processes.handover import Handover
from holdfast.gate.processes.keeper_watch import KeeperGuard
from holdfast.gate.processes.name_watch import KEPT
from holdfast.gate.processes.partner import Beat, Ending
from holdfast.gate.processes.preparing import Preparations
from holdfast.gate.processes.remains import STRATEGY
from holdfast.gate.processes.socket_name import LISTENER
from holdfast.gate.processes.socket_name import take_over as take_over_listener
from holdfast.gate.processes.starting import Start, Takeover
from holdfast.gate.processes.watchdog import Watchdog
from holdfast.gate.repair.changes import Changes
from holdfast.gate.repair.earlier import note_self
from holdfast.gate.repair.history_switching import HistorySwitch
from holdfast.gate.repair.names import Names
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.repair.replacing import Replacing
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import Hand, Hands
from holdfast.gate.runtime.incidents import HOLD_NOBODY, Incidents
from holdfast.gate.runtime.watching import BEAT_SECONDS
from holdfast.system.messages.unwaited import start_writer, wait_until_written
from holdfast.system.processes.process_state import start_time

_log = logging.getLogger(__name__)

FIRST_ANSWERS_SECONDS = 0.01
"""After a takeover: who has waited is answered before the main thread takes the interpreter."""

LONG_SECONDS = 0.1
"""A takeover that takes longer waits for storage: then its log is written meanwhile."""

CHECKPOINT_SECONDS = 1.0
"""How often positions are recorded on the legs and idle bits are cleared."""

PAUSE_SECONDS = 0.1
"""After an error in the main loop while there is no keeper."""


class Worker:
    """One worker process."""

    def __init__(
        self, handover: Handover, channel: socket.socket, prepared: Preparations, asker: int | None
    ) -> None:
        self.prepared = prepared
        self.handover = handover
        self.asker = Asker(asker)
        # The keeper may be gone before it says so itself.
        handover.cells[shared_page.WORKER_PID] = os.getpid()
        handover.cells[shared_page.WORKER_STARTED] = start_time(os.getpid())
        note_self(handover.cells)
        self.beat = Beat(handover.cells, shared_page.WORKER_BEAT)
        self.bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Rung by `wake`; unlike a pipe it needs no memory for that."""
        configuration, is_copy = load_running(
            handover.state_directory,
            handover.run_directory,
            handover.cells[shared_page.REMEMBERED_EPOCH] - 1,
        )
        self.went_on_with = configuration if is_copy else None
        """What gate.json is to be compared with, once requests are served."""
        self.hang_timeout_seconds = configuration.hang_timeout_seconds
        handover.cells[shared_page.HANG_TIMEOUT] = int(configuration.hang_timeout_seconds * 1e9)
        handover.cells[shared_page.HOLD_TIMEOUT] = int(configuration.hold_timeout_seconds * 1e9)
        self.hands = Hands(handover.cells, TAKE)
        self.incidents = Incidents(
            configuration.name,
            handover.state_directory / "spool",
            lambda: shared_page.renew_plan(handover.cells),
        )
        self.mirror = Mirror(
            handover.state_directory,
            handover.run_directory,
            configuration,
            handover.cells,
            self.hands,
            self.incidents,
            wake=self.wake,
            keep_copy=lambda now: keep_copy(handover.run_directory, now),
        )
        if not is_copy:
            keep_copy(handover.run_directory, configuration)
        self.guard = KeeperGuard(
            handover,
            channel,
            self.incidents,
            lambda: [leg.descriptor for leg in self.mirror.roster.writers if leg.descriptor >= 0],
            self._on_new_keeper,
        )
        self.recovery = Recovery(self.mirror, lambda question: send(self.guard.channel, question))
        self.changes = Changes(self.mirror, self.recovery)
        self.replacing = Replacing(self.mirror, self.changes)
        self.names = Names(self.mirror, lambda question: send(self.guard.channel, question))
        self.front = prepared.front
        self.front.serve(lambda: self.mirror.size_bytes, shared_page.gate_token(handover.cells))
        self.server = Server(self.front, self.mirror, self.end)
        self.staffing = Staffing(self.server)
        self.administrative_hold = AdministrativeHold(
            self.mirror.hold, self.incidents, self.server.idle, self.wake
        )
        view = GateView(self.mirror, self.recovery.resyncs)
        switch = HistorySwitch(self.recovery, self.end_switched)
        verbs = Verbs(view, self.changes, switch, self.names, self.administrative_hold, self.front)
        self.control = Control(self.hands, verbs)
        self.watchdog = Watchdog(self.mirror, self.hang_timeout_seconds, self._replace)
        self.scribe = threading.Thread()
        """Writes receipts."""
        self.upkeep = LegRounds(self.hands, self.recovery.upkeep.checkpoint)
        self.next_upkeep = monotonic() + CHECKPOINT_SECONDS
        self.retirements: list[Retirement] = []
        self.takeover: Takeover | None = None
        self.began = monotonic()

    def _tell_sentinel(self) -> None:
        """Give the keeper a thread to watch that never hangs inside storage."""
        send(self.guard.channel, {"sentinel": self.prepared.sentinel})

    def wake(self) -> None:
        """Make the main loop look at everything once; never blocks."""
        try:
            os.eventfd_write(self.bell, 1)
        except BlockingIOError:
            return  # it will look anyway

    def run(self) -> None:
        """Start, serve until the device is unmounted, stop."""
        threading.excepthook = self._thread_failed
        self.began = monotonic()
        generation = self.handover.cells[shared_page.GENERATION]
        self.prepared.begin(first=generation == 1)
        self._tell_sentinel()
        start = Start(self.handover, self.recovery, self.names, self.front, self._watch)
        if generation != 1:
            self.takeover = start.take_over()
        elif refusal := start.first():
            self.handover.cells[shared_page.STOPPED] = 1
            self.asker.answer(refusal)
            return
        self.server.start()
        self.upkeep.start()
        self.handover.cells[shared_page.SERVING] = generation
        if self.takeover is not None:
            self.server.stopped.wait(FIRST_ANSWERS_SECONDS)
        start_writer()
        roster = self.mirror.roster
        in_sync, members = len(roster.readers), len(roster.configuration.legs)
        _log.info("worker %d serves, %d of %d legs in sync", generation, in_sync, members)
        send(self.guard.channel, {"serves": generation})  # the keeper looks at the page then
        if not self.asker.answer({"ok": True}):
            self._end_unwanted()
        self.prepared.lock_memory()
        with suppress(RuntimeError):  # no room for a thread: it serves all the same
            if self.went_on_with is not None:
                LegTask(self.hands, self._compare_saved, awaited=False)
        companion = Companion()
        companion.begin()
        while not self.server.stopped.is_set():
            self._look_after()
        self._stop()
        companion.end()

    # --- ending because of a defect -----------------------------------------------------------

    def end(self) -> NoReturn:
        """End because of the exception in hand: the next worker goes on. Any thread may call it.

        Not before there is a keeper that would start one: the other threads serve meanwhile.
        """
        _log.exception("the worker ends because of a defect")
        self._be_succeeded(Ending.DEFECT)

    def end_switched(self) -> NoReturn:
        """End, so that the next worker opens another kind of log. Any thread may call it."""
        _log.info("the worker ends: what is kept changes")
        self._be_succeeded(Ending.SWITCHED)

    def _be_succeeded(self, ending: Ending) -> NoReturn:
        wait_until_written()
        while not self.guard.in_service():
            threading.Event().wait(PAUSE_SECONDS)
        self.handover.cells[shared_page.WORKER_END] = ending
        os._exit(1)

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        """A thread ended with what nobody expected."""
        try:
            raise failure.exc_value or RuntimeError("a thread failed")
        except BaseException:
            self.end()

    # --- starting ---------------------------------------------------------------------------

    def _watch(self) -> None:
        """A round of the main thread while others start."""
        self.beat.tell()
        if monotonic() > self.began + LONG_SECONDS:
            start_writer()
        self.watchdog.look()
        if self.asker.has_left():
            self._end_unwanted()

    def _end_unwanted(self) -> NoReturn:
        """End the gate, for whose start nobody waits any more; a thread of it may hang in a leg."""
        self.handover.cells[shared_page.STOPPED] = 1
        _log.warning("nobody waits for this gate to start any more: it ends")
        wait_until_written()
        self.asker.leave()
        os._exit(0)

    def _compare_saved(self, hand: Hand) -> None:
        """Have gate.json written again when it is behind; when it hangs, that is seen, too."""
        assert self.went_on_with is not None
        with hand.inside(STATE):
            behind = why_behind(self.handover.state_directory, self.went_on_with)
        if behind:
            self.mirror.memory.save_soon(behind)

    # --- the main loop ----------------------------------------------------------------------

    def _look_after(self) -> None:
        """One round of the main loop. Raises what is a defect, while a keeper is there for it."""
        try:
            self._round()
        except Exception:
            if self.guard.in_service():
                raise
            _log.exception("a defect in the main loop, and no keeper to start another worker")
            self.beat.tell()
            self.guard.tend()
            threading.Event().wait(PAUSE_SECONDS)

    def _round(self) -> None:
        """Wait for something to do, and do all that is due."""
        self.beat.tell()
        while (message := receive(self.guard.channel)) is not None:
            if LISTENER in message:
                take_over_listener(self.handover.listener, message[LISTENER])
            elif "look" in message:
                self.names.looked(message)
            elif (name := next(iter(message))).startswith(KEPT):
                self.recovery.given_back(int(name.removeprefix(KEPT)), message[name])
            elif "probe" in message:
                self.recovery.probed(message)
        timeout = min(
            BEAT_SECONDS,
            self.guard.tend(),
            self.watchdog.look(),
            self.recovery.tick(),
            self.replacing.tick(),
            self.names.tick(),
            self._tend_upkeep(),
            self._tend_hold(),
            self._tend_incidents(),
            self.staffing.look(),
        )
        listener = self.handover.listener.fileno()
        doors = [listener] if self.control.has_room() else []
        readable = wait([self.bell, *doors, *self.guard.descriptors()], timeout)
        if self.bell in readable:
            os.eventfd_read(self.bell)
        if listener in readable:
            self.control.accept(self.handover.listener)
        self._close_retired()

    def _replace(self, hand: Hand) -> None:
        """Let a successor do the work of a hand that was given up."""
        self.server.replace(hand)
        self.control.given_up(hand)

    def _tend_upkeep(self) -> float:
        """Once a second, record positions and clear bits, on a thread that may hang."""
        now = monotonic()
        running = self.upkeep.at_work
        due = now >= self.next_upkeep or self.mirror.log.overfull
        if not running and due and self.mirror.roster.readers:
            self.next_upkeep = now + CHECKPOINT_SECONDS
            if self.recovery.upkeep.due:
                self.upkeep.begin()
        return CHECKPOINT_SECONDS if running else max(0.01, self.next_upkeep - now)

    def _tend_hold(self) -> float:
        """Enforce the deadlines of holds; seconds until the next one."""
        what = self.mirror.hold.enforce()
        if what == "expired":
            for incident in self.incidents.open:
                if incident.strategy == "hold" and not incident.resolved_ns:
                    incident.resolve("deadline passed: requests got EIO")
        elif what == "released":
            self.administrative_hold.ended("deadline passed")
        deadline = self.mirror.hold.deadline_ns
        if not deadline or what == "expired":
            return 60.0
        return max(0.0, (deadline - monotonic_ns()) / 1e9)

    def _tend_incidents(self) -> float:
        """Resolve what is dealt with, write receipts; seconds until to look again."""
        roster, takeover = self.mirror.roster, self.takeover
        in_sync, members = len(roster.readers), len(roster.configuration.legs)
        for incident in self.incidents.open:
            if incident.resolved_ns or incident.strategy in HOLD_NOBODY:
                continue
            if incident.manual:
                continue
            if takeover and takeover.incident is incident and takeover.is_settling:
                continue
            if in_sync and not roster.unsettled and not self.mirror.hold.storage_lost:
                state = "redundant" if in_sync == members else "degraded"
                if members == 1:
                    state = "with its only leg"
                incident.resolve(f"continued, {state}: {in_sync} of {members} legs in sync")
        self.incidents.collect(self.hands.all())
        self._write_receipts()
        if self.incidents.open:
            return 0.05
        return 1.0 if self.incidents.unwritten else 60.0

    def _write_receipts(self) -> None:
        """Have what waits written, not by this thread: the state directory may hang."""
        if self.incidents.unwritten and not self.scribe.is_alive():
            self.scribe = threading.Thread(target=self.incidents.write, name="scribe", daemon=True)
            self.scribe.start()

    def _on_new_keeper(self) -> None:
        """Another keeper watches this worker from now on."""
        self._tell_sentinel()
        self.recovery.probing.forget_questions()
        self.names.keeper_changed()
        self._reap()

    def _reap(self) -> None:
        """Bury keepers that this worker has started."""
        try:
            while os.waitpid(-1, os.WNOHANG)[0]:
                continue
        except ChildProcessError:
            return

    def _close_retired(self) -> None:
        """Close failed legs, and give their descriptors back when no thread can know them."""
        for leg in self.mirror.roster.retired.take():
            self.retirements.append(Retirement(leg, self.hands))
        self.retirements = [each for each in self.retirements if not each.over(self.hands)]

    def _stop(self) -> None:
        """The device is unmounted: leave the legs clean, for at most twice the hang time-out."""
        self.handover.cells[shared_page.STOPPED] = 1
        if self.front.is_shown():
            cause = "somebody aborted the connection to the kernel (umount -f, or fusectl)"
            self.incidents.begin(STRATEGY, cause).resolve("applications got errors (EIO)")
        task = LegTask(self.hands, self.recovery.upkeep.close_cleanly)
        began, limit = monotonic_ns(), int(2 * self.hang_timeout_seconds * 1e9)
        while task.is_alive() and self.mirror.watching.since(began) < limit:
            task.join(min(0.02, self.mirror.watching.round_seconds))
            self.watchdog.look()
        for incident in self.incidents.open:
            if not incident.resolved_ns:
                incident.resolve("detached")
        self.incidents.collect([])
        for _ in range(2):  # those that are being written, then the rest
            self._write_receipts()
            if self.scribe.is_alive():
                self.scribe.join(max(1.0, (limit - self.mirror.watching.since(began)) / 1e9))
        self.mirror.log.close()
        self.control.finish()
