"""Threads that touch legs, and can be given up when a leg hangs.

A thread inside dead storage cannot be interrupted. So every thread that touches a leg has a slot in
the shared page that says which leg it is in and since when, and a claim on what it has in hand. The
watchdog may take the claim; the thread finds out when storage lets go of it, which may be at once,
and ends without touching anything. A lock that such a thread holds is let go of on its behalf.
What is kept for a hand is kept by the hand itself: its slot is another one's as soon as it ended.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count
from time import monotonic_ns

from holdfast.gate.runtime.shared_page import (
    BUSY_SINCE,
    FLUSHING,
    HELPS,
    LEG,
    LEG_SINCE,
    LOGGED,
    SLOTS,
    keep_unheard,
    slot_offset,
)

Take = Callable[[memoryview, int], bool]
"""Take the request of a thread in compiled code, if that thread is still inside that leg."""


def plain_take(cells: memoryview, leg_number: int) -> bool:
    """Without compiled code: a thread leaves a leg only with its claim, so the request can be
    taken."""
    return True


_TAKEN = 1 << 63
"""In LEG: whoever was inside was given up (TAKEN in cells.h)."""

_NAP_SECONDS = 50e-6
"""About what a wake-up takes; whoever leaves a leg should not have to tell anybody."""


class GivenUp(BaseException):
    """Raised in a thread whose work was taken from it. Nothing may be touched any more."""


class Hand:
    """One thread's place in the shared page, and its claim on the work in hand."""

    def __init__(
        self,
        cells: memoryview,
        slot: int,
        number: int,
        take: Take,
        relieve: Callable[[Hand], None] | None,
    ) -> None:
        self.slot = slot
        self.number = number
        """Unique among all hands of a worker."""
        self.cells = cells[slot_offset(slot) : slot_offset(slot + 1)]
        self._flushing = cells[FLUSHING + slot : FLUSHING + slot + 1]
        self.claim = threading.Lock()
        self.given_up = False
        self._take = take
        self._relieve = relieve
        self.locks: list[threading.Lock] = []
        self.stuck_in = 0
        self._stuck_since_ns = 0
        self.busy_since = 0
        """When the request that was taken from it had been read."""
        self.refusal: tuple[object, OSError] | None = None
        """A leg, and the error it has already given to the request in hand, in compiled code."""
        for cell in (BUSY_SINCE, LEG, LEG_SINCE, LOGGED, HELPS):
            self.cells[cell] = 0
        self._flushing[0] = 0

    def enter(self, leg_number: int, *, flushes: bool = False) -> None:
        """Say that this thread is about to touch a leg.

        `flushes`: it may hear of an error that is told once. A worker that is killed before it has
        left is succeeded by one that believes no other flush of that leg (`unheard_legs`).
        """
        cells = self.cells
        if flushes:
            self._flushing[0] = leg_number
        cells[LEG_SINCE] = monotonic_ns()
        cells[LEG] = leg_number

    def hear_refusal(self, leg: object) -> None:
        """Raise the error that this leg has already given to the request in hand; once."""
        if self.refusal is not None and self.refusal[0] is leg:
            (_, error), self.refusal = self.refusal, None
            raise error

    @property
    def serving(self) -> bool:
        """Whether it belongs to a serving thread, which can be inside a leg only while it has a
        request."""
        return self._relieve is not None

    def be_relieved(self) -> None:
        """Have another thread serve: this one will wait for long, with its request."""
        if self._relieve is not None:
            self._relieve(self)

    @property
    def inside_leg(self) -> int:
        """The leg where this thread is, or where it was given up; 0: none."""
        return self.cells[LEG] & ~_TAKEN

    @property
    def entered_ns(self) -> int:
        """When this thread went into the leg where it is, or where it was given up."""
        return self._stuck_since_ns if self.given_up else self.cells[LEG_SINCE]

    def leave(self) -> None:
        """Say that the leg answered. Raises GivenUp when the watchdog was faster."""
        self.claim.acquire()
        if self.given_up:
            self.claim.release()
            raise GivenUp
        self._flushing[0] = 0
        self.cells[LEG] = 0
        self.claim.release()

    @contextmanager
    def inside(self, leg_number: int, *, flushes: bool = False) -> Iterator[None]:
        """Be inside a leg. Raises GivenUp at the end when the watchdog was faster."""
        self.enter(leg_number, flushes=flushes)
        try:
            yield
        finally:
            self.leave()

    @contextmanager
    def holding(self, lock: threading.Lock) -> Iterator[None]:
        """Hold a lock over leg I/O; the watchdog lets go of it if this thread is given up."""
        lock.acquire()
        self.locks.append(lock)
        try:
            yield
        finally:
            with self.claim:
                if not self.given_up:
                    self.locks.remove(lock)
                    lock.release()

    def give_up(self, older_than_ns: int, inside: int = 0) -> int:
        """Take the work when it is inside a leg since before that time; the leg's number or 0.

        `inside`: only when it is that leg.
        """
        with self.claim:
            leg = self.cells[LEG]
            if not leg or self.given_up or self.cells[LEG_SINCE] > older_than_ns:
                return 0
            if inside and leg != inside:
                return 0
            if not self._take(self.cells, leg):
                return 0
            self.stuck_in = leg
            self._stuck_since_ns = self.cells[LEG_SINCE]
            self.given_up = True
            self.busy_since = self.cells[BUSY_SINCE]
            self.cells[BUSY_SINCE] = 0
            for lock in self.locks:
                lock.release()
            self.locks.clear()
            return leg


class Hands:
    """All hands of a worker. Slots of threads that are stuck are not used again until they end."""

    def __init__(self, cells: memoryview, take: Take = plain_take) -> None:
        self._cells = cells
        self._take = take
        self._numbers = count(1)
        self._lock = threading.Lock()
        keep_unheard(cells)
        for slot in range(SLOTS):  # what a worker before had in hand is sent again
            for cell in (BUSY_SINCE, LEG, LOGGED, HELPS):
                cells[slot_offset(slot) + cell] = 0
        self._hands: dict[int, Hand] = {}

    def take(self, relieve: Callable[[Hand], None] | None = None, *, spare: int = 0) -> Hand:
        """A hand on a free slot. Raises RuntimeError when hung threads have all of them.

        `relieve`: of a serving thread, has another one serve in its place. `spare`: so many slots
        are left free.
        """
        with self._lock:
            slot = next((slot for slot in range(SLOTS) if slot not in self._hands), None)
            if slot is None or SLOTS - len(self._hands) <= spare:
                raise RuntimeError(f"{SLOTS} threads hang or work at once")
            hand = Hand(self._cells, slot, next(self._numbers), self._take, relieve)
            self._hands[slot] = hand
            return hand

    def put_back(self, hand: Hand) -> None:
        """The hand's thread has ended: whatever it touched, it touches no more."""
        with self._lock:
            hand.cells[BUSY_SINCE] = hand.cells[LEG] = self._cells[FLUSHING + hand.slot] = 0
            self._hands.pop(hand.slot, None)

    def take_from_log(self, hand: Hand) -> None:
        """The write of a hand that was given up is not on its way any more."""
        with self._lock:
            if self._hands.get(hand.slot, hand) is hand:  # else another one has its slot
                hand.cells[LOGGED] = 0

    def wait_for_others(
        self, hand: Hand, leg_number: int, since_ns: int, in_use: Callable[[], bool]
    ) -> None:
        """Until everybody who is inside a leg now, and went in since then, has left it.

        Or until it is not `in_use`. The caller is inside none.
        """
        for other in self.all():
            entered_ns = other.entered_ns
            if other is hand or other.inside_leg != leg_number or entered_ns < since_ns:
                continue
            while other.inside_leg == leg_number and other.entered_ns == entered_ns and in_use():
                time.sleep(_NAP_SECONDS)

    def all(self) -> list[Hand]:
        """A snapshot of every hand, stuck ones included."""
        with self._lock:
            return list(self._hands.values())

    def stuck_in(self, leg_number: int, since_ns: int) -> bool:
        """Whether a thread that was given up, and went in since then, is still inside that leg."""
        return any(
            hand.given_up and hand.stuck_in == leg_number and hand.entered_ns >= since_ns
            for hand in self.all()
        )
