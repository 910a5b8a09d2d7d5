"""The worker's side of the pair: whether the keeper works, and another one when it does not.

Invariant: serving never stops for it. A keeper that died, or stands still (it is killed then), is
succeeded at once; while none can be started (no memory, no descriptors, no interpreter) that is
tried again with growing pauses. A new keeper is a new program, not a fork of the worker: a fork
would take along locked memory, threads' locks and a deeper stack each time. Descriptors of legs are
handed over only to be closed there, because closing one on hung storage may block.
"""

from __future__ import annotations

import os
import signal
import socket
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from time import monotonic

from holdfast.gate.processes.channel import make_channel
from holdfast.gate.processes.handover import Handover
from holdfast.gate.processes.partner import (
    Ending,
    Silence,
    hang_timeout_seconds,
    judge_silence,
)
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.incidents import Incident, Incidents
from holdfast.gate.runtime.watching import BEAT_SECONDS
from holdfast.system.mounts.namespace import keep_mount_namespace
from holdfast.system.processes.installed import installed_python
from holdfast.system.processes.process import has_ended, watch_leader
from holdfast.system.processes.process_state import read_state, start_time

LONGEST_PAUSE_SECONDS = 5.0
"""Keepers that cannot be started, again and again, are tried with a pause that grows so far."""


class KeeperGuard:
    """One worker's keeper. Used by the worker's main thread, except `in_service`."""

    def __init__(
        self,
        handover: Handover,
        channel: socket.socket,
        incidents: Incidents,
        leg_descriptors: Callable[[], Iterable[int]],
        on_new: Callable[[], None],
    ) -> None:
        self.channel = channel
        self._handover = handover
        self._incidents = incidents
        self._leg_descriptors = leg_descriptors
        self._on_new = on_new
        self._pid = handover.keeper_pid
        self._watch = watch_leader(handover.keeper_pid)
        self._silence = Silence(handover.cells, shared_page.KEEPER_BEAT)
        self._incident: Incident | None = None
        self._vain_starts = self._unfit_starts = 0
        """Those since one worked for a while, and those of which none even got to work."""
        self._due = 0.0

    def in_service(self) -> bool:
        """Whether a keeper watches this worker now, so that it may end. Any thread may ask."""
        watch = self._watch
        is_here = self._handover.cells[shared_page.KEEPER_PID] == self._pid
        return watch is not None and is_here and not has_ended(watch)

    def descriptors(self) -> list[int]:
        """What becomes readable when the keeper says something, or ends."""
        return [] if self._watch is None else [self.channel.fileno(), self._watch]

    def tend(self) -> float:
        """Start another keeper when this one has ended or stands still; seconds until to look."""
        ending = self._ending()
        if ending is None:
            if (
                self._incident is not None
                and self._handover.cells[shared_page.KEEPER_PID] == self._pid
            ):
                self._incident.resolve("continued")
                self._incident, self._vain_starts = None, 0
            return BEAT_SECONDS
        if self._watch is not None:
            self._let_go(ending)
        if monotonic() >= self._due:
            self._start()
        return max(0.0, min(BEAT_SECONDS, self._due - monotonic()))

    def _ending(self) -> Ending | None:
        """How it ended; one that stands still is killed."""
        if self._watch is None or has_ended(self._watch):
            return Ending.DIED
        silent_seconds = self._silence.look()
        if silent_seconds < 2 * BEAT_SECONDS:
            return None
        limit = hang_timeout_seconds(self._handover.cells)
        ending = judge_silence(read_state(self._pid), silent_seconds, limit)
        if ending is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self._watch, signal.SIGKILL)
        return ending

    def _let_go(self, ending: Ending) -> None:
        """It is gone: nothing is expected of it any more."""
        if self._incident is None:
            cause = ending.words("keeper", self._silence.seconds)
            self._incident = self._incidents.begin("keeper-takeover", cause)
            self._incident.manual = True
        watch, self._watch = self._watch, None  # other threads ask `in_service`
        assert watch is not None
        os.close(watch)
        self._vain_starts += 1
        got_to_work = self._handover.cells[shared_page.KEEPER_PID] == self._pid
        self._unfit_starts = 0 if got_to_work else self._unfit_starts + 1
        pause = 0.0 if self._vain_starts == 1 else min(LONGEST_PAUSE_SECONDS, self._pause())
        self._due = monotonic() + pause

    def _pause(self) -> float:
        return float(0.05 * 2 ** min(self._vain_starts, 10))

    def _program(self) -> str:
        """The installed version; in turn with this worker's own one where that does not last."""
        return sys.executable if self._unfit_starts % 2 else installed_python()

    def _start(self) -> None:
        try:
            channel, pid = start_keeper(self._handover, self._leg_descriptors(), self._program())
            shared_page.announce_keeper(self._handover.cells, pid, start_time(pid))
            self._watch = _watch_or_kill(pid, channel)
        except OSError as error:
            self._vain_starts += 1
            self._unfit_starts += 1
            self._due = monotonic() + min(LONGEST_PAUSE_SECONDS, self._pause())
            if self._incident is not None and self._vain_starts == 2:
                self._incident.step("no keeper can be started", error.strerror or str(error))
            return
        self.channel.close()
        self.channel, self._pid = channel, pid
        self._silence.forgive()
        self._on_new()
        if self._incident is not None:
            self._incident.step("keeper started")


def _watch_or_kill(pid: int, channel: socket.socket) -> int | None:
    """As watch_leader. One that cannot be watched must not stay beside the next. Raises OSError."""
    try:
        return watch_leader(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        channel.close()
        raise


def start_keeper(
    handover: Handover, leg_descriptors: Iterable[int], program: str = sys.executable
) -> tuple[socket.socket, int]:
    """Start a keeper for this process; the worker's end of the new channel, and its pid.

    `program`: the interpreter that it is. Raises OSError, with nothing left behind.
    """
    namespace = keep_mount_namespace()  # the keeper's own, from when it has the connection
    try:
        return _start_keeper(handover, list(leg_descriptors), namespace, program)
    finally:
        os.close(namespace)


def _start_keeper(
    handover: Handover, closing: list[int], namespace: int, program: str
) -> tuple[socket.socket, int]:
    keeper_end, worker_end = make_channel()
    handed = [handover.connection, handover.listener.fileno(), keeper_end.fileno(), handover.page]
    inherited = [*handed, *closing, namespace]
    arguments = [
        program,
        "-m",
        "holdfast.gate",
        "resume",
        str(handover.state_directory),
        str(handover.run_directory),
        *(str(descriptor) for descriptor in handed),
        str(os.getpid()),
        ",".join(map(str, closing)),
    ]
    try:
        for descriptor in inherited:
            os.set_inheritable(descriptor, True)
        pid = os.posix_spawn(program, arguments, dict(os.environ))
    except BaseException:
        worker_end.close()
        raise
    finally:
        for descriptor in inherited:
            with suppress(OSError):  # a leg that was closed meanwhile
                os.set_inheritable(descriptor, False)
        keeper_end.close()
    return worker_end, pid
