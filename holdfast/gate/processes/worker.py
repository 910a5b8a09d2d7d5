"""The worker: serves the kernel's requests, and can be killed at any instruction.

The main thread touches no leg. It watches: threads that hang, deadlines, the keeper, probes, the
control socket. Everything it must know again after a kill is on the legs, in gate.json or in the
shared page. It ends on purpose only when the device was unmounted: an error in the main loop, or in
any thread, is a death like any other, which the keeper mends; where there is none, not before there
is one.
"""

from __future__ import annotations

import gc
import json
import logging
import os
import signal
import socket
import sys
import threading
from time import monotonic, monotonic_ns
from typing import Any, NoReturn

from holdfast.errors import DeadlinePassed, HoldfastError
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.data.task import LegRounds, LegTask
from holdfast.gate.front.serving import Server
from holdfast.gate.members.configuration import keep_copy, load_running
from holdfast.gate.members.retirement import Retirement
from holdfast.gate.processes.channel import receive, send, wait
from holdfast.gate.processes.control import Control
from holdfast.gate.processes.handover import Post
from holdfast.gate.processes.keeper_watch import KeeperGuard
from holdfast.gate.processes.name_watch import KEPT
from holdfast.gate.processes.partner import Beat, Ending
from holdfast.gate.processes.remains import STRATEGY
from holdfast.gate.processes.socket_name import LISTENER
from holdfast.gate.processes.socket_name import take_over as take_over_listener
from holdfast.gate.processes.watchdog import Watchdog
from holdfast.gate.repair.changes import Changes
from holdfast.gate.repair.names import Names
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.repair.start import Predecessor, start_first, take_over
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import Hand, Hands
from holdfast.gate.runtime.incidents import Incident, Incidents
from holdfast.gate.runtime.watching import BEAT_SECONDS
from holdfast.system.messages.unwaited import start_writer, wait_until_written
from holdfast.system.processes.process import has_ended, part_with_descriptors, watch_process
from holdfast.system.processes.process_state import start_time
from holdfast.system.resources import memory

_log = logging.getLogger(__name__)

STACK_BYTES = 512 << 10
"""Stack of a thread. All of it is locked in memory and must be present before the thread runs."""

CHECKPOINT_SECONDS = 1.0
"""How often positions are recorded on the legs and idle bits are cleared."""

PAUSE_SECONDS = 0.1
"""After an error in the main loop while there is no keeper."""

RESEND_SECONDS = 0.05
"""How long after asking for unanswered requests the last of them is surely read."""


class Worker:
    """One worker process."""

    def __init__(self, post: Post, channel: socket.socket, ready: int | None) -> None:
        threading.stack_size(STACK_BYTES)  # before any thread, be it one that writes the log
        self.post = post
        self.ready = ready
        post.cells[shared_page.WORKER_PID] = os.getpid()  # the keeper may be gone before it says so
        post.cells[shared_page.WORKER_STARTED] = start_time(os.getpid())
        self.beat = Beat(post.cells, shared_page.WORKER_BEAT)
        self.bell = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        """Rung by `wake`; unlike a pipe it needs no memory for that."""
        configuration, behind = load_running(post.state_directory, post.run_directory)
        self.hang_timeout_seconds = configuration.hang_timeout_seconds
        post.cells[shared_page.HANG_TIMEOUT] = int(configuration.hang_timeout_seconds * 1e9)
        post.cells[shared_page.HOLD_TIMEOUT] = int(configuration.hold_timeout_seconds * 1e9)
        self.hands = Hands(post.cells)
        self.incidents = Incidents(configuration.name, post.state_directory / "spool")
        self.mirror = Mirror(
            post.state_directory, configuration, post.cells, self.hands, self.incidents
        )
        self.mirror.wake = self.wake
        self.mirror.memory.keep_copy = lambda now: keep_copy(post.run_directory, now)
        keep_copy(post.run_directory, configuration)
        if behind:
            self.mirror.memory.save_soon(behind)
        self.guard = KeeperGuard(
            post,
            channel,
            self.incidents,
            lambda: [leg.descriptor for leg in self.mirror.roster.writers if leg.descriptor >= 0],
            self._on_new_keeper,
        )
        self.recovery = Recovery(self.mirror, lambda question: send(self.guard.channel, question))
        self.changes = Changes(self.mirror, self.recovery)
        self.names = Names(self.mirror, lambda question: send(self.guard.channel, question))
        self.front = post.front()
        self.front.serve(lambda: self.mirror.size_bytes, shared_page.gate_token(post.cells))
        self.server = Server(self.front, self.mirror, self.end)
        self.control = Control(self)
        self.watchdog = Watchdog(self.mirror, self.hang_timeout_seconds, self._replace)
        self.scribe = threading.Thread()
        """Writes receipts."""
        self.upkeep = LegRounds(self.hands, self.mirror.checkpoint)
        self.next_upkeep = monotonic() + CHECKPOINT_SECONDS
        self.retirements: list[Retirement] = []
        self.takeover: Incident | None = None
        self.resend_ns = 0
        self.is_io_flusher = False
        self.apart = threading.Event()
        self.sentinel = threading.Thread(
            target=_stand_sentinel, args=(self.apart,), name="sentinel", daemon=True
        )

    def _tell_sentinel(self) -> None:
        """Give the keeper a thread to watch that never hangs inside storage."""
        send(self.guard.channel, {"sentinel": self.sentinel.native_id})

    def wake(self) -> None:
        """Make the main loop look at everything once; never blocks."""
        try:
            os.eventfd_write(self.bell, 1)
        except BlockingIOError:
            return  # it will look anyway

    def run(self) -> None:
        """Start, serve until the device is unmounted, stop."""
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        threading.excepthook = self._thread_failed
        start_writer()
        self.sentinel.start()
        self.apart.wait()
        self._tell_sentinel()
        self._discipline()
        generation = self.post.cells[shared_page.GENERATION]
        if generation == 1:
            if not self._start_first():
                return
        else:
            self._take_over()
        self.server.start()
        self.upkeep.start()
        self.post.cells[shared_page.SERVING] = generation
        roster = self.mirror.roster
        in_sync, members = len(roster.readers), len(roster.configuration.legs)
        _log.info("worker %d serves, %d of %d legs in sync", generation, in_sync, members)
        self._report_ready({"ok": True})
        self._lock_memory()
        while not self.server.stopped.is_set():
            self._look_after()
        self._stop()

    # --- ending because of a defect -----------------------------------------------------------

    def end(self) -> NoReturn:
        """End because of the exception in hand: the next worker goes on. Any thread may call it.

        Not before there is a keeper that would start one: the other threads serve meanwhile.
        """
        _log.exception("the worker ends because of a defect")
        wait_until_written()
        while not self.guard.in_service():
            threading.Event().wait(PAUSE_SECONDS)
        self.post.cells[shared_page.WORKER_END] = Ending.DEFECT
        os._exit(1)

    def _thread_failed(self, failure: threading.ExceptHookArgs) -> None:
        """A thread ended with what nobody expected."""
        try:
            raise failure.exc_value or RuntimeError("a thread failed")
        except BaseException:
            self.end()

    # --- starting ---------------------------------------------------------------------------

    def _start_first(self) -> bool:
        """Judge the legs; False, and told to whoever started the gate, when it may not start."""
        try:
            self._attend(LegTask(self.hands, lambda hand: self.mirror.open_journal(seal=False)))
            task = LegTask(
                self.hands, lambda hand: start_first(self.recovery, hand, force=self.post.force)
            )
            self._attend(task)
        except (HoldfastError, OSError) as error:
            self.post.cells[shared_page.STOPPED] = 1
            code = error.code if isinstance(error, HoldfastError) else "IO"
            message = error.message if isinstance(error, HoldfastError) else str(error)
            mend = error.mend if isinstance(error, HoldfastError) else ""
            self._report_ready({"code": code, "message": message, "mend": mend})
            return False
        return True

    def _take_over(self) -> None:
        """Go on where the worker before was killed, then ask the kernel for what is unanswered."""
        cells = self.post.cells
        self.mirror.watching.go_on_from(cells[shared_page.WORKER_SILENT_SINCE])
        died = cells[shared_page.WORKER_DIED] or monotonic_ns()
        ending = Ending(cells[shared_page.WORKER_END])
        if ending in (Ending.STOPPED, Ending.TRACED, Ending.SILENT):
            died, since = cells[shared_page.WORKER_SILENT_SINCE], died
            cause = ending.words("worker", (since - died) / 1e9)
        else:
            cause = ending.words("worker")
        incident = self.incidents.begin("takeover", cause, died)
        cells[shared_page.WORKER_END] = Ending.DIED
        incident.requests_held = incident.errors_returned = cells[shared_page.UNTOLD_ERRORS]
        cells[shared_page.UNTOLD_ERRORS] = 0
        ended = self._predecessor_ended()
        try:
            self._attend(
                LegTask(self.hands, lambda hand: self.mirror.open_journal(hand, seal=not ended))
            )
        except OSError as error:
            self.mirror.journal_failed(f"it cannot be opened: {error.strerror}")
        except DeadlinePassed:
            self.mirror.journal_failed("it cannot be opened: its storage does not answer")
        before = Predecessor(self.post.predecessor_pid, self.post.kept)
        task = LegTask(self.hands, lambda hand: take_over(self.recovery, hand, before))
        self._attend(task)
        if self.post.kept:
            self.names.took_over(self.post.kept)
        incident.step("legs opened", f"{len(self.mirror.roster.readers)} in sync", died)
        self.front.resend()
        self.resend_ns = monotonic_ns()
        if ending in (Ending.STOPPED, Ending.TRACED, Ending.SILENT):
            incident.backlog_until_ns = self.resend_ns + int(RESEND_SECONDS * 1e9)
        self.takeover = incident
        incident.step("unanswered requests asked for again")

    def _predecessor_ended(self) -> bool:
        """Wait until no thread of the worker before can write any more, at most the hang time-out.

        When one of them hangs inside a leg, it still has that leg's lock: the leg stays away.
        """
        watch = watch_process(self.post.predecessor_pid)
        try:
            return has_ended(watch, self.hang_timeout_seconds)
        finally:
            if watch is not None:
                os.close(watch)

    def _attend(self, task: LegTask[None]) -> None:
        """Wait for a task of the start, watching over hands meanwhile.

        Raises DeadlinePassed when it was given up: its thread may hang for ever.
        """
        task.attended(self.mirror.watching, self._watch)

    def _watch(self) -> None:
        self.beat.tell()
        self.watchdog.look()

    def _discipline(self) -> None:
        """What a process that serves write-back owes to the kernel's memory management."""
        sys.setswitchinterval(0.0005)
        gc.disable()
        for refused in memory.serve_write_back():
            if self.post.cells[shared_page.GENERATION] == 1:
                _log.warning("%s", refused)
        self.is_io_flusher = memory.is_io_flusher()

    def _lock_memory(self) -> None:
        try:
            memory.lock_all_memory()
        except OSError as error:
            _log.warning("%s", error)

    def _report_ready(self, answer: dict[str, Any]) -> None:
        if self.ready is not None:
            os.write(self.ready, json.dumps(answer).encode())
            os.close(self.ready)
            self.ready = None

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
                take_over_listener(self.post.listener, message[LISTENER])
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
            self.names.tick(),
            self._tend_upkeep(),
            self._tend_hold(),
            self._tend_incidents(),
        )
        listener = self.post.listener.fileno()
        doors = [listener] if self.control.has_room() else []
        readable = wait([self.bell, *doors, *self.guard.descriptors()], timeout)
        if self.bell in readable:
            os.eventfd_read(self.bell)
        if listener in readable:
            self.control.accept(self.post.listener)
        self._close_retired()

    def _replace(self, hand: Hand) -> None:
        """Let a successor do the work of a hand that was given up."""
        self.server.replace(hand)
        self.control.given_up(hand)

    def _tend_upkeep(self) -> float:
        """Once a second, record positions and clear bits, on a thread that may hang."""
        now = monotonic()
        running = self.upkeep.at_work
        if not running and now >= self.next_upkeep and self.mirror.roster.readers:
            self.next_upkeep = now + CHECKPOINT_SECONDS
            if self.mirror.upkeep_due:
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
            self.control.hold_ended("deadline passed")
        deadline = self.mirror.hold.deadline_ns
        if not deadline or what == "expired":
            return 60.0
        return max(0.0, (deadline - monotonic_ns()) / 1e9)

    def _tend_incidents(self) -> float:
        """Resolve what is dealt with, write receipts; seconds until to look again."""
        roster = self.mirror.roster
        in_sync, members = len(roster.readers), len(roster.configuration.legs)
        for incident in self.incidents.open:
            if incident.resolved_ns or incident.strategy in ("resync", "replacement"):
                continue
            if incident.manual:
                continue
            if incident is self.takeover and monotonic_ns() < self.resend_ns + RESEND_SECONDS * 1e9:
                continue
            if in_sync and not roster.unsettled and not self.mirror.hold.storage_lost:
                state = "redundant" if in_sync == members else "degraded"
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
        self.recovery.forget_questions()
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
        for leg in self.mirror.roster.take_retired():
            self.retirements.append(Retirement(leg, self.hands))
        self.retirements = [each for each in self.retirements if not each.over(self.hands)]

    def _stop(self) -> None:
        """The device is unmounted: leave the legs clean, for at most twice the hang time-out."""
        self.post.cells[shared_page.STOPPED] = 1
        if self.front.is_shown():
            cause = "somebody aborted the connection to the kernel (umount -f, or fusectl)"
            self.incidents.begin(STRATEGY, cause).resolve("applications got errors (EIO)")
        task = LegTask(self.hands, self.mirror.close_cleanly)
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


def _stand_sentinel(apart: threading.Event) -> None:
    """Life of a thread that has nothing to do with storage, so that it ends with a kill at once."""
    part_with_descriptors()
    apart.set()
    threading.Event().wait()
