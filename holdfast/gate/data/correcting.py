"""A write that is answered with an error: the history is told what the leg has there.

The log has the write already, and the leg has all of it, none, or a part. Whoever reads the volume
afterwards sees that, and a history must lead to what is seen. Does nothing where there is no
history. The caller has the range.
"""

from __future__ import annotations

from holdfast.gate.data.journalling import Journalling
from holdfast.gate.data.write_log import Continuous
from holdfast.gate.log.segment import Kind
from holdfast.gate.members.roster import Roster
from holdfast.gate.runtime.claims import Hand
from holdfast.system.resources.memory import aligned_buffer

PIECE_BYTES = 64 << 10
"""Read and appended at once."""

MOST_BYTES = 16 << 20
"""Half of the ring. Larger ranges are zeroed, not written, and what a leg has of them is mostly
nothing."""


def tell_what_is_there(
    journalling: Journalling, roster: Roster, hand: Hand, offset: int, length: int
) -> None:
    """Append it as far as it can be read, and there is room. Raises GivenUp.

    With no leg in sync there is nothing to be told: it gets the write from the log when it is back.
    """
    log = journalling.log
    if not isinstance(log, Continuous) or not log.active or length > MOST_BYTES:
        return
    for place in range(offset, offset + length, PIECE_BYTES):
        readers = roster.readers
        if not readers:
            return
        view = memoryview(aligned_buffer(PIECE_BYTES))[: min(PIECE_BYTES, offset + length - place)]
        hand.enter(readers[0].number)
        try:
            readers[0].read(view, place)
        except OSError:
            continue  # whoever reads it gets an error as well
        finally:
            hand.leave()
        if not journalling.append(hand, Kind.DATA, place, view):
            return
        log.done(hand)
