"""A volume's properties in the superblocks of its legs, so that it is found without a catalog."""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import Any

from holdfast.errors import NoSource
from holdfast.gate.members.configuration import GateConfiguration
from holdfast.model.bounded import typed
from holdfast.model.volume import (
    FILE_SYSTEMS,
    GATED,
    JournalMode,
    MountProperties,
    Volume,
    check_name,
)


def describe(volume: Volume) -> dict[str, Any]:
    """What the superblocks shall repeat: JSON values, small (a slot has 16 KiB)."""
    mount = asdict(volume.mount)
    del mount["fstab"]  # of this host, not of the volume
    return {
        "name": volume.name,
        "kind": volume.kind,
        "mount": mount,
        "sector_bytes": volume.sector_bytes,
        "journal": str(volume.journal),
        "hang_timeout_seconds": volume.hang_timeout_seconds,
        "hold_timeout_seconds": volume.hold_timeout_seconds,
    }


def volume_of(configuration: GateConfiguration) -> Volume:
    """The volume that a gate's configuration describes. Raises NoSource on another shape."""
    try:
        mount = typed(MountProperties, configuration.descriptor.get("mount"))
        if mount.filesystem not in FILE_SYSTEMS or configuration.descriptor.get("kind") != GATED:
            raise ValueError("it is no volume of a kind that this version makes")
        name = check_name(configuration.name)
    except ValueError as error:
        raise NoSource(
            f"the superblocks of {configuration.name} do not say how it was mounted",
            "It was written by another version of Holdfast: mount a leg by itself (mount -o loop).",
        ) from error
    return Volume(
        name=name,
        id=configuration.volume_id,
        kind=GATED,
        size_bytes=configuration.size_bytes,
        sector_bytes=configuration.sector_bytes,
        mount=mount,
        leg_urls=tuple(leg.url for leg in configuration.legs),
        spare_urls=configuration.spare_urls,
        journal=JournalMode.NONE
        if configuration.journal is JournalMode.NONE
        else JournalMode.UNFLUSHED,
        hold_timeout_seconds=configuration.hold_timeout_seconds,
        hang_timeout_seconds=configuration.hang_timeout_seconds,
    )


def with_configuration(volume: Volume, configuration: GateConfiguration) -> Volume:
    """The volume with what its gate knows better: size, legs and spares."""
    return replace(
        volume,
        size_bytes=configuration.size_bytes,
        sector_bytes=configuration.sector_bytes,
        leg_urls=tuple(leg.url for leg in configuration.legs),
        spare_urls=configuration.spare_urls,
    )
