"""The standby: a worker that is prepared, and waits until the present one has died.

At most one, a child of the keeper. It has touched and locked its memory, has threads and buffers,
and knows nothing of legs, so that nothing of what it knows can be out of date. Invariants: it
touches no storage, so a kill ends it at once; it serves only when the keeper says so, and ends when
the keeper does without having said so; a gate without one, for whatever reason, takes over as well,
by a fork.
"""

from __future__ import annotations

import logging
import os
import signal
import socket
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from time import monotonic
from typing import NamedTuple

from holdfast.gate.log.ring import FILE_NAME
from holdfast.gate.processes.channel import receive, send, wait
from holdfast.gate.processes.handover import Handover
from holdfast.gate.processes.partner import STOPPED_SECONDS
from holdfast.gate.processes.preparing import Preparations
from holdfast.gate.processes.worker import Worker
from holdfast.gate.runtime import shared_page
from holdfast.late_dataclass import dataclass
from holdfast.system.messages.logs import call_process
from holdfast.system.messages.unwaited import wait_until_written
from holdfast.system.mounts.namespace import keep_mount_namespace
from holdfast.system.processes.continue_timer import ContinueTimer
from holdfast.system.processes.process import has_ended, watch_leader
from holdfast.system.processes.process_state import (
    DEAD,
    STOPPED,
    TRACED,
    read_state,
    start_time,
)

_log = logging.getLogger(__name__)

SETTLE_SECONDS = 0.05
"""After a worker was started: until it has answered what was waiting, it has the processors."""

LONGEST_PAUSE_SECONDS = 60.0
"""Between two that are gone before they were needed: the pause grows so far."""

_KILLED_SECONDS = 5.0
"""For the end of one that was killed, which takes some milliseconds."""

_SERVE = "serve"
"""Name of the message that ends the wait; the number of the process before follows."""


class Taken(NamedTuple):
    """A worker that serves from now on."""

    pid: int
    channel: socket.socket
    watch: int | None = None
    """None: nobody has asked for it yet."""
    sentinel: int = 0
    """0: it has not said yet."""


def watch_or_kill(pid: int) -> int | None:
    """As watch_leader; one that cannot be watched is killed. Raises OSError then.

    Nobody would notice its end, or take it for ended: there may be one only.
    """
    try:
        return watch_leader(pid)
    except OSError:
        os.kill(pid, signal.SIGKILL)
        raise


@dataclass
class Standby:
    """The one of a keeper, or none: `pid` is 0. Used by the keeper's main thread."""

    handover: Handover
    pid: int = 0
    channel: socket.socket | None = None
    watch: int | None = None
    sentinel: int = 0
    _wanted: bool = False
    _files: tuple[int, int] = 0, 0
    """What it has of the run directory: inodes of the control socket, and of the ring."""
    _due: float = 0.0
    _vain: int = 0
    """How many were gone in a row before they were needed."""

    @property
    def descriptors(self) -> list[int]:
        """What becomes readable when there is something to do."""
        if self.channel is None or self.watch is None:
            return []
        return [self.watch] if self.sentinel else [self.watch, self.channel.fileno()]

    def rest(self) -> None:
        """A worker has just been started: it is not to be disturbed."""
        self._due = max(self._due, monotonic() + SETTLE_SECONDS)

    def seconds_until_due(self) -> float:
        """For the keeper's wait."""
        is_due = self._wanted and not self.pid
        return max(0.0, self._due - monotonic()) if is_due else 3600.0

    def tend(
        self,
        *,
        wanted: bool,
        fork: Callable[[Callable[[socket.socket], None]], tuple[int, socket.socket]],
    ) -> bool:
        """End what cannot be used any more, start one when it is time; whether another stands by.

        `wanted`: the worker serves, so that another one may be started. `fork`: have a child live
        like that. Raises OSError as it does, for which there is a pause.
        """
        before, self._wanted = self.pid, wanted
        if self.channel is not None:
            if has_ended(self.watch):
                self._lose()
            elif (message := receive(self.channel)) is not None:
                self.sentinel, self._vain = message.get("sentinel") or 0, 0
        if self.pid and self._files != self._files_there():
            self.end(wait=False)
        if wanted and not self.pid and monotonic() >= self._due:
            self._pause()
            self._start(fork)
        return self.pid != before

    def _start(
        self, fork: Callable[[Callable[[socket.socket], None]], tuple[int, socket.socket]]
    ) -> None:
        self._files = self._files_there()
        keeper_pid = os.getpid()
        pid, channel = fork(lambda other: self._live(other, keeper_pid))
        try:
            self.watch = watch_or_kill(pid)
        except OSError:
            channel.close()
            raise
        self.pid, self.channel = pid, channel
        shared_page.announce_standby(self.handover.cells, pid, start_time(pid))

    def _files_there(self) -> tuple[int, int]:
        """The socket is made anew when it was removed, the ring when it was lost or has failed."""
        ring = 0
        with suppress(OSError):
            ring = (self.handover.run_directory / FILE_NAME).lstat().st_ino
        return self.handover.cells[shared_page.SOCKET_INODE], ring

    def take(self, predecessor_pid: int) -> Taken | None:
        """Have it serve; None: there is none that could, and none is left behind.

        The caller has said in the shared page which generation it will be.
        """
        state = read_state(self.pid) if self.pid else None
        unfit = state is None or state.exiting or state.state in DEAD | {STOPPED, TRACED}
        outdated = self._files != self._files_there()  # since it was looked after
        channel = self.channel
        if channel is None or unfit or outdated or not send(channel, {_SERVE: predecessor_pid}):
            self.end(wait=False)
            return None
        taken = Taken(self.pid, channel, self.watch, self.sentinel)
        self._vain = 0
        self._forget()
        return taken

    def end(self, *, wait: bool = True) -> None:
        """Kill it, and bury it unless that is not waited for. Blocks for some milliseconds then."""
        if self.channel is None:
            return
        if self.watch is not None:
            with suppress(ProcessLookupError):
                signal.pidfd_send_signal(self.watch, signal.SIGKILL)
        if wait and has_ended(self.watch, _KILLED_SECONDS):
            with suppress(ChildProcessError):
                os.waitpid(self.pid, os.WNOHANG)
        self._lose()

    def leave(self) -> None:
        """In a forked child: it is the keeper's."""
        if self.channel is not None:
            self.channel.close()
        if self.watch is not None:
            os.close(self.watch)

    def _lose(self) -> None:
        """It is gone."""
        self.leave()
        self._forget()

    def _forget(self) -> None:
        self.pid, self.channel, self.watch, self.sentinel = 0, None, None, 0
        shared_page.announce_standby(self.handover.cells, 0, 0)

    def _pause(self) -> None:
        """Before the next one, if this one is gone soon."""
        self._vain += 1
        pause = SETTLE_SECONDS * 2 ** min(self._vain, 20)
        self._due = monotonic() + min(LONGEST_PAUSE_SECONDS, pause)

    def _live(self, channel: socket.socket, keeper_pid: int) -> None:
        """Life of the child. Returns when it was never needed."""
        try:
            call_process("worker")
            keep_mount_namespace()
            prepared = Preparations(self.handover)
            prepared.begin()
            prepared.get_ready()
            send(channel, {"sentinel": prepared.sentinel})
            predecessor = _wait_for_word(channel)
        except Exception:  # no worker has failed: the next one may do better
            _log.exception("a standby ends because of a defect")
            wait_until_written()
            return
        if predecessor:
            handover = replace(self.handover, keeper_pid=keeper_pid, predecessor_pid=predecessor)
            Worker(handover, channel, prepared, None).run()


def _wait_for_word(channel: socket.socket) -> int:
    """The number of the worker that has died; 0: the keeper has. Continued when it is stopped."""
    timer = None
    with suppress(OSError):  # no room in the kernel
        timer = ContinueTimer(STOPPED_SECONDS)
    while True:
        readable = wait([channel.fileno()], STOPPED_SECONDS / 2)
        if timer is not None:
            timer.restart()
        if readable:
            if timer is not None:
                timer.stop()
            message = receive(channel)
            return int(message[_SERVE]) if message is not None else 0
