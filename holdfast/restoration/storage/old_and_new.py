"""The old and the new storage of a restoration: made ready to be mounted, and released again.

Invariant: the old storage is not changed, only released. Must never mount: the steps do, in every
namespace.
"""

from __future__ import annotations

from contextlib import suppress

from holdfast.adopted.nameless_image import kept_device
from holdfast.adopted.source import mountable_source
from holdfast.config import Settings
from holdfast.containers import image_behind
from holdfast.errors import HoldfastError, NoSuchVolume, StorageFailed
from holdfast.gate.members.configuration import load_configuration
from holdfast.gate.outside.launch import START_SECONDS
from holdfast.model.volume import Volume
from holdfast.restoration.storage.directory import NEW_GATE, OLD_GATE, directory_of
from holdfast.system.files.durable import sync_directory
from holdfast.system.storage.loop import detach_loop, detaches_by_itself, loop_devices_of
from holdfast.volumes.detach import detach_volume
from holdfast.volumes.stack.bring_up import bring_up as bring_up_gate


def containers_of(volume: Volume) -> tuple[str, ...]:
    """Every container that has the volume's contents."""
    return (volume.adoption.source,) if volume.adoption else volume.leg_urls


def bring_up(settings: Settings, volume: Volume, seconds: float = START_SECONDS) -> tuple[str, str]:
    """Make it ready: what can be mounted then, and which options that needs. Idempotent.

    Whatever is below the mount: a gate with its device, a loop device. `seconds`: how long a gate
    may take to start. Raises HoldfastError.
    """
    if volume.adoption is not None:
        return mountable_source(volume.mount, volume.adoption)
    return bring_up_gate(settings, volume.name, seconds=seconds), ""


def take_down(settings: Settings, volume: Volume) -> None:
    """Release the storage of a volume that is mounted nowhere; durable. Idempotent."""
    if volume.adoption is None:
        detach_volume(settings, volume)
        return
    path = image_behind(volume.adoption.source)
    if path:
        kept = kept_device(path, volume.adoption.points)  # the only way to an image without a name
        for loop in loop_devices_of(path):
            if detaches_by_itself(loop.device) or loop.device == kept:
                continue
            with suppress(HoldfastError):  # somebody else looks at it: it is freed with them
                detach_loop(loop)


def exchange_gates(settings: Settings, identifier: str, old: Volume, new: Volume) -> None:
    """Let the state of the old gate leave its place, and that of the new one, which was prepared,
    take it; either may have none. Idempotent."""
    if old.is_adopted and new.is_adopted:
        return
    place = settings.gate_state_directory(new.name)
    folder = directory_of(settings, identifier)
    prepared, kept = folder / NEW_GATE, folder / OLD_GATE
    leaves = not old.is_adopted and (new.is_adopted or prepared.exists())
    if leaves and place.exists() and not kept.exists():
        place.rename(kept)
    if prepared.exists():
        prepared.rename(place)
    sync_directory(folder)
    sync_directory(place.parent)


def put_old_gate_back(settings: Settings, identifier: str, old: Volume, new: Volume) -> None:
    """Let the state of the old gate, if there was one, take its place again; that of the new one
    leaves it. Idempotent, once the new one was prepared."""
    place = settings.gate_state_directory(new.name)
    folder = directory_of(settings, identifier)
    prepared, kept = folder / NEW_GATE, folder / OLD_GATE
    is_first = old.is_adopted and not new.is_adopted and not prepared.exists()
    if place.exists() and (kept.exists() or is_first):
        if prepared.exists():
            raise StorageFailed(f"{place} and {prepared} both exist", f"Look at {folder}.")
        place.rename(prepared)
    elif not kept.exists():
        return
    if kept.exists():
        kept.rename(place)
    sync_directory(folder)
    sync_directory(place.parent)


def has_gate_in_place(settings: Settings, volume: Volume) -> bool:
    """Whether the gate's state of this volume, not of another one of its name, is in place."""
    if volume.is_adopted:
        return False
    try:
        found = load_configuration(settings.gate_state_directory(volume.name))
    except NoSuchVolume:  # killed between two renames: none is in place
        return False
    return found.volume_id == volume.id
