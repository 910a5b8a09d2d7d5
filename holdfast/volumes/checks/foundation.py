"""What a path stands on, all the way down: managed volumes and file systems.

Owns the rule that a volume is never below itself: a write to such a
volume would wait for itself. The walk is `system.storage.standing`'s; the gates' legs are ours.
Resolving a path asks its file system: call from an expendable child.
"""

from __future__ import annotations

import os
from dataclasses import field

from holdfast.config import Settings
from holdfast.containers import open_container
from holdfast.errors import NoSuchVolume, OwnLeg, StorageFailed
from holdfast.gate.members.configuration import load_configuration
from holdfast.late_dataclass import dataclass
from holdfast.system.mounts.mount_table import is_under, mounts
from holdfast.system.storage.standing import parts_below
from holdfast.volumes.gate_device import gate_device

JOURNAL_DIRECTORY = "journal"
"""In the gate's state directory (see gate/data/mirror.py)."""


@dataclass
class Foundation:
    """Everything that a place stands on, directly or through others."""

    volumes: list[str] = field(default_factory=list)
    """Names of managed volumes, nearest first."""
    file_systems: set[str] = field(default_factory=set)
    """MAJOR:MINOR, down to the hardware."""


def foundation_of(settings: Settings, path: str, *, swap: bool = True) -> Foundation:
    """What this folder, file or device stands on: through mounts, overlays, devices, servers and
    gates. Blocks as the storage does. `swap` as `parts_below` has it."""
    found = Foundation()

    def known(path: str) -> list[str] | None:
        gate = gate_device().gate_behind(settings, path)
        if gate is None:
            return None
        found.volumes += [gate.volume] if gate.volume not in found.volumes else []
        return _legs(settings, gate.volume) if gate.is_ours else None

    parts = parts_below([path], may_block=True, swap=swap, known=known)
    found.file_systems.update(part.mount.device_number for part in parts if part.mount is not None)
    return found


def file_systems_below(settings: Settings, path: str, *, swap: bool = True) -> set[str]:
    """MAJOR:MINOR of every file system that this path stands on, down to the hardware. `swap` as
    `parts_below` has it."""
    return foundation_of(settings, path, swap=swap).file_systems


def stands_on(settings: Settings, name: str, mount_path: str, place: str) -> str:
    """How this place stands on the volume of that name or on what is mounted there, in words.

    Empty: it does not. The mount path is compared with the mount table and never looked at: it may
    hang. Blocks as the storage of `place` does.
    """
    if mount_path and is_under(place, mount_path):
        return f"lies under {mount_path}, where {name} itself is mounted"
    below = foundation_of(settings, place)
    if name in below.volumes:
        way = " → ".join(below.volumes[: below.volumes.index(name) + 1])
        return f"stands on {way}: {name} would be below itself"
    own = {mount.device_number for mount in mounts() if mount_path and mount.path == mount_path}
    if not own.isdisjoint(below.file_systems):
        return f"stands on the file system at {mount_path}: {name} would be below itself"
    return ""


def check_not_own_leg(settings: Settings, name: str, mount_path: str, url: str) -> None:
    """Raise OwnLeg when the container lies on the volume itself or on one that stands on it."""
    words = stands_on(settings, name, mount_path, open_container(url).lies_on())
    if words:
        raise OwnLeg(f"{url} {words}", "Use storage that does not stand on this volume.")


def check_state_directory(settings: Settings, name: str, mount_path: str) -> None:
    """Raise OwnLeg when catalog and journals would lie on a managed volume."""
    journal = settings.gate_state_directory(name) / JOURNAL_DIRECTORY  # may be a link to elsewhere
    for folder in (settings.state_directory, settings.run_directory, journal):
        place = os.path.realpath(folder)
        in_memory = folder == settings.run_directory  # what is used of it is locked there
        below = foundation_of(settings, place, swap=not in_memory).volumes
        if below:
            raise OwnLeg(
                f"{folder} lies on the volume {below[0]}: its journal would wait for itself",
                "Move it with HOLDFAST_HOME to storage that Holdfast does not manage.",
            )
        if is_under(place, mount_path) or is_under(mount_path, place):
            raise OwnLeg(
                f"{mount_path} is in the way of {folder}, where Holdfast keeps its state",
                f"Mount {name} elsewhere.",
            )


def _legs(settings: Settings, volume: str) -> list[str]:
    try:
        configuration = load_configuration(settings.gate_state_directory(volume))
    except (NoSuchVolume, StorageFailed):
        return []
    urls = [leg.url for leg in configuration.legs] + list(configuration.spare_urls)
    return [open_container(url).lies_on() for url in urls]
