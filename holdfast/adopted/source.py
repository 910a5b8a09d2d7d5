"""Where an adopted volume's bytes come from: named so that it is found again after a reboot.

Device names change from boot to boot, the file system's UUID does not: a device counts as the
recorded one only when its UUID does. Must never write to a source.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from functools import partial
from pathlib import Path

from holdfast.adopted.left_leg import is_left_leg
from holdfast.adopted.nameless_image import kept_device
from holdfast.containers import device_behind, device_url, image_behind, image_url
from holdfast.errors import CommandFailed, HoldfastError, InUse, StorageFailed
from holdfast.model.mountpoint import MountPoint
from holdfast.model.volume import Adoption, MountProperties
from holdfast.system.children.expendable import in_expendable_child
from holdfast.system.children.expendable_batch import ask_each
from holdfast.system.children.run import run
from holdfast.system.storage.block import free_devices
from holdfast.system.storage.filesystem import Identity, identify
from holdfast.system.storage.loop import LoopDevice, detach_loop, loop_devices, loop_devices_of
from holdfast.system.storage.loop_attributes import loop_attributes
from holdfast.system.storage.loop_backing import devices_showing

_SECTOR_BYTES = 512
"""Of a loop device that was not told otherwise."""

_NOTHING_FOUND = 2
"""blkid(8)."""

_AMBIVALENT = 8
"""blkid(8): several signatures at once."""

_ATTACH_SECONDS = 20.0
_FIND_SECONDS = 20.0
_BY_UUID = Path("/dev/disk/by-uuid")
"""What udev has found out; there is none everywhere, and it may be out of date."""


def source_of(point: MountPoint) -> tuple[str, str]:
    """The source of a mount, and how its image was attached where it is one. Does not block."""
    if not point.source.startswith("/dev/"):
        return point.source, ""
    loop = next((each for each in loop_devices() if each.device == point.source), None)
    if loop is None:
        return device_url(point.source), ""
    return image_url(loop.backing_file), _loop_options(Path(point.source).name, loop.direct_io)


def _loop_options(name: str, direct_io: bool) -> str:
    found = loop_attributes(name)
    words = [f"offset={found.offset_bytes}"] if found.offset_bytes else []
    words += [f"sizelimit={found.limit_bytes}"] if found.limit_bytes else []
    words += [f"sector-size={found.sector_bytes}"] if found.sector_bytes != _SECTOR_BYTES else []
    words += ["direct-io"] if direct_io else []
    words += ["ro"] if found.is_read_only else []
    words += ["autoclear"] if found.is_autoclear else []
    return ",".join(words)


def _part(loop_options: str) -> set[str]:
    """The words that say which bytes of the image a loop device shows, and whether to be written.

    Not the others: how it was attached may differ when it was attached anew."""
    names = ("offset", "sizelimit", "ro")
    return {word for word in loop_options.split(",") if word.partition("=")[0] in names}


def identity_of(device: str) -> Identity | None:
    """Type, label and UUID on a device; None when nothing is known or it cannot be read."""
    try:
        return identify(device)
    except HoldfastError:
        return None


_OWN = "own"
"""In `loop_options`: the image was made by Holdfast, and so is its loop device."""
_OWN_BEFORE = "sector-size=4096,direct-io"
"""The same, as it was recorded before sector sizes were kept."""


def own_loop_options(sector_bytes: int) -> str:
    """How Holdfast attaches an image that it made, as `loop_options` has it."""
    size = [] if sector_bytes == _SECTOR_BYTES else [f"sector-size={sector_bytes}"]
    return ",".join([*size, "direct-io", _OWN])


def _is_own(loop_options: str) -> bool:
    return loop_options == _OWN_BEFORE or _OWN in loop_options.split(",")


def let_go_of_source(adoption: Adoption) -> None:
    """Detach the loop device of an image that Holdfast made; others' devices stay. Idempotent."""
    path = image_behind(adoption.source)
    if path and _is_own(adoption.loop_options):
        for loop in loop_devices():
            if loop.backing_file == path and not loop.deleted:
                detach_loop(loop)


def mountable_source(mount: MountProperties, adoption: Adoption) -> tuple[str, str]:
    """What mount(8) is given now as source, and which options it needs for it.

    Attaches an image to a loop device where none has it. Raises StorageFailed when the recorded
    file system is not found.
    """
    image, device = image_behind(adoption.source), device_behind(adoption.source)
    if image:
        kept = kept_device(image, adoption.points)
        if kept:
            return _checked(kept, image, mount), ""
        return _image(image, mount, adoption.loop_options)
    if device:
        return _device(device, mount, adoption.left_gate), ""
    return adoption.source, ""


def _device(path: str, mount: MountProperties, left_gate: str) -> str:
    if not mount.uuid:
        return path
    found = identity_of(path)
    holds_it = found is not None and found.uuid == mount.uuid
    if holds_it and not is_left_leg(path, left_gate):
        return path
    left, silent = [path] if holds_it else [], list[str]()
    for each in _devices_with(mount.uuid, silent):
        if os.path.realpath(each) == os.path.realpath(path):
            continue
        if not is_left_leg(each, left_gate):
            return each
        left.append(each)
    silence = f" that was read: {', '.join(silent)} did not answer" if silent else ""
    if left:
        silence += f"; {', '.join(dict.fromkeys(left))} is a leg that was left"
    raise StorageFailed(
        f"{path} does not hold the file system with UUID {mount.uuid}, nor does another device"
        f"{silence}",
        "Connect the storage it lay on, then attach it again.",
    )


def _devices_with(uuid: str, silent: list[str]) -> Iterator[str]:
    """The device that udev knows by that UUID, then all that are found by reading each.

    To `silent` go those, perhaps strangers', that could not be read in time. Blocks some seconds
    for each of them.
    """
    known = os.path.realpath(_BY_UUID / uuid)
    if os.path.lexists(known) and _holds(uuid, known):
        yield known
    others = [each for each in free_devices() if each != known]
    found = ask_each(partial(_holds, uuid), others, budget_seconds=_FIND_SECONDS)
    silent += [each for each, holds in zip(others, found, strict=True) if holds is None]
    yield from (each for each, holds in zip(others, found, strict=True) if holds)


def _holds(uuid: str, device: str) -> bool:
    found = identity_of(device)
    return found is not None and found.uuid == uuid


def _image(path: str, mount: MountProperties, loop_options: str) -> tuple[str, str]:
    words = dict(word.partition("=")[::2] for word in loop_options.split(",") if word)
    # A second device on an image that is in use would be a second cache of the same bytes, also
    # when no mount is in sight: one that was detached lazily lives on below its device.
    for loop in loops_on(path):
        present = _loop_options(Path(loop.device).name, loop.direct_io)
        if _part(present) == _part(loop_options):
            if "autoclear" in words and "autoclear" in present.split(","):
                # It goes with whoever has it open last, be it we, who look. mount(8) keeps it open.
                break
            return _checked(loop.device, path, mount), ""
        if _overlap(present, loop_options):
            raise InUse(
                f"{path} is attached to {loop.device} already, in another way ({present})",
                f"See who uses it (lsof {loop.device}), then: losetup --detach {loop.device}",
            )
    if not in_expendable_child(lambda: os.path.isfile(path), doing=path):  # noqa: PTH113 - text
        raise StorageFailed(f"the image {path} is not there", "Bring it back, then attach again.")
    if "ro" not in words:
        in_expendable_child(partial(_refuse_closed, path), doing=path)
    found = _uuid_in(path, words.get("offset", "0"))
    if mount.uuid and found != mount.uuid:
        raise StorageFailed(
            f"{path} holds no file system with UUID {mount.uuid} any more",
            "Bring the image back that was adopted.",
        )
    if "autoclear" in words:
        names = ("offset", "sizelimit")
        options = ["loop", *(f"{name}={words[name]}" for name in names if name in words)]
        return path, ",".join(options)
    command = ["losetup", "--find", "--show"]
    command += [f"--{name}={words[name]}" for name in ("offset", "sizelimit", "sector-size")
                if name in words]  # fmt: skip
    command += ["--read-only"] if "ro" in words else []
    direct = ["--direct-io=on"] if "direct-io" in words else []
    try:
        done = run([*command, *direct, "--", path], deadline_seconds=_ATTACH_SECONDS)
    except CommandFailed:
        if not direct:
            raise
        # The disk below has larger sectors: through the page cache, a flush is fsync all the same.
        done = run([*command, "--", path], deadline_seconds=_ATTACH_SECONDS)
    return done.stdout.strip(), ""


def _refuse_closed(path: str) -> None:
    """Raise StorageFailed for an image that nobody may write to (`chattr +i`, +a)."""
    try:
        os.close(os.open(path, os.O_RDWR | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC))
    except PermissionError as error:
        raise StorageFailed(
            f"the image {path} cannot be opened for writing: {error.strerror}",
            f"lsattr {path} shows whether it was made immutable: chattr -i {path}",
        ) from error
    except OSError:
        return  # read-only storage: so will the mount be


def loops_on(path: str) -> list[LoopDevice]:
    """The loop devices that show this file, by whatever name, mount or link they were attached.

    By the name alone where the file is not reached. Blocks some seconds at most. Raises
    DeadlinePassed when the file's own storage does not answer.
    """
    try:
        return in_expendable_child(partial(devices_showing, path), doing=path)
    except OSError:
        return [each for each in loop_devices_of(path) if not each.deleted]


def _overlap(one: str, other: str) -> bool:
    """Whether two ways to attach an image show some byte both."""
    (start, end), (other_start, other_end) = _bounds(one), _bounds(other)
    return start < other_end and other_start < end


def _bounds(loop_options: str) -> tuple[int, float]:
    words = dict(word.partition("=")[::2] for word in loop_options.split(",") if word)
    start, size = int(words.get("offset") or 0), int(words.get("sizelimit") or 0)
    return start, start + size if size else float("inf")


def _uuid_in(image: str, offset_bytes: str) -> str:
    """The UUID of the file system at that place of an image; empty when there is none."""
    command = ["blkid", "--probe", "--offset", offset_bytes, "--output", "value"]
    return run(
        [*command, "--match-tag", "UUID", image],
        deadline_seconds=_ATTACH_SECONDS,
        accepted=(0, _NOTHING_FOUND, _AMBIVALENT),
    ).stdout.strip()


def _checked(device: str, path: str, mount: MountProperties) -> str:
    found = identity_of(device)
    if mount.uuid and (found is None or found.uuid != mount.uuid):
        raise StorageFailed(
            f"{path} does not hold the file system with UUID {mount.uuid} any more",
            "Bring the image back that was adopted.",
        )
    return device
