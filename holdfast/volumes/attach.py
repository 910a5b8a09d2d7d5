"""Attaching a volume: its gate, loop device and mount, exactly as they were recorded.

Invariant: the file system that gets mounted is the recorded one (its UUID says so), with the
recorded options, at the recorded path. What a crash left half done is cleaned up first; what an
error leaves half done is taken back.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

from holdfast.config import Settings
from holdfast.containers import open_container
from holdfast.errors import (
    AlreadyExists,
    HoldfastError,
    InUse,
    InvalidOption,
    NoSuchVolume,
    StaleLeg,
    StorageFailed,
    Untrusted,
)
from holdfast.gate.members.configuration import (
    HISTORY,
    GateConfiguration,
    load_configuration,
    save_configuration,
)
from holdfast.gate.members.provision import rediscover
from holdfast.gate.outside.launch import gate_is_running
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import MountProperties, Volume
from holdfast.mountpoints.mounting import mount_at_path
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts.mount_table import Mount, mount_at
from holdfast.system.storage.filesystem import identify
from holdfast.volumes.checks.foundation import check_state_directory
from holdfast.volumes.descriptor import describe, volume_of, with_configuration
from holdfast.volumes.recover import clean_volume
from holdfast.volumes.stack.bring_up import bring_up
from holdfast.volumes.stack.examine import examine_stack
from holdfast.volumes.stack.take_down import dismount_stack
from holdfast.volumes.undo import Undo

_REDISCOVER_SECONDS = 60.0


def attach_volume(
    settings: Settings,
    volume: Volume,
    *,
    force: bool = False,
    reporter: Reporter = SILENT,
) -> Volume:
    """Bring the volume up and return it with what its gate knows better (size, legs).

    Idempotent: continues where a crash or an earlier attempt stopped. `force` accepts a source
    that cannot be proven to be the newest. Raises NoSource, InUse, AlreadyExists, StaleLeg, and
    whatever starting and mounting raise; what this call began is taken back then.
    """
    name = volume.name
    reporter.say("look for what is left of it")
    clean_volume(settings, name)
    configuration = _configuration(settings, volume, reporter)
    mounted = examine_stack(settings, name).mount_of(volume.mount.path)
    if mounted is not None:
        _check_writable(volume, mounted)
        return replace(with_configuration(volume, configuration), attached=True)
    _check_mount_path(settings, volume)
    with Undo() as undo:
        if not gate_is_running(settings.gate_run_directory(name)):
            _check_legs_unused(configuration)
        device = bring_up(settings, name, force=force, undo=undo, reporter=reporter)
        configuration = load_configuration(settings.gate_state_directory(name))
        _check_identity(volume, device)
        reporter.say("mount")
        undo.add("unmount", lambda: dismount_stack(settings, name))
        _mount(volume, device)
    return replace(with_configuration(volume, configuration), attached=True)


def rebuild_volume(
    settings: Settings,
    name: str,
    leg_urls: Sequence[str],
    mounted: Callable[[Volume, bool], MountProperties] | None = None,
) -> Volume:
    """The volume that the superblocks of these legs describe, when the catalog is lost.

    `mounted` says where and how it is to be mounted: it gets what is described, and whether this
    host recorded that itself (gate.json); superblocks say what the writer of the image wanted, and
    without `mounted` they are believed. Saves the gate's state, so that `attach_volume` finds it;
    changes nothing else. Raises NoSuchVolume when they carry none or another name's superblocks,
    and as `rediscover` and `mounted` do.
    """
    state_directory = settings.gate_state_directory(name)
    configuration = in_expendable_child(
        lambda: rediscover(leg_urls), _REDISCOVER_SECONDS, ", ".join(leg_urls)
    )
    if configuration.name != name:
        raise NoSuchVolume(
            f"these are legs of the volume {configuration.name}, not of {name}",
            f"holdfast volume attach {configuration.name} --leg …",
        )
    saved = _saved_configuration(settings, name)
    ours = saved is not None and saved.volume_id == configuration.volume_id
    if saved is not None and ours:
        configuration = replace(configuration, descriptor=saved.descriptor)
    volume = volume_of(configuration)
    if mounted is not None:
        volume = replace(volume, mount=mounted(volume, ours))
        kept = {name: value for name, value in configuration.descriptor.items() if name == HISTORY}
        configuration = replace(configuration, descriptor=describe(volume) | kept)
    if saved is None:
        state_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        save_configuration(state_directory, configuration)
    return volume


def _saved_configuration(settings: Settings, name: str) -> GateConfiguration | None:
    """gate.json, or None when it is not there or not readable."""
    try:
        return load_configuration(settings.gate_state_directory(name))
    except (NoSuchVolume, StorageFailed):
        return None


def _configuration(settings: Settings, volume: Volume, reporter: Reporter) -> GateConfiguration:
    """The gate's own state, or what the superblocks of the known legs say."""
    state_directory = settings.gate_state_directory(volume.name)
    configuration = _saved_configuration(settings, volume.name)
    if configuration is None:
        reporter.say("read the superblocks")
        rebuild_volume(settings, volume.name, volume.leg_urls, lambda *_: volume.mount)
        configuration = load_configuration(state_directory)
    if configuration.volume_id != volume.id:
        raise StaleLeg(
            f"the gate's state in {state_directory} is of another volume named {volume.name}",
            "Move it away; the superblocks of the legs say what is needed.",
        )
    return configuration


def _check_writable(volume: Volume, mounted: Mount) -> None:
    """A file system that met an I/O error refuses writes until it is mounted anew."""
    if mounted.read_only and "ro" not in volume.mount.options.split(","):
        raise StorageFailed(
            f"{mounted.path} is mounted, and turned read-only after an I/O error",
            f"holdfast volume detach {volume.name}, then attach it again.",
        )


def _check_mount_path(settings: Settings, volume: Volume) -> None:
    path = volume.mount.path
    occupant = mount_at(path)
    if occupant is not None:
        raise AlreadyExists(f"{occupant.source} is mounted at {path}", f"umount {path}")
    in_expendable_child(
        lambda: check_state_directory(settings, volume.name, path),
        doing=str(settings.state_directory),
    )


def _check_legs_unused(configuration: GateConfiguration) -> None:
    """Refuse a leg that someone mounted by hand, or may have: it would change below the gate."""
    for leg in configuration.legs:
        container = open_container(leg.url)
        try:
            in_expendable_child(container.check_unused, doing=leg.url)
        except (InUse, Untrusted):
            raise
        except HoldfastError:
            continue  # it is away: the gate decides what can be done without it


def _check_identity(volume: Volume, device: str) -> None:
    recorded = volume.mount
    found = identify(device)
    if found is None or (recorded.uuid and found.uuid != recorded.uuid):
        has = f"{found.type} with UUID {found.uuid}" if found else "no file system"
        raise StorageFailed(
            f"{volume.name} holds {has}; recorded is {recorded.filesystem} with UUID"
            f" {recorded.uuid}",
            "Somebody wrote to a leg: look at it by itself (mount -o loop,ro).",
        )


def _mount(volume: Volume, device: str) -> None:
    recorded = volume.mount
    path = Path(recorded.path)

    def make_directory() -> None:
        if not path.is_dir():
            path.mkdir(recorded.mode, parents=True)

    try:
        in_expendable_child(make_directory, doing=recorded.path)
    except OSError as error:
        raise InvalidOption(
            f"{path} cannot be made: {error.strerror}", "Make it, then attach again."
        ) from error
    mount_at_path(device, recorded.path, recorded.filesystem, recorded.options)
