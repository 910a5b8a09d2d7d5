"""What whoever writes or flushes a leg owes the others: it has failed before they are believed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from holdfast.gate.members.leg import Leg
from holdfast.gate.members.roster import Roster
from holdfast.gate.runtime.claims import Hand


@contextmanager
def inside_leg(roster: Roster, hand: Hand, leg: Leg, what: str) -> Iterator[None]:
    """Be inside a leg, which fails when that raises OSError; `what` was tried goes before why.

    Of several that flush one file the kernel tells one of an error in writing back, and the others
    that all is well. So whoever hears of one has the leg failed *before leaving it*, and others
    are believed once everybody who was inside with them has left (`Mirror.flush_all`), or by a
    worker that comes after this one's death once the leg has all that it may lack.
    Nothing is raised for the leg: see whether it is still used. Raises GivenUp.
    """
    with hand.inside(leg.number, flushes=True):
        try:
            yield
        except OSError as error:
            roster.fail(leg, f"{what}: {error.strerror}")
