"""What a gate knows of itself, for the rules of membership. Pure, apart from looking."""

from __future__ import annotations

from holdfast.gate.data.mirror import Mirror
from holdfast.gate.members.membership import HostMemory
from holdfast.gate.members.next_configuration import members_of


def host_memory(mirror: Mirror) -> HostMemory:
    """What this gate knows of itself, for the rules of membership: what it told the legs.

    What changed since (while none of them was there) is told to the next one that may be used.
    """
    configuration = mirror.roster.durable
    journal_begin, journal_end = mirror.log.kept or (None, None)
    return HostMemory(
        volume_id=configuration.volume_id,
        epoch=configuration.epoch or None,
        members=members_of(configuration),
        recorded_position=configuration.recorded_position,
        journal=configuration.journal,
        journal_begin=journal_begin,
        journal_end=journal_end,
    )
