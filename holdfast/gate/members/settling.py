"""What the roster has decided becomes durable: on every leg that is present, then in gate.json.

Owns the superblocks of a running gate. Invariant: one writes at a time; of a new epoch, those hear
first that were in sync before, then those that become it, then the rest. Once gate.json has the
epoch the legs hear that, too, before anything is answered in it: their second superblock is the
mark by which they prove it alone. While gate.json cannot be written there is no mark. Blocks as
legs and the coordinator do; raises GivenUp.
"""

from __future__ import annotations

import threading
from dataclasses import replace

from holdfast.errors import StorageFailed, Superseded
from holdfast.gate.members.configuration import GateConfiguration
from holdfast.gate.members.epoch_memory import EpochMemory
from holdfast.gate.members.inside_leg import inside_leg
from holdfast.gate.members.leg import Leg
from holdfast.gate.members.next_configuration import settled_in, superblock_of, with_ends
from holdfast.gate.members.roster import Roster
from holdfast.gate.members.superblock import Settled, Superblock
from holdfast.gate.runtime.claims import Hand
from holdfast.model.volume import LegState


class Settling:
    """How the decisions of one roster become durable."""

    def __init__(self, roster: Roster, memory: EpochMemory) -> None:
        self._roster = roster
        self._memory = memory
        self.lock = threading.Lock()
        self.settled = settled_in(roster.configuration)
        """What may be gone on from: the newest epoch that was remembered."""
        if memory.remembered_epoch < self.settled.epoch:  # a worker took over before it was
            members = tuple(leg.id for leg in roster.configuration.legs)
            self.settled = Settled(memory.remembered_epoch, members)

    def go_on_with(self, superblock: Superblock) -> None:
        """Take over what this leg's superblock says: if it has no mark, `settle` sets one."""
        raised_from = superblock.raised_from
        if raised_from is not None:
            self._roster.unsettled = True
            if raised_from.epoch == self._memory.remembered_epoch:
                self.settled = raised_from

    def settle(self, hand: Hand) -> bool:
        """Make the present epoch durable on every leg that stays, then in gate.json.

        True when it is, or when the last leg went meanwhile (the caller finds no reader then).
        False: it cannot be remembered now, and whoever needs it must not be answered.
        """
        roster = self._roster
        while roster.unsettled:
            with hand.holding(self.lock):
                with roster.lock:
                    configuration, legs = roster.configuration, roster.writers
                    if not roster.unsettled or not roster.readers:
                        break
                if not self._tell(hand, configuration, legs):
                    continue
                if not self._remember(hand, configuration):
                    return bool(roster.superseded)
                roster.became_durable(configuration)
                if self._mark(hand, configuration, legs):
                    roster.may_be_relied_on(configuration)
        return True

    def settle_or_raise(self, hand: Hand) -> None:
        """As `settle`, for what must not be done, nor told to an administrator, unless it succeeds.

        Raises Superseded; StorageFailed when the coordinator has not agreed by now, or the last leg
        went before it was told, with which the change was taken back.
        """
        epoch = self._roster.highest_epoch
        agreed = self.settle(hand)
        if self._memory.superseded:
            raise Superseded(self._memory.superseded, "Detach the volume on this host.")
        if not agreed:
            raise StorageFailed(
                f"nobody has agreed to the change yet: {self._memory.unsaved}",
                "It is asked for again, until somebody does: see holdfast volume show.",
            )
        if not self._roster.has_become_durable(epoch):
            raise StorageFailed(
                "the last leg in sync failed before it could be told: all is as it was before",
                "Repeat it when a leg is back.",
            )

    def record_position(self, hand: Hand, position: int) -> bool:
        """Say on every leg that it is durable up to `position`; False when the roster changed.

        The legs were flushed before. Durable on the legs and in gate.json when it returns True.
        """
        roster = self._roster
        with hand.holding(self.lock):
            with roster.lock:
                if roster.unsettled or not roster.readers:
                    return False
                configuration = replace(roster.configuration, recorded_position=position)
                legs = roster.writers
            if not self._tell(hand, configuration, legs):
                return False
            with roster.lock:
                if roster.configuration.epoch != configuration.epoch:
                    return False
                roster.configuration = replace(roster.configuration, recorded_position=position)
                roster.durable = replace(roster.durable, recorded_position=position)
                configuration = roster.configuration
            return self._remember(hand, configuration)

    def save_again(self, hand: Hand) -> None:
        """Write gate.json when that failed before."""
        if self._memory.unsaved and self.settle(hand):
            with hand.holding(self.lock):
                with self._roster.lock:
                    configuration, legs = self._roster.durable, self._roster.writers
                self._remember(hand, configuration)
                self._mark(hand, configuration, legs)

    def remember_places(self, hand: Hand) -> None:
        """See that gate.json says where each leg's tail ends; durable."""
        roster = self._roster
        with hand.holding(self.lock):
            with roster.lock:
                ends = roster.ends()
                known = {leg.number: leg.container_bytes for leg in roster.durable.legs}
                if roster.unsettled or all(known.get(each) == ends[each] for each in ends):
                    return
                roster.durable = configuration = with_ends(roster.durable, ends)
            self._remember(hand, configuration)

    def _remember(self, hand: Hand, configuration: GateConfiguration) -> bool:
        """As EpochMemory.remember. If somebody else has the volume, no leg is used any more."""
        return self._memory.remember(hand, configuration, self._roster.withdraw)

    def _mark(self, hand: Hand, configuration: GateConfiguration, legs: tuple[Leg, ...]) -> bool:
        """Mark on the legs that this epoch was remembered, unless it was not, or they have the
        mark. False when a leg fails at it."""
        if self._memory.unsaved or self.settled.epoch >= configuration.epoch:
            return True
        self.settled = settled_in(configuration)
        return self._tell(hand, configuration, legs)

    def _tell(self, hand: Hand, configuration: GateConfiguration, legs: tuple[Leg, ...]) -> bool:
        """Write the superblock of every present leg; False, and no more, when one fails at it.

        Those that were in sync before come first, so that none of them is left with the word that
        it has all data alone, when one that joins has gone on without it. Those that are not in
        sync come last: an epoch that only they carry would leave none that may be a source.
        """
        superblock = superblock_of(configuration, self._memory.owner, self.settled)
        before = {leg.number for leg in self._roster.durable.legs if leg.state is LegState.IN_SYNC}
        for leg in sorted(
            legs, key=lambda leg: (leg.state is not LegState.IN_SYNC, leg.number not in before)
        ):
            with inside_leg(self._roster, hand, leg, "superblock"):
                leg.write_superblock(superblock)
            if self._roster.present.get(leg.number) is not leg:
                return False
        return True
