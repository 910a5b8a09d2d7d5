"""The thread that carries the ring to the history, and what becomes of it when that fails.

Invariants: one thread at a time writes the history; while a thread that was given up is inside its
storage, nobody else goes there. What is durable there is said in the ring, by the thread alone. A
failure is told once (`failed`), and so is the end of it (`back`), with whether anything is missing.
"""

from __future__ import annotations

import errno
import logging
import threading
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from typing import Protocol

from holdfast.gate.log.history.carrier import Carrier
from holdfast.gate.log.history.layout import SegmentPage
from holdfast.gate.log.history.writing import HistoryWriter
from holdfast.gate.log.ring import Ring
from holdfast.gate.runtime.claims import GivenUp, Hand, Hands
from holdfast.gate.runtime.shared_page import HISTORY_LOST_SINCE
from holdfast.model.bounded import NewerFormat
from holdfast.system.processes.process import part_with_descriptors

_log = logging.getLogger(__name__)

HISTORY = 1 << 33
"""Stands for the history's storage where a hand says which leg it is in."""

AGAIN_SECONDS = 0.5
"""How often a history that failed is tried again."""

STEADY_SECONDS = 10.0
RELAPSED_SECONDS = 5.0
"""One that fails that soon after it was back is given so much longer: each return is a segment and
a receipt."""

BUSY_SECONDS = 0.2
"""How late what nobody has flushed is carried while writes come. Not sooner, so that a flush that
comes soon finds it in one frame; and the longer, the more of it a power cut takes from the
history."""

IDLE_SECONDS = 10.0
"""The same where nothing is written: the upkeep asks within a second of a write, except for one
that was between saying so and appending just then. What is too old is removed then, too."""

QUICK_SECONDS = 0.5
BEHIND_SECONDS = 30.0
"""How long nobody waits for a history that was late, at least, and until it has what was asked for
within the first of these: whoever waits for one that is late waits for a second."""

UNSYNCED_BYTES = 16 << 20
"""So much is carried before it is synced though nobody waits: half of a ring, which must be carried
before it can be emptied."""


_NAP_SECONDS = 0.00005
"""Longer than a copy of a record into the ring takes."""


class Troubles(Protocol):
    """Who is told of a history that fails. Called by the carrying thread, or the watchdog."""

    def failed(self, reason: str) -> None:
        """It is not written from now on."""
        ...

    def back(self, *, whole: bool) -> None:
        """It is written again; not `whole`: with a gap."""
        ...

    def lose(self, positions: Sequence[int]) -> None:
        """Copies at these need what is about to be removed."""
        ...


class Carrying:
    """Of one gate. `start` comes first."""

    def __init__(
        self,
        ring: Ring,
        new_writer: Callable[[], HistoryWriter],
        named: Callable[[], Collection[int]],
        hands: Hands,
        troubles: Troubles,
        page: memoryview,
    ) -> None:
        self._ring = ring
        self._new_writer = new_writer
        self._writer = new_writer()
        self._named = named
        self._hands = hands
        self._troubles = troubles
        self._page = page
        self._carrier: Carrier | None = None
        self._changed = threading.Condition()
        self._wanted = 0
        self._thread = threading.Thread()
        self._hand: Hand | None = None
        self._closing = False
        self._began = 0.0
        """When it could be written again last."""
        self._has_seen_all = False
        """Whether nothing of the history is left to be looked at."""
        self._whole = True
        """Whether nothing is missing of what came before; told once it is written again."""
        self.begun = False
        """Whether this worker has a segment of its own, so that whoever comes next knows of it."""
        self.failing = ""
        """Why it is not written; empty: it is."""
        self.behind = ""
        """Why nobody is to wait for it, though it is written; empty: flushes wait."""
        self._late = 0.0
        """When it was late last."""

    def start(self) -> None:
        """Begin to carry; after a thread was given up, once that has ended. Idempotent.

        Does nothing while there is no room for a thread: whoever waits asks again.
        """
        with self._changed:
            if self._thread.is_alive() or self._closing:
                return
            try:
                hand = self._hands.take()
            except RuntimeError:
                return
            thread = threading.Thread(target=self._run, args=(hand,), name="carrier", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                self._hands.put_back(hand)
                return
            self._hand, self._thread = hand, thread

    @property
    def at_work(self) -> bool:
        """Whether there is a thread: one that was given up may hang for ever."""
        return self._thread.is_alive()

    @property
    def kept(self) -> tuple[list[SegmentPage], int]:
        """As the writer's."""
        return self._writer.kept

    def ask(self, position: int) -> None:
        """Have everything before that position made durable soon."""
        with self._changed:
            if position > self._wanted:
                self._wanted = position
                self._changed.notify_all()

    def wait(self, position: int, seconds: float) -> bool:
        """Until that position is durable, or the history fails, or so long; whether it is."""
        with self._changed:
            self._changed.wait_for(
                lambda: self.has(position) or self.failing or self._closing, seconds
            )
        return self.has(position)

    def has(self, position: int) -> bool:
        """Whether the history has everything before that position, durably."""
        return self.begun and self._ring.carried >= position

    def fail(self, reason: str) -> None:
        """It is not written any more, until it can be."""
        with self._changed:
            was, self.failing, self.behind = self.failing, reason, ""
            # Kept over a takeover: what waits for it has one deadline.
            self._page[HISTORY_LOST_SINCE] = self._page[HISTORY_LOST_SINCE] or time.monotonic_ns()
            self._changed.notify_all()
        if not was:
            self._troubles.failed(reason)

    def fall_behind(self) -> None:
        """A flush has waited for too long: nobody waits until it is quick again."""
        with self._changed:
            if self.failing or self.behind:
                return
            self.behind, self._late = "it was late for a flush", time.monotonic()
            self._changed.notify_all()
        self._troubles.failed(self.behind)

    def _catch_up(self, wanted: int, since: float) -> None:
        """What was wanted then is there, and that took no time: flushes wait again, later on."""
        now = time.monotonic()
        with self._changed:
            is_quick = self._ring.carried >= wanted and now - since < QUICK_SECONDS
            if not self.behind or not is_quick or now - self._late < BEHIND_SECONDS:
                return
            self.behind = ""
        self._troubles.back(whole=True)

    def given_up(self, hand: Hand, reason: str) -> None:
        """The watchdog has given this hand up: whatever it still writes is not looked at."""
        if hand is self._hand:
            self.fail(reason)

    def close(self) -> None:
        """End the thread, unless it hangs; its storage is not touched by the caller."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()

    def join(self, seconds: float) -> None:
        """Wait for the end of the thread, for so long."""
        with suppress(RuntimeError):  # it was never started
            self._thread.join(seconds)

    def _run(self, hand: Hand) -> None:
        """Carry, and try again, until it is closed or given up.

        With descriptors of its own: a process that was killed while its history hangs would keep
        its legs locked. So nothing here may use one that another thread has opened.
        """
        try:
            part_with_descriptors()
            self._writer, self._carrier = self._new_writer(), None
            while not self._closing:
                try:
                    self._begin(hand)
                    while not self._closing:
                        self._round(hand)
                except (OSError, NewerFormat) as error:
                    if error.errno in (errno.ENOSPC, errno.EDQUOT):
                        with hand.inside(HISTORY):
                            self._writer.make_room()
                    self._try_later(error.strerror or str(error))
                except Exception as error:
                    # Nobody else could end this worker from here: the others have the descriptors
                    # for that. A history that cannot be written is no reason to, besides.
                    if not self.failing:
                        _log.exception("the history fails because of a defect")
                    self._try_later(f"a mistake in Holdfast: {error!r}")
                    with hand.inside(HISTORY), suppress(OSError):
                        self._writer.close()
                    self._writer, self._carrier = self._new_writer(), None
            with hand.inside(HISTORY), suppress(OSError):
                self._writer.close()
        except GivenUp:
            return
        except Exception as error:  # whoever waits for it starts it again
            _log.exception("the thread that carries the history ends")
            self.failing = self.failing or f"its thread has ended: {error!r}"
        finally:
            self._hands.put_back(hand)

    def _try_later(self, reason: str) -> None:
        """It fails; wait until it is to be tried again."""
        self.fail(reason)
        relapsed = time.monotonic() - self._began < STEADY_SECONDS
        seconds = RELAPSED_SECONDS if relapsed else AGAIN_SECONDS
        self._began = 0.0
        with self._changed:
            self._changed.wait_for(lambda: self._closing, seconds)

    def _begin(self, hand: Hand) -> None:
        """Begin the next segment. Raises OSError, GivenUp."""
        with hand.inside(HISTORY):
            self._writer.open()
        self._has_seen_all = False
        if self._carrier is None:
            self._carrier = Carrier(self._ring, self._writer, self._named)
        with hand.inside(HISTORY):
            if not self._carrier.go_on(self.failing or "nothing was kept meanwhile"):
                self._whole = False
        with hand.inside(HISTORY):  # not before a first part of it was written does it go on
            self._carrier.carry()
        with hand.inside(HISTORY):
            self._carrier.sync()
        self._began = time.monotonic()
        with self._changed:
            was, self.failing, self.begun = self.failing, "", True
            self._page[HISTORY_LOST_SINCE] = 0
            self._changed.notify_all()
        whole, self._whole = self._whole, True
        if was or not whole:
            self._troubles.back(whole=whole)

    def _round(self, hand: Hand) -> None:
        """Wait until there is something to do, and do it. Raises OSError, GivenUp."""
        ring, writer = self._ring, self._writer
        assert self._carrier is not None
        with self._changed:
            # Whoever writes and does not flush is noticed by the upkeep, which asks once a second.
            idle = ring.end == ring.carried
            asked = self._changed.wait_for(
                lambda: self._wanted > ring.carried or self._closing,
                IDLE_SECONDS if idle and self._has_seen_all else BUSY_SECONDS,
            )
            wanted = self._wanted
        since = time.monotonic()
        while True:
            with hand.inside(HISTORY):
                carried = self._carrier.carry()
            unsynced = writer.position - writer.durable
            due = not carried or (asked and writer.position >= wanted)
            if unsynced and (due or unsynced >= UNSYNCED_BYTES):
                with hand.inside(HISTORY):
                    self._carrier.sync()
                with self._changed:
                    self._changed.notify_all()
            if due or self._closing:
                break
        self._catch_up(wanted, since)
        if (idle and not asked) or not self._has_seen_all:
            with hand.inside(HISTORY):
                self._has_seen_all = self._carrier.look_after()
        if asked and not carried and not unsynced:
            time.sleep(_NAP_SECONDS)  # a record is being written
