"""Deleting a volume: detached first, then every leg forgets it.

Must never delete a container that is not this volume's, nor touch the directory it was mounted at.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from functools import partial

from holdfast.config import Settings
from holdfast.containers import Container, open_container
from holdfast.errors import (
    ContainerFailed,
    ForeignLeg,
    GateGone,
    HoldfastError,
    InUse,
    NoSuchVolume,
    Refused,
    StorageFailed,
)
from holdfast.gate.members.configuration import HISTORY, load_configuration
from holdfast.gate.members.superblock import erase_superblocks, find_superblock, search_superblock
from holdfast.gate.outside.client import GateClient
from holdfast.model.reporter import SILENT, Reporter
from holdfast.model.volume import LegState, Volume
from holdfast.mountpoints.busy import users_in_words
from holdfast.mountpoints.capture import capture_device
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.mounts.users import users_of_device
from holdfast.volumes.detach import detach_volume
from holdfast.volumes.stack.examine import examine_stack
from holdfast.volumes.stack.take_down import abandon_gate

_SEARCH_SECONDS = 3.0
"""How long to look for the tail of a container that was enlarged."""


def delete_volume(
    settings: Settings,
    volume: Volume,
    *,
    keep_images: bool = False,
    reporter: Reporter = SILENT,
) -> list[str]:
    """Detach the volume and erase its superblocks; delete its images unless they are to be kept.

    Block devices, and images that are kept, stay readable: they hold a plain file system. Returns
    one sentence per container that could not be cleaned, and for a history, which stays.
    Idempotent. Raises as detaching does.
    """
    _give_up_lost_storage(settings, volume, reporter)
    detach_volume(settings, volume, reporter, may_end=True)
    state_directory = settings.gate_state_directory(volume.name)
    left = []
    for url in _urls(settings, volume):
        reporter.say(f"erase {url}")
        try:
            erase = partial(erase_leg, url, volume.id, remove_image=not keep_images)
            in_expendable_child(erase, doing=url)
        except (HoldfastError, OSError) as error:
            left.append(f"{url} was left as it is: {error}")
    left += _history(settings, volume)
    shutil.rmtree(settings.gate_run_directory(volume.name), ignore_errors=True)
    shutil.rmtree(state_directory, ignore_errors=True)
    return left


def _history(settings: Settings, volume: Volume) -> list[str]:
    """Of where writes were kept: it has the volume's data, and may be what somebody needs yet."""
    with suppress(NoSuchVolume, StorageFailed):
        place = load_configuration(settings.gate_state_directory(volume.name)).descriptor.get(
            HISTORY
        )
        if isinstance(place, dict):
            return [
                f"its history stays in {place.get('directory')}: remove it when nobody needs it"
            ]
    return []


def _give_up_lost_storage(settings: Settings, volume: Volume, reporter: Reporter) -> None:
    """End a hold for lost storage: waiting for it makes no sense when the data is to go.

    Raises InUse while processes use the volume. An administrator's hold is left alone, and refused
    by detaching.
    """
    try:
        shown = GateClient(settings.gate_run_directory(volume.name)).show()
    except GateGone:
        return
    states = {LegState(leg["state"]) for leg in shown["legs"]}
    if not shown["held"] or shown["hold_expired"] or LegState.IN_SYNC in states:
        return
    for mount in examine_stack(settings, volume.name).mounts:
        if users_of_device(mount.device_number):
            raise InUse(
                f"{volume.name} is in use: {users_in_words(capture_device(mount.device_number))}",
                "Let them finish or stop them, then try again.",
            )
    reporter.say("give up its lost storage")
    abandon_gate(settings, volume.name, (shown["keeper_pid"], shown["worker_pid"]))


def _urls(settings: Settings, volume: Volume) -> list[str]:
    """Every container that the catalog or the gate knows."""
    urls = [*volume.leg_urls, *volume.spare_urls]
    try:
        configuration = load_configuration(settings.gate_state_directory(volume.name))
    except (NoSuchVolume, StorageFailed):
        return urls
    urls += [leg.url for leg in configuration.legs] + list(configuration.spare_urls)
    return list(dict.fromkeys(urls))


def erase_leg(url: str, volume_id: str, *, remove_image: bool) -> None:
    """Erase the superblocks of a leg of this volume and, when asked to, delete its image.

    Call it in an expendable child. The file system on it stays readable when it is kept.
    Idempotent: does nothing to a container that is not there. An image without our superblock is
    deleted only when it is empty: creating the volume was interrupted then. Raises ForeignLeg for
    another volume's leg, ContainerFailed.
    """
    container = open_container(url)
    if not container.exists():
        return
    try:
        back_end = container.open()
        try:
            container_bytes = back_end.size_bytes()
            found = find_superblock(back_end, [container_bytes]) or search_superblock(
                back_end, container_bytes, _SEARCH_SECONDS
            )
            superblock, container_bytes = found or (None, container_bytes)
            if superblock is not None and superblock.volume_id != volume_id:
                raise ForeignLeg(
                    f"{url} is a leg of the volume with id {superblock.volume_id}", "It was kept."
                )
            if superblock is not None:
                erase_superblocks(back_end, container_bytes)
        finally:
            back_end.close()
    except OSError as error:
        raise ContainerFailed(
            f"{url} cannot be erased: {error.strerror}",
            "It still carries the volume's superblock: wipe it when the storage is back.",
        ) from error
    if remove_image and (superblock is not None or _is_empty(container)):
        container.remove()


def _is_empty(container: Container) -> bool:
    try:
        container.check_free(0)
    except Refused:
        return False
    return True
