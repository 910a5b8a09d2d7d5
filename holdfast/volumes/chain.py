"""What a path stands on: the managed volumes below it, through loop devices, mounts and legs.

Owns the rule that a volume is never below itself (DESIGN.md section 8, 7): a write to such a
volume would wait for itself. Resolving a path asks its file system: call from an expendable child.
"""

from __future__ import annotations

import os
from pathlib import Path

from holdfast.config import Settings
from holdfast.containers import open_container
from holdfast.errors import NoSuchVolume, OwnLeg, StorageFailed
from holdfast.gate.configuration import load_configuration
from holdfast.system.loop import loop_devices
from holdfast.system.mounts import is_under, mount_holding
from holdfast.volumes.stack import volume_of_device_file

_CLASS_BLOCK = Path("/sys/class/block")
_GATE_TYPE = "fuse.holdfast"
"""How the mount table names every gate's device file (see system/fuse.py)."""


def volumes_below(settings: Settings, path: str) -> list[str]:
    """Names of the managed volumes that this folder, file or device stands on, nearest first.

    Follows mounts to their devices, loop devices to their files, device mapper and RAID to their
    members, partitions to their disks, and gates to their legs. Blocks as the storage does.
    """
    found: list[str] = []
    seen: set[str] = set()
    waiting = [os.path.realpath(path)]
    while waiting:
        current = waiting.pop(0)
        if current in seen:
            continue
        seen.add(current)
        volume = volume_of_device_file(settings, current)
        if volume is not None:
            if volume not in found:
                found.append(volume)
                waiting.extend(_legs(settings, volume))
        elif current.startswith("/dev/") and (_CLASS_BLOCK / Path(current).name).exists():
            waiting.extend(_below_device(current))
        else:
            mount = mount_holding(current)
            if mount is not None and mount.filesystem == _GATE_TYPE:
                found.append(Path(mount.path).parent.name)  # of another HOLDFAST_HOME
            elif mount is not None and mount.source.startswith("/"):
                waiting.append(os.path.realpath(mount.source))
    return found


def file_systems_below(path: str) -> set[str]:
    """MAJOR:MINOR of every file system that this path stands on, down to the hardware.

    Through mounts, loop devices and their images, device mapper and RAID. Blocks as storage does.
    """
    found: set[str] = set()
    seen: set[str] = set()
    waiting = [os.path.realpath(path)]
    while waiting:
        current = waiting.pop()
        if current in seen:
            continue
        seen.add(current)
        if current.startswith("/dev/") and (_CLASS_BLOCK / Path(current).name).exists():
            waiting.extend(os.path.realpath(each) for each in _below_device(current))
            continue
        mount = mount_holding(current)
        if mount is not None:
            found.add(mount.device_number)
            if mount.source.startswith("/"):
                waiting.append(os.path.realpath(mount.source))
    return found


def check_not_own_leg(settings: Settings, name: str, mount_path: str, url: str) -> None:
    """Raise OwnLeg when the container lies on the volume itself or on one that stands on it."""
    place = open_container(url).lies_on()
    if mount_path and is_under(place, os.path.realpath(mount_path)):
        raise OwnLeg(
            f"{url} lies under {mount_path}, where {name} itself is mounted",
            "Use storage outside the volume.",
        )
    below = volumes_below(settings, place)
    if name in below:
        way = " → ".join(below[: below.index(name) + 1])
        raise OwnLeg(
            f"{url} stands on {way}: {name} would be a leg of itself",
            "Use storage that does not stand on this volume.",
        )


def check_state_directory(settings: Settings, name: str, mount_path: str) -> None:
    """Raise OwnLeg when catalog and journals would lie on a managed volume."""
    for folder in (settings.state_directory, settings.run_directory):
        place = os.path.realpath(folder)
        below = volumes_below(settings, place)
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


def _below_device(device: str) -> list[str]:
    folder = _CLASS_BLOCK / Path(device).name
    below = [loop.backing_file for loop in loop_devices() if loop.device == device]
    slaves = folder / "slaves"
    if slaves.is_dir():
        below.extend(f"/dev/{slave.name}" for slave in slaves.iterdir())
    if (folder / "partition").exists():
        below.append(f"/dev/{folder.resolve().parent.name}")
    return below


def _legs(settings: Settings, volume: str) -> list[str]:
    try:
        configuration = load_configuration(settings.gate_state_directory(volume))
    except (NoSuchVolume, StorageFailed):
        return []
    urls = [leg.url for leg in configuration.legs] + list(configuration.spare_urls)
    return [open_container(url).lies_on() for url in urls]
