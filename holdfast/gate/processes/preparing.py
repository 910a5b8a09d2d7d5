"""What a worker can have ready before it knows what it takes over: memory, threads, buffers.

Nothing here touches a leg, the state directory or a cell of the shared page, nor reads the ring
that it maps. So a process that only stands by may do all of it, and be killed anywhere in it.
"""

from __future__ import annotations

import gc
import logging
import signal
import sys
import threading

from holdfast.gate.front.serving import FEWEST
from holdfast.gate.log.ring import FILE_NAME, map_ahead
from holdfast.gate.members.configuration import (
    GateConfiguration,
    LegEntry,
    configuration_from,
    text_of,
)
from holdfast.gate.members.next_configuration import settled_in, superblock_of
from holdfast.gate.members.superblock import decode, encode
from holdfast.gate.processes.handover import Handover
from holdfast.model.bounded import read_json
from holdfast.system.messages.unwaited import start_writer
from holdfast.system.processes.process import part_with_descriptors
from holdfast.system.resources import memory

_log = logging.getLogger(__name__)

STACK_BYTES = 512 << 10
"""Stack of a thread. All of it is locked in memory and must be present before the thread runs."""

OBJECTS_BYTES = 2 << 20
"""Room for objects that come into being while it serves: some hundred kilobytes, until all that it
did was done once."""

_STACKS = FEWEST + 4
"""Threads that run at once until a takeover is over: those that serve, upkeep, and three tasks."""


class Preparations:
    """Of one worker. `begin` comes first; the rest may be done before it serves, or afterwards."""

    def __init__(self, handover: Handover) -> None:
        threading.stack_size(STACK_BYTES)  # before any thread, be it one that writes the log
        self.front = handover.front()
        self._ring = handover.run_directory / FILE_NAME
        self._reserve: list[bytes] = []
        """Keeps memory mapped that objects need later."""
        self._apart = threading.Event()
        self._sentinel = threading.Thread(
            target=_stand_apart, args=(self._apart,), name="sentinel", daemon=True
        )
        self._began = self._is_locked = False

    @property
    def sentinel(self) -> int | None:
        """A thread for the keeper to watch, that never hangs inside storage."""
        return self._sentinel.native_id

    def begin(self, *, first: bool = False) -> None:
        """What a process that serves write-back owes to the kernel's memory management. Idempotent.

        `first`: what is refused is told, once for a gate. Others write no log before
        `start_writer()`.
        """
        if self._began:
            return
        self._began = True
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, signal.SIG_IGN)
        start_writer(at_once=first)
        self._sentinel.start()
        self._apart.wait()
        sys.setswitchinterval(0.0005)
        gc.disable()
        for refused in memory.serve_write_back():
            if first:
                _log.warning("%s", refused)

    def get_ready(self) -> None:
        """Everything that takes long at a takeover, most of it the first touch of memory."""
        self.front.prepare(FEWEST)
        _have_stacks(_STACKS)
        map_ahead(self._ring)
        self.lock_memory()

    def lock_memory(self) -> None:
        """Idempotent."""
        if self._is_locked:
            return
        self._reserve = memory.reserve_for_objects(OBJECTS_BYTES)
        try:
            memory.lock_all_memory()
            self._is_locked = True
        except OSError as error:
            _log.warning("%s", error)


def rehearse() -> None:
    """What a process does once for each kind of record, and its children need not do again."""
    legs = (LegEntry(1, "", ""),)
    configuration = configuration_from(
        read_json(text_of(GateConfiguration("", "", 1, 1, legs, descriptor={"": 0}))), "a rehearsal"
    )
    decode(encode(superblock_of(configuration, "", settled_in(configuration))))


def _have_stacks(count: int) -> None:
    """Let the C library have the stacks of so many threads, which it keeps for later ones."""
    together = threading.Barrier(count)
    threads = [threading.Thread(target=together.wait, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def _stand_apart(apart: threading.Event) -> None:
    """Life of a thread that has nothing to do with storage, so that it ends with a kill at once."""
    part_with_descriptors()
    apart.set()
    threading.Event().wait()
