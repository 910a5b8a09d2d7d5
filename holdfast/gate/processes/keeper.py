"""The keeper: owns the kernel connection, forks workers, looks at storage through children.

Everything is imported before the first fork, so a new worker costs a fork and not a Python start.
The keeper opens no leg and holds no lock. When it dies, the worker starts another one (see
restoring); when the worker dies or stands still, this one forks another. An error in the main loop
is a death like any other, and the worker mends it. Invariant: nothing of the gate is taken away
unless the page says that it ended on purpose, and the last of the pair never ends by itself.
"""

from __future__ import annotations

import gc
import logging
import os
import signal
import socket
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import field, replace
from time import monotonic, monotonic_ns
from typing import Any, NoReturn

from holdfast.gate.processes import socket_name
from holdfast.gate.processes.channel import Probe, make_channel, receive, send, wait
from holdfast.gate.processes.handover import Handover, clean_up, close_front
from holdfast.gate.processes.name_watch import Look, Lookout
from holdfast.gate.processes.partner import (
    Beat,
    Ending,
    Silence,
    hang_timeout_seconds,
    judge_silence,
)
from holdfast.gate.processes.preparing import Preparations, rehearse
from holdfast.gate.processes.refusing import LONGEST_WAIT_SECONDS, VainStarts
from holdfast.gate.processes.standby import Standby, Taken, watch_or_kill
from holdfast.gate.processes.worker import Worker
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.watching import BEAT_SECONDS, Watching
from holdfast.late_dataclass import dataclass
from holdfast.system.messages.logs import call_process
from holdfast.system.messages.unwaited import start_writer, wait_until_written
from holdfast.system.mounts.namespace import keep_mount_namespace
from holdfast.system.processes.process import adopt_orphans, has_ended, watch_thread
from holdfast.system.processes.process_state import lives, read_state, start_time
from holdfast.system.resources.memory import serve_write_back
from holdfast.system.resources.own_group import OwnGroup

_log = logging.getLogger(__name__)

PAUSE_SECONDS = 0.2
"""After an error in the main loop of the last of the pair."""

_KILLED_SECONDS = 1.0
"""A killed worker that has not ended after that time hangs in the kernel: nothing of it runs."""


@dataclass
class Keeper:
    """One keeper process. `handover` is what it shares with every worker."""

    handover: Handover
    channel: socket.socket
    worker_pid: int = 0
    watch: int | None = None
    sentinel: int | None = None
    """A thread of the worker that touches nothing, so that it ends when the worker is killed."""
    probes: list[Probe] = field(default_factory=list)
    unburied: dict[int, int] = field(default_factory=dict)
    """Probes whose process has not ended (it may hang inside the kernel): process to leg."""
    lookout: Lookout = field(default_factory=Lookout)

    def __post_init__(self) -> None:
        self.silence = Silence(self.handover.cells, shared_page.WORKER_BEAT)
        self.beat = Beat(self.handover.cells, shared_page.KEEPER_BEAT)
        self.watching = Watching()
        self.vain = VainStarts(self.handover)
        self.killed = 0.0
        """When the worker was killed because it stood still, 0: it was not."""
        self.moved = float("-inf")
        """When the worker was last taken out of a group of others."""
        self.group = OwnGroup(self.handover.run_directory.name)
        """Apart from the applications, which can fill the memory limit of theirs."""
        self.standby = Standby(self.handover)

    def start_worker(self, asker: int | None = None) -> None:
        """Let the standby serve, or fork a worker. Raises OSError, and none works then."""
        self.group.keep(os.getpid())
        cells = self.handover.cells
        cells[shared_page.GENERATION] += 1
        cells[shared_page.WORKER_STARTED] = 0
        cells[shared_page.WORKER_BEAT] = monotonic_ns()
        try:
            taken = self._take_standby() or Taken(*self._fork_worker(asker))
        except OSError:
            cells[shared_page.GENERATION] -= 1
            raise
        if asker is not None:
            os.close(asker)
        self.channel.close()
        self.channel = taken.channel
        self.worker_pid = cells[shared_page.WORKER_PID] = taken.pid
        self.moved = float("-inf")
        self._look_for_moved(self.group.keep(os.getpid(), taken.pid))
        if self.watch is not None:
            os.close(self.watch)
            self.watch = None
        self.watch = taken.watch if taken.watch is not None else watch_or_kill(taken.pid)
        self.killed = 0.0
        self.silence.forgive()
        self._watch_sentinel(taken.sentinel)
        self.standby.rest()

    def _take_standby(self) -> Taken | None:
        """Not where the next worker is to be handed what was kept: it has none of that."""
        if self.lookout.kept:
            self.standby.end(wait=False)
        return self.standby.take(self.worker_pid)

    def _fork_worker(self, asker: int | None) -> tuple[int, socket.socket]:
        handover = replace(
            self.handover,
            keeper_pid=os.getpid(),
            predecessor_pid=self.worker_pid,
            kept=dict(self.lookout.kept),
        )

        def work(channel: socket.socket) -> None:
            call_process("worker")
            keep_mount_namespace()
            Worker(handover, channel, Preparations(handover), asker).run()

        return self._fork(work)

    def _fork(self, live: Callable[[socket.socket], None]) -> tuple[int, socket.socket]:
        """A child that lives so, with the other end of a new channel. Raises OSError."""
        channel, child_end = make_channel()
        try:
            pid = os.fork()
        except OSError:
            for end in (channel, child_end):
                end.close()
            raise
        if pid == 0:
            channel.close()
            self.channel.close()
            self.group.close()
            self.standby.leave()
            _become(lambda: live(child_end), self.handover.cells)
        child_end.close()
        return pid, channel

    def _tend_standby(self) -> None:
        """Have another worker stand by while this one serves."""
        cells = self.handover.cells
        serves = cells[shared_page.SERVING] == cells[shared_page.GENERATION]
        wanted = serves and not (cells[shared_page.STOPPED] or self.killed)
        if self.lookout.kept:  # a worker that is to be handed that has to be forked
            wanted = False
            self.standby.end(wait=False)
        try:
            changed = self.standby.tend(wanted=wanted, fork=self._fork)
        except OSError:  # no room for one: tried again
            return
        if changed:
            pids = [pid for pid in (self.worker_pid, self.standby.pid) if pid]
            self._look_for_moved(self.group.keep(os.getpid(), *pids))

    def _look_for_moved(self, found: set[int]) -> None:
        """Note whether the worker was among those found in a group of others."""
        if self.worker_pid in found:
            self.moved = monotonic()

    def _watch_sentinel(self, thread_id: int) -> None:
        """Watch that thread of the worker, or none (0) as long as it has not told us one."""
        if self.sentinel is not None:
            os.close(self.sentinel)
        self.sentinel = watch_thread(self.worker_pid, thread_id) if thread_id else None

    def run(self) -> None:
        """Watch the worker until the gate stops on purpose.

        Raises what is a defect or a lack of something, while the worker lives to mend that.
        """
        self._look_for_moved(self.group.keep(os.getpid(), self.worker_pid))
        words = ""
        while True:
            try:
                if self._look_after():
                    return
            except Exception as error:
                if self._has_worker():
                    raise
                if str(error) != words:  # not five times a second
                    words = str(error)
                    _log.exception("a defect in the keeper, and no worker to start another one")
                threading.Event().wait(PAUSE_SECONDS)

    def _look_after(self) -> bool:
        """Wait for something to do, and do it; True when the gate has ended."""
        self.beat.tell()
        work: list[Probe | Look] = [*self.probes, *self.lookout.looks]
        descriptors = [self.channel.fileno(), *(each.pipe for each in work)]
        descriptors += self.standby.descriptors
        watches = {each for each in (self.watch, self.sentinel) if each is not None}
        descriptors += watches
        pending = min((each.deadline - monotonic() for each in work), default=3600.0)
        pending = min(pending, self.standby.seconds_until_due())
        readable = wait(descriptors, max(0.0, min(pending, BEAT_SECONDS)))
        missed = self.watching.look()
        if missed is not None:  # whoever looks at storage may have stood still as well
            for each in work:
                each.deadline += (missed[1] - missed[0]) / 1e9
        ended = self.watch is None or bool(readable & watches)
        if not ended:
            self._tend_standby()
        if not ended:  # of who ends no group is told: to move it is in vain, and takes ms in v1
            self._look_for_moved(self.group.look())  # before anything here asks for memory
        if ended or self._stands_still():
            cells = self.handover.cells
            if cells[shared_page.STOPPED] or not cells[shared_page.SERVING]:
                return True  # ended on purpose, or never began: whoever started it was told
            self._worker_died(unseen=missed is not None)
            return False
        while (message := receive(self.channel)) is not None:
            if "sentinel" in message:
                self._watch_sentinel(message["sentinel"])
            elif "look" in message:
                self._reap()
                if not self.lookout.begin(message, self.worker_pid, self.unburied):
                    send(self.channel, {"look": message["look"], "seen": {}})
            elif "keep" in message:
                self.lookout.keep(message["keep"], self.watch, message["descriptor"])
            elif "let_go" in message:
                self.lookout.let_go(message["let_go"])
            elif "probe" in message:
                self._probe(message)
        for probe in list(self.probes):
            answer = probe.answer()
            if answer is not None:
                send(self.channel, answer)
                probe.close()
                self.probes.remove(probe)
        seen = self.lookout.answer(self.unburied)
        if seen is not None:
            send(self.channel, seen)
        self._reap()
        socket_name.tend(self.handover, self.channel)
        return False

    def _has_worker(self) -> bool:
        """Whether the worker lives, and so starts another keeper when this one ends."""
        watches = [each for each in (self.watch, self.sentinel) if each is not None]
        return self.watch is not None and not self.killed and not any(map(has_ended, watches))

    def _stands_still(self) -> bool:
        """Whether the worker was killed, as it did not come round, and may be succeeded now."""
        if self.killed:
            return monotonic() - self.killed > _KILLED_SECONDS
        silent_seconds = self.silence.look()
        if silent_seconds < 2 * BEAT_SECONDS or self.watch is None:
            return False
        cells = self.handover.cells
        limit = hang_timeout_seconds(cells)
        starving = monotonic() - silent_seconds < self.moved + 2 * BEAT_SECONDS
        state = read_state(self.worker_pid)
        ending = judge_silence(state, silent_seconds, limit, starving=starving)
        if ending is None:
            return False
        cells[shared_page.WORKER_END] = ending
        cells[shared_page.WORKER_SILENT_SINCE] = cells[shared_page.WORKER_BEAT]
        with suppress(ProcessLookupError):
            signal.pidfd_send_signal(self.watch, signal.SIGKILL)
        self.killed = monotonic()
        return False

    def _probe(self, message: dict[str, Any]) -> None:
        """Start the probe that the worker asks for, unless one is under way or hangs."""
        number, url = message["probe"], message["url"]
        if self.lookout.give_back(number, self.channel):
            return
        self._reap()
        if any(probe.number == number for probe in self.probes):
            return
        if number in self.unburied.values():
            send(self.channel, {"probe": number, "url": url, "error": "the last probe hangs"})
            return
        try:
            probe = Probe(number, url, message["timeout_seconds"])
        except OSError as error:
            reason = f"this host has no room for a probe: {error.strerror}"
            send(self.channel, {"probe": number, "url": url, "error": reason})
            return
        self.unburied[probe.pid] = number
        self.probes.append(probe)

    def _worker_died(self, *, unseen: bool) -> None:
        """Start another one. `unseen`: this process stood still meanwhile."""
        cells = self.handover.cells
        cells[shared_page.WORKER_DIED] = monotonic_ns()
        if not self.killed:
            cells[shared_page.WORKER_SILENT_SINCE] = cells[shared_page.WORKER_BEAT] if unseen else 0
            if cells[shared_page.WORKER_END] not in (Ending.DEFECT, Ending.SWITCHED):
                renewed = lives(*shared_page.announced_renewal(cells))
                cells[shared_page.WORKER_END] = Ending.RENEWED if renewed else Ending.DIED
        ending = Ending(cells[shared_page.WORKER_END]).words("worker")
        self.vain.wait()
        self.watching.rested(LONGEST_WAIT_SECONDS)
        self.start_worker()
        _log.warning("%s: the next one takes over", ending)
        self._reap()

    def _reap(self) -> None:
        """Bury children that have ended; those inside dead storage are left for later."""
        try:
            while pid := os.waitpid(-1, os.WNOHANG)[0]:
                self.unburied.pop(pid, None)
        except ChildProcessError:
            return


def serve(keeper: Keeper) -> None:
    """Watch until the gate stops, then remove what it leaves.

    What `run` raises ends this process and nothing else: the worker serves, and starts another.
    """
    enter_service(keeper.handover)
    keeper.run()
    keeper.standby.end()
    close_front(keeper.handover)
    clean_up(keeper.handover)


def _become(run: Callable[[], None], cells: memoryview) -> NoReturn:
    """Run a forked child's whole life."""
    status = 1
    try:
        run()
        status = 0
    except BaseException:  # the last thing it can do is to say why
        cells[shared_page.WORKER_END] = Ending.DEFECT
        _log.exception("the worker ends because of a defect")
        wait_until_written()
    finally:
        os._exit(status)


def enter_service(handover: Handover) -> None:
    """What every keeper does first."""
    cells = handover.cells
    cells[shared_page.KEEPER_STARTED] = 0
    cells[shared_page.KEEPER_BEAT] = monotonic_ns()
    cells[shared_page.KEEPER_PID] = os.getpid()
    cells[shared_page.KEEPER_STARTED] = start_time(os.getpid())
    cells[shared_page.NEXT_KEEPER] = 0
    adopt_orphans()
    start_writer()
    rehearse()
    gc.collect()
    gc.freeze()  # workers share these pages, and never look through them
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)  # a mounted file system needs it: stop by command
    for refused in serve_write_back():
        _log.warning("%s", refused)
