"""Making containers into legs, and finding a volume again from its legs alone."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.containers import open_container
from holdfast.errors import AlreadyExists, ContainerFailed, NoSource
from holdfast.gate.members.configuration import GateConfiguration, LegEntry, save_configuration
from holdfast.gate.members.leg import Leg, open_leg
from holdfast.gate.members.membership import FoundLeg, HostMemory, judge
from holdfast.gate.members.next_configuration import entries_of, members_of
from holdfast.gate.members.superblock import Settled, Superblock, container_bytes_needed
from holdfast.model.bounded import seconds
from holdfast.model.volume import JournalMode, LegState

SEARCH_SECONDS = 15.0
"""How long the tail of an enlarged container is looked for when nobody remembers its place; a few
gigabytes on a hard disk, and less than the command that asks waits for all legs."""


def provision(
    state_directory: Path,
    configuration: GateConfiguration,
    create: bool,
    *,
    later: Collection[int] = (),
) -> None:
    """Write a superblock on every leg of a new volume, then gate.json; durable when it returns.

    With `create`, absent containers are made; the caller has checked that they may become legs, and
    removes them when this raises (ContainerFailed, or what the containers raise). `later`: numbers
    of legs that get theirs by `provision_leg`.
    """
    if create:
        for entry in configuration.legs:
            open_container(entry.url).create(container_bytes_needed(configuration.size_bytes))
    legs = tuple(
        entry if entry.number in later else provision_leg(configuration, entry)
        for entry in configuration.legs
    )
    state_directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    save_configuration(state_directory, replace(configuration, legs=legs))


def provision_leg(configuration: GateConfiguration, entry: LegEntry) -> LegEntry:
    """Write both superblocks of one leg of a new volume; the entry with what is known of it then.

    Durable. Raises ContainerFailed, AlreadyExists for what is a leg.
    """
    try:
        leg, found = open_leg(entry, configuration.size_bytes)
    except BlockingIOError as error:
        raise ContainerFailed(f"{entry.url} is locked by another process") from error
    try:
        if found is not None:
            raise AlreadyExists(f"{entry.url} is a leg already", "Use an empty container.")
        for slot in range(2):
            leg.write_superblock(
                Superblock(
                    volume_id=configuration.volume_id,
                    leg_id=entry.id,
                    leg_number=entry.number,
                    size_bytes=configuration.size_bytes,
                    epoch=configuration.epoch,
                    sequence=slot,
                    members=members_of(configuration),
                    descriptor=configuration.descriptor,
                )
            )
    except OSError as error:
        raise ContainerFailed(f"{entry.url} cannot be written: {error.strerror}") from error
    finally:
        leg.discard()
    return replace(entry, container_bytes=leg.container_bytes)


def rediscover(leg_urls: Sequence[str]) -> GateConfiguration:
    """What a lost gate.json said, from the superblocks of these containers. Changes nothing.

    Blocks as storage does. Raises ContainerFailed, NoSource when nothing can be proven from them;
    the epoch is the newest found, so the start judges the legs by it again.
    """
    found = []
    for url in leg_urls:
        try:
            leg, superblock = open_leg(
                LegEntry(0, "", open_container(url).url),
                0,
                whole=False,
                search_seconds=SEARCH_SECONDS,
            )
        except BlockingIOError as error:
            raise ContainerFailed(f"{url} is locked: its volume is attached") from error
        leg.discard()
        if superblock is None:
            raise ContainerFailed(f"{url} carries no Holdfast superblock", "Name another leg.")
        found.append((leg, superblock))
    newest = max((superblock for _, superblock in found), key=lambda sb: (sb.epoch, sb.position))
    judgement = judge(HostMemory(), [FoundLeg(leg.url, superblock) for leg, superblock in found])
    if len({superblock.volume_id for _, superblock in found}) > 1:
        raise NoSource(judgement.reason, "Name the legs of one volume.")
    descriptor = newest.descriptor
    try:
        journal = JournalMode(descriptor.get("journal", JournalMode.UNFLUSHED))
        hang_seconds = seconds(descriptor.get("hang_timeout_seconds", 5.0), "the hang time-out")
        hold_seconds = seconds(descriptor.get("hold_timeout_seconds", 600.0), "the hold time-out")
    except ValueError as error:
        raise NoSource(
            f"the superblocks say something that cannot be: {error}",
            "Whoever wrote them is not to be trusted: mount nothing from there.",
        ) from error
    return GateConfiguration(
        name=str(descriptor.get("name", "")),
        volume_id=newest.volume_id,
        size_bytes=newest.size_bytes,
        epoch=0,
        legs=(
            *entries_of(newest, {superblock.leg_id: leg for leg, superblock in found}),
            *_half_removed(found, newest, judgement.settled),
        ),
        journal=journal,
        hang_timeout_seconds=hang_seconds,
        hold_timeout_seconds=hold_seconds,
        recorded_position=newest.position,
        clean_epoch=newest.epoch,
        descriptor=descriptor,
    )


def _half_removed(
    found: Sequence[tuple[Leg, Superblock]], newest: Superblock, settled: Settled
) -> tuple[LegEntry, ...]:
    """Legs that are here, and that the newest superblock leaves out by a removal of which nobody
    knows whether it has ended. Somebody may have gone on with them: only with them nothing newer
    can be anywhere else, and they are taken in again. One whose removal has ended is left alone.
    """
    named = {member.id for member in newest.members}
    return tuple(
        LegEntry(
            superblock.leg_number,
            superblock.leg_id,
            leg.url,
            LegState.STALE,
            "its removal was interrupted",
            container_bytes=leg.container_bytes,
        )
        for leg, superblock in found
        if superblock.leg_id in settled.in_sync and superblock.leg_id not in named
    )
