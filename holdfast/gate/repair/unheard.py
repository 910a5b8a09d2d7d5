"""Flushes of which nobody heard how they ended, as the worker was killed inside of them.

Storage tells of what it lost once, and has told the dead. Whoever flushes that leg next hears that
all is well, through whatever descriptor. So such a leg gets again what it was given since it was
last known to be durable. Without a log, other legs in sync are believed in its place; without them,
what was lost cannot be known. Nothing is served meanwhile.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from holdfast.gate.data.owing.owed import Owed
from holdfast.gate.members.leg import Leg
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.shared_page import EQUALISING, unheard_legs

_WHY = "a flush was under way as the worker was killed, and nobody knows how it ended"


def complete_unheard(recovery: Recovery, hand: Hand) -> None:
    """Give the legs in use what they may lack, or do not use them. Raises GivenUp."""
    mirror, roster = recovery.mirror, recovery.roster
    unheard = unheard_legs(mirror.cells)
    doubtful = [leg for leg in roster.readers if leg.number in unheard]
    if not doubtful:
        return
    if mirror.log.active and mirror.log.continues:
        position = _durable_position(recovery)
        complete(recovery, hand, doubtful, lambda leg: mirror.replay(hand, leg, position)[1])
    elif len(doubtful) < len(roster.readers):
        for leg in doubtful:
            roster.fail(leg, _WHY)
    elif len(doubtful) > 1:
        mirror.cells[EQUALISING] = 1  # that they are the same is all that can be had


def complete(
    recovery: Recovery, hand: Hand, legs: Iterable[Leg], write: Callable[[Leg], Owed]
) -> None:
    """Write onto legs in use what they may lack; one that refuses it fails, and what it cannot take
    at bad places is owed. Raises GivenUp."""
    mirror = recovery.mirror
    for leg in legs:
        try:
            mirror.repaying.owe(leg, write(leg))
        except OSError as error:
            recovery.roster.fail(leg, f"takeover: {error.strerror}")
    mirror.intent.secure(hand)


def _durable_position(recovery: Recovery) -> int:
    """The last one up to which the worker before knew all legs to be durable."""
    recorded = recovery.roster.configuration.recorded_position
    before = recovery.mirror.journalling.flushed_before
    return before if recorded <= before <= recovery.mirror.log.position else recorded
