"""What a volume's configuration becomes when its legs change, and what legs are told of it. Pure.

The roster says when; here is what.
"""

from __future__ import annotations

from collections.abc import Container, Mapping
from dataclasses import replace

from holdfast.gate.members.configuration import GateConfiguration, LegEntry
from holdfast.gate.members.leg import Leg
from holdfast.gate.members.superblock import Member, Settled, Superblock
from holdfast.model.volume import LegState


def with_epoch(configuration: GateConfiguration, epoch: int) -> GateConfiguration:
    """The same in a new epoch, which excludes those that have just failed."""
    changed = replace(
        configuration,
        epoch=epoch,
        legs=tuple(
            replace(leg, excluded_epoch=epoch)
            if leg.state is LegState.FAILED and not leg.excluded_epoch
            else leg
            for leg in configuration.legs
        ),
    )
    if all(leg.state is LegState.IN_SYNC for leg in configuration.legs):
        changed = replace(changed, clean_epoch=epoch)
    return changed


def with_source(configuration: GateConfiguration, leg: Leg) -> GateConfiguration:
    """The same with that member in sync, where it is now."""
    return replace(
        configuration,
        legs=tuple(
            replace(
                entry,
                url=leg.url,
                state=LegState.IN_SYNC,
                reason="",
                container_bytes=leg.container_bytes,
                excluded_epoch=0,
            )
            if entry.number == leg.number
            else entry
            for entry in configuration.legs
        ),
    )


def with_ends(configuration: GateConfiguration, ends: Mapping[int, int]) -> GateConfiguration:
    """The same with the places where tails end now, by the numbers of legs."""
    return replace(
        configuration,
        legs=tuple(
            replace(leg, container_bytes=ends.get(leg.number, leg.container_bytes))
            for leg in configuration.legs
        ),
    )


def with_what_is_newer(
    configuration: GateConfiguration, now: GateConfiguration
) -> GateConfiguration:
    """That configuration, with what has become known of position and legs meanwhile."""
    reasons = {leg.number: leg.reason for leg in now.legs}
    return replace(
        configuration,
        recorded_position=now.recorded_position,
        legs=tuple(
            replace(leg, reason=reasons.get(leg.number, leg.reason)) for leg in configuration.legs
        ),
    )


def without_absent(configuration: GateConfiguration, present: Container[int]) -> GateConfiguration:
    """The same, with the legs in sync that are not present as failed ones."""
    return replace(
        configuration,
        legs=tuple(
            replace(
                leg,
                state=LegState.FAILED,
                reason=leg.reason or "away",
                position=configuration.recorded_position,
            )
            if leg.state is LegState.IN_SYNC and leg.number not in present
            else leg
            for leg in configuration.legs
        ),
    )


def without_spare(configuration: GateConfiguration, url: str) -> GateConfiguration:
    """The same without that spare."""
    spares = tuple(spare for spare in configuration.spare_urls if spare != url)
    return replace(configuration, spare_urls=spares)


def with_spare(configuration: GateConfiguration, url: str) -> GateConfiguration:
    """The same with it as the first spare."""
    return replace(configuration, spare_urls=(url, *configuration.spare_urls))


def adopted(configuration: GateConfiguration, newest: Superblock) -> GateConfiguration:
    """What the legs say of the volume: they went on without this host.

    How large it is, who belongs to it and who is in sync; for the bitmap's sake also that none of
    the others can be brought up to date by parts of it: bits of that time are not ours.
    """
    return replace(
        configuration,
        size_bytes=newest.size_bytes,
        legs=entries_of(newest, {leg.id: leg for leg in configuration.legs}),
        clean_epoch=newest.epoch,
        last_number=max(configuration.last_number, *(each.number for each in newest.members)),
    )


def entries_of(
    newest: Superblock, known: Mapping[str, LegEntry] | Mapping[str, Leg]
) -> tuple[LegEntry, ...]:
    """The members that a superblock names, each where it is known to be, by the ids of legs."""

    def entry_of(member: Member) -> LegEntry:
        leg = known.get(member.id)
        if leg is None:
            return LegEntry(member.number, member.id, member.url, member.state)
        end = leg.container_bytes
        return LegEntry(member.number, member.id, leg.url, member.state, container_bytes=end)

    return tuple(entry_of(member) for member in newest.members)


def superblock_of(configuration: GateConfiguration, owner: str, settled: Settled) -> Superblock:
    """What every leg is told; each fills in its own id, state and sequence.

    `settled`: the newest epoch that was remembered.
    """
    return Superblock(
        volume_id=configuration.volume_id,
        leg_id="",
        leg_number=0,
        size_bytes=configuration.size_bytes,
        epoch=configuration.epoch,
        sequence=0,
        position=configuration.recorded_position,
        members=members_of(configuration),
        descriptor=configuration.descriptor,
        owner=owner,
        raised_from=settled if settled.epoch < configuration.epoch else None,
    )


def settled_in(configuration: GateConfiguration) -> Settled:
    """What may be gone on from once that configuration was remembered."""
    in_sync = (leg.id for leg in configuration.legs if leg.state is LegState.IN_SYNC)
    return Settled(configuration.epoch, tuple(in_sync))


def members_of(configuration: GateConfiguration) -> tuple[Member, ...]:
    """The legs as superblocks name them."""
    return tuple(Member(leg.number, leg.id, leg.url, leg.state) for leg in configuration.legs)
