"""The containers that a volume moves to: made, and taken away again when they are not needed.

Invariant: `remove` takes away only what `make` made. Must never touch the volume's present storage.
"""

from __future__ import annotations

import time
from collections.abc import Collection
from dataclasses import replace
from functools import partial

from holdfast.config import Settings
from holdfast.containers import open_container, path_of
from holdfast.coordination.update_lock import forget
from holdfast.errors import InUse
from holdfast.gate.members.configuration import GateConfiguration
from holdfast.gate.members.provision import provision
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.model.volume import LegState, Volume
from holdfast.restoration.copying.sides import CopyTarget
from holdfast.restoration.storage.directory import NEW_GATE, directory_of
from holdfast.restoration.storage.old_and_new import containers_of
from holdfast.system.children.expendable import in_expendable_child
from holdfast.volumes.create import configuration_of

_CONTAINER_SECONDS = 60.0
_LET_GO_SECONDS = 10.0
_POLL_SECONDS = 0.02

_STORING = frozenset({"compress", "compress-force", "nodatacow", "nodatasum"})
"""Options of btrfs(5) that decide how what is written is stored."""


def make(settings: Settings, identifier: str, volume: Volume) -> CopyTarget:
    """Make the containers, and the state of their gate; what the copy is told. Durable. Idempotent.

    Killed anywhere, `remove` takes back what was made. Raises HoldfastError.
    """
    gated = volume.adoption is None
    urls = containers_of(volume)
    needed_bytes = container_bytes_needed(volume.size_bytes) if gated else volume.size_bytes
    for url in urls:
        create = partial(open_container(url).create, needed_bytes)
        in_expendable_child(create, _CONTAINER_SECONDS, url)
    if gated:
        _make_gate(settings, identifier, volume)
    return CopyTarget(
        path=path_of(urls[0]),
        size_bytes=volume.size_bytes if gated else 0,
        filesystem=volume.mount.filesystem,
        label=volume.mount.label,
        uuid=volume.mount.uuid,
        options=_storing_options(volume),
        sector_bytes=volume.sector_bytes,
    )


def make_in_place(settings: Settings, identifier: str, volume: Volume) -> None:
    """The same for a volume whose contents stay where they are: its first container is left alone,
    and becomes a leg later (`leg_in_place`). Durable. Idempotent. Raises HoldfastError."""
    if volume.is_adopted:
        return
    needed_bytes = container_bytes_needed(volume.size_bytes)
    for url in containers_of(volume)[1:]:
        create = partial(open_container(url).create, needed_bytes)
        in_expendable_child(create, _CONTAINER_SECONDS, url)
    _make_gate(settings, identifier, volume, later={1})


def _make_gate(
    settings: Settings, identifier: str, volume: Volume, later: Collection[int] = ()
) -> None:
    """The state of the gate that the volume gets, and its legs' superblocks but for `later`."""
    folder = directory_of(settings, identifier) / NEW_GATE
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    place = settings.gate_state_directory(volume.name)
    place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)  # the first gate of this host
    configuration = _filled_later(configuration_of(volume))
    work = partial(provision, folder, configuration, create=False, later=later)
    in_expendable_child(work, _CONTAINER_SECONDS, ", ".join(volume.leg_urls))


def remove(urls: Collection[str], existed: Collection[str]) -> str:
    """Take back `make` of these containers: delete images that were made, empty those that
    `existed` before.

    What was done, in words. Idempotent. Raises HoldfastError, OSError.
    """
    words = []
    for url in urls:
        work = partial(_remove, url, existed=url in existed)
        words.append(in_expendable_child(work, _CONTAINER_SECONDS, url))
    return "; ".join(words)


def _remove(url: str, *, existed: bool) -> str:
    container = open_container(url)
    if not container.exists():
        return f"{url} was not made"
    if existed:
        container.erase()
        return f"{url} is empty again"
    deadline = time.monotonic() + _LET_GO_SECONDS
    while True:
        try:
            container.check_unused()
            break
        except InUse:  # the process that copied is just ending, and its loop device with it
            if time.monotonic() > deadline:
                raise
            time.sleep(_POLL_SECONDS)
    container.remove()
    forget(url)
    return f"{url} was deleted again"


def _filled_later(configuration: GateConfiguration) -> GateConfiguration:
    """Files are copied to the first leg; the gate brings the others up to date when it runs."""
    first, *others = configuration.legs
    waiting = (replace(leg, state=LegState.RESYNCING) for leg in others)
    return replace(configuration, legs=(first, *waiting))


def _storing_options(volume: Volume) -> str:
    options = volume.adoption.super_options if volume.adoption else volume.mount.options
    if volume.mount.filesystem != "btrfs":
        return ""
    return ",".join(word for word in options.split(",") if word.partition("=")[0] in _STORING)
