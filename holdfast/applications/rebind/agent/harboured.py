"""Processes whose handles are parked, as their own memory says: without the record of what is.

Nobody is stopped for it. Must never be used to find out what is parked: only the record has that.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress

from holdfast.applications.rebind.agent.leftovers import AbandonedHarbour, find_abandoned
from holdfast.applications.rebind.tracing.memory import ProcessMemory
from holdfast.system.children.expendable_batch import ask_each
from holdfast.system.proc import read
from holdfast.system.proc_text import parse_maps

_CODE = b" r-xp 00000000 00:00 0"
"""Code that is in no file, as of few programs (proc_pid_maps(5))."""


def with_parked_handles(pids: Iterable[int]) -> list[int]:
    """Those of these processes whose handles were parked, and not given back: they wait in the
    harbour, or have left it at their deadline and run with errors.

    Blocks for some seconds at most: whose memory cannot be looked at hangs somewhere else.
    """
    asked = list(pids)
    answers = ask_each(_parked, asked)
    return [pid for pid, is_parked in zip(asked, answers, strict=True) if is_parked]


def let_leave(pid: int) -> None:
    """Let its threads leave the harbour at once, with errors in place of what is parked."""
    with _memory_of(pid) as memory:
        for harbour in _harbours(pid, memory):
            memory.write(harbour.address + harbour.code_bytes, struct.pack("<Q", False))


def _parked(pid: int) -> bool:
    with suppress(OSError):
        if _CODE in read(f"/proc/{pid}/maps"):
            with _memory_of(pid) as memory:
                return bool(_harbours(pid, memory))
    return False


def _harbours(pid: int, memory: ProcessMemory) -> list[AbandonedHarbour]:
    maps = parse_maps(read(f"/proc/{pid}/maps"))
    return [each for each in find_abandoned(memory, maps) if each.was_parked]


@contextmanager
def _memory_of(pid: int) -> Iterator[ProcessMemory]:
    """Raises OSError when it has ended."""
    memory = ProcessMemory(pid)
    try:
        memory.open()
        yield memory
    finally:
        memory.close()
