"""Partners: threads that do one leg of a request while its serving thread does another.

Compiled code alone gives them something to do, and only where that is faster (pace.h). Each
belongs to one serving thread, is started when that first has use for it, and sleeps otherwise. It
has a hand of its own, and in its own name what it must let go of (partner.h), so it is given up by
itself. A request is counted where it was received.

It writes from the buffer of its serving thread. That buffer is not used again after a partner was
given up, which may write from there when its storage lets go of it.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from time import monotonic_ns
from typing import Any

from holdfast.gate.data.compiled import COMPILED, error_of
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.members.leg import Leg
from holdfast.gate.runtime.claims import GivenUp, Hand
from holdfast.gate.runtime.shared_page import BUSY_SINCE, HELPS, SLOTS

SPARE_SLOTS = SLOTS // 2
"""Left to those that cannot do without one: serving threads, their successors, tasks."""

_PAUSE_NS = 10_000_000_000
"""After there was no room for another one."""


class Pool:
    """All partners of a worker."""

    def __init__(self, mirror: Mirror) -> None:
        self.mirror = mirror
        self.by_hand: dict[Hand, Partner] = {}
        """One that was given up stays until its serving thread was told."""
        self._not_before_ns = 0

    def given_up(self, hand: Hand) -> None:
        """If the hand is a partner's: its serving thread waits for it no longer."""
        partner = self.by_hand.pop(hand, None)
        if partner is not None:
            partner.compiled.desert()

    def idle(self) -> bool:
        """Whether none has anything in hand."""
        return not any(hand.cells[BUSY_SINCE] for hand in list(self.by_hand))

    @property
    def has_room(self) -> bool:
        """Whether it is worth asking for one."""
        return monotonic_ns() >= self._not_before_ns

    def found_no_room(self) -> None:
        """There is none for another one."""
        self._not_before_ns = monotonic_ns() + _PAUSE_NS


class Partners:
    """Those of one serving thread, which alone uses this (`dismiss`: anybody)."""

    def __init__(self, pool: Pool, buffer: memoryview, end: Callable[[], object]) -> None:
        """`buffer`: the serving thread's. `end`: what a defect leads to."""
        self.pool = pool
        self.buffer = buffer
        self.end = end
        self.members: tuple[Leg, ...] = ()
        """Of the plan that they go by."""
        self._partners: tuple[Partner, ...] = ()
        self.compiled: tuple[Any, ...] = ()
        """What compiled code knows them by."""

    def go_by(self, members: tuple[Leg, ...]) -> None:
        """Those that these legs have no use for are dismissed."""
        self.members = members
        keep = max(0, len(members) - 1)
        for partner in self._partners[keep:]:
            partner.compiled.leave()
        self._partners, self.compiled = self._partners[:keep], self.compiled[:keep]

    def add(self) -> None:
        """One more, if there is room for it."""
        try:
            partner = Partner(self)
        except RuntimeError:
            self.pool.found_no_room()
            return
        self._partners = (*self._partners, partner)
        self.compiled = (*self.compiled, partner.compiled)

    def wait(self) -> None:
        """Until none is inside a leg but those that were given up; by one thread only.

        While one flushes a leg nobody may who has the same request: of two flushes the kernel tells
        one of an error, and the other one would be believed.
        """
        for partner in self.compiled:
            partner.wait()

    @property
    def lost(self) -> bool:
        """Whether one of them was given up."""
        return any(partner.hand.given_up for partner in self._partners)

    def dismiss(self) -> None:
        """Each ends with what it has in hand. Idempotent."""
        for partner in self._partners:
            partner.compiled.leave()


class Partner(threading.Thread):
    """See the module. Raises RuntimeError when there is no slot, or no thread."""

    def __init__(self, partners: Partners) -> None:
        assert COMPILED is not None
        self._partners = partners
        self._mirror = partners.pool.mirror
        hands = self._mirror.hands
        self.hand = hands.take(_needs_no_relief, spare=SPARE_SLOTS)
        super().__init__(name=f"partner-{self.hand.slot}", daemon=True)
        self.hand.cells[HELPS] = 1
        self.compiled = COMPILED.Partner(self.hand.slot, self.hand.number)
        partners.pool.by_hand[self.hand] = self
        try:
            self.start()
        except BaseException:
            self._forget()
            raise

    def run(self) -> None:
        try:
            while self._assist():
                pass
        except BaseException:
            self._partners.end()
        finally:
            self._forget()

    def _assist(self) -> bool:
        """Be of use until Python is needed; False: the thread ends."""
        assert COMPILED is not None
        mirror, partners = self._mirror, self._partners
        what, number, error, wake = self.compiled.assist(
            mirror.cells, partners.buffer, mirror.ranges.held
        )
        if wake:
            mirror.ranges.wake()
        if what == COMPILED.GIVEN_UP:
            with self.hand.claim:  # the watchdog is just saying so
                return False
        if what == COMPILED.FLUSH_FAILED:  # its serving thread may be given up
            leg = next(leg for leg in partners.members if leg.number == number)
            mirror.roster.fail(leg, f"flush: {error_of(error).strerror}")
            try:
                self.hand.leave()
            except GivenUp:
                return False
        return bool(what != COMPILED.DISMISSED)

    def _forget(self) -> None:
        if not self.hand.given_up:
            self._partners.pool.by_hand.pop(self.hand, None)
        self._mirror.hands.put_back(self.hand)


def _needs_no_relief(hand: Hand) -> None:
    """Its serving thread has the request."""
