"""A copy of the volume becomes a further leg, beside those that serve.

Invariant: it is a source only after it was given everything that it lacks: what was written since
its position is in the ring, by which the regions are known that are copied to it; what is written
from now on it gets as every leg does. So whoever is killed here leaves a leg that is to be filled,
and those that served before.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable

from holdfast.containers import open_container
from holdfast.errors import AlreadyExists, ForeignLeg, NoSource
from holdfast.gate.data.mirror import Mirror
from holdfast.gate.members.configuration import LegEntry
from holdfast.gate.members.superblock import REGION_BYTES
from holdfast.gate.repair.promoting import check_ring
from holdfast.gate.repair.recovery import Recovery
from holdfast.gate.runtime.claims import Hand
from holdfast.model.volume import LegState

AtRest = Callable[[Callable[[], list[int]]], list[int] | None]
"""Calls something while no request is under way; None: that could not be had."""


def join_copy(recovery: Recovery, hand: Hand, url: str, position: int, at_rest: AtRest) -> int:
    """Take an image that has the volume up to `position` in as a leg; the number of that.

    It must be large enough for a leg; its tail is written here. Durable when this returns; it is
    filled in the background. Requests are withheld for as long as those take that are under way.
    Raises NoSource when no leg serves, Unreachable when the ring does not reach back to there,
    AlreadyExists, ForeignLeg, ContainerFailed, Superseded.
    """
    mirror, roster = recovery.mirror, recovery.roster
    url = open_container(url).url
    with hand.holding(recovery.changing):
        configuration = roster.configuration
        if not roster.readers:
            raise NoSource("no leg serves", "Let a copy take their place: holdfast copy promote.")
        if any(leg.url == url for leg in configuration.legs):
            raise AlreadyExists(f"{url} is a leg of this volume already", "See volume show.")
        check_ring(mirror, position)
        number = 1 + max(configuration.last_number, *(leg.number for leg in configuration.legs))
        entry = LegEntry(number, str(uuid.uuid4()), url, LegState.RESYNCING)
        leg, found = recovery.open(hand, entry)
        try:
            if found is not None and found.volume_id != configuration.volume_id:
                raise ForeignLeg(f"{url} is a leg of another volume", "Name a copy of this one.")
            if found is not None:  # of an attempt that died; nobody relied on it
                roster.rise_above(found.epoch)

            def lacking() -> list[int]:
                # Whoever began to write before it joined has appended that: nobody is under way.
                found = at_rest(lambda: _written_since(mirror, position))
                every = range(mirror.intent.bitmap.regions)
                return found if found is not None else list(every)

            recovery.join(hand, leg, entry, lacking=lacking)
        finally:
            leg.discard()  # does nothing when it was taken in
        return number


def _written_since(mirror: Mirror, position: int) -> list[int]:
    """The regions that were written from there on. Every one where the ring has lost some."""
    regions = set[int]()
    try:
        for offset, length in mirror.log.written_since(position):
            regions.update(range(offset // REGION_BYTES, -(-(offset + length) // REGION_BYTES)))
        is_whole = mirror.log.active
    except OSError:
        is_whole = False
    return sorted(regions) if is_whole else list(range(mirror.intent.bitmap.regions))
