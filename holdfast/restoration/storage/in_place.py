"""A volume that gets a gate, or loses it, where it lies: what it would be, and what is in the way.

Nothing is copied: the bytes of the file system stay, and only the end of their container changes
(`leg_in_place` does that). Owns what must be true of a container for that. Asks storage in
expendable children only; changes nothing.
"""

from __future__ import annotations

import os
import shlex
import uuid
from collections.abc import Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from holdfast.adopted.nameless_image import nameless_image
from holdfast.adopted.properties import primary
from holdfast.adopted.source import loops_on, source_of
from holdfast.config import Settings
from holdfast.containers import (
    device_behind,
    image_behind,
    is_container_url,
    parse_container_url,
    path_of,
)
from holdfast.containers.trust import open_believed
from holdfast.errors import ForeignLeg, InUse, NotInPlace, StorageFailed, TooSmall
from holdfast.gate.members.superblock import SLOT_BYTES, SLOTS, decode
from holdfast.model.finding import Finding, Verdict
from holdfast.model.mountpoint import MountPoint
from holdfast.model.size import BLOCK_BYTES, MAXIMUM_VOLUME_BYTES, format_size
from holdfast.model.volume import Volume
from holdfast.restoration.storage.container_end import LegLayout, largest_layout, look, read_end
from holdfast.restoration.storage.other_kind import check_gate_can_be
from holdfast.restoration.storage.target import (
    NewStorage,
    check_spares,
    check_urls,
    with_options,
    with_sectors,
)
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.storage.block import holders, partitions
from holdfast.system.storage.filesystem import KINDS, identify
from holdfast.system.storage.loop_attributes import loop_attributes
from holdfast.system.storage.span import Span
from holdfast.volumes.checks.new_volume import check_containers
from holdfast.volumes.checks.room import room_of

_SECONDS = 30.0

_UNSTABLE = ("sd", "vd", "xvd", "nvme", "hd", "nbd")
"""Names that the kernel gives in the order in which it finds disks."""


def design_gate_in_place(
    settings: Settings,
    volume: Volume,
    shape: Volume,
    points: Sequence[MountPoint],
    others: Sequence[Volume],
    more_urls: Sequence[str],
    spare_urls: Sequence[str],
) -> NewStorage:
    """The gated volume that it would be with its present storage as the first leg.

    `shape`: the volume as one with a gate (other_kind). Raises NotInPlace, TooSmall, InUse,
    ForeignLeg, Untrusted, StorageFailed, and what further legs and a gate raise.
    """
    source, _ = source_of(primary(points, volume.mount.path))
    if not is_container_url(source):
        raise _not_in_place(volume, f"it lies on {source}, which is no container of this host")
    url = str(parse_container_url(source))
    layout, findings = _layout(volume, points, url)
    further = tuple(str(parse_container_url(each)) for each in more_urls)
    spares = tuple(str(parse_container_url(each)) for each in spare_urls)
    check_urls(shape, url, (*further, *spares), others)
    draft = replace(
        shape,
        id=str(uuid.uuid4()),
        size_bytes=layout.size_bytes,
        leg_urls=(url, *further),
        spare_urls=spares,
    )
    around = replace(draft, leg_urls=further)
    places = check_containers(settings, around, volume.mount.path, others)
    existed = tuple(each.url for each in places if each.exists)
    check_spares(draft, existed)
    check_gate_can_be(settings, draft)
    draft, larger = with_sectors(draft, points[-1].source, url)
    draft, dropped = with_options(draft, volume, points, url)
    return NewStorage(draft, existed, (*findings, *larger, *dropped))


def design_plain_in_place(
    volume: Volume, shape: Volume, points: Sequence[MountPoint], url: str
) -> NewStorage:
    """The plain mount that a gated volume would be on this leg of its. Raises NotInPlace."""
    if url not in volume.leg_urls:
        raise _not_in_place(volume, f"{url} is no leg of it", "holdfast volume show names them.")
    draft = replace(shape, id=str(uuid.uuid4()), size_bytes=volume.size_bytes)
    draft, larger = with_sectors(draft, points[-1].source, url)
    draft, dropped = with_options(draft, volume, points, url)
    rest = [each for each in volume.leg_urls if each != url]
    meaning = "Nothing is copied. The gate's superblocks at its end are taken away."
    if rest:
        meaning += f" {', '.join(rest)} stay as they are then, as a copy."
    words = f"{url} keeps the file system as it is"
    stays = Finding("storage", Verdict.OK, words, meaning)
    return NewStorage(draft, (), (stays, *larger, *dropped))


def _layout(
    volume: Volume, points: Sequence[MountPoint], url: str
) -> tuple[LegLayout, list[Finding]]:
    """Where the gate's structures would be. Raises what is in the way."""
    point = primary(points, volume.mount.path)
    if volume.mount.filesystem not in KINDS:
        words = f"it is {volume.mount.filesystem}, and gates have {', '.join(KINDS)}"
        raise _not_in_place(volume, words)
    if nameless_image(point):
        raise _not_in_place(volume, "its image has no name any more, by which a leg is found")
    try:
        examine = partial(_examine, volume, point.source, url)
        layout, span, content = in_expendable_child(examine, _SECONDS, url)
    except OSError as error:
        raise StorageFailed(f"{url} cannot be examined: {error}") from error
    if layout.more_bytes:
        _check_room(volume, url, span, layout)
    return layout, [*_about_staying(url, layout), *_about_content(url, layout, content)]


def _examine(volume: Volume, source: str, url: str) -> tuple[LegLayout, Span, bytes]:
    """The layout, what the file system covers, and what is there now; runs in the child."""
    device, image = os.path.realpath(source), image_behind(url)
    if image:
        _check_image(volume, Path(image), device)
    elif Path(device).name.startswith("loop"):
        words = f"{source} is a part of a loop device, which nothing attaches after a restart"
        raise _not_in_place(volume, words)
    if (Path("/sys/class/block") / Path(device).name / "ro").read_text().strip() != "0":
        raise _not_in_place(volume, f"{source} is read-only, and a gate writes to its legs")
    users = holders(device)
    if users:
        raise InUse(f"{source} is part of {', '.join(users)}, too", "Take it out there (lsblk).")
    found = identify(device)
    if partitions(device) or found is None or found.partition_table:
        words = f"{source} has a partition table beside its file system"
        raise _not_in_place(volume, words, "Take it away (wipefs lists it).")
    span, container_bytes = look(url)
    if span is None or not span.filesystem == volume.mount.filesystem == found.type:
        raise _not_in_place(volume, f"{url} does not begin with its file system alone: {found}")
    if span.uuid != volume.mount.uuid:
        words = f"its file system has the UUID {span.uuid} now, by which it would not be found"
        again = f"holdfast volume delete {volume.name} forgets it, and adopt records it anew."
        raise _not_in_place(volume, words, again)
    if span.elsewhere:
        raise _not_in_place(volume, f"{span.elsewhere} on other devices, which no gate would have")
    if span.size_bytes > MAXIMUM_VOLUME_BYTES:
        raise _not_in_place(volume, "it is larger than a gate can be")
    layout = largest_layout(container_bytes, span.size_bytes)
    return layout, span, read_end(url, layout)


def _check_image(volume: Volume, image: Path, device: str) -> None:
    os.close(open_believed(image, os.O_RDONLY))
    try:  # it takes writes already, but of whoever had it open before
        os.close(open_believed(image, os.O_RDWR, keep_mode=True))
    except OSError as error:
        words = f"{image} cannot be opened for writing: {error.strerror}"
        raise _not_in_place(volume, words, "See lsattr, and how its storage is mounted.") from error
    shown = loop_attributes(Path(device).name)
    if shown.offset_bytes or shown.limit_bytes:
        words = f"{device} shows a part of {image}, and what lies around it is not known"
        raise _not_in_place(volume, words)
    others = [each.device for each in loops_on(str(image)) if each.device != device]
    if others:
        raise InUse(
            f"{image} is attached as {', '.join(others)}, too",
            f"Free it: losetup --detach {others[0]}.",
        )


def _check_room(volume: Volume, url: str, span: Span, layout: LegLayout) -> None:
    """Raise TooSmall where the container cannot grow by what is missing."""
    room = room_of(url)
    if image_behind(url):
        if room is not None and room.free_bytes < layout.more_bytes + BLOCK_BYTES:
            raise TooSmall(
                f"{url} has to grow by {format_size(layout.more_bytes)}, and"
                f" {format_size(room.free_bytes)} are free there",
                "Make room there.",
            )
        return
    raise TooSmall(
        f"the {span.filesystem} of {volume.name} fills {url}: a gate needs {layout.more_bytes}"
        " bytes more behind it",
        "Enlarge the device, not the file system (lvextend -L +4M), and try again; or copy it to a"
        f" leg: {_copying(volume)}",
    )


def _about_staying(url: str, layout: LegLayout) -> list[Finding]:
    """Where the data is, before and after, and what is written."""
    size = format_size(layout.end - layout.offset)
    grows = f"it grows by {format_size(layout.more_bytes)}" if layout.more_bytes else "it has room"
    found = [
        Finding(
            "storage", Verdict.OK, f"{url} keeps the file system as it is, and becomes a leg",
            f"Nothing is copied. The gate's structures take {size} at its end: {grows}.",
        )
    ]  # fmt: skip
    device = device_behind(url)
    if Path(device).name.startswith(_UNSTABLE):
        found.append(
            Finding(
                "name of the device", Verdict.LIMITED,
                f"{device} may be another disk's after a restart",
                "The gate refuses a disk that is not its leg, and waits for the one that is.",
                "Give it a lasting name (LVM, a udev rule) where disks come and go.",
            )
        )  # fmt: skip
    return found


def _about_content(url: str, layout: LegLayout, content: bytes) -> list[Finding]:
    """What is there where the gate's structures are to be. Raises ForeignLeg."""
    pages = f"seek={layout.offset // BLOCK_BYTES} count={len(content) // BLOCK_BYTES}"
    place = shlex.quote(path_of(url))
    clear = f"dd if=/dev/zero of={place} bs={BLOCK_BYTES} {pages} conv=notrunc,fsync"
    for slot in range(1, SLOTS + 1):
        start = len(content) - slot * SLOT_BYTES
        found = decode(content[start : start + SLOT_BYTES]) if start >= 0 else None
        if found is not None:
            raise ForeignLeg(
                f"{url} is leg {found.leg_number} of the volume with id {found.volume_id}",
                f"When that volume is of no use any more: {clear}",
            )
    if content.count(0) == len(content):
        return []
    return [
        Finding(
            "end of the container", Verdict.NEEDS_FORCE,
            f"the last {format_size(layout.end - layout.offset)} of {url} are not zero",
            "The file system does not use them; what else they are is not known. They are put back"
            " when all is undone, and lost when it is done.",
            f"Look at them; where they are of no use: {clear}",
        )
    ]  # fmt: skip


def _not_in_place(volume: Volume, words: str, mend: str = "") -> NotInPlace:
    name = volume.name
    otherwise = f"Copy it to a leg: {_copying(volume)}"
    return NotInPlace(f"{name} cannot stay where it is: {words}", mend or otherwise)


def _copying(volume: Volume) -> str:
    return f"holdfast volume gate {volume.name} --leg URL"
