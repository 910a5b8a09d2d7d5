"""Serving threads: receive a request, carry it out on the mirror, answer.

Two threads receive from the same front end, and more where storage lets them sleep (see staffing).
A thread that hangs inside a leg is given up, and a successor carries out the same
request: what it writes stays in the buffer of whoever received it, what it reads goes into a buffer
that no storage may still write to.
"""

from __future__ import annotations

import select
import threading
from collections.abc import Callable
from time import monotonic_ns
from typing import NoReturn

from holdfast.gate.data.fast_path import FastPath
from holdfast.gate.data.hold import HoldExpired
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.data.partners import Partners
from holdfast.gate.front.front_end import FLUSH, READ, WRITE, FrontEnd, FrontEnded, Request
from holdfast.gate.runtime.claims import GivenUp, Hand
from holdfast.gate.runtime.shared_page import (
    BUSY_SINCE,
    DISCARDS,
    ERRORS,
    FLUSHES,
    LATE_REPLIES,
    LONGEST_WAIT,
    READ_BYTES,
    READS,
    RESENT,
    SERVED_NS,
    WRITES,
    WRITTEN_BYTES,
    renew_plan,
)

FEWEST = 2
"""One works while the other wakes up. So many serve where Python serves alone: they share one
interpreter, and it cannot be told there who sleeps in storage from who waits for that."""


class Server:
    """What all serving threads of a worker share."""

    def __init__(self, front: FrontEnd, mirror: Mirror, end: Callable[[], NoReturn]) -> None:
        self.front = front
        self.mirror = mirror
        self.fast = FastPath(mirror)
        self.end = end
        """Ends the worker because of a defect: the next one gets the request in hand again."""
        self.stopped = threading.Event()
        self.threads: dict[Hand, ServingThread] = {}
        """One that was given up stays until `replace` takes it out: it has the request."""

    def start(self) -> None:
        """Start serving."""
        for _ in range(FEWEST):
            self.add_thread(None)

    def add_thread(self, predecessor: ServingThread | None) -> None:
        """One more thread; with a predecessor, it first carries out what that one has in hand.

        Raises RuntimeError, OSError when there is no room for it: nothing is left of it then.
        """
        hand = self.mirror.hands.take(self.relieve)
        try:
            thread = self.threads[hand] = ServingThread(self, hand, predecessor)
            thread.start()
        except BaseException:
            self.threads.pop(hand, None)
            self.mirror.hands.put_back(hand)
            raise

    def crew(self) -> list[ServingThread]:
        """Those that receive requests, and will; the oldest first."""
        return [thread for thread in list(self.threads.values()) if thread.goes_on]

    def dismiss(self, keep: int) -> None:
        """All but so many are to end, each with the next request that it gets."""
        dismissed = self.crew()[max(keep, FEWEST) :]
        for thread in dismissed:
            thread.dismissed = True
        if dismissed:
            self.call_back(FEWEST - len(self.crew()))  # if others were relieved meanwhile
            renew_plan(self.mirror.cells)

    def call_back(self, how_many: int) -> int:
        """So many that were dismissed and have not ended go on; how many there were."""
        found = [thread for thread in list(self.threads.values()) if thread.dismissed]
        found = found[: max(0, how_many)]
        for thread in found:
            thread.dismissed = False
        return len(found)

    def request_waits(self) -> bool:
        """Whether nobody has received a request yet that is there. Never blocks."""
        door = select.poll()
        door.register(self.front.descriptor, select.POLLIN)
        return bool(door.poll(0))

    def relieve(self, hand: Hand) -> None:
        """The hand's thread will wait for long, with its request: another one serves meanwhile."""
        thread = self.threads.get(hand)
        if thread is not None and not thread.relieved:
            thread.relieved = True
            if len(self.crew()) < FEWEST:
                self.add_thread(None)

    def replace(self, hand: Hand) -> None:
        """The hand was given up; if it was one of ours, another thread takes its request."""
        thread = self.threads.get(hand)
        if thread is None:
            self.fast.pool.given_up(hand)
            return
        thread.partners.dismiss()
        self.add_thread(thread)
        self.threads.pop(hand, None)

    def idle(self) -> bool:
        """Whether no request is under way; those that wait in a hold do not count."""
        at_work = any(thread.at_work for thread in list(self.threads.values()))
        return not at_work and self.fast.pool.idle()

    def front_ended(self) -> None:
        """The device was taken away: nothing more will come."""
        self.stopped.set()
        self.mirror.wake()


class ServingThread(threading.Thread):
    """One thread, its hand and its inbox."""

    def __init__(self, server: Server, hand: Hand, predecessor: ServingThread | None) -> None:
        super().__init__(name=f"serve-{hand.slot}", daemon=True)
        self.server = server
        self.hand = hand
        self.working = False
        self.compiled = False
        """Compiled code serves: whether it has a request in hand is told by the shared page."""
        self.relieved = False
        """Another thread has taken its place: it ends with the request that it has."""
        self.dismissed = False
        """There are too many: it ends with the next request that it gets."""
        self._other_ns = hand.cells[SERVED_NS]
        """Of the time that was served: before this thread began, and without compiled code."""
        self.inbox = server.front.inbox()
        self.partners = self._new_partners()
        self.request: Request | None = None
        """In hand."""
        self.busy_since = 0
        self._before = predecessor.partners if predecessor is not None else None
        """Those of the predecessor, who may be at work on the same request."""
        if predecessor is not None:
            self.request, self.busy_since = predecessor.in_hand()
            self.relieved = predecessor.relieved
            self.working = self.request is not None

    def run(self) -> None:
        try:
            if self.request is not None:
                self.hand.cells[BUSY_SINCE] = self.busy_since
                self.working = True
                if self._before is not None:
                    self._before.wait()
                self._carry_out(self.request)
            self._serve()
        except GivenUp:
            pass  # a successor has the request, its leg was failed with a receipt: this only ends
        except FrontEnded:
            self.server.front_ended()
        except BaseException:
            self.server.end()
        finally:
            self.partners.dismiss()
            if not self.hand.given_up:
                self.server.threads.pop(self.hand, None)
            self.server.mirror.hands.put_back(self.hand)

    def _serve(self) -> None:
        """Receive and answer until the front end ends, or others serve in this one's place."""
        hold = self.server.mirror.hold
        cells = self.hand.cells
        while not (self.relieved or self.dismissed):
            request = self.request = self._receive()
            if request is None:
                continue
            self.busy_since = cells[BUSY_SINCE] = cells[BUSY_SINCE] or monotonic_ns()
            self.working = True
            while hold.administrative:
                self.working = False
                hold.wait_for_release()
                self.working = True
            self._carry_out(request)
            self.hand.refusal = None

    def _receive(self) -> Request | None:
        """A request that is to be carried out here; None: it was carried out, or was none."""
        fast = self.server.fast
        if self.partners.lost:  # it may still write from there
            self.inbox = self.server.front.inbox()
            self.partners.dismiss()
            self.partners = self._new_partners()
        wire, plan = self.inbox.wire, fast.plan()
        if wire is None or plan is None:
            return self.inbox.next()
        self.compiled = True
        try:
            came = fast.serve(self.hand, wire, plan, self.partners)
        except OSError as error:
            self.compiled = False
            self.inbox.failed(error)
            return None
        self.compiled = False
        if came.received:
            return self.inbox.received(came.received)
        if came.waited_ns:
            self._note(self.hand.cells[BUSY_SINCE], came.waited_ns, resent=False)
            self.hand.cells[BUSY_SINCE] = 0
        return None

    def _new_partners(self) -> Partners:
        return Partners(self.server.fast.pool, self.inbox.buffer, self.server.end)

    def in_hand(self) -> tuple[Request | None, int]:
        """What the hand was doing that was given up, and since when."""
        if self.compiled:
            return self.inbox.received(0), self.hand.busy_since
        return self.request, self.busy_since

    @property
    def goes_on(self) -> bool:
        """Whether it will receive another request, and others after it."""
        return not (self.relieved or self.dismissed or self.hand.given_up)

    def served_ns(self) -> int:
        """Time in which compiled code had a request in hand here, without the present one."""
        return int(self.hand.cells[SERVED_NS]) - self._other_ns

    @property
    def at_work(self) -> bool:
        """Whether it has a request under way; one that waits in a hold is not."""
        has_request = bool(self.hand.cells[BUSY_SINCE]) or self.hand.given_up
        return self.working or (self.compiled and has_request)

    def _note(self, since_ns: int, waited_ns: int, *, failed: bool = False, resent: bool) -> None:
        incidents = self.server.mirror.incidents
        if incidents.open:
            incidents.answered(since_ns, waited_ns, failed=failed, resent=resent)

    def _carry_out(self, request: Request) -> None:
        """Do what is asked, answer, count. Raises GivenUp, FrontEnded."""
        hand, mirror, front = self.hand, self.server.mirror, self.server.front
        cells = hand.cells
        kind, _, offset, length, payload, keep_allocated, resent = request
        view = None
        failed = False
        try:
            if kind == READ:
                view = self.inbox.buffer[:length]
                mirror.read(hand, view, offset)
                cells[READS] += 1
                cells[READ_BYTES] += length
            elif kind == WRITE:
                mirror.write(hand, payload, offset)
                cells[WRITES] += 1
                cells[WRITTEN_BYTES] += length
            elif kind == FLUSH:
                mirror.flush(hand)
                cells[FLUSHES] += 1
            else:
                mirror.zero(hand, offset, length, keep_allocated=keep_allocated)
                cells[DISCARDS] += 1
        except HoldExpired:
            failed = True
            cells[ERRORS] += 1
        in_time = front.refuse(request) if failed else front.answer(request, view)
        if not in_time:
            cells[LATE_REPLIES] += 1
        waited = monotonic_ns() - self.busy_since
        if waited > cells[LONGEST_WAIT]:
            cells[LONGEST_WAIT] = waited
        self._other_ns += waited
        cells[SERVED_NS] += waited
        if resent:
            cells[RESENT] += 1
        self._note(self.busy_since, waited, failed=failed, resent=resent)
        self.working = False
        cells[BUSY_SINCE] = 0
