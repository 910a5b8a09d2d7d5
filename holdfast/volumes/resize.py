"""Growing a volume: legs and gate, block device, file system, in this order, while it is used.

Invariant: after an interruption at any point the volume works at its old or its new size, and the
same command finishes the rest. Must never shrink anything.
"""

from __future__ import annotations

from dataclasses import replace

from holdfast.config import Settings
from holdfast.errors import (
    InUse,
    InvalidSize,
    MissingRights,
    NotAttached,
    VolumeHeld,
)
from holdfast.gate.outside.client import GateClient
from holdfast.gate.outside.launch import gate_is_running
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.size import BLOCK_BYTES, MAXIMUM_VOLUME_BYTES, format_size
from holdfast.model.volume import Volume
from holdfast.mountpoints.mounting import mount_at_path
from holdfast.system.storage.filesystem import (
    can_grow_mounted,
    grow_filesystem,
    grow_unmounted_filesystem,
    kind_of,
)
from holdfast.volumes.checks.room import STRUCTURE_SHARE, check_room, room_of
from holdfast.volumes.gate_device import gate_device
from holdfast.volumes.stack.examine import Stack, examine_stack
from holdfast.volumes.stack.take_down import dismount_one


def resize_volume(
    settings: Settings, volume: Volume, size_bytes: int, reporter: Reporter = SILENT
) -> Volume:
    """Grow the attached volume and return it with its new size; durable when it returns.

    Idempotent and resumable: asking again for the size it has finishes what was interrupted.
    Raises InvalidSize for shrinking, TooSmall when a leg cannot grow (nothing was changed then),
    NotAttached, VolumeHeld, MissingRights.
    """
    name = volume.name
    run_directory = settings.gate_run_directory(name)
    stack = examine_stack(settings, name)
    if not gate_is_running(run_directory) or stack.mount_of(volume.mount.path) is None:
        raise NotAttached(f"{name} is not attached", f"holdfast volume attach {name}")
    client = GateClient(run_directory)
    shown = client.show()
    if shown["held"]:
        raise VolumeHeld(
            f"{name} is held ({shown['hold_reason']})", "Bring a leg back first, or release it."
        )
    _check_size(volume, int(shown["size_bytes"]), size_bytes)
    if size_bytes > int(shown["size_bytes"]):
        reporter.say("grow the legs")
        more_bytes = size_bytes - int(shown["size_bytes"])
        _check_room([leg["url"] for leg in shown["legs"]], more_bytes)
        client.resize(size_bytes)
    reporter.say("grow the block device")
    gate_device().resized(stack.device)
    reporter.say(f"grow the {volume.mount.filesystem} file system")
    _grow_file_system(volume, stack)
    return replace(volume, size_bytes=size_bytes)


def _check_room(urls: list[str], more_bytes: int) -> None:
    """Room for the structures of what is added: without it the growth would wait, half done."""
    for url in urls:
        room = room_of(url)
        if room is not None:
            needed_bytes = room.allocated_bytes + more_bytes // STRUCTURE_SHARE
            check_room([url], needed_bytes, "the structures of what is added")


def _check_size(volume: Volume, current_bytes: int, size_bytes: int) -> None:
    if size_bytes % BLOCK_BYTES:
        raise InvalidSize(f"{size_bytes} bytes are not a multiple of 4096", "Round it to 4K.")
    if size_bytes > MAXIMUM_VOLUME_BYTES:
        raise InvalidSize(
            f"{format_size(size_bytes)} is too large for a volume", "The largest volume has 16T."
        )
    if size_bytes < current_bytes:
        raise InvalidSize(
            f"{volume.name} has {format_size(current_bytes)} and cannot shrink to"
            f" {format_size(size_bytes)}: no file system here can shrink while it is in use",
            "Make a smaller volume and copy the files.",
        )
    kind = kind_of(volume.mount.filesystem)
    if size_bytes < kind.minimum_grown_bytes and size_bytes != current_bytes:
        raise InvalidSize(
            f"{kind.name} cannot grow to less than {kind.minimum_grown_bytes >> 20}M",
            f"Ask for {kind.minimum_grown_bytes >> 20}M or more.",
        )
    if not can_grow_mounted(kind.name) and kind.grow_unmounted is None:
        raise MissingRights(
            f"growing {kind.name} needs a capability that this process lacks",
            "Run it outside the container.",
        )


def _grow_file_system(volume: Volume, stack: Stack) -> None:
    properties = volume.mount
    if can_grow_mounted(properties.filesystem):
        grow_filesystem(properties.filesystem, stack.device, properties.path)
        return
    mounted = stack.mount_of(properties.path)
    assert mounted is not None
    try:
        dismount_one(mounted, volume.name)
    except InUse as error:
        raise MissingRights(
            f"root lacks CAP_SYS_RESOURCE here, so {properties.filesystem} grows only while it is"
            f" not mounted, and it is in use; {error.message}",
            "Container and device have grown: when it is free, or from a root that has the"
            " capability, repeat the command.",
        ) from error
    try:
        grow_unmounted_filesystem(properties.filesystem, stack.device)
    finally:
        mount_at_path(stack.device, properties.path, properties.filesystem, properties.options)
