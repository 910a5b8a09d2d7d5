"""What is done about once a second, when nothing waits for it, and when a gate ends.

How far the legs are durable is recorded on them, so that the journal is emptied up to there; bits
of regions that are equal again are cleared; what could not be remembered, or written at bad places,
is tried again. Invariant: a position is recorded only after all of it was flushed.
"""

from __future__ import annotations

from holdfast.gate.data.mirror import Mirror
from holdfast.gate.runtime.claims import Hand
from holdfast.gate.runtime.shared_page import WRITTEN, note_written


class Upkeep:
    """The upkeep of one mirror."""

    def __init__(self, mirror: Mirror) -> None:
        self._mirror = mirror
        self._ends: list[int] = []
        """Where the log ended in the last two calls of `_clear_idle`, the older one first."""

    @property
    def due(self) -> bool:
        """Whether `checkpoint` has anything to do."""
        mirror = self._mirror
        unsaved = mirror.memory.unsaved or mirror.reflexes.unremembered
        return bool(mirror.cells[WRITTEN] or mirror.owed or unsaved)

    def checkpoint(self, hand: Hand, *, flush: bool = False) -> None:
        """Record on the legs how far they are durable, free the journal, clear idle bits.

        Raises HoldExpired, GivenUp.
        """
        mirror, roster = self._mirror, self._mirror.roster
        mirror.settling.save_again(hand)
        mirror.reflexes.end_unremembered()
        if mirror.reflexes.unremembered or not roster.readers:
            return  # whatever follows would wait
        if mirror.owed and (flush or mirror.repaying.due):
            mirror.repaying.pay(hand)
        if not mirror.cells[WRITTEN] and not flush:
            return
        mirror.log.ask_kept()
        mirror.journalling.record(hand, flush=flush)
        if roster.has_bits:
            self._clear_idle(hand)

    def close_cleanly(self, hand: Hand) -> None:
        """Leave nothing to do for the next start: all flushed, no bits, no replay."""
        mirror, roster = self._mirror, self._mirror.roster
        if not roster.readers:
            return
        self.checkpoint(hand, flush=True)
        if mirror.log.end(hand):
            self.checkpoint(hand, flush=True)
        mirror.equalising.stopping.set()
        equal = not mirror.equalising.unequal and mirror.log.has_kept(mirror.log.position)
        if equal and len(roster.readers) == len(roster.configuration.legs):
            mirror.intent.clear(hand)
        mirror.settling.settle(hand)

    def _clear_idle(self, hand: Hand) -> None:
        """Clear bits of regions that are the same everywhere, while every member is in sync."""
        mirror = self._mirror
        if len(mirror.roster.readers) != len(mirror.roster.configuration.legs):
            return
        kept = mirror.log.ask_kept()
        mirror.flush(hand)
        if not self._history_tells(kept):
            note_written(mirror.cells)
            return
        if mirror.intent.clear_idle(hand, mirror.ranges, mirror.equalising.unequal):
            note_written(mirror.cells)  # come again until all bits are cleared

    def _history_tells(self, end: int) -> bool:
        """Whether no bit of an idle region is needed for a history; `end`: what it was asked for.

        It is what was written two calls ago, or before, that is idle. The history has it, and the
        legs say so: a history that turns out to end before that has lost something, and is told
        from one after a crash.
        """
        mirror = self._mirror
        if mirror.log.compiled_flushes:
            return True  # there is none
        self._ends, before = [*self._ends, end][-2:], self._ends
        recorded = mirror.roster.configuration.recorded_position
        return len(before) == 2 and recorded >= before[0] and mirror.log.has_kept(end)
