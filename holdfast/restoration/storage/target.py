"""The containers that a volume moves to: checked, and described as the volume it will be.

Invariant: a container that holds data is refused. Changes nothing; `making` does.
"""

from __future__ import annotations

import os
import stat
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from holdfast.adopted.source import own_loop_options
from holdfast.config import Settings
from holdfast.containers import (
    device_behind,
    image_behind,
    image_url,
    open_container,
    parse_container_url,
)
from holdfast.errors import HoldfastError, InUse, InvalidOption, TooSmall
from holdfast.errors.families import about
from holdfast.gate.members.superblock import container_bytes_needed
from holdfast.late_dataclass import dataclass
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.model.size import BLOCK_BYTES, MINIMUM_VOLUME_BYTES, format_size
from holdfast.model.volume import DEFAULT_SECTOR_BYTES, Volume
from holdfast.mountpoints.options import carry_options, wanted_super_options
from holdfast.restoration.storage.old_and_new import containers_of
from holdfast.restoration.storage.other_kind import check_gate_can_be
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.storage.block import sector_bytes
from holdfast.system.storage.filesystem import fitting_label, kind_of
from holdfast.volumes.checks.foundation import check_not_own_leg
from holdfast.volumes.checks.new_volume import ContainerPlace, check_containers
from holdfast.volumes.checks.room import check_room

ROOM_SHARE = 1.1
"""A new file system needs more than the bytes in use: its own structures, and some air."""


@dataclass(frozen=True)
class NewStorage:
    """What a volume will be after the restoration."""

    volume: Volume
    existed: tuple[str, ...] = ()
    """Those containers that were there before: they are emptied, never deleted."""
    findings: tuple[Finding, ...] = ()

    @property
    def url(self) -> str:
        """The container that files are copied to."""
        return self.urls[0]

    @property
    def urls(self) -> tuple[str, ...]:
        """Every container that gets the contents."""
        return containers_of(self.volume)


def design(
    settings: Settings,
    volume: Volume,
    points: Sequence[MountPoint],
    url: str,
    filesystem: str,
    others: Sequence[Volume],
    size_bytes: int = 0,
    *,
    more_urls: Sequence[str] = (),
    spare_urls: Sequence[str] = (),
    shape: Volume | None = None,
) -> NewStorage:
    """What the volume would be on this container. Makes every check and changes nothing.

    `more_urls`: further legs of a gated volume; `spare_urls`: its spares, those it has if none.
    `shape`: the volume as the other kind, where it is to become that (see other_kind).

    Raises InvalidUrl, InvalidOption, OwnLeg, HoldsData, InUse, TooSmall, ContainerFailed, and what
    keeps a gate from being.
    """
    shape = shape or volume
    smallest_bytes = max(MINIMUM_VOLUME_BYTES, kind_of(filesystem).minimum_bytes)
    url, *further = (str(parse_container_url(each)) for each in (url, *more_urls))
    check_urls(shape, url, (*further, *spare_urls), others)
    wanted_bytes = size_bytes or max(volume.size_bytes, smallest_bytes)
    wanted_bytes = -(-wanted_bytes // BLOCK_BYTES) * BLOCK_BYTES
    draft = replace(
        shape,
        id=str(uuid.uuid4()),
        size_bytes=wanted_bytes,
        leg_urls=(url, *further),
        spare_urls=tuple(str(parse_container_url(each)) for each in spare_urls),
        mount=replace(
            shape.mount,
            filesystem=filesystem,
            uuid=str(uuid.uuid4()),
            label=fitting_label(filesystem, volume.mount.label),
        ),
    )
    places = _check(settings, draft, others)
    existed = tuple(place.url for place in places if place.exists)
    draft = _fitted(draft, existed, smallest_bytes)
    check_spares(draft, existed)
    kept: list[Finding] = []
    if not spare_urls:
        draft = replace(draft, spare_urls=shape.spare_urls)
        kept = _about_kept_spares(draft)
    if volume.is_adopted and not draft.is_adopted:
        check_gate_can_be(settings, draft)
    draft, larger = with_sectors(draft, points[-1].source, url)
    draft, dropped = with_options(draft, volume, points, url)
    return NewStorage(draft, existed, (*larger, *dropped, *kept))


def check_urls(volume: Volume, url: str, further: Sequence[str], others: Sequence[Volume]) -> None:
    """Raise InvalidOption for more than an adopted volume can have, InUse for another volume's."""
    if volume.is_adopted and further:
        raise InvalidOption(
            f"{volume.name} is an adopted volume: it lies in one container, without a gate",
            f"Name one container, and no spare; holdfast volume gate {volume.name} gives it legs.",
        )
    taken = {each: other.name for other in others for each in _urls(other)}
    for each in (url, *further):
        if each in taken:
            words = f"{each} belongs to the volume {taken[each]} already"
            with about(each):
                raise InUse(words, "Name another container.")


def _fitted(draft: Volume, existed: Sequence[str], smallest_bytes: int) -> Volume:
    """The volume, as large as the existing ones of these legs allow; its full size when all exist.
    Raises TooSmall."""
    legs_there = [each for each in draft.leg_urls if each in existed]
    if not legs_there:
        return draft
    usable_bytes = min(
        _usable_bytes(each, draft.is_adopted, smallest_bytes, draft.mount.filesystem)
        for each in legs_there
    )
    if len(legs_there) < len(draft.leg_urls):
        usable_bytes = min(usable_bytes, draft.size_bytes)
    return replace(draft, size_bytes=usable_bytes)


def check_spares(draft: Volume, existed: Sequence[str]) -> None:
    """Raise TooSmall for a spare that could not take a leg's place when that fails."""
    needed_bytes = container_bytes_needed(draft.size_bytes)
    for url in draft.spare_urls:
        if url not in existed:
            continue
        with about(url):
            own_bytes = in_expendable_child(partial(_size_of, url), doing=url)
            if own_bytes < needed_bytes:
                raise TooSmall(
                    f"the spare {url} has {own_bytes} bytes, {needed_bytes} are needed",
                    "Name a larger one, or an image that does not exist: it is made when it is"
                    " needed.",
                )


def _about_kept_spares(draft: Volume) -> list[Finding]:
    """Tell which of the spares that the volume has, and keeps, could not take a leg's place: they
    keep nobody from moving."""
    needed_bytes = container_bytes_needed(draft.size_bytes)
    found = []
    for url in draft.spare_urls:
        try:
            if not _exists(url):
                continue
            own_bytes = in_expendable_child(partial(_size_of, url), doing=url)
        except (HoldfastError, OSError) as error:
            words = f"the spare {url} cannot be examined: {error}"
        else:
            if own_bytes >= needed_bytes:
                continue
            words = f"the spare {url} has {own_bytes} bytes, {needed_bytes} will be needed"
        mend = "Name others: --spare URL; or holdfast leg add NAME URL --spare afterwards."
        meaning = "It could not take the place of a leg that fails."
        found.append(Finding(url, Verdict.LIMITED, words, meaning, mend))
    return found


def with_options(
    draft: Volume, volume: Volume, points: Sequence[MountPoint], url: str
) -> tuple[Volume, list[Finding]]:
    """The volume with the mount options that its file system can have, and what was dropped."""
    filesystem = draft.mount.filesystem
    words, dropped = carry_options(
        wanted_super_options(points), volume.mount.filesystem, filesystem
    )
    if filesystem == "ext4":
        words, more = without_projects(words)
        dropped += more
    if draft.adoption is not None:
        adoption = replace(
            draft.adoption,
            source=url,
            super_options=words,
            loop_options=own_loop_options(draft.sector_bytes) if image_behind(url) else "",
            needs_network=False,
        )
        return replace(draft, leg_urls=(), adoption=adoption), dropped
    if volume.is_adopted:
        options = ",".join(filter(None, (draft.mount.options, words)))
        return replace(draft, mount=replace(draft.mount, options=options)), dropped
    if filesystem != volume.mount.filesystem:
        kept = _general_options(volume.mount.options)
        draft = replace(draft, mount=replace(draft.mount, options=kept))
    return draft, dropped


SMALLEST_SECTOR_BYTES = 512


def with_sectors(draft: Volume, source: str, url: str) -> tuple[Volume, list[Finding]]:
    """The volume with the sector size that its users have now, or cannot keep on this device."""
    present_bytes = sector_bytes(source) if source.startswith("/dev/") else 0
    wanted_bytes = present_bytes or SMALLEST_SECTOR_BYTES  # what no disk limits is not limited
    device = device_behind(url) if draft.is_adopted else ""
    own_bytes = sector_bytes(device) if device else 0
    draft = replace(draft, sector_bytes=own_bytes or min(wanted_bytes, DEFAULT_SECTOR_BYTES))
    if own_bytes <= wanted_bytes:
        return draft, []
    return draft, [
        Finding(
            "sectors",
            Verdict.NEEDS_FORCE if present_bytes else Verdict.LIMITED,
            f"{url} has sectors of {own_bytes} bytes, {source} has {wanted_bytes}",
            f"Programs that write less than {own_bytes} bytes with O_DIRECT (MariaDB's log) get"
            " EINVAL.",
            "Use an image on that device, or a device with smaller sectors.",
        )
    ]


def _check(settings: Settings, draft: Volume, others: Sequence[Volume]) -> list[ContainerPlace]:
    """Free, with room, and not on the volume itself."""
    urls = (*draft.leg_urls, *draft.spare_urls)
    for url in urls:
        with about(url):
            in_expendable_child(partial(_check_place, settings, draft, url), doing=url)
    some_there = any(_exists(url) for url in urls)
    probe = replace(draft, size_bytes=MINIMUM_VOLUME_BYTES) if some_there else draft
    return check_containers(settings, probe, "", others)


def _usable_bytes(url: str, is_adopted: bool, smallest_bytes: int, filesystem: str) -> int:
    with about(url):
        own_bytes = in_expendable_child(partial(_size_of, url), doing=url)
        usable_bytes = own_bytes if is_adopted else _gate_bytes(own_bytes)
        if usable_bytes < smallest_bytes:
            raise TooSmall(
                f"{url} has {format_size(own_bytes)}, too little for {filesystem}",
                f"It needs {format_size(smallest_bytes)}.",
            )
    return usable_bytes


def _check_place(settings: Settings, draft: Volume, url: str) -> None:
    """Refuse a place on the volume itself, in whatever way it leads there."""
    check_not_own_leg(settings, draft.name, draft.mount.path, url)


def _exists(url: str) -> bool:
    return in_expendable_child(lambda: open_container(url).exists(), doing=url)


def _size_of(url: str) -> int:
    back_end = open_container(url).open(only_look=True)
    try:
        return back_end.size_bytes()
    finally:
        back_end.close()


def _gate_bytes(own_bytes: int) -> int:
    """The largest volume whose leg fits into a container of this size."""
    tail_bytes = container_bytes_needed(own_bytes) - own_bytes
    return max(0, (own_bytes - tail_bytes) // BLOCK_BYTES * BLOCK_BYTES)


def _urls(volume: Volume) -> tuple[str, ...]:
    sources = (volume.adoption.source,) if volume.adoption else ()
    return (*volume.leg_urls, *volume.spare_urls, *sources)


def without_projects(options: str) -> tuple[str, list[Finding]]:
    """Options that an ext4 as mkfs makes it can be mounted with, and what was dropped. Pure."""
    words = options.split(",")
    if "prjquota" not in words:
        return options, []
    finding = Finding(
        "mount options",
        Verdict.LIMITED,
        "prjquota: ext4 without the feature project cannot be mounted with it",
        "The new ext4 is made with the features that mkfs sets by itself, and mounted without it.",
    )
    return ",".join(word for word in words if word != "prjquota"), [finding]


_GENERAL = frozenset(
    [
        "ro",
        "rw",
        "nosuid",
        "suid",
        "nodev",
        "dev",
        "noexec",
        "exec",
        "noatime",
        "atime",
        "relatime",
        "norelatime",
        "strictatime",
        "nodiratime",
        "diratime",
        "sync",
        "async",
        "dirsync",
        "lazytime",
        "nolazytime",
        "nosymfollow",
        "defaults",
    ]
)
"""mount(8), FILESYSTEM-INDEPENDENT MOUNT OPTIONS."""


def _general_options(options: str) -> str:
    return ",".join(word for word in options.split(",") if word in _GENERAL)


def check_fits(storage: NewStorage, used_bytes: int) -> None:
    """Raise TooSmall when what is in use does not fit."""
    if used_bytes * ROOM_SHARE > storage.volume.size_bytes:
        raise TooSmall(
            f"{format_size(used_bytes)} are in use, {storage.url} has"
            f" {format_size(storage.volume.size_bytes)}",
            "Use a larger container.",
        )
    check_room(storage.urls, used_bytes, "what is in use")


def place_beside(volume: Volume, identifier: str, what: str = "restored") -> str:
    """The place of an image beside the present one, for what is to replace it, and is called so.

    `identifier`: the volume's, which changes with its storage: whoever asks twice is told the same.
    Raises InvalidOption when it does not lie in an image.
    """
    for url in _urls(volume):
        if image_behind(url):
            path = Path(image_behind(url))
            stem = path.stem.partition(f".{what}-")[0]
            return image_url(path.with_name(f"{stem}.{what}-{identifier[:8]}{path.suffix}"))
    option = " with --to" if what == "restored" else ""
    raise InvalidOption(
        f"{volume.name} does not lie in an image: there is no place beside it",
        f"Name a container for it{option}.",
    )


def is_directory(path: str) -> bool:
    """Whether there is a directory at the path, asked in an expendable child."""

    def ask() -> bool:
        try:
            return stat.S_ISDIR(os.stat(path).st_mode)  # noqa: PTH116 - a plain system call
        except (FileNotFoundError, NotADirectoryError):
            return False

    return in_expendable_child(ask, doing=path)
