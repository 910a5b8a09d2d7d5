"""Dismounting an adopted volume that nobody uses; one with users goes through a restoration.

Invariant: its data is found by a name when it is mounted nowhere. Must never delete anything.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.adopted.adopt import MEMORY_TYPES
from holdfast.adopted.nameless_image import nameless_image
from holdfast.adopted.present import adoption_of, own_mount
from holdfast.adopted.properties import primary, properties
from holdfast.adopted.source import let_go_of_source
from holdfast.config import Settings
from holdfast.errors import HoldsData
from holdfast.model.mountpoint import MountPoint
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import MountProperties, Volume
from holdfast.mountpoints.capture import capture
from holdfast.mountpoints.dismount import dismount


def detach_adopted(settings: Settings, volume: Volume, reporter: Reporter = SILENT) -> Volume:
    """Dismount an adopted volume everywhere; the volume with its mounts as they were. Idempotent.

    Blocks while dirty pages are written. Raises InUse naming its users, with everything mounted as
    before; HoldsData for one that lives in memory.
    """
    if own_mount(volume) is None:
        return volume
    if volume.mount.filesystem in MEMORY_TYPES:
        raise HoldsData(
            f"{volume.name} is {volume.mount.filesystem}: its files would end with the dismount",
            "holdfast migrate moves them to storage.",
        )
    points = capture(volume.mount.path)
    mount, adoption = properties(points, volume.mount.path)
    recorded = adoption_of(volume)
    adoption = replace(adoption, left_gate=recorded.left_gate)
    if adoption.source == recorded.source:  # whose loop device it is cannot be seen
        adoption = replace(adoption, loop_options=recorded.loop_options)
    kept = replace(volume, mount=_merged(volume.mount, mount), adoption=adoption)
    _refuse_nameless(volume, primary(points, volume.mount.path))
    reporter.say("dismount")
    points = dismount(points, note=reporter.find)
    let_go_of_source(adoption)
    return replace(kept, adoption=replace(adoption, points=points))


def _refuse_nameless(volume: Volume, point: MountPoint) -> None:
    """What the volume lies in must be found by a name when it is mounted nowhere."""
    image = nameless_image(point)
    if image:
        raise HoldsData(
            f"the image of {volume.name} has no name any more: {image} was deleted, or replaced by"
            f" another file. Its data would end with the dismount, or with the next boot",
            f"holdfast migrate {volume.name} file:/another.img moves it while it is used.",
        )


def _merged(recorded: MountProperties, now: MountProperties) -> MountProperties:
    """What is now, with what a storage that does not answer could not say."""
    return replace(now, label=now.label or recorded.label, uuid=now.uuid or recorded.uuid)
