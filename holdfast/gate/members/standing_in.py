"""An image takes the place of a leg of a volume whose gate does not run.

Invariant, as where a gate does it: the epoch in which every other container of a leg is out is on
the image first, then in gate.json, which decides. So whoever is killed in between has left the
volume as it was, and an image that nobody takes for a leg.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from holdfast.errors import ContainerFailed, ForeignLeg, NoSource
from holdfast.gate.members.configuration import load_configuration, save_configuration
from holdfast.gate.members.leg import open_leg
from holdfast.gate.members.next_configuration import (
    settled_in,
    superblock_of,
    with_epoch,
    with_source,
    without_absent,
)
from holdfast.model.volume import LegState


def stand_in(state_directory: Path, url: str, position: int) -> int:
    """Make a leg of an image that has the volume up to that position; the leg's number. Durable.

    It must be large enough for a leg; whoever starts the gate goes on with it alone. Blocks as
    storage does. Raises NoSource where no leg was in sync, ForeignLeg, ContainerFailed, OSError.
    """
    before = load_configuration(state_directory)
    entry = next((leg for leg in before.legs if leg.state is LegState.IN_SYNC), None)
    if entry is None:
        raise NoSource("no leg was in sync when the last one was lost", "Bring a leg back.")
    try:
        leg, found = open_leg(
            replace(entry, url=url, container_bytes=0),
            before.size_bytes,
            sector_bytes=before.sector_bytes,
        )
    except BlockingIOError as error:
        raise ContainerFailed(f"{url} is locked by another process") from error
    try:
        if found is not None and found.volume_id != before.volume_id:
            raise ForeignLeg(f"{url} is a leg of another volume", "Name a copy of this one.")
        epoch = max(before.epoch, found.epoch if found is not None else 0) + 1
        without = without_absent(with_source(before, leg), {entry.number})
        after = replace(
            with_epoch(without, epoch),
            recorded_position=position,
            clean_epoch=epoch,  # no bit tells what others lack
        )
        told = superblock_of(after, "", settled_in(before))
        leg.write_superblock(told)
        save_configuration(state_directory, after)
        leg.write_superblock(replace(told, raised_from=None))
    except OSError as error:
        raise ContainerFailed(f"{url} cannot become a leg: {error.strerror or error}") from error
    finally:
        leg.discard()
    return entry.number
