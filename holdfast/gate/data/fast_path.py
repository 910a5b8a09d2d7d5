"""Ordinary requests on compiled code, which holds no interpreter lock: when, and what comes back.

Owns the plan that `c/fast_path.c` goes by: which legs there are and how each is looked at. A plan
is good for as long as the shared page's PLAN cell has the number that was there before it was made;
whoever changes what a plan is made of changes that number afterwards (`renew_plan`), and there is
no plan while anything is unusual. So compiled code never needs to be told, and decides nothing.
"""

from __future__ import annotations

import os
import struct
from typing import NamedTuple

from holdfast.containers.back_end import DescriptorBackEnd
from holdfast.gate.data.compiled import COMPILED, error_of, reserver
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.data.partners import Partners, Pool
from holdfast.gate.data.write_intent.bitmap import REGION_SHIFT
from holdfast.gate.log.ring import Ring
from holdfast.gate.members.leg import Leg
from holdfast.gate.runtime.claims import GivenUp, Hand
from holdfast.gate.runtime.shared_page import OWED_FILE, PLAN

_LEG = struct.Struct("=QQQiBBBB")
"""Number, expected size, since when it is used, descriptor, whether it is in sync, when its size is
checked (after each transfer, or after each flush), and the row of its times. See leg_from in
c/fast_path.c."""


class Wire(NamedTuple):
    """What compiled code needs of an inbox: of a FUSE connection, whose requests it can read."""

    descriptor: int
    header: memoryview
    buffer: memoryview


class ServingPlan(NamedTuple):
    """What compiled code goes by: the legs, the log, and whether writes
    and flushes are ordinary now."""

    number: int
    members: tuple[Leg, ...]
    legs: bytes
    durable: bytearray
    touched: bytearray
    writes: bool
    flushes: bool
    intents: bool
    ring: Ring | None
    """Where writes are kept first."""


class Came(NamedTuple):
    """Why compiled code came back."""

    received: int = 0
    """Length of a request that is in the inbox and still to be carried out; 0: there is none."""
    waited_ns: int = 0
    """How long a request waited that was answered, and has to be noted; it counts as under way
    until it is."""


class UnansweredError(OSError):
    """The connection did not accept an answer."""


class FastPath:
    """The fast path of one worker. Several threads use it."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._no_ring = bytearray()
        self._no_reserver = reserver()
        self.pool = Pool(mirror)
        self.pace = memoryview(bytearray(8 * COMPILED.PACE_CELLS if COMPILED else 0)).cast("Q")
        """How long waking up takes lately, and legs by their place in the plan: see pace.h. What
        was learned of another leg at that place is soon forgotten."""

    def plan(self) -> ServingPlan | None:
        """How ordinary requests are carried out now; None: by Python."""
        mirror, roster = self._mirror, self._mirror.roster
        number = mirror.cells[PLAN]
        unusual = (
            roster.unsettled
            or roster.superseded
            or mirror.hold.administrative
            or mirror.incidents.noting
            or mirror.owed
            or mirror.cells[OWED_FILE]
            or mirror.equalising.unequal
        )
        if COMPILED is None or unusual or not roster.readers:
            return None
        members = roster.writers
        legs = [
            _packed(
                leg,
                roster.arrived_ns[leg.number],
                mirror.times.row(leg.number, [each.number for each in members]),
                reads=leg in roster.readers,
            )
            for leg in members
        ]
        if not all(legs) or len(legs) > COMPILED.MOST_LEGS:
            return None
        bitmap, ring = mirror.intent.bitmap, mirror.log.ring
        return ServingPlan(
            number,
            members,
            b"".join(legs),
            bitmap.durable,
            bitmap.touched,
            writes=ring is not None or not mirror.log.active,
            flushes=mirror.log.compiled_flushes,
            intents=roster.has_bits,
            ring=ring,
        )

    def serve(self, hand: Hand, wire: Wire, plan: ServingPlan, partners: Partners) -> Came:
        """Serve until Python is needed.

        What a leg has said to a request that came back is told to the hand. Raises GivenUp; OSError
        as the connection gave it.
        """
        assert COMPILED is not None
        ring = plan.ring
        partners.go_by(plan.members)
        what, number, error, wake, ask, lack, tell = COMPILED.serve(
            wire.descriptor,
            hand.slot,
            hand.number,
            self._mirror.cells,
            wire.header,
            wire.buffer,
            self._mirror.ranges.held,
            plan.number,
            plan.legs,
            plan.durable,
            plan.touched,
            REGION_SHIFT,
            plan.writes,
            plan.flushes,
            plan.intents,
            ring.reserver if ring is not None else self._no_reserver,
            ring.cells if ring is not None else self._no_ring,
            ring.spare_bytes if ring is not None else 0,
            partners.compiled,
            self.pace,
            self._mirror.times.cells,
            self.pool.has_room,
        )
        if ask:
            self._mirror.wake()
        if wake:
            self._mirror.ranges.wake()
        if what == COMPILED.GIVEN_UP:
            with hand.claim:  # the watchdog is just saying so
                raise GivenUp
        if what == COMPILED.RECEIVE_FAILED:
            raise OSError(error, os.strerror(error))
        if what == COMPILED.ANSWER_FAILED:
            raise UnansweredError(error, os.strerror(error))
        if what == COMPILED.ANSWERED:
            if lack:
                partners.add()
            return Came(waited_ns=number if tell else 0)
        if what in (COMPILED.FAILED, COMPILED.FLUSH_FAILED):
            leg = next(leg for leg in plan.members if leg.number == number)
            if what == COMPILED.FLUSH_FAILED:  # and is inside still: see Mirror.flush_all
                self._mirror.roster.fail(leg, f"flush: {error_of(error).strerror}")
                hand.leave()
                partners.wait()
            else:
                hand.refusal = leg, error_of(error)
            return Came(received=len(wire.header))
        return Came(received=number)


def _packed(leg: Leg, arrived_ns: int, row: int, *, reads: bool) -> bytes:
    """A leg as compiled code knows it; empty: compiled code cannot use this leg."""
    back_end = leg.back_end
    if type(back_end) is not DescriptorBackEnd or back_end.descriptor < 0:
        return b""
    return _LEG.pack(
        leg.number,
        back_end.expected_bytes,
        arrived_ns,
        back_end.descriptor,
        reads,
        back_end.watch_size,
        back_end.has_holes,
        row,
    )
