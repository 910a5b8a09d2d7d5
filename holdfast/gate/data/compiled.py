"""The door to compiled code, and what stands in for it where there is none.

`c/fast_path.c` is built with the package. Where that was not possible, or where HOLDFAST_FAST_PATH
is 0, everything is done in Python, which is the reference.
"""

from __future__ import annotations

import errno
import os
import platform
import threading
from collections.abc import Callable
from importlib import import_module
from types import ModuleType
from typing import NamedTuple, Protocol

from holdfast.containers.back_end import TRUNCATED
from holdfast.gate.data import leg_times
from holdfast.gate.log import ring_layout
from holdfast.gate.log.ring_layout import PlainReserver, Reserver
from holdfast.gate.runtime import shared_page
from holdfast.gate.runtime.claims import Take, plain_take
from holdfast.model.leg_times import STEPS

VARIABLE = "HOLDFAST_FAST_PATH"
"""0: as if nothing had been compiled."""

MACHINES = frozenset({"x86_64"})
"""Processors on which releasing a lock is a full barrier: what was stored before is visible to
others before anything is read later (`renew_plan`)."""

CELLS = (
    *("PLAN", "WRITTEN", "SLOTS", "SLOT_CELLS", "BUSY_SINCE", "LEG", "LEG_SINCE", "READS"),
    *("WRITES", "FLUSHES", "LONGEST_WAIT", "READ_BYTES", "WRITTEN_BYTES", "LATE_REPLIES"),
    *("LOGGED", "SERVED_NS", "HELPS", "FLUSHED", "FLUSHING"),
)
RING_CELLS = (
    *("BEGIN", "END", "ASKED", "STATE", "DEAD", "HEAD_BYTES", "UNIT_BYTES"),
    *("POSITION", "BYTES", "KIND", "OFFSET", "LENGTH", "TIME"),
)
"""Constants that must be equal in C and in Python."""

_TIMES = ("TIME_ROWS", "TIME_KINDS", "TIME_STEPS")


class Held(Protocol):
    """Byte ranges that are held, by the slots of their holders."""

    def take(self, slot: int, holder: int, start: int, end: int) -> bool:
        """Hold the range. False when any byte of it is held already; its holder is told that
        somebody waits."""
        ...

    def leave(self, slot: int, holder: int) -> bool:
        """Let go of the range in that slot if it is the holder's; whether somebody waits."""
        ...

    def held(self) -> list[tuple[int, int, int]]:
        """Holder, start and end of each."""
        ...


class PlainRanges:
    """See Held."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._held: dict[int, tuple[int, int, int]] = {}
        self._waiting = False

    def take(self, slot: int, holder: int, start: int, end: int) -> bool:
        """Compares with every range that is held."""
        with self._lock:
            if any(begin < end and start < stop for _, begin, stop in self._held.values()):
                self._waiting = True
                return False
            self._held[slot] = holder, start, end
            return True

    def leave(self, slot: int, holder: int) -> bool:
        """Idempotent."""
        with self._lock:
            if self._held.get(slot, (0, 0, 0))[0] != holder:
                return False
            del self._held[slot]
            waiting, self._waiting = self._waiting, False
            return waiting

    def held(self) -> list[tuple[int, int, int]]:
        """A snapshot."""
        with self._lock:
            return list(self._held.values())


class WhyNot(NamedTuple):
    """In words for people."""

    reason: str = ""
    mend: str = ""
    """Empty: there is none."""


_BUILD = (
    "Install a C compiler and Python's headers (apt install gcc libc6-dev python3-dev), then"
    " Holdfast once more."
)


def _load() -> tuple[ModuleType | None, WhyNot]:
    """The module, or why there is none."""
    if os.environ.get(VARIABLE, "") == "0":
        return None, WhyNot(f"{VARIABLE} is 0", f"Unset {VARIABLE}.")
    if platform.machine() not in MACHINES:
        return None, WhyNot(f"it was never tried on {platform.machine()}")
    try:
        module = import_module("holdfast.gate.data._fast_path")
    except ImportError:
        return None, WhyNot("it was not built when Holdfast was installed", _BUILD)
    same = all(
        getattr(module, name, None) == getattr(meaning, name)
        for meaning, names in ((shared_page, CELLS), (ring_layout, RING_CELLS))
        for name in names
    )
    times = leg_times.ROWS, len(leg_times.KINDS), STEPS
    same = same and times == tuple(getattr(module, name, None) for name in _TIMES)
    if not same or module.FIRST_SLOT != shared_page.HEAD_CELLS:
        return None, WhyNot("what was built is of another version", _BUILD)
    return module, WhyNot()


COMPILED, WHY_NOT = _load()

FENCE: Callable[[], None] = COMPILED.fence if COMPILED else lambda: None
"""Make what this thread has written visible to others before it reads anything more."""

TAKE: Take = COMPILED.take if COMPILED else plain_take
"""See claims.Take."""


def error_of(code: int) -> OSError:
    """What a leg has said to compiled code, as its back end would raise it.

    `code`: a number of errno, or TRUNCATED of compiled code.
    """
    assert COMPILED is not None
    if code == COMPILED.TRUNCATED:
        return OSError(errno.EIO, TRUNCATED)
    return OSError(code, os.strerror(code))


def held_ranges() -> Held:
    """None is held yet."""
    found: Held = COMPILED.HeldRanges() if COMPILED else PlainRanges()
    return found


def reserver() -> Reserver:
    """For one ring."""
    found: Reserver = COMPILED.Reserver() if COMPILED else PlainReserver()
    return found
