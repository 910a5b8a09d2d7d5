"""A copy of the volume takes the place of its last leg, which is lost.

Invariant: nobody reads from it before it has everything that was answered (what it is said to have,
and the ring from there on), and before an epoch in which every other container of a leg is out is
durable, on it and in gate.json. So whoever is killed here leaves either a leg, or an image that is
none: of two containers never both are sources. Must never be done while a leg serves.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.containers import open_container
from holdfast.errors import ContainerFailed, ForeignLeg, NoSource, NotLost, Unreachable
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.members.next_configuration import superblock_of
from holdfast.gate.members.roster import Roster
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.runtime.claims import Hand
from holdfast.model.volume import LegState


def promote_copy(recovery: Recovery, hand: Hand, url: str, position: int) -> int:
    """Go on with an image that has the volume up to `position`; the number of the leg that it is.

    It must be large enough for a leg; its tail is written here. Durable, and requests go on, when
    this returns. Raises NotLost while a leg serves, Unreachable when writes that were answered are
    in nothing that is left, ForeignLeg, ContainerFailed, Superseded.
    """
    mirror, roster = recovery.mirror, recovery.roster
    url = open_container(url).url
    with hand.holding(recovery.changing):
        if roster.readers:
            raise NotLost(
                f"leg {roster.readers[0].number} serves: the volume needs no copy",
                "Add another leg to it: holdfast leg add.",
            )
        check_ring(mirror, position)
        entry = _lost(roster)
        leg, found = recovery.open(hand, replace(entry, url=url, container_bytes=0))
        try:
            if found is not None and found.volume_id != roster.configuration.volume_id:
                raise ForeignLeg(f"{url} is a leg of another volume", "Name a copy of this one.")
            if found is not None:  # of an attempt that died; nobody relied on it
                roster.rise_above(found.epoch)
            told = superblock_of(roster.durable, roster.memory.owner, mirror.settling.settled)
            stands_for = replace(
                told, leg_id=leg.id, leg_number=leg.number, position=position, raised_from=None
            )
            recovery.resume(hand, leg, entry, stands_for, is_copy=True)
        except BaseException:
            leg.discard()  # does nothing when it was taken in
            raise
        if roster.present.get(leg.number) is not leg:
            raise ContainerFailed(f"{url} failed when it was to be used", "See volume show.")
        return leg.number


def check_ring(mirror: Mirror, position: int) -> None:
    """Raise Unreachable unless the ring has every write from that position on."""
    kept = mirror.log.kept if mirror.log.active else None
    if kept is None:
        raise Unreachable(
            "the journal has failed: writes that were answered are in the legs alone",
            "Bring a leg back, or add one.",
        )
    begin, end = kept
    if not begin <= position <= end:
        raise Unreachable(
            f"the journal has the writes from position {begin} to {end}, and the copy those before"
            f" {position}: what is in between is in the legs alone",
            "Bring a leg back, or bring the copy on: holdfast copy advance.",
        )


def _lost(roster: Roster) -> LegEntry:
    """The leg whose place it takes: one that was in sync when the last one was lost."""
    for entry in roster.durable.legs:
        if entry.state is LegState.IN_SYNC:
            return entry
    raise NoSource("no leg was in sync when the last one was lost", "Bring a leg back.")
