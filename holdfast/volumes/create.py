"""Making a volume: container → gate → loop device → file system → mount.

Invariant: everything is checked before anything is changed, and after an error nothing is left:
no image that was not there before, no gate, no device, no directory.
"""

from __future__ import annotations

import shutil
import uuid
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from holdfast.config import Settings
from holdfast.containers import image_behind, image_url, open_container, parse_container_url
from holdfast.errors import (
    AlreadyExists,
    CommandFailed,
    NoSuchContainer,
    StorageFailed,
    TooSmall,
)
from holdfast.gate.members.configuration import FILE_NAME, GateConfiguration, LegEntry
from holdfast.gate.members.provision import provision
from holdfast.gate.outside.client import GateClient
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.size import format_size
from holdfast.model.volume import MountProperties, Volume
from holdfast.mountpoints.mounting import give_root, mount_at_path
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts.mount_table import fstab_line
from holdfast.system.storage.filesystem import fitting_label, make_filesystem
from holdfast.volumes.checks.new_volume import (
    ContainerPlace,
    MountPlace,
    check_containers,
    check_mount_place,
    check_values,
)
from holdfast.volumes.descriptor import describe
from holdfast.volumes.stack.bring_up import bring_up
from holdfast.volumes.stack.take_down import dismount_stack
from holdfast.volumes.undo import Undo

IMAGE_DIRECTORY = "images"
"""In the state directory: where a volume without --leg keeps its image."""

_MOUNT_SECONDS = 120.0


def create_volume(
    settings: Settings,
    volume: Volume,
    others: Sequence[Volume] = (),
    reporter: Reporter = SILENT,
) -> Volume:
    """Make the volume, mount it, and return it with everything that was found out.

    `others` are the volumes in the catalog. Takes seconds; durable when it returns. Raises BadInput
    or Refused with nothing changed, anything else with everything undone.
    """
    volume = _completed(settings, volume)
    reporter.say("check")
    check_values(volume)
    place = check_mount_place(settings, volume, others)
    state_directory = settings.gate_state_directory(volume.name)
    if (state_directory / FILE_NAME).exists():
        raise AlreadyExists(
            f"a volume named {volume.name} has left its state in {state_directory}",
            f"Attach it (holdfast volume attach {volume.name}), or use another name.",
        )
    _make_image_directory(settings, volume)
    containers = check_containers(settings, volume, place.path, others)
    volume = replace(volume, mount=replace(volume.mount, path=place.path))
    with Undo() as undo:
        return _build(settings, volume, place, containers, undo, reporter)


def configuration_of(volume: Volume) -> GateConfiguration:
    """What the gate of a new volume starts from: epoch 1, all legs in sync."""
    legs = tuple(
        LegEntry(number, str(uuid.uuid4()), url) for number, url in enumerate(volume.leg_urls, 1)
    )
    return GateConfiguration(
        name=volume.name,
        volume_id=volume.id,
        size_bytes=volume.size_bytes,
        epoch=1,
        legs=legs,
        spare_urls=volume.spare_urls,
        journal=volume.journal,
        hang_timeout_seconds=volume.hang_timeout_seconds,
        hold_timeout_seconds=volume.hold_timeout_seconds,
        descriptor=describe(volume),
    )


def _completed(settings: Settings, volume: Volume) -> Volume:
    """Defaults filled in: identity, label, one image in the state directory."""
    legs = volume.leg_urls
    if not legs:
        image = settings.state_directory.absolute() / IMAGE_DIRECTORY / f"{volume.name}.img"
        legs = (image_url(image),)
    mount_properties = replace(
        volume.mount,
        uuid=volume.mount.uuid or str(uuid.uuid4()),
        label=fitting_label(volume.mount.filesystem, volume.mount.label or volume.name),
    )
    return replace(
        volume,
        id=volume.id or str(uuid.uuid4()),
        kind=volume.kind or "gated",
        leg_urls=tuple(str(parse_container_url(url)) for url in legs),
        spare_urls=tuple(str(parse_container_url(url)) for url in volume.spare_urls),
        mount=mount_properties,
        attached=True,
    )


def _make_image_directory(settings: Settings, volume: Volume) -> None:
    """Folders inside the state directory are ours to make; all others must exist."""
    ours = settings.state_directory.absolute()
    for url in (*volume.leg_urls, *volume.spare_urls):
        image = image_behind(url)
        folder = Path(image).parent
        if image and folder.is_relative_to(ours):
            try:
                folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            except OSError as error:
                raise NoSuchContainer(f"{folder} cannot be made: {error.strerror}") from error


def _build(
    settings: Settings,
    volume: Volume,
    place: MountPlace,
    containers: Sequence[ContainerPlace],
    undo: Undo,
    reporter: Reporter,
) -> Volume:
    name = volume.name
    state_directory = settings.gate_state_directory(name)
    run_directory = settings.gate_run_directory(name)

    reporter.say("prepare the legs")
    for container in containers:
        undo.add(f"clear {container.url}", _give_back(container))
    undo.add("forget the gate", lambda: _remove_directories(state_directory, run_directory))
    state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Nobody uses it yet: what fails while it is made fails at once, instead of being held.
    impatient = replace(configuration_of(volume), hold_timeout_seconds=0.0)
    provision(state_directory, impatient, create=True)

    device = bring_up(settings, name, undo=undo, reporter=reporter)

    reporter.say(f"make the {volume.mount.filesystem} file system")
    properties = volume.mount
    gate = GateClient(run_directory)
    try:
        make_filesystem(properties.filesystem, device, properties.label, properties.uuid)
    except CommandFailed as error:
        _explain(gate, volume, error)
        raise

    reporter.say("mount")
    if not place.exists:
        undo.add("remove the mount directory", _remover(_missing_part(place.path)))
        Path(place.path).mkdir(parents=True)
    undo.add("unmount", lambda: dismount_stack(settings, name))
    try:
        mount_at_path(device, place.path, properties.filesystem, properties.options)
        settled = _settled(device, properties, place)
    except (CommandFailed, OSError) as error:
        _explain(gate, volume, error)
        raise
    gate.configure(hold_timeout_seconds=volume.hold_timeout_seconds)
    return replace(volume, mount=settled)


def _explain(gate: GateClient, volume: Volume, error: Exception) -> None:
    """Raise what is behind a failure, where the gate knows: its storage went, or was full.

    It may be there again by now: whatever still found room afterwards has ended that hold.
    """
    reason = str(gate.show()["last_hold_reason"])
    if not reason:
        return
    if "no space left" in reason:
        raise TooSmall(
            f"{reason}: not even for the structures of an empty {format_size(volume.size_bytes)}",
            "Make room there, use larger storage, or make a smaller volume. Nothing was kept.",
        ) from error
    raise StorageFailed(
        f"{reason} while the volume was made", "See to that storage. Nothing is left."
    ) from error


def _settled(device: str, properties: MountProperties, place: MountPlace) -> MountProperties:
    """Give the new root the owner and mode of the directory it covers; record them."""
    owner = place.owner_uid, place.owner_gid
    adopt = partial(give_root, place.path, device, owner, place.mode)
    in_expendable_child(adopt, _MOUNT_SECONDS, place.path)
    return replace(
        properties,
        owner_uid=place.owner_uid,
        owner_gid=place.owner_gid,
        mode=place.mode,
        fstab=fstab_line(place.path),
    )


def _give_back(container: ContainerPlace) -> Callable[[], None]:
    """Delete what was not there before, and empty again what was there, empty."""

    def act() -> None:
        if container.exists:
            in_expendable_child(open_container(container.url).erase, doing=container.url)
        else:
            in_expendable_child(open_container(container.url).remove, doing=container.url)

    return act


def _remove_directories(*directories: Path) -> None:
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


def _missing_part(path: str) -> tuple[Path, Path]:
    """(the path, its nearest ancestor that exists)."""
    existing = Path(path)
    while not existing.exists():
        existing = existing.parent
    return Path(path), existing


def _remover(part: tuple[Path, Path]) -> Callable[[], None]:
    path, existing = part

    def act() -> None:
        current = path
        while current != existing:
            if current.exists():
                current.rmdir()
            current = current.parent

    return act
